"""What MUSIQ makes of every frame, with VBench's preprocessing.

Example:
    >>> MusiqScores("somewhere").identity("")
    'musiq 1 missing missing'
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics.api import Frames
from metrics.errors import WeightsError
from metrics.features.base import Arrays, FrameBuffer

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.features.musiq_network import Musiq

FRAMES_PER_BATCH = 4
"""Frames that go through the network together, always: batches of one size make scores independent of chunking."""

LONGEST_SIDE = 512
"""Larger frames are scaled down to it. Source: VBench 45e79ec, `vbench/imaging_quality.py:11-55`."""

MUSIQ_VERSION = 1
"""Changes whenever the same frames would give other scores."""


@dataclass(frozen=True)
class MusiqScores:
    """Settings of the pass.

    Attributes:
        weights: the checkpoint file; a `config.json` beside it may name other sizes than the released ones.
        device: a torch device.
    """

    weights: str = ""
    device: str = "cpu"

    def identity(self, prompt: str) -> str:
        """Returns what the scores depend on besides the frames."""
        from metrics.flow.weights import identity_of

        file = Path(self.weights)
        return f"musiq {MUSIQ_VERSION} {identity_of(file, file.with_name('config.json'))}"

    def load(self) -> LoadedMusiq:
        """Returns the loaded network.

        Raises:
            WeightsError: if its weights are not there or are of another network.
        """
        from metrics.features.musiq_network import Musiq
        from metrics.features.tensors import read_tensors

        file = Path(self.weights)
        if not file.is_file():
            raise WeightsError(
                f'no MUSIQ weights at "{self.weights}": run `python -m bench fetch vbench`, or name the file '
                "musiq_spaq_ckpt-358bb6af.pth as `weights`"
            )
        sizes = file.with_name("config.json")
        network = Musiq(**(json.loads(sizes.read_text(encoding="utf-8")) if sizes.is_file() else {}))
        try:
            network.load_state_dict(read_tensors(file))
        except RuntimeError as error:
            raise WeightsError(f"{file} does not hold MUSIQ's weights: {error}") from error
        return LoadedMusiq(network.eval().to(self.device), self.device)


class LoadedMusiq:
    """The loaded network."""

    def __init__(self, network: Musiq, device: str) -> None:
        self._network, self._device = network, device

    def begin(self, prompt: str) -> MusiqPass:
        """Returns a fresh pass for one video."""
        return MusiqPass(self)

    def pictures(self, frames: Frames) -> Tensor:
        """Returns frames [T, H, W, 3] as the network takes them, float32 [T, 3, h, w], 0..1."""
        import torch
        from torch.nn import functional

        pixels = torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2).float()
        height, width = pixels.shape[-2:]
        longest = max(height, width)
        if longest > LONGEST_SIDE:
            size = (int(LONGEST_SIDE / longest * height), int(LONGEST_SIDE / longest * width))
            pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        return pixels / 255

    def scores(self, frames: Frames) -> list[float]:
        """Returns one score per frame."""
        import torch

        with torch.inference_mode():
            scores: list[float] = self._network(self.pictures(frames)).tolist()
        return scores


class MusiqPass:
    """Scores of one video.

    Arrays:
        score: float32 [T].
    """

    def __init__(self, network: LoadedMusiq) -> None:
        self._network = network
        self._buffer = FrameBuffer(FRAMES_PER_BATCH)
        self._scores: list[float] = []

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        for batch in self._buffer.push(frames):
            self._scores += self._network.scores(batch)

    def arrays(self) -> Arrays:
        """Returns the scores."""
        for batch in self._buffer.rest():
            self._scores += self._network.scores(batch)
        return {"score": np.array(self._scores, dtype=np.float32)}
