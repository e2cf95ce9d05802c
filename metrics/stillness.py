"""Stillness: how much of a video stands still or repeats itself, so that a frozen video cannot win.

Warp errors reward what does not move: a frozen video has none at all. This measure says so beside them.

Example: two of four frame pairs are frozen.
    >>> Stillness().window({"frozen": [0.0, 1.0, 1.0, 0.0]}, 0, 5)
    50.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.api import Part, Score, Series, mean_or_none, metric
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.flow_statistics import FlowStatistics
from metrics.features.frame_statistics import FrameStatistics

FROZEN_DIFFERENCE = 0.25
"""Mean absolute difference, in grey levels, up to which a pair of frames counts as the same picture coded twice."""

REPEAT_DIFFERENCE = 1.5
"""Mean absolute difference of thumbnails, in grey levels, up to which two frames show the same."""

REPEAT_SHARE = 0.5
"""Share of frames that must have been shown before, one period earlier, for a video to count as a loop."""

LONGEST_PERIOD = 600
"""Longest period searched for, in frames: the time grows with its square. `metrics.repetition` sees longer loops."""

FLOOR_PERCENTILE = 10
"""Percentile of the per-pair motion that is called the motion floor."""


@metric(
    name="stillness",
    title="Still",
    unit="% of frame pairs",
    better="lower",
    version="2",
    definition="Share of neighbouring frames that are the same picture; loops and standstill flag the row.",
)
@dataclass
class Stillness(FeatureReader):
    """Share of frame pairs that are frozen, in percent; loops and the motion floor stand in `parts`.

    A pair is frozen when its frames differ by no more than `FROZEN_DIFFERENCE` on average. `parts` also holds the
    longest frozen span, the share of frames that repeat an earlier one and the period of that (up to `LONGEST_PERIOD`),
    the motion floor, and `flag`: "frozen" (half of the pairs or more), "loop", or "".

    Series (index i is the pair of frames i and i + 1): `frozen` (0 or 1), `difference` (grey levels).

    Attributes:
        flow: as in `metrics.mawe.Mawe`, for the motion floor; empty leaves it out.
        size: as there.
        flow_weights: as there.
        flow_precision: as there.
        device: a torch device.
    """

    flow: str = "raft_large"
    size: int = 720
    flow_weights: str = ""
    flow_precision: str = "float32"
    device: str = "cpu"

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics, and the flow pass if one is set."""
        return (FrameStatistics(), self._flow()) if self.flow else (FrameStatistics(),)

    def _flow(self) -> FlowStatistics:
        return FlowStatistics(self.flow, self.size, self.flow_weights, self.device, self.flow_precision)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the percentage of frozen pairs in frames start <= i < stop, None without pairs."""
        mean = mean_or_none(series["frozen"][start : max(stop - 1, start)])
        return None if mean is None else 100 * mean

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        frame = tables[FrameStatistics()]
        frozen = frame["difference"] <= FROZEN_DIFFERENCE
        series = {"frozen": listed(frozen.astype(np.float64)), "difference": listed(frame["difference"])}
        value = self.window(series, 0, video.num_frames)
        repeated, period = repetition(frame["thumbnail"])
        parts: dict[str, Part] = {
            "longest_frozen_span": longest_run(frozen),
            "repeated_share": repeated,
            "period": period,
            "flag": "frozen" if value is not None and value >= 50 else "loop" if period else "",
        }
        if self.flow:
            motion = tables[self._flow()]["motion"]
            finite = motion[np.isfinite(motion)]
            parts["motion_floor"] = float(np.percentile(finite, FLOOR_PERCENTILE)) if len(finite) else None
        return Score(value, parts, series, "" if value is not None else "stillness needs at least two frames")


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Returns the length of the longest run of true values.

    Example:
        >>> longest_run(np.array([True, False, True, True]))
        2
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def repetition(thumbnails: NDArray[np.uint8]) -> tuple[float, int | None]:
    """Returns the share of frames that show what was shown one period before, and the period where that is a loop.

    A frame repeats another one only if the picture was different halfway between them, so that a frozen video is not
    called a loop. The share is the largest over all periods; the period is the shortest that comes close to it, and
    None where the share is below `REPEAT_SHARE`.

    Args:
        thumbnails: [T, h, w, 3].

    Example:
        >>> levels = np.tile(np.arange(0, 80, 10, dtype=np.uint8), 3)
        >>> repetition(np.broadcast_to(levels[:, None, None, None], (24, 4, 4, 3)))
        (1.0, 8)
    """
    pictures = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    shares = [_repeated(pictures, period) for period in range(2, min(LONGEST_PERIOD, len(pictures) // 2) + 1)]
    best = max(shares, default=0.0)
    if best < REPEAT_SHARE:
        return best, None
    return best, 2 + next(i for i, share in enumerate(shares) if share >= 0.95 * best)


def _repeated(pictures: NDArray[np.float32], period: int) -> float:
    """Returns the share of the frames from `period` on that repeat the frame one period before."""
    half = period // 2
    same = np.abs(pictures[period:] - pictures[:-period]).mean(axis=1) <= REPEAT_DIFFERENCE
    moved = np.abs(pictures[period:] - pictures[period - half : -half]).mean(axis=1) > 2 * REPEAT_DIFFERENCE
    return float((same & moved).mean())
