"""Frames to latents and back through Stable Diffusion's image autoencoder, a few frames at a time.

Example:
    >>> latents = encode_frames(vae, frames, chunk=4, generator=generator)  # doctest: +SKIP
    >>> decode_latents(vae, latents, chunk=4).shape  # doctest: +SKIP
    torch.Size([16, 3, 512, 512])
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from generators.api import Frames


def to_pixels(frames: Frames, device: str) -> Tensor:
    """Returns frames [T, H, W, 3] as [T, 3, H, W] in -1..1, float32."""
    return torch.from_numpy(frames.copy()).to(device).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def encode_frames(vae: AutoencoderKL, pixels: Tensor, chunk: int, generator: torch.Generator) -> Tensor:
    """Returns latents [1, 4, T, h, w], drawn from each frame's posterior and scaled to unit variance, float32.

    Args:
        vae: the autoencoder, on its device.
        pixels: [T, 3, H, W], -1..1.
        chunk: frames encoded at once.
        generator: CPU generator of the posterior's noise.
    """
    posteriors = [vae.encode(part.to(vae.dtype)).latent_dist for part in torch.split(pixels, chunk)]
    means = torch.cat([posterior.mean for posterior in posteriors]).float()
    deviations = torch.cat([posterior.std for posterior in posteriors]).float()
    noise = torch.randn(means.shape, generator=generator).to(means)
    latents: Tensor = (means + deviations * noise) * vae.config.scaling_factor
    return latents.transpose(0, 1)[None]


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor, chunk: int) -> Tensor:
    """Returns pixels [T, 3, H, W] in 0..1 from latents [1, 4, T, h, w]; `chunk` frames are decoded at once."""
    frames = (latents[0].transpose(0, 1) / vae.config.scaling_factor).to(vae.dtype)
    pixels = torch.cat([vae.decode(part, return_dict=False)[0] for part in torch.split(frames, chunk)])
    return (pixels / 2 + 0.5).clamp(0, 1)
