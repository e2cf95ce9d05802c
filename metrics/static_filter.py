"""The flow that VBench's static filter looks at: all consecutive pairs, and the first frame against the last one.

Temporal flickering is meant for videos that stand still; with `static_filter`, `metrics.flickering.Flickering` gives no
value for any other.

Example:
    >>> StaticPairs(flow="mini", flow_weights="nowhere").identity("")
    'static pairs 1 mini missing missing float32'
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metrics.api import Frames
from metrics.dynamic_degree import RAFT_UPDATES, is_static, padded, threshold, top_mean
from metrics.features.base import Arrays

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.flow.api import FlowPairs
    from metrics.flow.raft_streaming import RaftFlow

FASTEST = 0.02
"""Share of the flow whose mean length counts. Source: VBench 45e79ec, `vbench/cli/static_filter.py:40-84`."""

STATIC_PIXELS = 3.0
"""Length of flow from which on a pair moves, at 256 pixels. Source: as above."""

STATIC_PAIRS_VERSION = 1
"""Changes whenever the same frames would give other arrays."""


@dataclass(frozen=True)
class StaticPairs:
    """Settings of the pass.

    Attributes:
        flow: "raft_large" with the weights VBench uses (Chairs and Things), or "mini".
        flow_weights: weights file, or folder of "mini".
        flow_precision: as in `metrics.mawe.Mawe`.
        device: a torch device.
    """

    flow: str = "raft_large"
    flow_weights: str = ""
    flow_precision: str = "float32"
    device: str = "cpu"

    def identity(self, prompt: str) -> str:
        """Returns all the arrays depend on besides the frames; the device is left out, as it moves them little."""
        from metrics.flow.estimators import precision_identity, weights_identity

        named = self.flow == "mini" or self.flow_weights
        weights = weights_identity(self.flow, self.flow_weights) if named else "chairs and things"
        return f"static pairs {STATIC_PAIRS_VERSION} {self.flow} {weights} {precision_identity(self.flow_precision)}"

    def load(self) -> LoadedStaticPairs:
        """Returns the loaded network.

        Raises:
            SettingError: for another estimator.
            WeightsError: if its weights are missing or wrong.
        """
        from metrics.flow.estimators import load_vbench_raft

        network = load_vbench_raft(self.flow, self.flow_weights, self.device, self.flow_precision, RAFT_UPDATES)
        return LoadedStaticPairs(network, self.device)


class LoadedStaticPairs:
    """The loaded network."""

    def __init__(self, network: RaftFlow, device: str) -> None:
        self._network, self._device = network, device

    def begin(self, prompt: str) -> StaticPairsPass:
        """Returns a fresh pass for one video."""
        return StaticPairsPass(self._network, self._device)


class StaticPairsPass:
    """Fastest flow of one video.

    Arrays:
        pairs: float64 [T - 1], mean length of the longest 2 % of the flow of consecutive pairs, pixels; none where the
            frames are too small for the network.
        wrap: float64 [2], the same from the first frame to the last one, and back; none likewise.
        size: int64 [2], height and width of the frames.
    """

    def __init__(self, network: RaftFlow, device: str) -> None:
        self._network, self._device, self._stream = network, device, network.stream()
        self._first: Tensor | None = None
        self._last: Tensor | None = None
        self._size = (0, 0)
        self._pairs: list[float] = []

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        import torch

        self._size = (int(frames.shape[1]), int(frames.shape[2]))
        if -(-min(self._size) // 8) * 8 < self._network.smallest_side:
            return
        for frame in frames:
            pixels = padded(torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].to(self._device))
            self._first = pixels if self._first is None else self._first
            self._last = pixels
            self._pairs += fastest(self._stream.push(pixels))

    def arrays(self) -> Arrays:
        """Returns the fastest flow of all pairs."""
        import torch

        wrap: list[float] = []
        if self._first is not None and self._last is not None and self._last is not self._first:
            self._pairs += fastest(self._stream.flush())
            stream = self._network.stream()
            wrap = fastest(stream.push(torch.cat([self._first, self._last, self._first]))) + fastest(stream.flush())
        return {"pairs": np.array(self._pairs), "wrap": np.array(wrap), "size": np.array(self._size)}


def fastest(batches: Iterable[FlowPairs]) -> list[float]:
    """Returns the mean length of the longest flows of every pair."""
    return [top_mean(flow, FASTEST) for pairs in batches for flow in pairs.flow]


def stands_still(arrays: Arrays) -> bool | None:
    """Returns whether the filter lets a video in, None where its frames are too small or it has no pair."""
    wrap = arrays["wrap"]
    if not len(wrap):
        return None
    height, width = arrays["size"]
    tops = arrays["pairs"]
    limit = threshold(int(height), int(width), STATIC_PIXELS)
    return is_static(tops.tolist(), (float(wrap[0]), float(wrap[1])), len(tops) + 1, limit)
