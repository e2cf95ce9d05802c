"""Statistics of every frame: mean colour, a thumbnail, and how much it differs from the frame before.

Seams and stillness read these; they cost about as much as decoding.

Example:
    >>> pass_ = FrameStatistics().load().begin("")
    >>> pass_.update(np.stack([np.full((32, 32, 3), level, np.uint8) for level in (10, 12, 12)]))
    >>> pass_.arrays()["difference"].tolist()
    [2.0, 0.0]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.api import Frames
from metrics.features.base import Arrays

THUMBNAIL = 16
"""Side of a thumbnail in pixels: small enough that codec noise averages out, large enough to tell poses apart."""

FRAME_STATISTICS_VERSION = 1
"""Changes whenever the same frames would give other arrays."""


@dataclass(frozen=True)
class FrameStatistics:
    """The frame-statistics pass; it has no settings and no weights."""

    def identity(self, prompt: str) -> str:
        """Returns the name of the pass."""
        return f"glance {FRAME_STATISTICS_VERSION}"

    def load(self) -> FrameStatistics:
        """Returns itself."""
        return self

    def begin(self, prompt: str) -> FrameStatisticsPass:
        """Returns a fresh pass for one video."""
        return FrameStatisticsPass()


class FrameStatisticsPass:
    """Looks of the frames of one video.

    Arrays:
        colour: float32 [T, 3], mean RGB, 0..255.
        thumbnail: uint8 [T, 16, 16, 3], area-averaged.
        difference: float32 [T - 1], mean absolute difference to the next frame over pixels and channels, 0..255.
    """

    def __init__(self) -> None:
        self._colours: list[tuple[float, ...]] = []
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._differences: list[float] = []
        self._last: NDArray[np.uint8] | None = None

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        import cv2

        for frame in frames:
            self._colours.append(cv2.mean(frame)[:3])
            small = cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
            self._thumbnails.append(np.asarray(small, dtype=np.uint8))
            if self._last is not None:
                self._differences.append(float(np.mean(cv2.mean(cv2.absdiff(frame, self._last))[:3])))
            self._last = frame
        if self._last is not None:
            self._last = self._last.copy()

    def arrays(self) -> Arrays:
        """Returns the arrays."""
        return {
            "colour": np.array(self._colours, dtype=np.float32).reshape(-1, 3),
            "thumbnail": np.array(self._thumbnails, dtype=np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3),
            "difference": np.array(self._differences, dtype=np.float32),
        }
