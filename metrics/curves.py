"""Scores over time: growing prefixes, sliding windows, their trend, and the start of a video against its end.

Everything is read from the series a score keeps, by the metric's own `window`; no frame is looked at twice.

Example: a cosine that falls by 0.01 each frame.
    >>> from metrics.clip import ClipScore
    >>> series = {"cosine": [0.5 - 0.01 * i for i in range(40)]}
    >>> points = sliding(ClipScore(), series, num_frames=40, width=10, step=10)
    >>> [(p.start, p.stop, round(p.value, 2)) for p in points]
    [(0, 10, 45.5), (10, 20, 35.5), (20, 30, 25.5), (30, 40, 15.5)]
    >>> round(trend(points), 6)
    -1.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.api import Metric, Series

PREFIXES = (120, 140, 160, 180, 200, 220, 240)
"""Frames of the growing prefixes. Source: StreamingT2V (arXiv:2403.14773 v2), stability curves, and its table's 240."""

LONGEST_END = 5.0
"""Length of the two ends that `first_against_last` compares."""

MOST_POINTS = 1000
"""Points through which a slope is laid at most: the memory grows with their square."""


@dataclass(frozen=True)
class Point:
    """Score of one stretch of a video.

    Attributes:
        start: its first frame.
        stop: the frame after its last.
        value: its score, None where it is undefined.
    """

    start: int
    stop: int
    value: float | None


@dataclass(frozen=True)
class Ends:
    """Score of both ends of a video.

    Attributes:
        first: of its first seconds.
        last: of its last seconds.
    """

    first: Point
    last: Point

    @property
    def change(self) -> float | None:
        """The last end's score minus the first one's, None where one is undefined."""
        if self.first.value is None or self.last.value is None:
            return None
        return self.last.value - self.first.value


def window_value(metric: Metric, series: Series, start: int, stop: int) -> float | None:
    """Returns the metric's value on frames start <= i < stop, None where it is undefined, NaN or infinite."""
    value = metric.window(series, start, stop)
    return value if value is not None and math.isfinite(value) else None


def prefixes(metric: Metric, series: Series, num_frames: int, stops: Sequence[int] = PREFIXES) -> list[Point]:
    """Returns the score of the first `stop` frames for every stop, longer ones than the video left out.

    Args:
        metric: whose `window` reads the series.
        series: of one video.
        num_frames: length of the video.
        stops: in frames.
    """
    return [Point(0, stop, window_value(metric, series, 0, stop)) for stop in stops if stop <= num_frames]


def sliding(metric: Metric, series: Series, num_frames: int, width: int, step: int) -> list[Point]:
    """Returns the score of every window of `width` frames, each `step` frames after the one before.

    Args:
        metric: whose `window` reads the series.
        series: of one video.
        num_frames: length of the video; where it is shorter than a window there is no point.
        width: frames of a window, >= 1.
        step: frames, >= 1.
    """
    starts = range(0, num_frames - width + 1, step)
    return [Point(start, start + width, window_value(metric, series, start, start + width)) for start in starts]


def first_against_last(
    metric: Metric, series: Series, num_frames: int, fps: float, seconds: float = LONGEST_END
) -> Ends | None:
    """Returns the score of the first and of the last seconds, None where the two would overlap.

    Args:
        metric: whose `window` reads the series.
        series: of one video.
        num_frames: length of the video.
        fps: frames per second.
        seconds: length of an end.
    """
    width = round(seconds * fps)
    if width < 1 or 2 * width > num_frames:
        return None
    starts = (0, num_frames - width)
    first, last = (Point(start, start + width, window_value(metric, series, start, start + width)) for start in starts)
    return Ends(first, last)


def trend(points: Sequence[Point]) -> float | None:
    """Returns the slope of the scores over the middles of their windows, per frame; None with fewer than two values."""
    defined = [(0.5 * (p.start + p.stop), p.value) for p in points if p.value is not None]
    return theil_sen([x for x, _ in defined], [y for _, y in defined])


def theil_sen(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Returns the median of the slopes between all pairs of points, None where no two points differ in x.

    One outlier, such as a single exploded pair, does not move it; up to 29 % of the points may be arbitrary. Of more
    than `MOST_POINTS` points only every second, third, ... is taken: all pairs of an hour's would fill the memory.

    Example:
        >>> theil_sen([0, 1, 2, 3], [0.0, 2.0, 400.0, 6.0])
        2.0

    Source: Sen, Estimates of the regression coefficient based on Kendall's tau, J. Am. Stat. Assoc. 63 (1968).
    """
    every = -(-len(x) // MOST_POINTS) or 1
    xs, ys = np.asarray(x[::every], dtype=np.float64), np.asarray(y[::every], dtype=np.float64)
    i, j = np.triu_indices(len(xs), k=1)
    distinct = xs[i] != xs[j]
    if not distinct.any():
        return None
    i, j = i[distinct], j[distinct]
    return float(np.median((ys[j] - ys[i]) / (xs[j] - xs[i])))
