"""Text, anchor frame and latents: the frozen networks around the streaming network, behind three small calls.

Example:
    >>> import torch
    >>> in_batches(lambda part: part * 2, torch.arange(5), size=2)
    tensor([0, 2, 4, 6, 8])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from generators.streaming_t2v.appearance import CLIP_MEAN, CLIP_STD, clip_pixels


def in_batches(call: Callable[[Tensor], Tensor], items: Tensor, size: int) -> Tensor:
    """The results of a call on consecutive parts of at most `size` items, joined."""
    return torch.cat([call(part) for part in torch.split(items, size)])


@dataclass(frozen=True)
class TextEncoder:
    """Prompt -> tokens [1, N, D] of the CLIP text encoder's last layer, padded to its full length."""

    tokenizer: CLIPTokenizer
    model: CLIPTextModel

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Tokens [len(prompts), N, D]; longer prompts are cut at the encoder's length."""
        length = self.model.config.max_position_embeddings
        ids = self.tokenizer(
            list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        tokens: Tensor = self.model(ids.to(self.model.device)).last_hidden_state
        return tokens


@dataclass(frozen=True)
class ImageEncoder:
    """Frames -> pooled and projected CLIP embeddings, not normalised.

    Attributes:
        model: the CLIP vision tower with its projection.
        mean: per channel, as the tower was trained.
        std: per channel, as the tower was trained.
    """

    model: CLIPVisionModelWithProjection
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Embeddings [N, W] of frames [N, 3, H, W] in -1..1."""
        pixels = clip_pixels(frames, self.model.config.image_size, self.mean, self.std)
        embeddings: Tensor = self.model(pixels.to(self.model.device, self.model.dtype)).image_embeds
        return embeddings


@dataclass(frozen=True)
class LatentCodec:
    """Frames in -1..1 <-> latents of about unit variance.

    Attributes:
        vae: the autoencoder.
        batch: frames per call.
    """

    vae: AutoencoderKL
    batch: int = 8

    @property
    def factor(self) -> int:
        """Pixels per latent cell along each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, frames: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents [N, C, h, w] of frames [N, 3, H, W]: the posterior's mode, or a sample made with unit noise."""

        def call(part: Tensor) -> Tensor:
            posterior = self.vae.encode(part.to(self.vae.device, self.vae.dtype)).latent_dist
            return torch.cat([posterior.mean, posterior.std], dim=1)

        mean, std = in_batches(call, frames, self.batch).chunk(2, dim=1)
        latents = mean if noise is None else mean + std * noise.to(std)
        scaled: Tensor = latents * self.vae.config.scaling_factor
        return scaled

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Frames [N, 3, H, W] in -1..1, clamped, of latents [N, C, h, w]."""

        def call(part: Tensor) -> Tensor:
            decoded: Tensor = self.vae.decode((part / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
            return decoded

        return in_batches(call, latents, self.batch).clamp(-1, 1)
