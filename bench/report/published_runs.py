"""Runs that others measured and published with this project: bundles in `results/published/`, shown as rows.

Such a row is never ranked: it was measured elsewhere. Beside it stands what it was measured on, and in what that
differs from the run at hand. To publish a run, pack it (`report --bundle FILE.zip`) and put the file there.

Example:
    >>> published_runs(findings, Path("results/published"))   # doctest: +SKIP
    ((PublishedRun(file='mini.zip', ...),), ())
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.errors import StoreError
from bench.records import Record, RunInfo
from bench.report.bundle import unpack
from bench.report.derive import report_data
from bench.report.findings import ReportData, TableRow
from bench.report.rows import way_of
from bench.report.sources import gather
from metrics.api import MetricInfo


@dataclass(frozen=True)
class PublishedRun:
    """One bundle.

    Attributes:
        file: its name.
        info: what its run.json says.
        rows: its systems, floors and ceiling, with those scores that the table at hand has columns for.
        differs: in what it was measured otherwise than the run at hand, as clauses.
    """

    file: str
    info: RunInfo
    rows: tuple[TableRow, ...]
    differs: tuple[str, ...]

    @property
    def provenance(self) -> dict[str, Any]:
        """What the numbers rest on: when, with what, on what."""
        return {
            "run": self.info.name,
            "begun": self.info.created,
            "profile": self.info.profile,
            "prompts": f"{len(self.info.prompts)} ({self.info.prompt_set})",
            "seeds": list(self.info.seeds),
            **self.info.provenance,
            "settings": dict(self.info.settings),
        }


def published_folder() -> Path:
    """Returns the folder whose bundles are shown: the package's own."""
    return Path(str(resources.files("results.published")))


def published_runs(findings: ReportData, folder: Path) -> tuple[tuple[PublishedRun, ...], tuple[str, ...]]:
    """Returns the bundles of a folder in order of their names, and a sentence for every one that cannot be read.

    Args:
        findings: of the run at hand; its columns are shown.
        folder: where the bundles lie.
    """
    runs, notes = [], []
    for path in sorted(folder.glob("*.zip")):
        try:
            with TemporaryDirectory() as scratch:
                sources = gather([unpack(path, Path(scratch), records_only=True)])
        except StoreError as error:
            notes.append(f"A published run is not shown: {error}.")
            continue
        found = report_data(sources.info, sources.records, findings.published)
        rows = tuple(_with_columns(row, findings.columns) for row in found.rows if row.ok)
        runs.append(PublishedRun(path.name, sources.info, rows, tuple(_differs(findings, found))))
    return tuple(runs), tuple(notes)


def _with_columns(row: TableRow, columns: Sequence[MetricInfo]) -> TableRow:
    """Returns a row with no other columns than these, without marks: it stands in no ranking here."""
    scores = {column.name: row.scores[column.name] for column in columns if column.name in row.scores}
    return replace(row, scores=scores, marks={}, tied=frozenset(), ranked=False)


def _differs(here: ReportData, there: ReportData) -> Iterable[str]:
    """Yields in what two runs were measured differently, as clauses."""
    if here.info.profile != there.info.profile:
        yield f"profile {there.info.profile}"
    if {prompt.text for prompt in here.info.prompts} != {prompt.text for prompt in there.info.prompts}:
        yield f"{len(there.info.prompts)} other prompts"
    lengths = _lengths(there.records)
    if lengths != _lengths(here.records):
        yield f"{', '.join(map(str, lengths))} frames"
    ways, others = _ways(here.records), _ways(there.records)
    apart = [c.title for c in here.columns if c.name in others and others[c.name] != ways.get(c.name)]
    if apart:
        yield f"other settings of {', '.join(apart)}"


def _lengths(records: Sequence[Record]) -> list[int]:
    return sorted({record.num_frames for record in records if record.status == "ok"})


def _ways(records: Sequence[Record]) -> Mapping[str, frozenset[str]]:
    """Returns how each metric was computed: its versions and settings, but for the device."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, score in record.scores.items():
            found.setdefault(name, set()).add(way_of(score))
    return {name: frozenset(ways) for name, ways in found.items()}
