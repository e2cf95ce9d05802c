"""The protocol of optical flow: an estimator sees a stream of frames and gives the flow from each to the next.

Because it sees a stream and not pairs, a network can encode every frame once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class FlowPairs:
    """Flow of consecutive frame pairs.

    Attributes:
        left: uint8 [N, 3, H, W].
        right: uint8 [N, 3, H, W], the frames that follow.
        flow: float32 [N, 2, H, W] in pixels (x, y), from left to right, on left's pixels.
    """

    left: Tensor
    right: Tensor
    flow: Tensor


class FlowStream(Protocol):
    """Flow of one video; fresh per video."""

    def push(self, frames: Tensor) -> Iterator[FlowPairs]:
        """Yields the pairs these next frames complete (uint8 [T, 3, H, W] on the estimator's device), in order."""
        ...

    def flush(self) -> Iterator[FlowPairs]:
        """Yields the pairs still held back at the end of the video."""
        ...


class FlowEstimator(Protocol):
    """A loaded flow estimator.

    Attributes:
        weights_sha256: hash of its weights file, empty if it has none.
        device: where it wants its frames.
    """

    weights_sha256: str
    device: str

    def stream(self) -> FlowStream:
        """Returns a fresh stream for one video."""
        ...
