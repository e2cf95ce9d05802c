"""The drift table: every metric by every definition of drift, per method, with intervals and tests.

Drifts are readings of the series in the store (`metrics.drift`), so nothing is scored again, and one definition can
take the place of the scores in Table 1.

Example:
    >>> column_name("mawe", "start_end_15")
    'mawe@start_end_15'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from bench.errors import ConfigError, PluginError, foreign
from bench.given_file import stated_rate
from bench.records import Record, RunInfo, StoredScore
from bench.report.coded import in_sentence
from bench.report.csv_text import write_csv
from bench.report.curves import scored_videos
from bench.report.findings import SIGNIFICANT, ReportData, TableRow
from bench.report.tables import count, in_brackets, interval, markdown_rows, markdown_text, name, shown_value
from bench.stats import PairedTest, Summary, holm, paired_test, summarise
from metrics.api import MetricInfo
from metrics.drift import DRIFTS, DriftDefinition, why_undefined, window_of

HOW_TO_READ = "Mean over videos [95 % interval] (how many of the videos have a value, where not all do)"
"""What a cell of `drift.md` says, see `shown_mean`."""


@dataclass(frozen=True)
class DriftCell:
    """One method's drift in one metric by one definition, over its videos."""

    metric: MetricInfo
    definition: DriftDefinition
    method: str
    summary: Summary


@dataclass(frozen=True)
class DriftTest:
    """Two methods' drifts; `p_holm` is corrected over all pairs of the metric and definition."""

    metric: str
    definition: str
    first: str
    second: str
    test: PairedTest
    p_holm: float | None


@dataclass(frozen=True)
class DriftTable:
    """All drifts and tests, by metric, definition and method in table order, with notes on what cannot be read."""

    cells: tuple[DriftCell, ...] = ()
    tests: tuple[DriftTest, ...] = ()
    notes: tuple[str, ...] = ()


def column_name(metric: str, definition: str) -> str:
    """Returns the name under which a drift stands among the scores."""
    return f"{metric}@{definition}"


def with_drift(
    info: RunInfo, records: Sequence[Record], classes: Mapping[str, type[Any]], definition: str
) -> tuple[RunInfo, list[Record]]:
    """Returns a run whose ranking metrics are replaced by their drifts, so that Table 1 is one of drifts.

    Args:
        info: the run.
        records: its finished cells.
        classes: metric classes by name; metrics not in it are left out.
        definition: a key of `metrics.drift.DRIFTS`.

    Raises:
        ConfigError: there is no such definition.
    """
    if definition not in DRIFTS:
        raise ConfigError(f"--drift {definition!r}: there are {', '.join(DRIFTS)}")
    metrics = [m for m in info.metrics if m.better != "neither" and m.name in classes]
    drifts = {m.name: _drifts_of(m, records, info.methods, classes[m.name], DRIFTS[definition]) for m in metrics}
    drifted = [_drifted(record, drifts, definition) for record in records]
    columns = tuple(_column(metric, DRIFTS[definition]) for metric in metrics)
    return replace(info, metrics=columns), drifted


def drift_table(findings: ReportData, classes: Mapping[str, type[Any]]) -> DriftTable:
    """Returns every ranking metric of a run by every definition.

    Args:
        findings: rows, columns and records.
        classes: metric classes by name; the metrics that are not in it have no drift.
    """
    cells: list[DriftCell] = []
    tests: list[DriftTest] = []
    notes: list[str] = []
    for column in findings.columns:
        if column.better == "neither" or column.name not in classes:
            continue
        try:
            with foreign(PluginError, f"metric {column.name} on its own series"):
                found = _of_metric(findings, column, classes[column.name])
        except PluginError as error:
            notes.append(f"No drift for {in_sentence(column.title)}: {error}.")
        else:
            cells += found.cells
            tests += found.tests
    return DriftTable(tuple(cells), tuple(tests), tuple(notes))


@dataclass(frozen=True)
class DriftGrid:
    """One metric's drifts, as a table shows them.

    Attributes:
        metric: the metric.
        rows: row of a method and its drift by each definition of `DRIFTS`; None where it has none.
        apart: by definition, how many pairs of ranked rows the corrected test tells apart, and of how many with a test.
    """

    metric: MetricInfo
    rows: tuple[tuple[TableRow, tuple[Summary | None, ...]], ...]
    apart: Mapping[str, tuple[int, int]]


def drift_grids(findings: ReportData, table: DriftTable) -> list[DriftGrid]:
    """Returns one grid a metric: methods by definitions."""
    by = {(c.metric.name, c.definition.name, c.method): c.summary for c in table.cells}
    tests: dict[tuple[str, str], list[DriftTest]] = {}
    for test in table.tests:
        tests.setdefault((test.metric, test.definition), []).append(test)
    grids = []
    for metric in dict.fromkeys(c.metric for c in table.cells):
        rows = tuple(
            (row, tuple(by.get((metric.name, definition, row.method)) for definition in DRIFTS))
            for row in findings.rows
        )
        apart = {
            definition: (sum(p < SIGNIFICANT for p in found), len(found))
            for definition in DRIFTS
            for found in [[t.p_holm for t in tests.get((metric.name, definition), []) if t.p_holm is not None]]
        }
        grids.append(DriftGrid(metric, rows, apart))
    return grids


