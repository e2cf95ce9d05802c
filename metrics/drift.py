"""Drift: how far any metric moves from the beginning of a video to its end, by every definition in use.

No frame is looked at again: a definition reads the metric's own `window` on stretches of the video, so every metric has
every drift. The definitions come from papers that mostly give no code; each is offered under a name that says what it
is, with what it cannot see beside it.

Example: a quantity that falls by one a second, in a video of 20 seconds at 10 frames a second.
    >>> falling = lambda start, stop: -0.1 * (start + stop - 1) / 2
    >>> round(DRIFTS["start_end_15"].read(falling, 200, 10.0), 6)
    17.0
    >>> round(DRIFTS["slope_10s"].read(falling, 200, 10.0), 6)
    -10.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log
from types import MappingProxyType
from typing import Literal

import numpy as np

from metrics.api import Metric, Series
from metrics.curves import theil_sen, window_value
from metrics.helios import eight_frames_at_both_ends

WindowValue = Callable[[int, int], float | None]
"""Value of a quantity on frames start <= i < stop of one video, None where it is undefined there."""

END_SHARE = 0.15
"""Share of the frames at either end. Source: FramePack (arXiv:2504.12626), equation 7."""

ENDS_SECONDS = 5.0
"""Length of either end. Source: Rolling Forcing (arXiv:2509.25161), tables 1 and 2."""

WINDOW_SECONDS = 2.0
"""Length of a window of the standard deviation. Source: Reward Forcing (arXiv:2512.04678), section 4."""

SEGMENT_SECONDS = 10.0
"""Length of a segment with a prompt of its own. Source: LongLive (arXiv:2509.22622), section 4.3."""

VDE_CHUNKS = 10
"""Equal chunks of the video drift error. Source: LV-Bench in alibaba-damo-academy/Inferix, `LV-Bench/vde.py`."""


@dataclass(frozen=True)
class DriftDefinition:
    """One way to say by how much a quantity drifts.

    Attributes:
        name: identifier in tables, files and on the command line; it says the definition.
        title: for people.
        better: "lower" is steadier; "neither" for a signed slope, whose good direction is the metric's.
        blind: what it cannot see, in a sentence.
        source: where it comes from.
        read: the drift of one video from (window, frames, frames per second; 0 where nobody states them), None where
            it is undefined.
        in_seconds: whether the stretches it compares are so many seconds long.
    """

    name: str
    title: str
    better: Literal["lower", "neither"]
    blind: str
    source: str
    read: Callable[[WindowValue, int, float], float | None]
    in_seconds: bool = False


def why_undefined(definition: DriftDefinition, num_frames: int, fps: float) -> str:
    """Returns why a video has no drift by a definition, in a few words; it has been asked for and was None.

    Args:
        definition: one of `DRIFTS`.
        num_frames: length of the video.
        fps: frames per second, 0 where nobody states them.

    Example:
        >>> why_undefined(DRIFTS["std_2s"], 30, 10.0)
        'a video of 30 frames is too short for it'
    """
    if definition.in_seconds and not fps > 0:
        return "it is counted in seconds, and the video states no frame rate"
    if definition.read(lambda start, stop: 1.0, num_frames, fps) is None:
        return f"a video of {num_frames} frames is too short for it"
    return "the metric has no value on a stretch that it compares, or is 0 on the first one"


def window_of(metric: Metric, series: Series) -> WindowValue:
    """Returns the metric's value on any stretch of the video with this series."""
    return lambda start, stop: window_value(metric, series, start, stop)


def portion(num_frames: int) -> int:
    """Returns how many frames are 15 % of a video: rounded down, at least one.

    Example:
        >>> portion(97), portion(3)
        (14, 1)
    """
    return max(1, int(END_SHARE * num_frames))


def start_end_15(window: WindowValue, num_frames: int, fps: float) -> float | None:
    """Returns |value on the first 15 % of the frames - value on the last 15 %|; absolute per video."""
    if num_frames < 2:
        return None
    width = portion(num_frames)
    return _distance(window(0, width), window(num_frames - width, num_frames))


def first_last_5s(window: WindowValue, num_frames: int, fps: float) -> float | None:
    """Returns |value on the first 5 s - value on the last 5 s|; None for a video shorter than 5 s.

    Between 5 s and 10 s the two ends share frames, which makes the drift look smaller than it is.
    """
    width = _frames(ENDS_SECONDS, fps)
    if not 1 <= width <= num_frames or num_frames < 2:
        return None
    return _distance(window(0, width), window(num_frames - width, num_frames))


