"""The autoencoders of the miniature world: diffusers' `AutoencoderKL`, 64x64 frames to 8x8 latents of 4 channels.

There are two spaces of latents. All U-Nets at 64 pixels share the first one, and OpenSora's temporal autoencoder works
on it; it was made by a wide autoencoder, whose place a narrow one has taken that learned the same latents. The refiner
has the light autoencoder with latents of its own: trained longest, it shows frames best.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from generators.mini.data import as_pixels
from generators.mini.denoising import CACHE, WEIGHTS
from generators.mini.latents import LIGHT, SHARED, load_library
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


class NarrowAutoencoderTask:
    """The light network, taught to encode to the shared latents and to decode them: as the wide one, for a third.

    Besides the reconstruction of frames (L1 + 2 MSE), the loss is the squared error of its latents. What it decodes are
    the wide one's latents with a little noise, and in every fourth frame its own.
    """

    name = "narrow_autoencoder"
    recipe = Recipe(steps=1500, batch=16, learning_rate=1.5e-3, weight_decay=0.0, average=0.995)
    compiled: tuple[str, ...] = ()
    own_share = 0.25
    most_noise = 0.05
    """Standard deviation, in latents of unit variance, up to which noise is added."""

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.frames = load_rendered(CACHE).clips

    def build(self) -> nn.Module:
        """Returns the light autoencoder as the refiner has it."""
        network = AutoencoderKL(**LIGHT_CONFIG)
        light = AutoencoderKL.from_pretrained(WEIGHTS / LIGHT, torch_dtype=torch.float32)
        network.load_state_dict(light.state_dict())
        started: nn.Module = network.to(memory_format=torch.channels_last)
        return started

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss of one batch of frames, the PSNR in dB and the squared error of latents."""
        clips, times = np.divmod(
            random.scenes.integers(self.library.clips[:, :, 0, 0, 0].numel(), size=self.recipe.batch),
            self.library.clips.shape[1],
        )
        rows = (torch.as_tensor(clips), torch.as_tensor(times))
        frames = as_pixels(self.frames[rows]).contiguous(memory_format=torch.channels_last)
        wanted = self.library.clips[rows].float()
        latents = network.encode(frames).latent_dist.mean * self.library.scaling_factor
        amount, draw = (torch.rand(len(frames), 1, 1, 1, generator=random.noise) for _ in range(2))
        noisy = wanted + self.most_noise * amount * torch.randn(wanted.shape, generator=random.noise)
        shown = torch.where(draw < self.own_share, latents.detach(), noisy)
        error = network.decode(shown / self.library.scaling_factor).sample - frames
        apart = (latents - wanted).square().mean()
        figures = {"psnr": 10 * torch.log10(4 / error.detach().square().mean()), "apart": apart.detach()}
        return error.abs().mean() + 2 * error.square().mean() + apart, figures

    def export(self, network: Any, weights: Path) -> None:
        """Writes the network in the place of the wide one, with its scaling factor."""
        network.register_to_config(scaling_factor=self.library.scaling_factor)
        network.half().save_pretrained(weights / SHARED)
