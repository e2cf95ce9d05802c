"""What a finished run says, as values: rows, ranks, tests, failures. The renderers only lay these out.

Everything is derived from the store; reductions over videos are those of `bench.stats`.

Example:
    >>> findings = report_data(store.info(), store.records(), load_published())   # doctest: +SKIP
    >>> findings.rows[0].scores["mawe"].mean                               # doctest: +SKIP
    52.3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from bench.prompts import PAPER_LABEL
from bench.records import Record, RunInfo
from bench.report.published import Published
from bench.stats import (
    MIN_CLUSTERS,
    RESAMPLES,
    PairedTest,
    Summary,
    holm,
    largest_defined,
    mean_defined,
    paired_test,
    summarise,
)
from metrics.api import MetricInfo

TABLE_1 = ("mawe", "scuts", "clip")
"""The columns of the published table, in its order."""

TABLE_1_FRAMES = 240
"""Length of the videos behind the published table."""

PAPER_PROFILE = "paper"
"""Name of the profile whose scores may be read beside the published ones."""

COSTS = {
    "seconds_per_frame": "s / frame",
    "seconds_to_first_chunk": "first chunk, s",
    "generation_seconds": "s / video",
    "peak_rss_mb": "peak RAM, MB",
    "peak_gpu_mb": "peak GPU, MB",
    "gflops_per_frame": "GFLOP / frame",
    "metric_seconds": "scoring, s / video",
}
"""Head of every cost column, in the order of the table."""

STILLNESS = "stillness"
"""Name of the metric whose part `flag` says "frozen", "loop" or nothing."""

STILL_SHARE = 0.5
"""Share of flagged videos from which a row is not ranked: standing still must not win."""

_PEAKS = frozenset({"peak_rss_mb", "peak_gpu_mb"})
"""Costs where the largest video counts, not the mean."""


@dataclass(frozen=True)
class Flag:
    """A warning on a row.

    Attributes:
        word: for the table.
        sentence: what is behind it, without the name of the row.
        ranked: False if it takes the row out of ranks and tests.
    """

    word: str
    sentence: str
    ranked: bool = True


@dataclass(frozen=True)
class TableRow:
    """One method.

    Attributes:
        method: name on the command line.
        title: name in tables.
        group: group in the published table, empty for a method that is not in it.
        scores: summary by metric.
        marks: "best" or "second" by metric, where the row has earned it.
        cost: by key of `COSTS`; None where nothing was measured.
        planned: videos in the grid.
        ok: videos that exist.
        failed: videos whose method raised.
        skipped: videos whose method could not run here.
        flags: warnings.
        ranked: False if a flag takes the row out of ranks and tests.
        published: published mean by metric; empty for a method that is not in the published table.
    """

    method: str
    title: str
    group: str
    scores: Mapping[str, Summary]
    marks: Mapping[str, str]
    cost: Mapping[str, float | None]
    planned: int
    ok: int
    failed: int
    skipped: int
    flags: tuple[Flag, ...]
    ranked: bool
    published: Mapping[str, float]

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
        rows: methods in grid order.
        comparisons: all pairs of ranked rows, per ranking metric.
        problems: what has no result, with reasons.
        notes: sentences that belong under the table.
        comparable: True if the scores may be read beside the published ones.
        published: the published table.
    """

    info: RunInfo
    records: tuple[Record, ...]
    columns: tuple[MetricInfo, ...]
    rows: tuple[TableRow, ...]
    comparisons: tuple[Comparison, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    comparable: bool
    published: Published


def report_data(info: RunInfo, records: Sequence[Record], published: Published) -> ReportData:
    """Returns the findings of one run.

    Args:
        info: what run.json says.
        records: the records of its grid, in grid order.
        published: the published table.
    """
    columns = tuple(sorted(info.metrics, key=lambda metric: _table_order(metric.name)))
    strangers = other_start(records)
    rows = [_row(info, name, records, columns, published, name in strangers) for name in info.methods]
    rows = _mark(rows, columns)
    comparisons = _compare(rows, columns, records)
    obstacles = _obstacles(info, records)
    notes = [_comparability(obstacles, published), *_reading_notes(info, columns, comparisons)]
    notes += _setting_notes(columns, records)
    notes += [f"{row.title}: {flag.sentence}" for row in rows for flag in row.flags]
    problems = tuple(problem for record in records for problem in _problems(record))
    return ReportData(
        info, tuple(records), columns, tuple(rows), comparisons, problems, tuple(notes), not obstacles, published
    )


def other_start(records: Sequence[Record]) -> frozenset[str]:
    """Returns the methods that continued another first chunk than the others did, for some prompt and seed.

    Of several first chunks of one prompt and seed, the one most methods continued counts as the shared one; on a tie,
    the one of the method that comes first in the grid. Videos without a known first chunk contradict nothing.
    """
    starts: dict[tuple[str, int], dict[str, str]] = {}
    for record in records:
        if record.status == "ok" and record.start:
            starts.setdefault((record.prompt_key, record.seed), {})[record.method] = record.start
    strangers = set()
    for by_method in starts.values():
        shared = Counter(by_method.values()).most_common(1)[0][0]
        strangers |= {method for method, start in by_method.items() if start != shared}
    return frozenset(strangers)


def values_of(records: Sequence[Record], method: str, metric: str) -> dict[tuple[str, int], float | None]:
    """Returns the score of each finished video of a method by (prompt_key, seed); None where it is undefined."""
    values: dict[tuple[str, int], float | None] = {}
    for record in records:
        if record.method == method and record.status == "ok":
            score = record.scores.get(metric)
            values[record.prompt_key, record.seed] = score.value if score is not None else None
    return values


def _table_order(metric: str) -> int:
    return TABLE_1.index(metric) if metric in TABLE_1 else len(TABLE_1)


def _row(
    info: RunInfo,
    method: str,
    records: Sequence[Record],
    columns: Sequence[MetricInfo],
    published: Published,
    stranger: bool,
) -> TableRow:
    own = [record for record in records if record.method == method]
    done = [record for record in own if record.status == "ok"]
    scores = {}
    for column in columns:
        values = values_of(own, method, column.name)
        scores[column.name] = summarise(list(values.values()), [prompt for prompt, _ in values])
    paper = published.methods.get(method)
    found = (_still_flag(done), _start_flag(stranger), _length_flag(done), _memory_flag(done))
    flags = tuple(flag for flag in found if flag is not None)
    statuses = Counter(record.status for record in own)
    return TableRow(
        method=method,
        title=own[0].title if own else (paper.title if paper else method),
        group=paper.group if paper else "",
        scores=scores,
        marks={},
        cost={key: _cost(key, done) for key in COSTS},
        planned=sum(cell.split("/", 1)[0] == method for cell in info.cells),
        ok=statuses["ok"],
        failed=statuses["failed"],
        skipped=statuses["skipped"],
        flags=flags,
        ranked=all(flag.ranked for flag in flags),
        published=paper.scores if paper else {},
    )


def _cost(key: str, done: Sequence[Record]) -> float | None:
    """Returns one cost of a method over its videos.

    The wait for the first chunk is that of videos made with the weights already loaded, if there are any.
    """
    counted = done
    if key == "seconds_to_first_chunk":
        counted = [record for record in done if not record.cost.get("cold")] or done
    values = [record.cost.get(key) for record in counted]
    return largest_defined(values) if key in _PEAKS else mean_defined(values)


def _still_flag(done: Sequence[Record]) -> Flag | None:
    """Returns a flag if the stillness metric calls some of a method's videos frozen or a loop."""
    scores = [record.scores[STILLNESS] for record in done if STILLNESS in record.scores]
    found = Counter(str(flag) for score in scores if (flag := score.parts.get("flag")))
    if not found:
        return None
    word = found.most_common(1)[0][0]
    counts = ", ".join(f"{number} {what}" for what, number in sorted(found.items()))
    ranked = found.total() < STILL_SHARE * len(done)
    sentence = f"of its {len(done)} videos, {counts} by the stillness measure" + ("." if ranked else "; not ranked.")
    return Flag(f"{word} {found.total()}/{len(done)}", sentence, ranked)


def _start_flag(stranger: bool) -> Flag | None:
    if not stranger:
        return None
    sentence = "continues another first chunk than the other rows, so it is not compared with them."
    return Flag("other start", sentence, ranked=False)


def _length_flag(done: Sequence[Record]) -> Flag | None:
    lengths = sorted({record.num_frames for record in done})
    if len(lengths) < 2:
        return None
    return Flag("mixed lengths", f"its videos have {', '.join(map(str, lengths))} frames.")


def _memory_flag(done: Sequence[Record]) -> Flag | None:
    thrifty = [record.memory for record in done if record.memory]
    if not thrifty:
        return None
    sentence = f"{len(thrifty)} of its {len(done)} videos were made with {thrifty[-1]}; they took longer for that."
    return Flag(f"offloaded {len(thrifty)}/{len(done)}", sentence)


def _mark(rows: Sequence[TableRow], columns: Sequence[MetricInfo]) -> list[TableRow]:
    """Returns the rows with best and second best marked; ties share a mark, and one ranked row alone earns none."""
    marks: dict[str, dict[str, str]] = {row.method: {} for row in rows}
    for column in columns:
        means = {row.method: row.scores[column.name].mean for row in rows if row.ranked}
        ranked = sorted({mean for mean in means.values() if mean is not None}, reverse=column.better == "higher")
        if column.better == "neither" or sum(mean is not None for mean in means.values()) < 2:
            continue
        for mark, level in zip(("best", "second"), ranked, strict=False):
            for method, mean in means.items():
                if mean == level:
                    marks[method][column.name] = mark
    return [replace(row, marks=marks[row.method]) for row in rows]


def _compare(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], records: Sequence[Record]
) -> tuple[Comparison, ...]:
    """Returns the paired tests of all pairs of ranked rows, per ranking metric, Holm-corrected within the metric."""
    comparisons = []
    ranked = [row.method for row in rows if row.ranked and row.ok]
    for column in columns:
        if column.better == "neither":
            continue
        values = {method: values_of(records, method, column.name) for method in ranked}
        pairs = list(combinations(ranked, 2))
        tests = [paired_test(values[a], values[b]) for a, b in pairs]
        corrected = holm([test.p for test in tests])
        comparisons += [
            Comparison(column.name, a, b, test, p) for (a, b), test, p in zip(pairs, tests, corrected, strict=True)
        ]
    return tuple(comparisons)