def std_2s(window: WindowValue, num_frames: int, fps: float) -> float | None:
    """Returns the population standard deviation of the values on windows of 2 s; None with fewer than two windows."""
    return _spread(_two_seconds(window, num_frames, fps), 0)


def std_2s_sample(window: WindowValue, num_frames: int, fps: float) -> float | None:
    """Returns the sample standard deviation (n - 1) of the values on windows of 2 s; None with fewer than two."""
    return _spread(_two_seconds(window, num_frames, fps), 1)


def slope_10s(window: WindowValue, num_frames: int, fps: float) -> float | None:
    """Returns the Theil-Sen slope through the values on windows of 2 s, per 10 s; None with fewer than two values."""
    points = [(i, v) for i, v in enumerate(_two_seconds(window, num_frames, fps)) if v is not None]
    slope = theil_sen([i for i, _ in points], [v for _, v in points])
    return None if slope is None else 10.0 * slope * fps / _frames(WINDOW_SECONDS, fps)  # windows are whole frames


def vde(scores: Sequence[float], weights: Literal["linear", "log"] = "linear") -> float:
    """Returns the video drift error of chunk scores exactly as published, inf where the first score is 0.

    The weights fall with time, against what its README says, and are not divided by their sum: the same damage costs
    nine times as much in the second of ten chunks as in the last one, and more chunks give a larger number.

    Args:
        scores: one per chunk.
        weights: "linear" is N - i + 1 for the i-th of N chunks, counted from one; "log" its natural logarithm.

    Example:
        >>> vde([0.5, 0.25, 0.5]), vde([0.5, 0.5, 0.25])
        (1.0, 0.5)

    Source: LV-Bench in alibaba-damo-academy/Inferix, `LV-Bench/vde.py:17-46,201`.
    """
    n, first = len(scores), scores[0]
    if not first:
        return inf
    factors = [float(n - i + 1) for i in range(2, n + 1)]
    if weights == "log":
        factors = [log(factor) for factor in factors]
    return sum(factor * abs(score - first) / first for factor, score in zip(factors, scores[1:], strict=True))


def vde_even(scores: Sequence[float]) -> float:
    """Returns the mean relative distance of the later chunks' scores to the first one's: every chunk weighs the same.

    Ours: the published error without its falling weights and on a scale that the number of chunks does not change.

    Example:
        >>> vde_even([0.5, 0.25, 0.5]) == vde_even([0.5, 0.5, 0.25]) == 0.25
        True
    """
    if len(scores) < 2:
        return 0.0
    if not scores[0]:
        return inf
    return float(np.mean([abs(score - scores[0]) for score in scores[1:]]) / abs(scores[0]))


def chunk_values(window: WindowValue, num_frames: int) -> list[float | None]:
    """Returns the values on ten equal chunks; frames that do not fill the tenth are left out."""
    width = num_frames // VDE_CHUNKS
    return [window(i * width, (i + 1) * width) for i in range(VDE_CHUNKS)] if width else []


def helios_8_frames(window: WindowValue, num_frames: int, fps: float) -> float | None:
    """Returns |mean over HeliosBench's eight first frames - mean over its eight last ones|, of single frames."""
    if num_frames < 2:
        return None
    first, last = (
        [window(i, i + 1) for i in frames if i < num_frames] for frames in eight_frames_at_both_ends(num_frames)
    )
    return _distance(_mean(first), _mean(last))


def segment_values(window: WindowValue, num_frames: int, starts: Sequence[int]) -> list[float | None]:
    """Returns the value on every segment of a video, for prompts that change over time.

    Args:
        window: of the metric.
        num_frames: length of the video.
        starts: first frame of every segment, the first of which is 0; those behind the video are left out.

    Example:
        >>> segment_values(lambda start, stop: float(stop - start), 25, [0, 10, 20, 30])
        [10.0, 10.0, 5.0]
    """
    edges = [*(start for start in starts if start < num_frames), num_frames]
    return [window(start, stop) for start, stop in pairwise(edges)]


def segment_starts(num_frames: int, fps: float, seconds: float = SEGMENT_SECONDS) -> list[int]:
    """Returns the first frames of segments of one length, none at an unknown rate of 0; the last may be shorter."""
    if fps == 0:
        return []
    return list(range(0, num_frames, max(1, _frames(seconds, fps))))


def _vde_linear(window: WindowValue, num_frames: int, fps: float) -> float | None:
    return _of_chunks(window, num_frames, vde)


def _vde_log(window: WindowValue, num_frames: int, fps: float) -> float | None:
    return _of_chunks(window, num_frames, lambda scores: vde(scores, "log"))


