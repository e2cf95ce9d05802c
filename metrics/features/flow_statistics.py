"""Per-pair numbers of a video from its optical flow: one pass, from which MAWE, seams and stillness all read.

Example:
    >>> feature = FlowStatistics(flow="dis", size=64)
    >>> pass_ = feature.load().begin("")
    >>> pass_.update(np.zeros((3, 48, 64, 3), np.uint8))
    >>> pass_.arrays()["motion"].shape
    (2,)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metrics.api import Frames
from metrics.errors import SettingError
from metrics.features.base import Arrays, FrameBuffer

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.flow.api import FlowEstimator, FlowPairs

FRAMES_PER_BATCH = 8
"""Frames resized together: enough to keep a device busy, few enough for 720p frames to stay small in memory."""

FLOW_STATISTICS_VERSION = 2
"""Changes whenever the same frames would give other arrays, so that kept ones are not read."""


@dataclass(frozen=True)
class FlowStatistics:
    """Settings of the flow pass.

    Attributes:
        flow: estimator; see `metrics.flow.estimators.load_estimator`.
        size: side of the square the frames are squashed to, pixels; 0 keeps their size.
        weights: weights file or folder, empty for the default.
        device: a torch device.
        precision: arithmetic of the network; see `metrics.flow.raft_streaming.PRECISIONS`.
    """

    flow: str = "raft_large"
    size: int = 720
    weights: str = ""
    device: str = "cpu"
    precision: str = "float32"

    def identity(self, prompt: str) -> str:
        """Returns all the arrays depend on besides the frames; the device is left out, as it moves them little."""
        from metrics.flow.estimators import precision_identity, weights_identity

        weights = weights_identity(self.flow, self.weights)
        return f"pairs {FLOW_STATISTICS_VERSION} {self.flow} {weights} {self.size} {precision_identity(self.precision)}"

    def load(self) -> LoadedFlow:
        """Returns the loaded estimator.

        Raises:
            SettingError: for an unknown estimator or a negative size.
            WeightsError: if its weights are missing or wrong.
        """
        from metrics.flow.estimators import load_estimator

        if self.size < 0:
            raise SettingError(f"`size` is the side of a square in pixels, or 0 to keep the frames: not {self.size}")
        return LoadedFlow(self, load_estimator(self.flow, self.weights, self.device, self.precision))


class LoadedFlow:
    """A loaded flow estimator and the size it works at."""

    def __init__(self, feature: FlowStatistics, estimator: FlowEstimator) -> None:
        self.feature, self.estimator = feature, estimator

    def begin(self, prompt: str) -> FlowStatisticsPass:
        """Returns a fresh pass for one video."""
        return FlowStatisticsPass(self.estimator, self.feature.size)


class FlowStatisticsPass:
    """Per-pair numbers of one video.

    Arrays, all [P] for P frame pairs (pair i is frames i and i + 1) but the last:
        warp_error: float32, mean squared error per channel on known cells, 0..255 scale.
        motion: float32, mean length of the flow, pixels of the resized frame.
        motion_squared: float64, mean squared length.
        known: int64, known cells.
        flow_change: float32, mean length of the difference to the flow of the pair before; nan for pair 0.
        cells: int64 [1], cells of a frame.
    """

    def __init__(self, estimator: FlowEstimator, size: int) -> None:
        self._device, self._stream, self._size = estimator.device, estimator.stream(), size
        self._buffer = FrameBuffer(FRAMES_PER_BATCH)
        self._columns: list[list[float]] = [[], [], [], [], []]
        self._waiting: list[tuple[Tensor, ...]] = []
        self._last_flow: Tensor | None = None
        self._cells = 0

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        self._push(self._buffer.push(frames))

    def arrays(self) -> Arrays:
        """Returns the columns; waits for the device, once."""
        self._push(self._buffer.rest())
        self._take(self._stream.flush())
        self._fetch()
        warp_error, motion, motion_squared, known, flow_change = self._columns
        return {
            "warp_error": np.array(warp_error, np.float32),
            "motion": np.array(motion, np.float32),
            "motion_squared": np.array(motion_squared, np.float64),
            "known": np.array(known, np.int64),
            "flow_change": np.array(flow_change, np.float32),
            "cells": np.array([self._cells]),
        }

    def _push(self, batches: Iterable[Frames]) -> None:
        from metrics.flow.warping import resize_frames

        for batch in batches:
            self._take(self._stream.push(resize_frames(batch, self._size, self._device)))

    def _take(self, batches: Iterable[FlowPairs]) -> None:
        from metrics.flow.warping import pair_numbers

        for pairs in batches:
            numbers = pair_numbers(pairs.left, pairs.right, pairs.flow)
            self._cells = pairs.left.shape[-2] * pairs.left.shape[-1]
            change = self._change(pairs.flow)
            row = (numbers.warp_error, numbers.motion, numbers.motion_squared, numbers.known, change)
            self._waiting.append(row)
            if self._device == "cpu":
                # On a CPU, small tensors kept between large temporaries pin the heap, and memory would grow by a flow
                # field per pair. On a GPU they wait, so that the device is not held up for every pair.
                self._fetch()

    def _fetch(self) -> None:
        """Moves the numbers that wait on the device into the columns."""
        import torch

        for column, values in zip(self._columns, zip(*self._waiting, strict=True), strict=False):
            column.extend(torch.cat(values).tolist())
        self._waiting.clear()

    def _change(self, flow: Tensor) -> Tensor:
        """Returns the mean length of each flow's difference to the one before it, nan where there is none."""
        import torch

        first = torch.full_like(flow[:1], torch.nan) if self._last_flow is None else self._last_flow
        self._last_flow = flow[-1:]
        before = torch.cat([first, flow[:-1]])
        length = (flow - before).square_().sum(dim=1).sqrt_()  # twenty times as fast as a norm of two channels
        mean: Tensor = length.flatten(1).mean(dim=1, dtype=torch.float64)
        return mean
