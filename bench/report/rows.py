"""Makes the rows of the table: scores, costs, flags, and the part of the table each stands in.

Example:
    >>> [row.title for row in table_rows(info, records, stamps, load_published())]   # doctest: +SKIP
    ['SVD', 'StreamingT2V', 'Still']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.given_file import ASSUMED_RATE, first_frames, stated_rate
from bench.growth import GIVEN
from bench.records import Record, RunInfo, StoredScore
from bench.report.findings import BLOCKS, COSTS, Block, Flag, TableRow
from bench.report.published import Published
from bench.stats import largest_defined, mean_defined, summarise
from generators.api import MethodInfo
from metrics.decoding import END_UNKNOWN, UNEVEN

STILLNESS = "stillness"
"""Name of the metric whose part `flag` says "frozen", "loop" or nothing."""

FLOW = "flow"
"""Setting that names the flow estimator of a metric which reads optical flow."""

SAME_RATE = 0.01
"""Relative difference below which two frame rates are one: 23.976 and 24 are a tenth of that apart."""

STILL_SHARE = 0.5
"""Share of flagged videos from which a row is not ranked: standing still must not win."""

BLOCK_OF: Mapping[str, Block] = {"floor": "floors", "ceiling": "ceiling"}
"""Part of the table by group of the method's stamp; every other group is a system."""

_PEAKS = frozenset({"peak_rss_mb", "peak_gpu_mb"})
"""Costs where the largest video counts, not the mean."""


def table_rows(
    info: RunInfo, records: Sequence[Record], stamps: Mapping[str, MethodInfo], published: Published
) -> list[TableRow]:
    """Returns one row per method: systems in the order of the published table, other systems, floors, the ceiling.

    Args:
        info: what run.json says.
        records: the records of its grid.
        stamps: what the methods say of themselves; a method without a stamp counts as a system.
        published: the published table.
    """
    elsewhere, longer, videos = other_start(records), other_length(records), other_videos(records)
    larger, faster = other_size(records), other_rate(records)
    others = {metric.name: other_settings(records, metric.name) for metric in info.metrics}
    by_flow = {metric.name for metric in info.metrics if computed_by_flow(records, metric.name)}
    shared = any(record.start for record in records)
    rows = []
    for name in info.methods:
        flags = (
            _start_flag(name in elsewhere),
            _other_length_flag(name in longer),
            *_frame_flags(
                name in larger, name in faster, [r for r in records if r.method == name and r.status == "ok"]
            ),
            *_videos_flags(videos.get(name)),
        )
        row = _row(info, name, records, stamps.get(name), published, flags)
        apart = {metric for metric, methods in others.items() if name in methods}
        apart |= by_flow if name in larger | faster else set()
        rows.append(replace(row, apart=frozenset(apart), own_start=row.own_start and shared))
    order = {name: place for place, name in enumerate(published.methods)}
    return sorted(rows, key=lambda row: (BLOCKS.index(row.block), order.get(row.method, len(order))))


def other_start(records: Sequence[Record]) -> frozenset[str]:
    """Returns the methods that continued another first chunk than the others did, for some prompt and seed.

    Of several first chunks of one prompt and seed, the one most methods continued counts as the shared one; on a tie,
    the one of the method that comes first in the grid. Videos without a known first chunk contradict nothing.
    """
    return _unlike_most({(r.method, r.prompt_key, r.seed): r.start for r in records if r.status == "ok" and r.start})


def other_length(records: Sequence[Record]) -> frozenset[str]:
    """Returns the methods whose videos are of another length than most for some prompt and seed; ties as above."""
    return _unlike_most({(r.method, r.prompt_key, r.seed): r.num_frames for r in records if r.status == "ok"})


def other_size(records: Sequence[Record]) -> frozenset[str]:
    """Returns the methods whose videos are of another size than most for some prompt and seed; ties as above."""
    return _unlike_most({(r.method, r.prompt_key, r.seed): (r.height, r.width) for r in records if r.status == "ok"})


def other_rate(records: Sequence[Record]) -> frozenset[str]:
    """Returns the methods whose videos have another frame rate than most for some prompt and seed; ties as above.

    Rates closer than `SAME_RATE` are one; of videos that state none, nothing is known.
    """
    known: list[float] = []

    def rounded(rate: float) -> float:
        same = next((other for other in known if abs(rate / other - 1) < SAME_RATE), None)
        if same is None:
            known.append(rate)
        return same or rate

    stated = {(r.method, r.prompt_key, r.seed): stated_rate(r) for r in records if r.status == "ok"}
    return _unlike_most({place: rounded(rate) for place, rate in stated.items() if rate})


def computed_by_flow(records: Sequence[Record], metric: str) -> bool:
    """Returns whether a metric reads optical flow, as its settings say.

    Flow is in pixels a frame: the same motion is another number in frames of another size or rate.
    """
    return any(FLOW in record.scores[metric].settings for record in records if metric in record.scores)


@dataclass(frozen=True)
class OtherVideos:
    """How the videos of a method differ from those that most methods have.

    Attributes:
        made: how many of the usual ones it has.
        usual: how many most methods have.
        more: how many it has beyond them.
    """

    made: int
    usual: int
    more: int


