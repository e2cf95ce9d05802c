"""Statistics of every frame: colour, exposure, a thumbnail, and how far it is from the frame before and the first ones.

Seams, stillness, exposure, flickering and repetition read these; they cost about as much as decoding.

Example:
    >>> pass_ = FrameStatistics().load().begin("")
    >>> pass_.update(np.stack([np.full((32, 32, 3), level, np.uint8) for level in (10, 12, 12)]))
    >>> pass_.arrays()["difference"].tolist()
    [2.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.api import Frames
from metrics.features.base import Arrays
from metrics.features.rows import FrameRows

THUMBNAIL = 16
"""Side of a thumbnail in pixels: small enough that codec noise averages out, large enough to tell poses apart."""

ANCHORS = 3
"""First frames that every frame is compared with. Source: LoL (arXiv:2601.16914) anchors on 1 to 3 sink frames."""

LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of R, G, B. Source: ITU-R BT.709."""

CLIPPED_HIGH, CLIPPED_LOW = 252, 3
"""Largest channel from which on, and up to which, a pixel counts as clipped: codecs blur 255 and 0 by this much."""

FRAME_COLUMNS: Mapping[str, type[np.number[Any]]] = MappingProxyType(
    {
        "colour": np.float32,
        "thumbnail": np.uint8,
        "difference": np.float32,
        "exposure": np.float64,
        "anchor_distance": np.float64,
    }
)
"""Arrays of the pass and the type of their numbers."""

FRAME_STATISTICS_VERSION = 2
"""Changes whenever the same frames would give other arrays."""


@dataclass(frozen=True)
class FrameStatistics:
    """The frame-statistics pass; it has no settings and no weights."""

    def identity(self, prompt: str) -> str:
        """Returns the name of the pass."""
        return f"frame statistics {FRAME_STATISTICS_VERSION}"

    def load(self) -> FrameStatistics:
        """Returns itself."""
        return self

    def begin(self, prompt: str) -> FrameStatisticsPass:
        """Returns a fresh pass for one video."""
        return FrameStatisticsPass()


class FrameStatisticsPass:
    """Statistics of the frames of one video.

    Arrays:
        colour: float32 [T, 3], mean RGB, 0..255.
        thumbnail: uint8 [T, 16, 16, 3], area-averaged.
        difference: float32 [T - 1], mean absolute difference to the next frame over pixels and channels, 0..255.
        exposure: float64 [T, 5], the columns of `EXPOSURE`, 0..1 each.
        anchor_distance: float64 [T, 3], root mean square difference to the first three frames, grey levels; NaN for a
            first frame that a short video does not have.
    """

    def __init__(self) -> None:
        self._rows = {name: FrameRows(dtype) for name, dtype in FRAME_COLUMNS.items()}
        self._anchors: list[NDArray[np.uint8]] = []
        self._last: NDArray[np.uint8] | None = None

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        found: dict[str, list[Any]] = {name: [] for name in FRAME_COLUMNS}
        for frame in frames:
            for name, value in self._measured(frame):
                found[name].append(value)
            self._last = frame
        for name, values in found.items():
            self._rows[name].append(values)
        if self._last is not None:
            self._last = self._last.copy()

    def _measured(self, frame: NDArray[np.uint8]) -> Iterator[tuple[str, Any]]:
        """Yields the next row of every array that has one for this frame."""
        import cv2

        colour = cv2.mean(frame)[:3]
        yield "colour", colour
        yield "thumbnail", cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        if self._last is not None:
            yield "difference", np.mean(cv2.mean(cv2.absdiff(frame, self._last))[:3])
        yield "exposure", frame_exposure(frame, colour)
        if len(self._anchors) < ANCHORS:
            self._anchors.append(frame.copy())
        distances = [rms(frame, anchor) for anchor in self._anchors]
        yield "anchor_distance", distances + [np.nan] * (ANCHORS - len(distances))

    def arrays(self) -> Arrays:
        """Returns the arrays."""
        distances = self._rows["anchor_distance"].array((0, ANCHORS))
        first = distances[:ANCHORS]
        for frame in range(len(first)):
            first[:frame, frame] = first[frame, :frame]  # an anchor that came later is as far from them as they from it
        return {
            "colour": self._rows["colour"].array((0, 3)),
            "thumbnail": self._rows["thumbnail"].array((0, THUMBNAIL, THUMBNAIL, 3)),
            "difference": self._rows["difference"].array((0,)),
            "exposure": self._rows["exposure"].array((0, len(EXPOSURE))),
            "anchor_distance": distances,
        }


EXPOSURE = ("luma", "saturation", "clipped_high", "clipped_low", "contrast")
"""What `frame_exposure` measures: mean luma, mean saturation, shares of clipped pixels, standard deviation of luma."""


def frame_exposure(frame: NDArray[np.uint8], colour: tuple[float, ...]) -> tuple[float, ...]:
    """Returns the exposure of a frame: one number, 0..1, for every name in `EXPOSURE`.

    Saturation is (max - min) / max of the three channels, 0 for black. All sums but the saturation's and the
    contrast's are of integers, so they are exact.

    Args:
        frame: uint8 [H, W, 3].
        colour: its mean R, G, B, 0..255.

    Example:
        >>> white = np.full((4, 4, 3), 255, np.uint8)
        >>> [round(number, 6) for number in frame_exposure(white, (255.0, 255.0, 255.0))]
        [1.0, 0.0, 1.0, 0.0, 0.0]

    Source: ours; Self-Forcing++ (arXiv:2510.02283), section 3.4, says why quality scores do not replace it.
    """
    import cv2

    red, green, blue = cv2.split(frame)
    largest = cv2.max(cv2.max(red, green), blue)
    smallest = cv2.min(cv2.min(red, green), blue)
    pixels = largest.size
    # A black pixel has no saturation: 0 / 1. Every other one is divided by its own maximum.
    saturation = cv2.divide(cv2.subtract(largest, smallest), cv2.max(largest, 1), dtype=cv2.CV_32F)
    high = cv2.countNonZero(cv2.compare(largest, CLIPPED_HIGH, cv2.CMP_GE))
    low = cv2.countNonZero(cv2.compare(largest, CLIPPED_LOW, cv2.CMP_LE))
    luma = cv2.transform(frame.astype(np.float32), np.array([LUMA], np.float32))
    contrast = float(cv2.meanStdDev(luma)[1][0, 0])
    mean_luma = float(np.dot(LUMA, colour))
    return mean_luma / 255, cv2.mean(saturation)[0], high / pixels, low / pixels, contrast / 255


def rms(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Returns the root mean square difference of two frames over pixels and channels, in grey levels.

    Example:
        >>> rms(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 7, np.uint8))
        7.0
    """
    import cv2

    return float(cv2.norm(first, second, cv2.NORM_L2)) / float(np.sqrt(first.size))
