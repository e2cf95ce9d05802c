"""The autoencoders of the miniature world: diffusers' `AutoencoderKL`, 64x64 frames to 8x8 latents of 4 channels.

There are two. All U-Nets at 64 pixels share the first one, and OpenSora's temporal autoencoder works on its latents.
The refiner has the light one: trained longer, it shows frames better at a quarter of the price.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from generators.mini.data import as_pixels
from generators.mini.denoising import CACHE
from generators.mini.latents import LIGHT, SHARED
from generators.mini.rendered import load_rendered
from generators.mini.training import Recipe, StepRandom

CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "sample_size": 64,
    "layers_per_block": 1,
    "block_out_channels": (64, 64, 64, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 32,
}

# The two finest levels are narrow: there a channel costs most, and decoding is a third of what a video costs.
LIGHT_CONFIG = CONFIG | {"block_out_channels": (32, 32, 64, 64), "norm_num_groups": 8}


class AutoencoderTask:
    """Reconstruction of single frames: L1 + 2 MSE + 1e-6 KL."""

    name = "autoencoder"
    recipe = Recipe(steps=1900, batch=16, learning_rate=2e-3, average=0.995, half=True)
    compiled: tuple[str, ...] = ()
    config = CONFIG
    folder = SHARED

    def __init__(self) -> None:
        self.stills = load_rendered(CACHE).stills

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        network: nn.Module = AutoencoderKL(**self.config).to(memory_format=torch.channels_last)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the reconstruction loss of one batch and its PSNR in dB."""
        rows = torch.as_tensor(random.scenes.integers(len(self.stills), size=self.recipe.batch))
        frames = as_pixels(self.stills[rows]).contiguous(memory_format=torch.channels_last)
        posterior = network.encode(frames).latent_dist
        latents = posterior.sample(generator=random.noise)
        error = network.decode(latents).sample.float() - frames
        mse = error.square().mean()
        divergence = posterior.kl().mean() / latents[0].numel()
        figures = {"psnr": 10 * torch.log10(4 / mse.detach()), "kl": divergence.detach()}
        return error.abs().mean() + 2 * mse + 1e-6 * divergence, figures

    def export(self, network: Any, weights: Path) -> None:
        """Writes the network's folder, with the scaling factor that gives latents unit variance."""
        with torch.no_grad():
            parts = [network.encode(as_pixels(part)).latent_dist.mean for part in torch.split(self.stills[:2048], 64)]
        latents = torch.cat(parts)
        network.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
        network.half().save_pretrained(weights / self.folder)


class LightAutoencoderTask(AutoencoderTask):
    """The same of the light autoencoder."""

    name = "light_autoencoder"
    recipe = Recipe(steps=2700, batch=96, learning_rate=2e-3, average=0.998, half=True)
    config = LIGHT_CONFIG
    folder = LIGHT
