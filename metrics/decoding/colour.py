"""Converts decoded frames to 8-bit RGB, the same on every machine and with every version of the library.

The library's quick conversion repeats every chroma sample; this one interpolates them and rounds exactly, as FFmpeg's
own program does. Where a sample of 4:2:0 lies between its four pixels is left unsaid on purpose: versions of the
library differ in whether they heed it.

Planes of green, blue and red in place of packed pixels: the library rounds both alike, and has vector instructions for
the planes only, which makes them five times as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from metrics.decoding.sources import Picture

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


class RgbConverter:
    """Converts the frames of one video."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._graph: Any = None
        self._fits: tuple[int, int, str] | None = None

    def convert(self, frame: Any) -> Picture:
        """Returns a frame of PyAV as RGB [H, W, 3], as it is stored."""
        looks = frame.width, frame.height, frame.format.name
        if looks != self._fits:
            self._graph, self._fits = _without_chroma_location(frame), looks
        self._graph.push(frame)
        converted = self._reformatter.reformat(self._graph.pull(), format=_target(frame.format), interpolation=EXACT)
        return np.asarray(converted.to_ndarray(), np.uint8)


def _target(source: Any) -> str:
    """Returns the format in which RGB is asked for: in planes where chroma is converted, else packed."""
    return "rgb24" if source.is_rgb or len(source.components) < 3 else "gbrp"


def _without_chroma_location(frame: Any) -> Any:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    unsaid, sink = graph.add("setparams", "chroma_location=unspecified"), graph.add("buffersink")
    source.link_to(unsaid)
    unsaid.link_to(sink)
    graph.configure()
    return graph
