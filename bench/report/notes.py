"""The sentences under the table: what may be compared, how means, intervals and tests are made, with which settings.

Example:
    >>> own_start_note(["FreeNoise"])
    '† FreeNoise makes its own first frames and does not continue the shared ones.'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.catalog import find_plugins
from bench.plan import metric_settings
from bench.profile import load_profile
from bench.prompts import PAPER_LABEL
from bench.records import Record, RunInfo
from bench.report.answer import in_words
from bench.report.coded import in_sentence
from bench.report.findings import TABLE_1, TABLE_1_FRAMES, Comparison, Power, TableRow
from bench.report.published import Published
from bench.report.ranking import shared_prompts
from bench.report.rows import way_of
from bench.settings import stored_identity
from bench.stats import MIN_CLUSTERS, RESAMPLES, smallest_p
from metrics.api import MetricInfo
from metrics.drift import DRIFTS

PAPER_PROFILE = "paper"
"""Name of the profile whose scores may be read beside the published ones."""

OWN_START = "†"
"""Mark of a row that makes its own first frames."""

TIED = "≈"
"""Mark of a score that the corrected test cannot tell apart from the best of its column."""

APART = "≠"
"""Mark of a score that is not compared with those of the other rows."""

FROZEN_WINS = frozenset(
    {
        *("subject_consistency", "subject_consistency_long", "background_consistency", "background_consistency_long"),
        *("flickering", "exposure", "collapse"),
    }
)
"""Metrics that a video which stands still wins, on any scale; it wins nearly every drift, too."""

MOTION = ("dynamic_degree", "stillness")
"""Metrics to read beside them: whichever the run has scored."""


def obstacles(info: RunInfo, records: Sequence[Record]) -> list[str]:
    """Returns what keeps the scores from being read beside the published ones, as clauses."""
    lengths = sorted({record.num_frames for record in records if record.status == "ok"})
    found = []
    if info.profile != PAPER_PROFILE:
        found.append(f"they are of the `{in_sentence(info.profile)}` profile, not of the paper's models and sizes")
    if info.prompt_set != PAPER_LABEL:
        found.append(f"the prompts are `{in_sentence(info.prompt_set)}`, not the paper's whole list")
    if lengths and lengths != [TABLE_1_FRAMES]:
        found.append(f"the videos have {', '.join(map(str, lengths))} frames, not {TABLE_1_FRAMES}")
    return found if found else [*_other_sizes(records), *_other_ways(records)]


def _other_sizes(records: Sequence[Record]) -> list[str]:
    """Returns a clause if videos are of another size than the paper's: MAWE is another number at another size."""
    video = load_profile(PAPER_PROFILE).video
    other = {(r.height, r.width) for r in records if r.status == "ok"} - {(video.height, video.width)}
    sizes = in_words([f"{height} x {width}" for height, width in sorted(other)])
    return [f"there are videos of {sizes}, not of {video.height} x {video.width}"] if other else []


def _other_ways(records: Sequence[Record]) -> list[str]:
    """Returns a clause for each published metric that was computed with other settings than the paper's profile says.

    Where the flow's weights lie does not count: a file is only taken for the released one if its hash is.
    """
    found: dict[str, None] = {}
    for name, paper in metric_settings(find_plugins(), load_profile(PAPER_PROFILE)).items():
        wanted = stored_identity(paper) if name in TABLE_1 else {}
        for record in records:
            score = record.scores.get(name)
            if record.status != "ok" or score is None or score.status != "ok":
                continue
            for key, value in wanted.items():
                own = score.settings.get(key, value)
                if key not in ("device", "flow_weights") and own != value:
                    found[f"`{name}` was computed with {key} = {own}, not {value}"] = None
    return list(found)


def comparability(found: Sequence[str], published: Published) -> str:
    """Returns the first note: whether the scores may be read beside the published ones."""
    if not found:
        return f"Published values: {published.source}."
    return f"These scores are not comparable with the published ones ({published.source}): {'; '.join(found)}."


def notes_of(
    info: RunInfo,
    rows: Sequence[TableRow],
    columns: Sequence[MetricInfo],
    comparisons: Sequence[Comparison],
    power: Sequence[Power],
    records: Sequence[Record],
) -> list[str]:
    """Returns the notes below the first one, in reading order."""
    rows = [replace(row, title=in_sentence(row.title)) for row in rows]
    columns = [replace(column, title=in_sentence(column.title)) for column in columns]
    own = [row.title for row in rows if row.own_start]
    return [
        "A score is the mean over a method's videos; if only some have a defined value, their number stands beside it.",
        *([own_start_note(own)] if own else []),
        _intervals(len(info.prompts)),
        *([not_compared_note(rows)] if any(map(has_apart, rows)) else []),
        *(_tests(shared_prompts(comparisons), power) if power else _no_tests(rows)),
        *_blocks(rows),
        *_standstill(columns),
        *(note for column in columns if (note := settings_note(column, rows, records))),
        *(f"{row.title}: {flag.sentence}" for row in rows for flag in row.flags),
    ]