def _obstacles(info: RunInfo, records: Sequence[Record]) -> list[str]:
    """Returns what keeps the scores from being read beside the published ones, as clauses."""
    lengths = sorted({record.num_frames for record in records if record.status == "ok"})
    obstacles = []
    if info.profile != PAPER_PROFILE:
        obstacles.append(f"they are of the `{info.profile}` profile, not of the paper's models and sizes")
    if info.prompt_set != PAPER_LABEL:
        obstacles.append(f"the prompts are `{info.prompt_set}`, not the paper's whole list")
    if lengths and lengths != [TABLE_1_FRAMES]:
        obstacles.append(f"the videos have {', '.join(map(str, lengths))} frames, not {TABLE_1_FRAMES}")
    return obstacles


def _comparability(obstacles: Sequence[str], published: Published) -> str:
    if not obstacles:
        return f"Published values: {published.source}."
    return f"These scores are not comparable with the published ones ({published.source}): {'; '.join(obstacles)}."


def _reading_notes(info: RunInfo, columns: Sequence[MetricInfo], comparisons: Sequence[Comparison]) -> list[str]:
    prompts = len(info.prompts)
    notes = [
        "A score is the mean over a method's videos; if only some have a defined value, their number stands beside it.",
    ]
    if prompts >= MIN_CLUSTERS:
        few = "; with fewer than about ten prompts they are too narrow" if prompts < 10 else ""
        notes.append(
            f"Brackets: 95 % bootstrap intervals of the mean (BCa, {RESAMPLES} resamples of whole prompts){few}."
        )
    else:
        notes.append(f"No intervals: {prompts} prompts are fewer than the {MIN_CLUSTERS} a bootstrap needs.")
    if comparisons:
        notes.append(
            f"Tests: sign flips of the paired differences over prompts, Holm-corrected per metric; {prompts} prompts "
            f"cannot give an uncorrected p below {2.0 ** (1 - prompts):.2g}."
        )
    return notes


def _setting_notes(columns: Sequence[MetricInfo], records: Sequence[Record]) -> list[str]:
    """Returns one sentence per metric that names the settings its scores were computed with."""
    notes = []
    for column in columns:
        seen = set()
        for record in records:
            score = record.scores.get(column.name)
            if score is not None and score.status == "ok":
                settings = ", ".join(f"{key} = {value}" for key, value in sorted(score.settings.items()))
                seen.add(f"version {score.version}" + (f", {settings}" if settings else ""))
        if len(seen) == 1:
            notes.append(f"{column.title}: {seen.pop()}.")
        elif seen:
            notes.append(f"{column.title} was computed in {len(seen)} different ways ({' | '.join(sorted(seen))}).")
    return notes


def _problems(record: Record) -> list[Problem]:
    where = (record.method, record.prompt.id, record.seed)
    if record.status != "ok":
        return [Problem(*where, "video", record.status, record.reason)]
    return [
        Problem(*where, name, "undefined" if score.status == "ok" else score.status, score.reason)
        for name, score in record.scores.items()
        if score.value is None
    ]
