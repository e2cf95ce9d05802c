"""Repetition and collapse: whether a long video comes back to what it showed before.

Two ways to come back: to the beginning (sink collapse, LoL) and to whatever was shown some time before (repetition,
RIFLEx). Neither paper defines its number to the end, so the readings here are ours, and stated.

Example: a distance to the first frame that grows to 4 and drops to 1.
    >>> largest_fall([0.0, 2.0, 4.0, 1.0, 3.0])
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

LEAST_DISTANCE = 1.0
"""Distance in grey levels (one step of 8 bits) below which a video has gone nowhere, so that nothing can come back."""

SHORTEST_LAG = 16
"""Shortest lag that counts as a repetition, in frames: quicker ones are flicker."""

_BLOCK = 512
"""Frames whose distances to as many others are computed at once; bounds memory."""


@metric(
    name="collapse",
    title="Collapse",
    unit="% of the farthest distance",
    better="lower",
    version="2",
    definition="How far a video falls back towards its first frames after it had left them.",
)
@dataclass
class SinkCollapse(FeatureReader):
    """Sink collapse: by how much a video falls back towards its first frames, in percent.

    The distance of a frame to the first ones is the mean root mean square difference; the score is its largest fall
    below the largest distance so far, as `largest_fall` has it. `parts` names the frame: a cut back to an earlier shot
    and a camera that comes round look the same.

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
        return largest_fall(distances)[0] if len(distances) > 1 else None

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        columns = tables[FrameStatistics()]["anchor_distance"]
        if len(columns) < max(2, self.sink_frames):
            return Score(None, {}, {"distance": []}, f"collapse needs {max(2, self.sink_frames)} frames or more")
        distances = columns[:, : self.sink_frames].mean(axis=1)
        fall, frame = largest_fall(distances.tolist())
        parts: dict[str, Part] = {"frame": frame, "farthest": float(distances.max()), "sink_frames": self.sink_frames}
        return Score(fall, parts, {"distance": listed(distances)})


def largest_fall(distances: Sequence[float]) -> tuple[float, int]:
    """Returns the largest fall of a distance below its largest value so far, in percent of its maximum, and where.

    Where it never reaches `LEAST_DISTANCE`, the percentage is of that: a codec does as much to a frozen picture.

    Args:
        distances: grey levels.
    """
    values = np.asarray(distances, dtype=np.float64)
    falls = (np.maximum.accumulate(values) - values) / max(values.max(), LEAST_DISTANCE)
    at = int(falls.argmax())
    return 100 * float(falls[at]), at


@metric(
    name="repetition",
    title="Repeats",
    unit="% of the distance before",
    better="neither",
    version="2",
    definition="How far frames one lag apart come near each other again, at the worst lag; 100 is an exact loop.",
)
@dataclass
class Repetition(FeatureReader):
    """How far a video comes back to what it showed some time before, in percent; 100 is an exact loop.

    The mean difference between frames one lag apart grows with the lag while a video goes on, and falls where it comes
    back: the score is the largest share that it loses of its largest value at any shorter lag. Lags go from
    `SHORTEST_LAG` frames (a third of a shorter video) to seven eighths of the video, on 16 x 16 thumbnails, whose
    differences are smaller than those of whole frames. What never comes near itself scores 0, and so does a frozen
    video, which never leaves (`stillness` sees it). `parts` holds the lag, the distance there and the largest at a
    shorter lag. An honest swing repeats, too: the score points at a lag to look at and ranks nothing.

    Series, one value per lag from 0 on: `rms_by_lag`, grey levels. They belong to the whole video, so a window other
    than the whole has no value.

    Source: the distances are those of NoRepeat of RIFLEx (arXiv:2502.15894), appendix D, in grey levels and at all lags
        instead of the model's period; reading them by their fall is ours.
    """

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics."""
        return (FrameStatistics(),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of the whole video, None for any part of it."""
        num_frames = int(series["num_frames"][0] or 0) if series["num_frames"] else 0
        found = largest_return(series["rms_by_lag"], num_frames) if (start, stop) == (0, num_frames) else None
        return None if found is None else found.percent

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        by_lag = listed(lag_distances(tables[FrameStatistics()]["thumbnail"]))
        series: dict[str, list[float | None]] = {"rms_by_lag": by_lag, "num_frames": [float(video.num_frames)]}
        found = largest_return(by_lag, video.num_frames)
        if found is None:
            return Score(None, {}, series, "repetition compares frames far apart and needs eleven or more")
        parts: dict[str, Part] = {
            "lag": found.lag,
            "distance": found.distance,
            "farthest": found.farthest,
            "side": THUMBNAIL,
        }
        return Score(found.percent, parts, series)


def lag_distances(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the mean root mean square difference between frames one lag apart, in grey levels, by lag from 0 on.

    Lags go as far as an eighth of the video, at least eight frames, still overlap.

    Args:
        frames: uint8 [T, H, W, 3].
    """
    num_frames = len(frames)
    num_lags = max(0, num_frames - max(8, num_frames // 8) + 1)
    sums = np.zeros(num_frames)
    pictures = frames.reshape(num_frames, -1)
    for top in range(0, num_frames, _BLOCK):
        rows = pictures[top : top + _BLOCK].astype(np.float64)
        for left in range(top, min(top + _BLOCK + num_lags, num_frames), _BLOCK):
            distances = _rms(rows, pictures[left : left + _BLOCK].astype(np.float64))
            for row, others in enumerate(distances):
                skipped = max(0, top + row - left)  # a pair counts once, by its earlier frame
                lag = left + skipped - (top + row)
                sums[lag : lag + len(others) - skipped] += others[skipped:]
    return sums[:num_lags] / (num_frames - np.arange(num_lags))


def _rms(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the root mean square difference of every row to every other, from whole numbers and so exact sums."""
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(columns).sum(axis=1) - 2 * (rows @ columns.T)
    distances: NDArray[np.float64] = np.sqrt(squares / rows.shape[1])
    return distances


@dataclass(frozen=True)
class Return:
    """Where a video comes back to what it showed before.

    Attributes:
        percent: how much nearer frames of this lag are than the farthest of a shorter one, 0..100.
        lag: frames.
        distance: mean root mean square difference between frames so far apart, grey levels.
        farthest: the largest at this lag or a shorter one, grey levels.
    """

    percent: float
    lag: int
    distance: float
    farthest: float


def largest_return(by_lag: Sequence[float | None], num_frames: int) -> Return | None:
    """Returns the largest return at any lag long enough to be a repetition; None where no lag is.

    A distance below `LEAST_DISTANCE` is measured by that: a codec does as much to a frozen picture.
    """
    shortest = max(1, min(SHORTEST_LAG, num_frames // 3))
    distances = np.array([distance for distance in by_lag if distance is not None])
    if len(distances) <= shortest:
        return None
    farthest = np.maximum.accumulate(distances)
    falls = (farthest - distances) / np.maximum(farthest, LEAST_DISTANCE)
    lag = shortest + int(falls[shortest:].argmax())
    return Return(100 * float(falls[lag]), lag, float(distances[lag]), float(farthest[lag]))


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
