"""Dynamic degree: how much of a video moves, so that standing still cannot pass for consistency.

Example: three pairs at 256 pixels, where 6 pixels are the threshold.
    >>> decision([6.5, 2.0, 7.0], num_frames=4, limit=threshold(256, 320))
    True
    >>> DynamicDegree().window({"top5": [6.0, 3.0], "frame": [0, 1], "step": [1], "threshold": [6.0]}, 0, 3)
    0.75
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from metrics.api import AssumedRate, Frames, MetricInfo, Part, Score, Series, mean_or_none, metric
from metrics.features.base import listed
from metrics.flow import VBENCH_ESTIMATORS

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.flow.raft_streaming import RaftFlow

SAMPLED_FPS = 8
"""Rate to which frames are thinned out. Source: VBench 45e79ec, `vbench/dynamic_degree.py`."""

RAFT_UPDATES = 20
"""Updates of the flow. Source: VBench 45e79ec, `vbench/dynamic_degree.py`."""

NO_FLOW = "the flow network gave numbers that are not finite, so its weights or its precision do not fit"


@metric(
    name="dynamic_degree",
    title="Dynamic",
    unit="× VBench's threshold",
    better="higher",
    version="3",
    definition="How fast the fastest twentieth of the picture moves; 1 is where VBench calls a pair moving.",
)
@dataclass
class DynamicDegree:
    """Mean over pairs of the length of the fastest 5 % of the flow, as a multiple of VBench's threshold.

    VBench's own yes or no stands in `parts` as `dynamic`, with the share of pairs above the threshold.

    Series, one value per sampled pair: `top5` (pixels), `frame` (its first frame); and `threshold` (pixels), once.

    Attributes:
        flows: what `flow` may be; the source fixes the network, so an estimator chosen for all metrics may not fit.
        flow: "raft_large" with the weights VBench uses (Chairs and Things), or "mini".
        flow_weights: weights file, or folder of "mini".
        flow_precision: as in `metrics.mawe.Mawe`.
        device: a torch device.

    Source: VBench 45e79ec, `vbench/dynamic_degree.py:42-120`; the continuous value is ours.
    """

    info: ClassVar[MetricInfo]
    flows: ClassVar[tuple[str, ...]] = VBENCH_ESTIMATORS
    flow: str = "raft_large"
    flow_weights: str = ""
    flow_precision: str = "float32"
    device: str = "cpu"

    @cached_property
    def _network(self) -> RaftFlow:
        from metrics.flow.estimators import load_vbench_raft

        return load_vbench_raft(self.flow, self.flow_weights, self.device, self.flow_precision, RAFT_UPDATES)

    def begin(self, prompt: str, fps: float) -> _SampledFlow:
        """Returns a fresh accumulator; loads the network the first time."""
        return _SampledFlow(self, self._network, None if isinstance(fps, AssumedRate) else sampling_step(fps))

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of the sampled pairs inside of frames start <= i < stop, None without any."""
        step = series["step"][0] or 1.0
        inside = [
            top
            for top, frame in zip(series["top5"], series["frame"], strict=True)
            if frame is not None and start <= frame and frame + step < stop
        ]
        mean = mean_or_none(inside)
        limit = series["threshold"][0] if series["threshold"] else None
        return None if mean is None or limit is None else mean / limit


