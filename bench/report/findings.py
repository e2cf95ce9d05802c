"""What a finished run says, as values: rows, ranks, tests, failures. `derive` makes them, the renderers lay them out.

Example:
    >>> Flag("frozen 2/4", "of its 4 videos, 2 frozen by the stillness measure.").ranked
    True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.records import Record, RunInfo
from bench.report.published import Published
from bench.stats import PairedTest, Summary
from generators.api import MethodInfo
from metrics.api import MetricInfo

TABLE_1 = ("mawe", "scuts", "clip")
"""The columns of the published table, in its order."""

TABLE_1_FRAMES = 240
"""Length of the videos behind the published table."""

Block = Literal["systems", "floors", "ceiling"]
"""Part of the table a row stands in; only systems are ranked, marked and tested."""

BLOCKS: tuple[Block, ...] = ("systems", "floors", "ceiling")
"""The parts of the table from top to bottom."""

SIGNIFICANT = 0.05
"""Level of the corrected tests."""

COSTS = {
    "seconds_per_frame": "s / frame",
    "seconds_to_first_chunk": "first new frames, s",
    "generation_seconds": "s / video",
    "peak_rss_mb": "peak RAM, MB",
    "peak_gpu_mb": "peak GPU, MB",
    "gflops_per_frame": "GFLOP / frame",
    "metric_seconds": "scoring, s / video",
}
"""Head of every cost column, in the order of the table."""


@dataclass(frozen=True)
class Flag:
    """A warning on a row.

    Attributes:
        word: for the table.
        sentence: what is behind it, without the name of the row.
        ranked: False if it takes the row out of ranks and tests.
        compared: False if its scores may not stand beside those of other rows at all; such a row is not ranked, either.
    """

    word: str
    sentence: str
    ranked: bool = True
    compared: bool = True


@dataclass(frozen=True)
class TableRow:
    """One method.

    Attributes:
        method: name on the command line.
        title: name in tables.
        group: group in the published table, empty for a method that is not in it.
        block: part of the table it stands in.
        own_start: True if it makes its own first frames, where the others continue the shared ones.
        scores: summary by metric.
        marks: "best" or "second" by metric, where the row has earned it.
        tied: metrics on which the corrected paired test cannot tell the row apart from the best one.
        apart: metrics on which the row is not compared: computed with other settings than most rows', or by optical
            flow in frames of another size or rate.
        cost: by key of `COSTS`; None where nothing was measured.
        planned: videos in the grid.
        ok: videos that exist.
        failed: videos whose method raised.
        skipped: videos whose method could not run here.
        flags: warnings.
        ranked: True for systems that no flag takes out of ranks and tests.
        published: published mean by metric; empty for a method that is not in the published table.
    """

    method: str
    title: str
    group: str
    block: Block
    own_start: bool
    scores: Mapping[str, Summary]
    marks: Mapping[str, str]
    tied: frozenset[str]
    apart: frozenset[str]
    cost: Mapping[str, float | None]
    planned: int
    ok: int
    failed: int
    skipped: int
    flags: tuple[Flag, ...]
    ranked: bool
    published: Mapping[str, float]

    def stands_beside(self, metric: str) -> bool:
        """Returns whether the row's mean of a metric may stand beside those of other rows, ranked or not."""
        return metric not in self.apart and all(flag.compared for flag in self.flags)

    @property
    def pending(self) -> int:
        """Videos of the grid that have not been made yet."""
        return self.planned - self.ok - self.failed - self.skipped


@dataclass(frozen=True)
class Comparison:
    """Two methods on one metric; `p_holm` is corrected over all pairs of the metric."""

    metric: str
    first: str
    second: str
    test: PairedTest
    p_holm: float | None


@dataclass(frozen=True)
class Power:
    """What the tests of one metric can see.

    Attributes:
        metric: name of the metric.
        pairs: pairs of ranked rows with a test.
        apart: pairs that the corrected test tells apart.
        least: prompts below which no corrected p can be small enough, whatever the differences.
        first_two: prompts that would tell the best row from the second best; None where they tie or nothing is known.
        half: prompts that would tell half of all pairs apart, likewise.
    """

    metric: str
    pairs: int
    apart: int
    least: int
    first_two: int | None
    half: int | None


@dataclass(frozen=True)
class Sentence:
    """One sentence of the answer, and the anchor of the page where it shows."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Problem:
    """A cell or score without a result: where, what kind ("failed", "skipped" or "undefined"), and why."""

    method: str
    prompt: str
    seed: int
    what: str
    status: str
    reason: str


@dataclass(frozen=True)
class ReportData:
    """Everything the report says in numbers and sentences.

    Attributes:
        info: the run.
        records: its finished cells, in grid order.
        columns: metrics, Table 1's first.
        rows: methods, block by block; systems in the order of the published table, then others.
        stamps: what each method says of itself.
        comparisons: all pairs of ranked rows, per ranking metric.
        power: what these tests can see, per ranking metric.
        answer: what the tests and the table say, in a few sentences.
        problems: what has no result, with reasons.
        notes: sentences that belong under the table.
        comparable: True if the scores may be read beside the published ones.
        published: the published table.
        measured: metrics of the run where the columns are something else, such as drifts; curves speak of these.
    """

    info: RunInfo
    records: tuple[Record, ...]
    columns: tuple[MetricInfo, ...]
    rows: tuple[TableRow, ...]
    stamps: Mapping[str, MethodInfo]
    comparisons: tuple[Comparison, ...]
    power: tuple[Power, ...]
    answer: tuple[Sentence, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    comparable: bool
    published: Published
    measured: tuple[MetricInfo, ...] = ()

    @property
    def by_name(self) -> dict[str, MetricInfo]:
        """Every metric that tables or curves speak of, by name, the columns first."""
        return {metric.name: metric for metric in (*self.columns, *self.measured)}

    def shared_frames(self, record: Record) -> int:
        """Returns how many frames of a video are the shared first chunk: 0 where it has none, or where none is known.

        The first seam is where the shared chunk ends.
        """
        stamp = self.stamps.get(record.method)
        if stamp is None or not stamp.continues_start or not record.start or not record.seams:
            return 0
        return record.seams[0]