def other_videos(records: Sequence[Record]) -> dict[str, OtherVideos]:
    """Returns what each method lacks of the videos that most methods have, or has beyond them, where it does.

    Its means are over other videos then, and may be better or worse for that alone.
    """
    made: dict[str, set[tuple[str, int]]] = {}
    for record in records:
        if record.status == "ok":
            made.setdefault(record.method, set()).add((record.prompt_key, record.seed))
    held = Counter(place for places in made.values() for place in places)
    usual = {place for place, count in held.items() if 2 * count > len(made)}
    found = {m: OtherVideos(len(places & usual), len(usual), len(places - usual)) for m, places in made.items()}
    return {
        method: videos for method, videos in found.items() if usual and (videos.made, videos.more) != (len(usual), 0)
    }


def way_of(score: StoredScore) -> str:
    """Returns how a score was computed, such as "version 2, mode = official, size = 720": all but the device."""
    settings = [f"{name} = {value}" for name, value in sorted(score.settings.items()) if name != "device"]
    return ", ".join([f"version {score.version}", *settings])


def other_settings(records: Sequence[Record], metric: str) -> frozenset[str]:
    """Returns the methods whose scores by a metric were computed in another way than those of most methods.

    The way is the metric's version and settings, but for the device; ties as above. The mean of a method whose own
    scores were computed in several ways is comparable with nobody's.
    """
    ways: dict[str, set[str]] = {}
    for record in records:
        score = record.scores.get(metric)
        if record.status == "ok" and score is not None and score.status == "ok":
            ways.setdefault(record.method, set()).add(way_of(score))
    mixed = frozenset(method for method, own in ways.items() if len(own) > 1)
    return mixed | _unlike_most({(method, "", 0): next(iter(own)) for method, own in ways.items() if len(own) == 1})


def _unlike_most(facts: Mapping[tuple[str, str, int], Hashable]) -> frozenset[str]:
    """Returns the methods with another fact than most methods at some prompt and seed; the first one decides a tie."""
    places: dict[tuple[str, int], dict[str, Hashable]] = {}
    for (method, prompt, seed), fact in facts.items():
        places.setdefault((prompt, seed), {})[method] = fact
    found = set()
    for by_method in places.values():
        shared = Counter(by_method.values()).most_common(1)[0][0]
        found |= {method for method, fact in by_method.items() if fact != shared}
    return frozenset(found)


def values_of(records: Sequence[Record], method: str, metric: str) -> dict[tuple[str, int], float | None]:
    """Returns the score of each finished video of a method by (prompt_key, seed); None where it is undefined."""
    values: dict[tuple[str, int], float | None] = {}
    for record in records:
        if record.method == method and record.status == "ok":
            score = record.scores.get(metric)
            values[record.prompt_key, record.seed] = score.value if score is not None else None
    return values


def _row(
    info: RunInfo,
    method: str,
    records: Sequence[Record],
    stamp: MethodInfo | None,
    published: Published,
    unlike_others: tuple[Flag | None, ...],
) -> TableRow:
    own = [record for record in records if record.method == method]
    done = [record for record in own if record.status == "ok"]
    scores = {}
    for column in info.metrics:
        values = values_of(own, method, column.name)
        scores[column.name] = summarise(list(values.values()), [prompt for prompt, _ in values])
    paper = published.methods.get(method)
    found = (
        *(_still_flag(done), *unlike_others, _length_flag(done)),
        *(
            _limit_flag(done),
            _damage_flag(done),
            _end_flag(done),
            _rate_flag(done),
            _uneven_flag(done),
            _memory_flag(done),
            _text_flag(stamp, own),
            _note_flag(stamp),
        ),
    )
    flags = tuple(flag for flag in found if flag is not None)
    statuses = Counter(record.status for record in own)
    block = BLOCK_OF.get(stamp.group, "systems") if stamp is not None else "systems"
    return TableRow(
        method=method,
        title=own[0].title if own else (paper.title if paper else method),
        group=paper.group if paper else "",
        block=block,
        own_start=stamp is not None and not stamp.continues_start,
        scores=scores,
        marks={},
        tied=frozenset(),
        apart=frozenset(),
        cost={key: _cost(key, done) for key in COSTS},
        planned=sum(cell.split("/", 1)[0] == method for cell in info.cells),
        ok=statuses["ok"],
        failed=statuses["failed"],
        skipped=statuses["skipped"],
        flags=flags,
        ranked=block == "systems" and all(flag.ranked for flag in flags),
        published=paper.scores if paper else {},
    )