def drift_csv(table: DriftTable) -> str:
    """Returns all drifts as CSV, one row per metric, definition and method."""
    heads = ["metric", "definition", "method", "mean", "median", "std", "low", "high", "n", "undefined"]
    return write_csv(
        heads,
        (
            [cell.metric.name, cell.definition.name, cell.method, *dataclasses.astuple(cell.summary)]
            for cell in table.cells
        ),
    )


def drift_tests_csv(table: DriftTable) -> str:
    """Returns all tests as CSV, one row per metric, definition and pair of methods."""
    heads = ["metric", "definition", "first", "second", "difference", "low", "high", "p", "n", "exact", "std", "p_holm"]
    return write_csv(
        heads,
        ([t.metric, t.definition, t.first, t.second, *dataclasses.astuple(t.test), t.p_holm] for t in table.tests),
    )


def drift_markdown(findings: ReportData, table: DriftTable) -> str:
    """Returns one table a metric, methods by definitions, and what each definition cannot see."""
    lines = ["# Drift", "", f"{HOW_TO_READ}, in the unit of the metric (`vde…`: relative).", ""]
    for grid in drift_grids(findings, table):
        rows = [[markdown_text(name(row)), *(shown_mean(d, row) for d in drifts)] for row, drifts in grid.rows]
        rows.append(["*pairs told apart*", *(f"{apart} of {pairs}" for apart, pairs in grid.apart.values())])
        lines += [f"## {markdown_text(grid.metric.title)}", "", *markdown_rows(["Method", *DRIFTS], rows), ""]
    lines += ["## What each definition cannot see", ""]
    lines += [f"- `{d.name}`, {d.title}: {d.blind} Source: {d.source}" for d in DRIFTS.values()]
    return "\n".join([*lines, ""])


def shown_mean(summary: Summary | None, row: TableRow, unit: str = "") -> str:
    """Returns a mean with its interval and, where it is not over all videos of the row, their number.

    Args:
        summary: the mean; None where there is none.
        row: the row it stands in.
        unit: as for `bench.report.tables.shown_value`.
    """
    if summary is None or summary.mean is None:
        return "–"
    parts = (shown_value(summary.mean, unit), interval(summary, unit), in_brackets(count(summary, row)))
    return " ".join(part for part in parts if part)


def _of_metric(findings: ReportData, column: MetricInfo, cls: type[Any]) -> DriftTable:
    cells, tests = [], []
    for definition in DRIFTS.values():
        drifts = _drifts_of(column, findings.records, findings.info.methods, cls, definition)
        by_method = {
            row.method: {(p, s): drift for (m, p, s), drift in drifts.items() if m == row.method}
            for row in findings.rows
        }
        cells += [
            DriftCell(column, definition, method, summarise(list(own.values()), [prompt for prompt, _ in own]))
            for method, own in by_method.items()
            if own
        ]
        ranked = [row.method for row in findings.rows if row.ranked and column.name not in row.apart]
        pairs = list(combinations([method for method in ranked if by_method[method]], 2))
        found = [paired_test(by_method[a], by_method[b], tests=len(pairs)) for a, b in pairs]
        tests += [
            DriftTest(column.name, definition.name, a, b, test, p)
            for (a, b), test, p in zip(pairs, found, holm([test.p for test in found]), strict=True)
        ]
    return DriftTable(tuple(cells), tuple(tests))


def _drifts_of(
    metric: MetricInfo, records: Sequence[Record], methods: Sequence[str], cls: type[Any], definition: DriftDefinition
) -> dict[tuple[str, str, int], float | None]:
    """Returns the drift of every scored video by (method, prompt id, seed)."""
    return {
        (method, v.record.prompt_key, v.record.seed): definition.read(
            window_of(v.metric, v.series), v.record.num_frames, stated_rate(v.record)
        )
        for method in methods
        for v in scored_videos(records, method, metric.name, cls)
    }


def _drifted(
    record: Record, drifts: Mapping[str, Mapping[tuple[str, str, int], float | None]], definition: str
) -> Record:
    """Returns the record with its drifts among its scores."""
    added = {}
    for metric, found in drifts.items():
        key = (record.method, record.prompt_key, record.seed)
        if key in found:
            scored = record.scores[metric]
            why = (
                ""
                if found[key] is not None
                else why_undefined(DRIFTS[definition], record.num_frames, stated_rate(record))
            )
            reason = why and f"{metric} has no drift by {definition}: {why}"
            added[column_name(metric, definition)] = StoredScore(
                found[key], reason=reason, version=scored.version, settings=scored.settings
            )
    return replace(record, scores={**record.scores, **added})


def _column(metric: MetricInfo, definition: DriftDefinition) -> MetricInfo:
    column = column_name(metric.name, definition.name)
    return MetricInfo(column, f"{metric.title}, {definition.name}", metric.unit, definition.better, metric.version)