def own_start_note(titles: Sequence[str]) -> str:
    """Returns the note on systems that make their own first frames."""
    verb, own = ("makes its", "does") if len(titles) == 1 else ("make their", "do")
    return f"{OWN_START} {in_words(titles)} {verb} own first frames and {own} not continue the shared ones."


def not_compared_note(rows: Sequence[TableRow]) -> str:
    """Returns the note on scores that may not stand beside those of most rows."""
    titles = [row.title for row in rows if has_apart(row)]
    return (
        f"{APART}: not compared with the other rows ({in_words(titles)}), because it was computed with other settings, "
        "by optical flow in frames of another size or rate, or on videos of another length or start."
    )


def has_apart(row: TableRow) -> bool:
    """Returns whether a row has a score that may not stand beside those of other rows."""
    return any(summary.mean is not None and not row.stands_beside(metric) for metric, summary in row.scores.items())


def _intervals(prompts: int) -> str:
    if prompts < MIN_CLUSTERS:
        return f"No intervals: {prompts} prompts are fewer than the {MIN_CLUSTERS} a bootstrap needs."
    few = "; with fewer than about ten prompts they are too narrow" if prompts < 10 else ""
    return f"Brackets: 95 % bootstrap intervals of the mean (BCa, {RESAMPLES} resamples of whole prompts){few}."


def _tests(prompts: int, power: Sequence[Power]) -> list[str]:
    pairs = max(entry.pairs for entry in power)
    easiest = min(power, key=lambda entry: entry.least)
    found = [
        f"{TIED}: the paired test cannot tell the row apart from the best one of its column (sign flips of the "
        f"differences over prompts, Holm-corrected over {pairs} pairs per metric)."
    ]
    if prompts < easiest.least:
        found.append(
            f"With {prompts} prompts nothing can be told apart: they cannot give an uncorrected p below "
            f"{smallest_p(prompts, easiest.pairs):.2g}, and {easiest.pairs} pairs need at least {easiest.least}."
        )
    elif not any(entry.apart for entry in power):
        found.append(f"With {prompts} prompts no pair differs by the corrected test.")
    return found


def _no_tests(rows: Sequence[TableRow]) -> list[str]:
    ranked = sum(row.ranked and row.ok > 0 for row in rows)
    return ["No tests: no two rows have a video of the same prompt and seed."] if ranked > 1 else []


def _blocks(rows: Sequence[TableRow]) -> list[str]:
    floors = [row.title for row in rows if row.block == "floors"]
    ceiling = [row.title for row in rows if row.block == "ceiling"]
    found = []
    if floors:
        found.append(
            f"Floors ({in_words(floors)}) show what a metric gives to a video without a video model; not ranked."
        )
    if ceiling:
        found.append(
            f"Ceiling ({in_words(ceiling)}): what a perfect model of this world would show; not ranked, and a metric "
            "need not put it first."
        )
    return found


def _standstill(columns: Sequence[MetricInfo]) -> list[str]:
    """Returns a warning about columns that a frozen video wins; behind an @ stands a drift, or a scale."""
    read = [(column, *column.name.partition("@")[::2]) for column in columns]
    won = [column.title for column, metric, reading in read if metric in FROZEN_WINS or reading in DRIFTS]
    if not won:
        return []
    motion = [column.title for column, metric, reading in read if metric in MOTION and reading not in DRIFTS]
    beside = in_words(motion) or f"`{MOTION[0]}` or `{MOTION[1]}`, which this table does not show"
    return [f"Standing still wins {in_words(won)}: read beside {beside}."]


def settings_note(column: MetricInfo, rows: Sequence[TableRow], records: Sequence[Record]) -> str:
    """Returns with which settings the scores of a metric were computed, and who had others; empty without scores."""
    seen = sorted(ways_of(records, column.name))
    if len(seen) < 2:
        return f"{column.title}: {seen[0]}." if seen else ""
    apart = [row.title for row in rows if column.name in row.apart]
    out = f"; on it, {in_words(apart)} {'is' if len(apart) == 1 else 'are'} not compared" if apart else ""
    return f"{column.title} was computed in {len(seen)} different ways ({' | '.join(seen)}){out}."


def ways_of(records: Sequence[Record], metric: str) -> set[str]:
    """Returns in which ways a metric was computed, as `way_of` says them."""
    scores = (record.scores.get(metric) for record in records if record.status == "ok")
    return {way_of(score) for score in scores if score is not None and score.status == "ok"}