def _cost(key: str, done: Sequence[Record]) -> float | None:
    """Returns one cost of a method over its videos.

    The wait for the first new frames is that of videos made with the weights already loaded, if there are any.
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


def _text_flag(stamp: MethodInfo | None, own: Sequence[Record]) -> Flag | None:
    """Returns a flag if a system reads only the first text of prompts that change.

    Floors read none at all; of what made given videos nothing is known.
    """
    changing = any(record.prompt.changes for record in own)
    if not changing or stamp is None or stamp.follows_prompts or stamp.group in ("floor", GIVEN):
        return None
    return Flag("first text only", "cannot switch texts: its videos are made from the first text of each prompt.")


def _note_flag(stamp: MethodInfo | None) -> Flag | None:
    return Flag(stamp.note, f"{stamp.note}, as its section says.") if stamp is not None and stamp.note else None


def _start_flag(elsewhere: bool) -> Flag | None:
    if not elsewhere:
        return None
    sentence = "continues another first chunk than the other rows, so it is not compared with them."
    return Flag("other start", sentence, ranked=False, compared=False)


def _videos_flags(videos: OtherVideos | None) -> list[Flag]:
    """Returns a flag for the usual videos that a row lacks, and one for those that it alone has."""
    if videos is None:
        return []
    tests = "so its means are over other videos; the tests compare those that two rows share."
    flags = []
    if videos.made < videos.usual:
        sentence = f"has {videos.made} of the {videos.usual} videos that most rows have, {tests}"
        flags.append(Flag(f"{videos.made} of {videos.usual} videos", sentence))
    if videos.more:
        plural = "s" * (videos.more != 1)
        sentence = f"has {videos.more} video{plural} that most rows lack, {tests}"
        flags.append(Flag(f"{videos.more} more video{plural}", sentence))
    return flags


def _frame_flags(larger: bool, faster: bool, done: Sequence[Record]) -> list[Flag]:
    """Returns the flags of a row whose frames have another size or rate than those of most rows."""
    flags = []
    out = "than most rows' for the same prompt and seed, so it is not compared on metrics of optical flow"
    if larger:
        sizes = " and ".join(f"{height} x {width}" for height, width in sorted({(r.height, r.width) for r in done}))
        flags.append(Flag("other size", f"its frames, {sizes}, have another size {out}."))
    if faster:
        rates = " and ".join(f"{rate:g}" for rate in sorted({stated_rate(r) for r in done} - {0.0}))
        flags.append(Flag("other rate", f"its videos, {rates} frames per second, have another rate {out}."))
    return flags


def _other_length_flag(longer: bool) -> Flag | None:
    if not longer:
        return None
    sentence = (
        "has videos of another length than the other rows for the same prompt and seed, so it is not compared with "
        "them; `score --frames` reads the first frames only."
    )
    return Flag("other length", sentence, ranked=False, compared=False)


def _limit_flag(done: Sequence[Record]) -> Flag | None:
    limited = [record.num_frames for record in done if first_frames(record.num_frames) in record.flags]
    if not limited:
        return None
    words = first_frames(max(limited))
    sentence = f"of {len(limited)} of its {len(done)} videos no more than the {words} were read (`score --frames`)."
    return Flag(words, sentence)


def _damage_flag(done: Sequence[Record]) -> Flag | None:
    damaged = [record for record in done if record.damaged]
    if not damaged:
        return None
    frames = sum(record.damaged for record in damaged)
    sentence = (
        f"{len(damaged)} of its {len(done)} videos hold frames that the decoder marks as damaged, {frames} in all."
    )
    return Flag(f"damaged {len(damaged)}/{len(done)}", sentence)


def _end_flag(done: Sequence[Record]) -> Flag | None:
    unknown = sum(END_UNKNOWN in record.flags for record in done)
    if not unknown:
        return None
    return Flag(
        f"{END_UNKNOWN} {unknown}/{len(done)}",
        f"of {unknown} of its {len(done)} videos the file does not tell whether frames are missing at its end.",
    )


def _rate_flag(done: Sequence[Record]) -> Flag | None:
    assumed = sum(ASSUMED_RATE in record.flags for record in done)
    if not assumed:
        return None
    sentence = f"{assumed} of its {len(done)} videos state no frame rate: {ASSUMED_RATE}"
    return Flag(f"rate assumed {assumed}/{len(done)}", f"{sentence}, and what depends on it has no value.")


def _uneven_flag(done: Sequence[Record]) -> Flag | None:
    uneven = [flag for record in done for flag in record.flags if flag.startswith(f"{UNEVEN} ")]
    if not uneven:
        return None
    sentence = f"of {len(uneven)} of its {len(done)} videos the frames do not keep the rate of the file ({uneven[0]})."
    return Flag(f"uneven rate {len(uneven)}/{len(done)}", f"{sentence} Seconds are counted at the stated one.")


def _length_flag(done: Sequence[Record]) -> Flag | None:
    lengths = sorted({record.num_frames for record in done})
    if len(lengths) < 2:
        return None
    return Flag("mixed lengths", f"its videos have {', '.join(map(str, lengths))} frames.")


def _memory_flag(done: Sequence[Record]) -> Flag | None:
    offloaded = [record.memory for record in done if record.memory]
    if not offloaded:
        return None
    sentence = f"{len(offloaded)} of its {len(done)} videos were made with {offloaded[-1]}; they took longer for that."
    return Flag(f"offloaded {len(offloaded)}/{len(done)}", sentence)
