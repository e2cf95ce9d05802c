"""Derives everything a report says in numbers and sentences from a run's records.

Reductions over videos are those of `bench.stats`.

Example:
    >>> findings = report_data(store.info(), store.records(), load_published())   # doctest: +SKIP
    >>> findings.rows[0].scores["mawe"].mean                                      # doctest: +SKIP
    52.3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.errors import ConfigError
from bench.records import Record, RunInfo
from bench.report import ranking
from bench.report.answer import answer
from bench.report.findings import TABLE_1, Problem, ReportData
from bench.report.notes import comparability, notes_of, obstacles
from bench.report.published import Published
from bench.report.rows import table_rows
from generators.api import MethodInfo
from metrics.api import MetricInfo


def report_data(
    info: RunInfo,
    records: Sequence[Record],
    published: Published,
    stamps: Mapping[str, MethodInfo] | None = None,
    sort: str = "",
    instead: str = "",
) -> ReportData:
    """Returns the findings of one run.

    Args:
        info: what run.json says.
        records: the records of its grid, in grid order.
        published: the published table.
        stamps: what methods say of themselves where run.json does not know it.
        sort: metric by whose mean the rows of each block stand; empty for the order of the published table.
        instead: what the columns are instead of the run's scores, as a clause; empty for these.

    Raises:
        ConfigError: the run has no metric of the name `sort`.
    """
    columns = tuple(sorted(info.metrics, key=lambda metric: _table_order(metric.name)))
    known = {**(stamps or {}), **info.stamps}
    rows = table_rows(info, records, known, published)
    if sort:
        rows = ranking.sorted_by(rows, _column(columns, sort))
    comparisons = ranking.compare(rows, columns, records)
    rows = ranking.marked(rows, columns, comparisons)
    power = ranking.power_of(rows, columns, comparisons)
    found = [*([instead] if instead else []), *obstacles(info, records)]
    return ReportData(
        info=info,
        records=tuple(records),
        columns=columns,
        rows=tuple(rows),
        stamps=known,
        comparisons=comparisons,
        power=power,
        answer=answer(rows, columns, comparisons, power),
        problems=tuple(problem for record in records for problem in _problems(record)),
        notes=(comparability(found, published), *notes_of(info, rows, columns, comparisons, power, records)),
        comparable=not found,
        published=published,
    )


def _table_order(metric: str) -> int:
    return TABLE_1.index(metric) if metric in TABLE_1 else len(TABLE_1)


def _column(columns: Sequence[MetricInfo], name: str) -> MetricInfo:
    for column in columns:
        if column.name == name:
            return column
    raise ConfigError(f"--sort {name}: the run has {', '.join(column.name for column in columns) or 'no metric'}")


def _problems(record: Record) -> list[Problem]:
    where = (record.method, record.prompt.id, record.seed)
    if record.status != "ok":
        return [Problem(*where, "video", record.status, record.reason)]
    return [
        Problem(*where, name, "undefined" if score.status == "ok" else score.status, score.reason)
        for name, score in record.scores.items()
        if score.value is None
    ]