class _SampledFlow:
    """Flow of every n-th frame to the next one taken; frames are padded by repeating their border.

    A step of None says that nobody knows which frames to take: none are.
    """

    def __init__(self, metric: DynamicDegree, network: RaftFlow, step: int | None) -> None:
        self._metric, self._network, self._step = metric, network, step
        self._stream = network.stream()
        self._count = self._taken = 0
        self._size = (0, 0)
        self._top5: list[float] = []

    def update(self, frames: Frames) -> None:
        import torch

        if self._step is None:
            return
        offset = -self._count % self._step
        self._count += len(frames)
        taken = frames[offset :: self._step]
        if not len(taken):
            return
        self._taken += len(taken)
        self._size = (int(taken.shape[1]), int(taken.shape[2]))
        if self._too_small():
            return
        for frame in taken:
            pixels = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].to(self._metric.device)
            for pairs in self._stream.push(padded(pixels)):
                self._take(pairs.flow)

    def compute(self, seams: Sequence[int] = ()) -> Score:
        if self._taken > 1 and not self._too_small():
            for pairs in self._stream.flush():
                self._take(pairs.flow)
        limit = threshold(*self._size) if self._count else None
        series: dict[str, list[float | None]] = {
            "top5": listed(np.array(self._top5)),
            "frame": [float(i * (self._step or 1)) for i in range(len(self._top5))],
            "step": [float(self._step or 1)],
            "threshold": [limit],
        }
        parts: dict[str, Part] = {
            "step": self._step,
            "pairs": len(self._top5),
            "threshold": limit,
            "flow": self._metric.flow,
        }
        if limit is None or not self._top5:
            return Score(None, parts, series, self._why_undefined())
        if None in series["top5"]:
            return Score(None, parts, series, NO_FLOW)
        above = sum(top > limit for top in self._top5)
        parts |= {"dynamic": decision(self._top5, self._taken, limit), "moving_share": above / len(self._top5)}
        return Score(self._metric.window(series, 0, self._count), parts, series)

    def _take(self, flow: Tensor) -> None:
        self._top5 += [top_mean(one, 0.05) for one in flow]

    def _too_small(self) -> bool:
        height, width = self._size
        side: int = self._network.smallest_side
        return -(-min(height, width) // 8) * 8 < side

    def _why_undefined(self) -> str:
        if self._step is None:
            return f"the video states no frame rate, and the frames to look at are {SAMPLED_FPS} a second"
        if self._taken > 1:
            side = self._network.smallest_side
            return f"frames of {self._size[0]} x {self._size[1]} are too small: the flow network needs {side} pixels"
        return f"only {self._taken} frame is left at {SAMPLED_FPS} frames a second, and motion needs two"


def sampling_step(fps: float) -> int:
    """Returns which n-th frames are looked at, Python's rounding: 12 frames a second are halved, 10 are not.

    Source: VBench 45e79ec, `vbench/dynamic_degree.py`.
    """
    return max(1, round(fps / SAMPLED_FPS))


def threshold(height: int, width: int, pixels: float = 6.0) -> float:
    """Returns the length of flow, in pixels, from which on a pair counts as moving, of frames of this size."""
    return pixels * min(height, width) / 256


def decision(tops: Sequence[float], num_frames: int, limit: float) -> bool:
    """Returns VBench's yes or no: whether a quarter as many pairs as frames exceed the threshold.

    With two frames none is needed, so the answer is yes; with one there is no pair to ask at, so it is no.

    Args:
        tops: per pair, the mean of its longest flows; NaN never exceeds.
        num_frames: frames after sampling.
        limit: see `threshold`.
    """
    needed, found = round(4 * num_frames / 16), 0
    for top in tops:
        found += top > limit
        if found >= needed:
            return True
    return False


def is_static(tops: Sequence[float], wrap: tuple[float, float], num_frames: int, limit: float) -> bool:
    """Returns whether VBench's static filter lets a video in, which its temporal flickering is meant for.

    A share of the pairs may move, and neither wrap may jump; the wraps are not among the pairs that are counted.

    Args:
        tops: of all consecutive pairs, the mean of the longest 2 % of the flow.
        wrap: the same from the first frame to the last one, and back.
        num_frames: of the video.
        limit: `threshold(height, width, 3)`.

    Source: VBench 45e79ec, `vbench/cli/static_filter.py:40-84`.
    """
    allowed = round(2 * num_frames / 16)
    moving = sum(top > limit for top in tops)
    return moving <= allowed and not any(top > 2 * limit * allowed for top in wrap)


def top_mean(flow: Tensor, share: float) -> float:
    """Returns the mean length of the longest flows; NaN where one is.

    Args:
        flow: [2, H, W] in pixels.
        share: of all vectors, rounded down to a whole number of them.
    """
    length = flow.square().sum(dim=0).sqrt().flatten()
    return float(length.topk(int(share * length.numel())).values.mean())


def padded(frames: Tensor) -> Tensor:
    """Returns frames [N, 3, H, W] with sides divisible by 8, the border repeated as evenly as can be on both sides.

    Source: VBench 45e79ec, `vbench/third_party/RAFT` (its padder).
    """
    from torch.nn import functional

    down, across = -frames.shape[-2] % 8, -frames.shape[-1] % 8
    if not down and not across:
        return frames
    sides = (across // 2, across - across // 2, down // 2, down - down // 2)
    return functional.pad(frames.float(), sides, mode="replicate").to(frames.dtype)
