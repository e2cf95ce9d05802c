"""Repetition and collapse: whether a long video comes back to what it showed before.

Two ways to come back: to the beginning (sink collapse, LoL) and to whatever was shown some time before (repetition,
RIFLEx). Neither paper defines its number to the end, so the readings here are ours, and stated.

Example: a distance to the first frame that grows to 4 and drops to 1.
    >>> collapse([0.0, 2.0, 4.0, 1.0, 3.0])
    (75.0, 3)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.api import Part, Score, Series, metric
from metrics.errors import SettingError
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.frame_statistics import ANCHORS, THUMBNAIL, FrameStatistics

LONGEST_LAG = 600
"""Longest lag searched for, in frames; it bounds the time that a very long video takes."""


@metric(
    name="collapse",
    title="Collapse",
    unit="% of the farthest distance",
    better="lower",
    version="1",
    definition="How far a video falls back towards its first frames after it had left them.",
)
@dataclass
class SinkCollapse(FeatureReader):
    """Sink collapse: by how much a video falls back towards its first frames, in percent.

    The distance of a frame to the first ones is the mean root mean square difference; divided by the largest of the
    video, the score is its largest drop below the largest distance so far. `parts` names the frame: a cut back to an
    earlier shot and a camera that comes round look the same.

    Series, one value per frame: `distance` in grey levels.

    Attributes:
        sink_frames: how many first frames, 1 to 3.

    Source: the idea of LoL (arXiv:2601.16914), section 4.1, which defines neither normalisation nor drop.
    """

    sink_frames: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.sink_frames <= ANCHORS:
            raise SettingError(f"`sink_frames` must be 1 to {ANCHORS}, not {self.sink_frames}")

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics."""
        return (FrameStatistics(),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the drop inside of frames start <= i < stop, None for fewer than two."""
        distances = [d for d in series["distance"][start:stop] if d is not None]
        return collapse(distances)[0] if len(distances) > 1 else None

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        columns = tables[FrameStatistics()]["anchor_distance"]
        if len(columns) < max(2, self.sink_frames):
            return Score(None, {}, {"distance": []}, f"collapse needs {max(2, self.sink_frames)} frames or more")
        distances = columns[:, : self.sink_frames].mean(axis=1)
        drop, frame = collapse(distances.tolist())
        parts: dict[str, Part] = {"frame": frame, "farthest": float(distances.max()), "sink_frames": self.sink_frames}
        return Score(drop, parts, {"distance": listed(distances)})


def collapse(distances: Sequence[float]) -> tuple[float, int]:
    """Returns the largest drop of a distance below its largest value so far, in percent of its maximum, and where.

    0 at frame 0 where all distances are 0.
    """
    values = np.asarray(distances, dtype=np.float64)
    farthest = values.max()
    if farthest == 0:
        return 0.0, 0
    drops = (np.maximum.accumulate(values) - values) / farthest
    frame = int(drops.argmax())
    return 100 * float(drops[frame]), frame


@metric(
    name="repetition",
    title="Repeats at",
    unit="RMS grey levels",
    better="higher",
    version="1",
    definition="Difference of frames at the lag at which the video comes nearest to repeating itself; 0 is a loop.",
)
@dataclass
class Repetition(FeatureReader):
    """How near a video comes to repeating itself: the smallest mean difference between frames one lag apart.

    All lags from 16 frames (a third of a shorter video) to seven eighths of the video are tried on 16 x 16 thumbnails,
    whose differences are smaller than those of whole frames. A frozen video repeats at every lag: 0. `parts` holds the
    lag, and the median over lags to compare with.

    Series, one value per lag from 0 on: `rms_by_lag`, grey levels. They belong to the whole video, so a window other
    than the whole has no value.

    Source: NoRepeat of RIFLEx (arXiv:2502.15894), appendix D, in grey levels and without the model's period; ours.
    """

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics."""
        return (FrameStatistics(),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of the whole video, None for any part of it."""
        num_frames = int(series["num_frames"][0] or 0) if series["num_frames"] else 0
        best = nearest_lag(series["rms_by_lag"], num_frames) if (start, stop) == (0, num_frames) else None
        return None if best is None else best.distance

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        thumbnails = tables[FrameStatistics()]["thumbnail"]
        by_lag = listed(lag_distances(thumbnails))
        series: dict[str, list[float | None]] = {"rms_by_lag": by_lag, "num_frames": [float(video.num_frames)]}
        best = nearest_lag(by_lag, video.num_frames)
        if best is None:
            return Score(None, {}, series, "repetition compares frames eight or more apart and needs more frames")
        parts: dict[str, Part] = {"lag": best.lag, "median": best.median, "side": THUMBNAIL}
        return Score(best.distance, parts, series)


def lag_distances(frames: NDArray[np.uint8], longest: int = LONGEST_LAG) -> NDArray[np.float64]:
    """Returns the mean root mean square difference between frames one lag apart, in grey levels, by lag from 0 on.

    Lags go as far as an eighth of the video, at least eight frames, still overlap.

    Args:
        frames: uint8 [T, H, W, 3].
        longest: no lag beyond this one.
    """
    num_frames = len(frames)
    pictures = frames.reshape(num_frames, -1).astype(np.float32)
    lags = range(max(0, min(num_frames - _overlap(num_frames), longest) + 1))
    means = [_mean_rms(pictures, lag) for lag in lags]
    return np.array(means, dtype=np.float64)


@dataclass(frozen=True)
class NearestLag:
    """The lag at which a video is nearest to a repetition.

    Attributes:
        lag: frames.
        distance: mean root mean square difference between frames so far apart, grey levels.
        median: over all lags that were candidates.
    """

    lag: int
    distance: float
    median: float


def nearest_lag(by_lag: Sequence[float | None], num_frames: int) -> NearestLag | None:
    """Returns the lag with the smallest distance, of those long enough to be a repetition; None without any."""
    shortest = max(1, min(16, num_frames // 3))
    candidates = [(d, lag) for lag, d in enumerate(by_lag) if lag >= shortest and d is not None]
    if not candidates:
        return None
    distance, lag = min(candidates)
    return NearestLag(lag, distance, float(np.median([d for d, _ in candidates])))


@dataclass(frozen=True)
class Repeat:
    """What NoRepeat says of one video.

    Attributes:
        start: frame nearest to the first one around the expected period.
        length: frames compared from there.
        rms_levels: their mean root mean square difference to the beginning, grey levels.
        l2: the same as Euclidean distance of whole pictures on 0..1; the paper's threshold is 100.
    """

    start: int
    length: int
    rms_levels: float
    l2: float


def norepeat(frames: NDArray[np.uint8], expected: int, radius: int) -> Repeat | None:
    """Returns how far a video is from repeating its beginning at an expected period, None if it is too short.

    Args:
        frames: uint8 [T, H, W, 3].
        expected: predicted period of the model, frames.
        radius: how far around it the start of the repeat is searched.

    Source: RIFLEx (arXiv:2502.15894), appendix D; search radius and scale are not stated there.
    """
    num_frames = len(frames)
    pictures = frames.reshape(num_frames, -1).astype(np.float64)
    around = range(max(1, expected - radius), min(num_frames - 1, expected + radius) + 1)
    if not around:
        return None
    distances = [float(np.linalg.norm(pictures[i] - pictures[0])) for i in around]
    start = around[int(np.argmin(distances))]
    length = min(start, num_frames - start)
    apart = np.linalg.norm(pictures[start : start + length] - pictures[:length], axis=1)
    return Repeat(start, length, float(apart.mean() / np.sqrt(pictures.shape[1])), float(apart.mean() / 255))


def _mean_rms(pictures: NDArray[np.float32], lag: int) -> float:
    """Returns the mean over all pairs `lag` apart; in float32 but for the sums, whose terms are whole numbers."""
    differences = pictures[lag:] - pictures[: len(pictures) - lag]
    squares = np.einsum("ij,ij->i", differences, differences, dtype=np.float64)
    return float(np.sqrt(squares / pictures.shape[1]).mean())


def _overlap(num_frames: int) -> int:
    return max(8, num_frames // 8)
