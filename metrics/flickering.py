"""Temporal flickering as VBench defines it: how little consecutive frames differ, 1 for a video that stands still.

Example: two pairs, one of which differs by 51 grey levels.
    >>> round(Flickering().window({"difference": [0.0, 51.0]}, 0, 3), 3)
    0.9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metrics.api import Part, Score, Series, mean_or_none, metric
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.frame_statistics import FrameStatistics
from metrics.static_filter import StaticPairs, stands_still


@metric(
    name="flickering",
    title="Flickering",
    unit="1 - difference / 255",
    better="higher",
    version="2",
    definition="How little each frame differs from the one before; a frozen video scores 1.",
)
@dataclass
class Flickering(FeatureReader):
    """(255 - mean absolute difference of consecutive frames) / 255: VBench's temporal flickering.

    It rewards standstill, since motion differs from frame to frame as flicker does; VBench therefore lets only static
    videos in. Read it beside the dynamic degree.

    Series (index i is the pair of frames i and i + 1): `difference`, grey levels; empty where the filter keeps the
    video out, so that curves and drift leave out what the table does.

    Attributes:
        static_filter: "raft_large" or "mini" gives a value only to videos that VBench's static filter lets in, by the
            flow of that network; `parts` then holds `static`. Empty is off. Of what it lets in, VBench takes the first
            five videos a prompt: here all count.
        filter_weights: weights file of the filter's network, empty for those VBench uses in torch's hub cache; folder
            of "mini".
        device: a torch device, for the filter alone.

    Source: VBench 45e79ec, `vbench/temporal_flickering.py:30-49`, `vbench/cli/static_filter.py:40-84`.
    """

    static_filter: str = ""
    filter_weights: str = ""
    device: str = "cpu"

    def features(self) -> tuple[Feature, ...]:
        """Returns the frame statistics, and the flow of the filter where it is on."""
        return (FrameStatistics(), *([self._filter()] if self.static_filter else []))

    def _filter(self) -> StaticPairs:
        return StaticPairs(self.static_filter, self.filter_weights, device=self.device)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of frames start <= i < stop, None without pairs; the filter is of whole videos."""
        mean = mean_or_none(series["difference"][start : max(stop - 1, start)])
        return None if mean is None else (255 - mean) / 255

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        series = {"difference": listed(tables[FrameStatistics()]["difference"])}
        value = self.window(series, 0, video.num_frames)
        if value is None:
            return Score(None, {}, series, "flickering compares pairs and needs two frames")
        if not self.static_filter:
            return Score(value, {}, series)
        static = stands_still(tables[self._filter()])
        parts: dict[str, Part] = {"static": static, "unfiltered": value}
        if static:
            return Score(value, parts, series)
        moves = "the static filter: it moves"
        too_small = "the frames are too small for the flow network of the static filter"
        return Score(None, parts, {"difference": []}, too_small if static is None else moves)
