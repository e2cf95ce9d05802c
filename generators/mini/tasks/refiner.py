"""The refiner of the miniature world: MS-Vid2Vid-XL's class on 16x16 latents of 24 frames, which are 128x128 pixels.

It has an autoencoder and a text encoder of its own, as the released one has, and is taught what the refinement stage
asks of it: to find the clean clip in a noisy one that started as an enlarged, spoilt one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet3DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from generators.mini.denoising import CACHE, WEIGHTS
from generators.mini.pairs import load_pairs
from generators.mini.tokenizer import build_tokenizer
from generators.mini.training import Recipe, StepRandom
from generators.streaming_t2v.encoders import TextEncoder
from generators.streaming_t2v.refiner import Refiner, pad_rows_when_downsampling
from generators.streaming_t2v.sdedit import refiner_sigmas

CONFIG = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"),  # attention where frames are small, for its price
    "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"),
    "block_out_channels": (32, 56),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 96,
    "attention_head_dim": 8,
}

LOWEST, HIGHEST = 100, 599
"""Levels a refinement may start from: the highest is the released one."""


@dataclass(frozen=True)
class _OnDevice:
    """All a step needs, on one device: latents [clips, frames, 4, h, w] and contexts [clips + 1, N, D].

    The last context is that of no caption.
    """

    clean: Tensor
    spoilt: Tensor
    contexts: Tensor
    sigmas: Tensor


class RefinerTask:
    """Denoising with v-prediction what a solver would show the network; one caption in ten is left out.

    A solver that starts from level s has still (sigma_t / sigma_s)^2 of the difference between the spoilt and the clean
    clip in its latents at level t, with sigma in units of the signal, if the network has seen the clean clip so far.

    Source: the share follows from DPM-Solver++'s SDE step (`generators.streaming_t2v.sdedit.SDEdit.advance`).
    """

    name = "refiner"
    recipe = Recipe(steps=317, batch=16, learning_rate=1.5e-3, average=0.998)
    compiled: tuple[str, ...] = ()

    def __init__(self, clips: int = 2000, cache: Path = CACHE, weights: Path = WEIGHTS) -> None:
        self.clips, self.cache, self.weights = clips, cache, weights
        self._data: _OnDevice | None = None

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        network: nn.Module = pad_rows_when_downsampling(UNet3DConditionModel(**CONFIG))
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        data = self._on(next(network.parameters()).device)
        device, count = data.clean.device, self.recipe.batch
        rows = random.scenes.integers(len(data.clean), size=count)
        texts = np.where(random.scenes.random(count) < 0.1, len(data.clean), rows)
        starts = random.scenes.integers(LOWEST, HIGHEST + 1, size=count)
        times = (random.scenes.random(count) * starts).astype(int)
        row, text, start, time = (torch.from_numpy(numbers).to(device) for numbers in (rows, texts, starts, times))
        clean, spoilt = (clips[row].float().transpose(1, 2) for clips in (data.clean, data.spoilt))
        noise = torch.randn(clean.shape, generator=random.noise, device=random.noise.device).to(device)
        noisy, velocity = seen_by_solver(clean, spoilt, noise, data.sigmas[start], data.sigmas[time])
        v = network(noisy, time, data.contexts[text]).sample
        return (v - velocity).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `refiner/unet`."""
        network.half().save_pretrained(weights / "refiner" / "unet")

    def _on(self, device: torch.device) -> _OnDevice:
        """Returns the data on a device, made and moved there at the first call."""
        if self._data is None or self._data.clean.device != device:
            pairs = load_pairs(self.clips, self.cache, self.weights, device)
            folder = self.weights / "text_to_video" / "text_encoder"
            model = CLIPTextModel.from_pretrained(folder, torch_dtype=torch.float32).eval().to(device)
            encode, read = (
                TextEncoder(build_tokenizer(), model),
                [text + Refiner.prompt_suffix for text in pairs.captions],
            )
            contexts = [encode(read[first : first + 256]) for first in range(0, len(read), 256)]
            tensors = (pairs.clean, pairs.spoilt, torch.cat([*contexts, encode([""])]), refiner_sigmas())
            self._data = _OnDevice(*(tensor.to(device) for tensor in tensors))
        return self._data


def seen_by_solver(clean: Tensor, spoilt: Tensor, noise: Tensor, start: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the network's input and the v that leads to the clean clip, both shaped like it.

    Args:
        clean: latents [B, ...].
        spoilt: latents the refinement starts from, likewise.
        noise: unit noise, likewise.
        start: noise level the refinement starts from [B]; signal and noise have a variance of 1 together.
        sigma: noise level of the call [B], no higher.
    """
    start, sigma = (level.view(-1, *[1] * (clean.ndim - 1)) for level in (start, sigma))
    signal, ratio = (1 - sigma.square()).sqrt(), start / (1 - start.square()).sqrt()
    left = sigma / ratio.square()  # share of the fault times signal² / sigma; finite at sigma = 0, where both vanish
    fault = spoilt - clean
    share = (sigma / signal / ratio).square()
    noisy = signal * (clean + share * fault) + sigma * noise
    return noisy, signal * noise - sigma * clean + left * fault
