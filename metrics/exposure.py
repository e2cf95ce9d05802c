"""Exposure drift: whether a video grows brighter, darker, more saturated or clipped from its beginning to its end.

Learned quality scores prefer over-exposed and darkened frames to normal ones, so the commonest way in which long videos
decay needs a measure that cannot be charmed.

Example: the last of twenty frames are a fifth brighter, and nothing is clipped.
    >>> levels = [0.4] * 10 + [0.6] * 10
    >>> rest = {name: [0.5] * 20 for name in ("saturation", "clipped_high", "clipped_low", "contrast")}
    >>> round(Exposure().window({"luma": levels} | rest, 0, 20), 6)
    20.0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.api import AssumedRate, Part, Score, Series, metric
from metrics.drift import portion
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.frame_statistics import EXPOSURE, FrameStatistics


@metric(
    name="exposure",
    title="Exposure",
    unit="% of the range",
    better="lower",
    version="1",
    definition="Largest change of brightness, saturation or clipped area, first 15 % of the frames to the last.",
)
@dataclass
class Exposure(FeatureReader):
    """Drift of exposure: 100 times the largest change, first 15 % of the frames against the last, of three quantities.

    The quantities are mean luma, mean saturation, and the share of clipped pixels (high and low together), each 0..1.
    `parts` holds the signed changes, that of the contrast too, and least-squares slopes per 10 s where
    the video states its frame rate.

    Series, one value per frame: `luma`, `saturation`, `clipped_high`, `clipped_low`, `contrast`.

    Source: ours; ends as FramePack (arXiv:2504.12626), equation 7.
    """

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics."""
        return (FrameStatistics(),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the drift inside of frames start <= i < stop, None for fewer than two."""
        change = changes({name: series[name][start:stop] for name in EXPOSURE})
        if change is None:
            return None
        return 100 * max(abs(change["luma"]), abs(change["saturation"]), abs(change["clipped"]))

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        columns = tables[FrameStatistics()]["exposure"]
        series = {name: listed(columns[:, i]) for i, name in enumerate(EXPOSURE)}
        value = self.window(series, 0, video.num_frames)
        change = changes(series)
        if change is None:
            return Score(None, {}, series, "exposure drift compares both ends of a video and needs two frames")
        parts: dict[str, Part] = {f"{name}_change": amount for name, amount in change.items()}
        for i, name in enumerate(EXPOSURE):
            known = not isinstance(video.fps, AssumedRate)
            parts[f"{name}_per_10s"] = 10 * slope(columns[:, i], video.fps) if known else None
        return Score(value, parts | {"frames_per_end": portion(video.num_frames)}, series)


def changes(series: Mapping[str, Sequence[float | None]]) -> dict[str, float] | None:
    """Returns the mean of the last 15 % minus that of the first 15 %, by name; "clipped" is high and low together.

    None with fewer than two frames.
    """
    num_frames = len(series["luma"])
    if num_frames < 2:
        return None
    width = portion(num_frames)
    values = {name: np.array(series[name], dtype=np.float64) for name in EXPOSURE}
    change = {name: float(v[-width:].mean() - v[:width].mean()) for name, v in values.items()}
    return change | {"clipped": change["clipped_high"] + change["clipped_low"]}


def slope(values: NDArray[np.float64], fps: float) -> float:
    """Returns the least-squares slope per second of one value per frame, at least two of them."""
    seconds = np.arange(len(values)) / fps
    return float(np.polynomial.polynomial.polyfit(seconds, values, 1)[1])
