"""Tables of the ablations: means with intervals over prompts, and paired tests against the method they ablate.

Example:
    >>> with_interval(summarise([1.0, 2.0, 3.0, 2.0], ["a", "b", "c", "d"]))
    '2 ± 0.75'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.records import Record
from bench.stats import Summary, holm, paired_test, summarise
from metrics.clip import ClipScore
from metrics.curves import first_against_last

Read = Callable[[Record], float | None]

Records = Mapping[str, Sequence[Record]]
"""Finished videos by method."""


def value(metric: str) -> Read:
    """Returns what reads a metric's score from a record."""
    return lambda record: record.scores[metric].value


def motion(record: Record) -> float | None:
    """Returns the optical flow score: the mean length of the flow, in pixels of the flow's size."""
    found = record.scores["mawe"].parts["mean_motion"]
    assert found is None or isinstance(found, float | int)
    return found


def clip_drift(record: Record) -> float | None:
    """Returns the CLIP score of the last seconds minus that of the first."""
    ends = first_against_last(ClipScore(), record.scores["clip"].series, record.num_frames, record.fps)
    return None if ends is None else ends.change


def clip_at_end(seconds: float) -> Read:
    """Returns what reads the CLIP score of the last seconds."""

    def read(record: Record) -> float | None:
        first = record.num_frames - round(seconds * record.fps)
        return ClipScore().window(record.scores["clip"].series, first, record.num_frames)

    return read


ABLATION_COLUMNS: Mapping[str, Read] = {
    "MAWE ↓": value("mawe"),
    "seam contrast ↓": value("seams"),
    "optical flow score": motion,
    "CLIP ↑": value("clip"),
    "CLIP drift": clip_drift,
    "SCuts ↓": value("scuts"),
    "frozen pairs, % ↓": value("stillness"),
}


def with_interval(summary: Summary) -> str:
    """Returns a mean with half the width of its 95 % interval."""
    if summary.mean is None:
        return "–"
    if summary.low is None or summary.high is None:
        return f"{summary.mean:.3g}"
    return f"{summary.mean:.3g} ± {(summary.high - summary.low) / 2:.2g}"


def ablation_table(records: Records, columns: Mapping[str, Read] = ABLATION_COLUMNS) -> str:
    """Returns the Markdown table, one method a row."""
    lines = ["| method | videos | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for method, videos in records.items():
        prompts = [video.prompt_key for video in videos]
        cells = [with_interval(summarise([read(video) for video in videos], prompts)) for read in columns.values()]
        lines.append(f"| `{method}` | {len(videos)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired_table(records: Records, first: str, columns: Mapping[str, Read] = ABLATION_COLUMNS) -> str:
    """Returns how each method differs from the first on the videos both have: mean, interval, corrected p.

    p is of the sign-flip test over prompts, corrected by Holm's method within a column; a star marks p < 0.05.
    """
    others = [method for method in records if method != first]
    lines = [f"| minus `{first}` | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    by_column = {}
    for name, read in columns.items():
        values = {method: _by_cell(videos, read) for method, videos in records.items()}
        tests = [paired_test(values[other], values[first], tests=len(others)) for other in others]
        by_column[name] = list(zip(tests, holm([test.p for test in tests]), strict=True))
    for number, other in enumerate(others):
        cells = []
        for name in columns:
            test, p = by_column[name][number]
            if test.difference is None or test.low is None or test.high is None or p is None:
                cells.append("–")
                continue
            star = "*" if p < 0.05 else ""
            cells.append(f"{test.difference:+.3g} [{test.low:.3g}, {test.high:.3g}], p {p:.2g}{star}")
        lines.append(f"| `{other}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio(records: Records, first: str, second: str, read: Read) -> float:
    """Returns a method's mean over another's."""
    means = [
        summarise([read(video) for video in records[method]], [video.prompt_key for video in records[method]]).mean
        for method in (first, second)
    ]
    assert means[0] is not None
    assert means[1]
    return means[0] / means[1]


def _by_cell(videos: Sequence[Record], read: Read) -> dict[tuple[str, int], float | None]:
    return {(video.prompt_key, video.seed): read(video) for video in videos}
