"""Temporal flickering as VBench defines it: how little consecutive frames differ, 1 for a video that stands still.

Example: two pairs, one of which differs by 51 grey levels.
    >>> round(Flickering().window({"difference": [0.0, 51.0]}, 0, 3), 3)
    0.9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metrics.api import Score, Series, mean_or_none, metric
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.frame_statistics import FrameStatistics


@metric(name="flickering", title="Flickering", unit="1 - difference / 255", better="higher", version="1")
@dataclass
class Flickering(FeatureReader):
    """(255 - mean absolute difference of consecutive frames) / 255: VBench's temporal flickering.

    It rewards standstill, since motion differs from frame to frame as flicker does; VBench therefore lets only static
    videos in (its static filter is `metrics.dynamic_degree.is_static`). Read it beside the dynamic degree.

    Series (index i is the pair of frames i and i + 1): `difference`, grey levels.

    Source: VBench 45e79ec, `vbench/temporal_flickering.py:30-49`.
    """

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics."""
        return (FrameStatistics(),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of frames start <= i < stop, None without pairs."""
        mean = mean_or_none(series["difference"][start : max(stop - 1, start)])
        return None if mean is None else (255 - mean) / 255

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        series = {"difference": listed(tables[FrameStatistics()]["difference"])}
        value = self.window(series, 0, video.num_frames)
        return Score(value, {}, series, "" if value is not None else "flickering compares pairs and needs two frames")