def _vde_even(window: WindowValue, num_frames: int, fps: float) -> float | None:
    return _of_chunks(window, num_frames, vde_even)


def _of_chunks(window: WindowValue, num_frames: int, reduce: Callable[[Sequence[float]], float]) -> float | None:
    """Returns a drift of ten chunks, None where one has no value or the result is not finite."""
    values = chunk_values(window, num_frames)
    scores = [v for v in values if v is not None]
    if not values or len(scores) < len(values):
        return None
    drift = reduce(scores)
    return drift if isfinite(drift) else None


def _two_seconds(window: WindowValue, num_frames: int, fps: float) -> list[float | None]:
    """Returns the values on windows of 2 s, one after the other; a last, shorter one is left out."""
    width = _frames(WINDOW_SECONDS, fps)
    return [window(i, i + width) for i in range(0, num_frames - width + 1, width)] if width else []


def _spread(values: Sequence[float | None], lost: Literal[0, 1]) -> float | None:
    """Returns the standard deviation with n - lost in the denominator, None where it or a value is undefined."""
    defined = [v for v in values if v is not None]
    return None if len(defined) < 2 or len(defined) < len(values) else float(np.std(defined, ddof=lost))


def _frames(seconds: float, fps: float) -> int:
    return round(seconds * fps)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined and len(defined) == len(values) else None


def _distance(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else abs(last - first)


_DIP = "A dip in the middle, and a video that is constantly bad."

DRIFTS: Mapping[str, DriftDefinition] = MappingProxyType(
    {
        definition.name: definition
        for definition in (
            DriftDefinition(
                "start_end_15",
                "first 15 % against last 15 %",
                "lower",
                _DIP,
                "FramePack (arXiv:2504.12626), equation 7; HeliosBench (`eval/5`) uses the same frames.",
                start_end_15,
            ),
            DriftDefinition(
                "first_last_5s",
                "first 5 s against last 5 s",
                "lower",
                _DIP + " Ends overlap in videos under 10 s.",
                "Rolling Forcing (arXiv:2509.25161), tables 1 and 2; whether it is absolute per video is not said.",
                first_last_5s,
                in_seconds=True,
            ),
            DriftDefinition(
                "std_2s",
                "standard deviation of 2 s windows (n)",
                "lower",
                "Direction and order: a steady fall and random wobble score alike.",
                "Reward Forcing (arXiv:2512.04678), section 4; n or n - 1 is not said.",
                std_2s,
                in_seconds=True,
            ),
            DriftDefinition(
                "std_2s_sample",
                "standard deviation of 2 s windows (n - 1)",
                "lower",
                "Direction and order: a steady fall and random wobble score alike.",
                "Reward Forcing (arXiv:2512.04678), section 4, with n - 1.",
                std_2s_sample,
                in_seconds=True,
            ),
            DriftDefinition(
                "vde",
                "video drift error, as published",
                "lower",
                "Late damage: the second of ten chunks weighs nine times the last one, so early damage is what it "
                "punishes and a late collapse is nearly free. Not normalised: more chunks, larger number.",
                "LV-Bench in alibaba-damo-academy/Inferix, `LV-Bench/vde.py`, linear weights.",
                _vde_linear,
            ),
            DriftDefinition(
                "vde_log",
                "video drift error, logarithmic weights",
                "lower",
                "The last chunk altogether: its weight is ln 1 = 0.",
                "LV-Bench in alibaba-damo-academy/Inferix, `LV-Bench/vde.py`, logarithmic weights.",
                _vde_log,
            ),
            DriftDefinition(
                "vde_even",
                "video drift error, even weights",
                "lower",
                "When the damage happens; and all of it where the first chunk is already bad.",
                "Ours: the published error with even weights, divided by their sum.",
                _vde_even,
            ),
            DriftDefinition(
                "helios_8_frames",
                "HeliosBench's eight frames at either end",
                "lower",
                _DIP + " Eight frames an end, so flicker shows as drift.",
                "HeliosBench in PKU-YuanGroup/Helios, `eval/utils/utils.py:190-248`.",
                helios_8_frames,
            ),
            DriftDefinition(
                "slope_10s",
                "Theil-Sen slope per 10 s",
                "neither",
                "Damage in less than a third of the windows, unless it is strong.",
                "Ours: median slope between all pairs of 2 s windows (Sen 1968).",
                slope_10s,
                in_seconds=True,
            ),
        )
    }
)
"""Every definition by name, in the order of tables."""
