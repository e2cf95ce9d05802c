"""SEINE in miniature: the text-to-image network taught time, with the given frames and a mask beside the noise.

Example:
    >>> given_counts(np.random.default_rng(0), 6).tolist()
    [1, 4, 4, 3, 3, 1]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from baselines.networks.ddim import linear_betas
from baselines.seine.network import SeineUNet
from generators.mini.denoising import (
    CACHE,
    WEIGHTS,
    FrozenText,
    draw_clips,
    left_out,
    levels,
    start_from_image_model,
)
from generators.mini.latents import SHARED, load_library
from generators.mini.training import Recipe, StepRandom

NUM_FRAMES = 16

CONFIG = {
    "block_out_channels": (32, 64),
    "attention_levels": (True, False),
    "layers_per_block": 1,
    "cross_attention_dim": 96,
    "num_attention_heads": (2, 4),
    "norm_num_groups": 8,
    "num_frames": NUM_FRAMES,
    "prediction_type": "v_prediction",
}

MOST_GIVEN = 5
"""Most frames that are given at once, as the adapter's documentation allows."""


class SeineTask:
    """Denoising clips of which the first frames are given, with v-prediction on SEINE's own noise schedule.

    The released network predicts noise, as the image network it started from. The miniature image network predicts v,
    and a few hundred steps do not turn one into the other: an error in noise is magnified 150 times in the frame where
    this schedule begins, and every chunk would get a ground of its own.

    Source: Chen et al., SEINE (arXiv:2310.20700), section 3.3 (masked concatenation); Salimans and Ho
        (arXiv:2202.00512), section 4 and appendix D (v).
    """

    name = "seine"
    recipe = Recipe(steps=700, batch=8, learning_rate=1.5e-3, average=0.995)
    compiled: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.text = FrozenText()
        self.alphas = torch.cumprod(1 - linear_betas(), dim=0).float()
        self.grey = latents_of_grey(WEIGHTS / SHARED)

    def build(self) -> nn.Module:
        """Returns the network as the text-to-image network, its temporal attentions adding nothing yet."""
        network = SeineUNet(**CONFIG)
        start_from_image_model(network, rename=lambda name: f"unet.{name}")
        for name, tensor in network.named_parameters():
            if ".attn_temp.to_out." in name:
                nn.init.zeros_(tensor)
        result: nn.Module = network
        return result

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        clean, captions = draw_clips(self.library, random, self.recipe.batch, NUM_FRAMES)
        clean = clean.transpose(1, 2)
        counts = torch.as_tensor(given_counts(random.scenes, len(clean)))
        missing = (torch.arange(clean.shape[2]) >= counts[:, None]).to(clean)[:, None, :, None, None]
        given = torch.where(missing.bool(), self.grey[:, None], clean)
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, 1000, (len(clean),), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        noisy = signal * clean + spread * noise
        clip = torch.cat([noisy, missing.expand_as(clean[:, :1]), given], dim=1)
        v = network(clip, times, self.text.encode(left_out(captions, random)))
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `seine/unet`."""
        network.half().save_pretrained(weights / "seine" / "unet")


def given_counts(rng: np.random.Generator, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Returns how many frames are given in each of `size` clips: mostly one, else two to `MOST_GIVEN` alike."""
    more = rng.integers(2, MOST_GIVEN + 1, size=size)
    return np.where(rng.random(size) < 0.6, 1, more)


@torch.no_grad()
def latents_of_grey(vae: Path) -> Tensor:
    """Returns the latents [4, 8, 8] of mid-grey, which stand for missing frames."""
    network = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32).eval()
    network.to(torch.get_default_device())
    mean: Tensor = network.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean[0]
    return mean * float(network.config.scaling_factor)
