"""The autoencoder of Open-Sora 1.2: an image autoencoder per frame, then a causal temporal one over its latents.

Why it exists: the temporal half is in no library, and its alignment decides how a clip is continued. It works on
stretches of 17 frames = 5 latents and pads in *front* to a multiple of 4 frames, so the latents of 16 and of 17 frames
of the same clip have nothing in common.

Example:
    >>> import torch
    >>> config = TemporalVAEConfig(filters=8, num_res_blocks=1, num_groups=4)
    >>> vae = TemporalVAE(config).eval()
    >>> mean, _ = vae.encode(torch.randn(1, 4, 17, 4, 4))
    >>> mean.shape, vae.decode(mean, 17).shape
    (torch.Size([1, 4, 5, 4, 4]), torch.Size([1, 4, 17, 4, 4]))

Source: Open-Sora branch opensora/v1.2, opensora/models/vae/vae_temporal.py and vae.py; golden data
`opensora12_vae_temporal`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

STRETCH_FRAMES = 17
"""Frames encoded together. Source: vae.py, micro_frame_size."""
STRETCH_LATENTS = 5
"""Latent frames of one stretch. Source: vae.py, micro_z_frame_size."""
_TIME_FACTOR = 4
_FRAMES_AT_ONCE = 4
"""Frames the image autoencoder sees together. Source: configs/opensora-v1-2/inference/sample.py, micro_batch_size."""
_LATENT_SHIFT = (-0.10, 0.34, 0.27, 0.98)
_LATENT_SCALE = (3.85, 2.32, 2.33, 3.06)
"""Mean and deviation of the latents, per channel. Source: vae.py:268-269."""


@dataclass(frozen=True)
class TemporalVAEConfig:
    """Sizes of the temporal autoencoder; the defaults are the released ones.

    Attributes:
        in_out_channels: channels of the image latents.
        embed_dim: channels of the latents.
        filters: channels of the first level.
        num_res_blocks: residual blocks per level.
        channel_multipliers: channels of each level over `filters`.
        temporal_downsample: whether frames are halved after each level but the last.
        num_groups: groups of the normalisations.
    """

    in_out_channels: int = 4
    embed_dim: int = 4
    filters: int = 128
    num_res_blocks: int = 4
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 4)
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    num_groups: int = 32

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TemporalVAEConfig:
        """Returns the configuration written in a `config.json`; entries of other parts are not read."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        for name in ("channel_multipliers", "temporal_downsample"):
            if name in known:
                known[name] = tuple(known[name])
        return cls(**known)


class CausalTimeConv(nn.Module):
    """A 3D convolution that sees no later frame; zeros stand before the first one and around each frame."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, time_stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, side, side, kernel - time_stride, 0)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=(time_stride, 1, 1), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, out, T / time_stride, h, w] from [B, in, T, h, w]."""
        out: Tensor = self.conv(F.pad(x, self.padding))
        return out


class ResBlock(nn.Module):
    """Two normalised convolutions without bias beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, in_channels)
        self.conv1 = CausalTimeConv(in_channels, out_channels, 3, bias=False)
        self.norm2 = nn.GroupNorm(num_groups, out_channels)
        self.conv2 = CausalTimeConv(out_channels, out_channels, 3, bias=False)
        self.conv3 = CausalTimeConv(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, out, T, h, w] from [B, in, T, h, w]."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        shortcut = x if self.conv3 is None else self.conv3(x)
        out: Tensor = shortcut + hidden
        return out


def _res_blocks(in_channels: int, out_channels: int, config: TemporalVAEConfig) -> nn.Sequential:
    """Returns `num_res_blocks` blocks, the first of which changes the width."""
    widths = [in_channels] + [out_channels] * config.num_res_blocks
    return nn.Sequential(*(ResBlock(a, b, config.num_groups) for a, b in pairwise(widths)))


class TemporalEncoder(nn.Module):
    """Image latents to the mean and log variance before the last 1x1 convolution."""

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        widths = [config.filters * multiplier for multiplier in config.channel_multipliers]
        self.conv_in = CausalTimeConv(config.in_out_channels, config.filters, 3, bias=False)
        inputs = [config.filters, *widths]
        self.block_res_blocks = nn.ModuleList(_res_blocks(a, b, config) for a, b in zip(inputs, widths, strict=False))
        self.conv_blocks = nn.ModuleList(
            CausalTimeConv(width, width, 3, time_stride=2) if halve else nn.Identity()
            for width, halve in zip(widths, config.temporal_downsample, strict=False)
        )
        self.res_blocks = _res_blocks(widths[-1], widths[-1], config)
        self.norm1 = nn.GroupNorm(config.num_groups, widths[-1])
        self.conv2 = CausalTimeConv(widths[-1], 2 * config.embed_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, 2 * embed_dim, T / 4, h, w] from [B, C, T, h, w] with T a multiple of 4."""
        x = self.conv_in(x)
        for level, blocks in enumerate(self.block_res_blocks):
            x = blocks(x)
            if level < len(self.conv_blocks):
                x = self.conv_blocks[level](x)
        out: Tensor = self.conv2(F.silu(self.norm1(self.res_blocks(x))))
        return out


class DoubleTime(nn.Module):
    """A convolution to twice the channels, every pair of which becomes two frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 2 * channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, 2 T, h, w] from [B, C, T, h, w]."""
        pairs = torch.unflatten(self.conv(F.pad(x, (1, 1, 1, 1, 2, 0))), 1, (-1, 2))
        out: Tensor = pairs.transpose(2, 3).flatten(2, 3)
        return out


class TemporalDecoder(nn.Module):
    """Latents back to image latents; levels are numbered as in the encoder and run from the last to the first."""

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        widths = [config.filters * multiplier for multiplier in config.channel_multipliers]
        self.conv1 = CausalTimeConv(config.embed_dim, widths[-1], 3)
        self.res_blocks = _res_blocks(widths[-1], widths[-1], config)
        inputs = [*widths[1:], widths[-1]]
        self.block_res_blocks = nn.ModuleList(_res_blocks(a, b, config) for a, b in zip(inputs, widths, strict=True))
        self.conv_blocks = nn.ModuleList(
            DoubleTime(width) if double else nn.Identity()
            for width, double in zip(widths[1:], config.temporal_downsample, strict=True)
        )
        self.norm1 = nn.GroupNorm(config.num_groups, widths[0])
        self.conv_out = CausalTimeConv(widths[0], config.in_out_channels, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Returns [B, C, 4 T, h, w] from [B, embed_dim, T, h, w]."""
        x = self.res_blocks(self.conv1(z))
        for level in reversed(range(len(self.block_res_blocks))):
            x = self.block_res_blocks[level](x)
            if level > 0:
                x = self.conv_blocks[level - 1](x)
        out: Tensor = self.conv_out(F.silu(self.norm1(x)))
        return out


class TemporalVAE(nn.Module):
    """The temporal autoencoder on one stretch of at most 17 frames."""

    def __init__(self, config: TemporalVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TemporalEncoder(config)
        self.quant_conv = CausalTimeConv(2 * config.embed_dim, 2 * config.embed_dim, 1)
        self.post_quant_conv = CausalTimeConv(config.embed_dim, config.embed_dim, 1)
        self.decoder = TemporalDecoder(config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log variance of the latents, both [B, embed_dim, ceil(T / 4), h, w], of [B, C, T, h, w]."""
        padded = F.pad(x, (0, 0, 0, 0, -x.shape[2] % _TIME_FACTOR, 0))
        mean, log_variance = self.quant_conv(self.encoder(padded)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def decode(self, z: Tensor, num_frames: int) -> Tensor:
        """Returns [B, C, num_frames, h, w] from [B, embed_dim, ceil(num_frames / 4), h, w]; drops the front padding."""
        decoded: Tensor = self.decoder(self.post_quant_conv(z))
        return decoded[:, :, -num_frames % _TIME_FACTOR :]


@dataclass(frozen=True)
class FrameVAEConfig:
    """Sizes of the image autoencoder; the defaults are Stable Diffusion XL's.

    Attributes:
        block_out_channels: channels per level; each level but the last halves rows and columns.
        layers_per_block: residual blocks per level.
        norm_num_groups: groups of the normalisations.
        latent_channels: channels of the image latents.
        scaling_factor: between the image latents and what the temporal half sees. Source: vae.py, VideoAutoencoderKL
            (not SDXL's own 0.13025); to be confirmed by reconstructing a clip with the released file.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    latent_channels: int = 4
    scaling_factor: float = 0.18215

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FrameVAEConfig:
        """Returns the configuration written in a `config.json`; the released file names SDXL's and sets nothing."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        if "block_out_channels" in known:
            known["block_out_channels"] = tuple(known["block_out_channels"])
        return cls(**known)


class FrameVAE(nn.Module):
    """An image autoencoder, diffusers' `AutoencoderKL`, applied to every frame by itself."""

    def __init__(self, config: FrameVAEConfig) -> None:
        super().__init__()
        levels = len(config.block_out_channels)
        self.config = config
        self.module: Any = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            latent_channels=config.latent_channels,
        )

    def encode(self, video: Tensor, generator: torch.Generator | None) -> Tensor:
        """Returns image latents [B, 4, T, H / 8, W / 8] of a video [B, 3, T, H, W] in -1..1; drawn, or the mean."""
        parts = []
        for part in torch.split(video.transpose(1, 2).flatten(0, 1), _FRAMES_AT_ONCE):
            posterior = self.module.encode(part).latent_dist
            parts.append(drawn(posterior.mean, posterior.logvar, generator))
        latents = torch.cat(parts) * self.config.scaling_factor
        return torch.unflatten(latents, 0, (video.shape[0], -1)).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Returns the video [B, 3, T, H, W] in about -1..1 of image latents [B, 4, T, h, w]."""
        frames = latents.transpose(1, 2).flatten(0, 1) / self.config.scaling_factor
        parts = [self.module.decode(part).sample for part in torch.split(frames, _FRAMES_AT_ONCE)]
        return torch.unflatten(torch.cat(parts), 0, (latents.shape[0], -1)).transpose(1, 2)


def drawn(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None) -> Tensor:
    """Returns a draw from N(mean, exp(log_variance)) with noise from the generator, or the mean without one."""
    if generator is None:
        return mean
    noise = torch.randn(mean.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return mean + (0.5 * log_variance).exp() * noise.to(mean)


class OpenSoraVAE(nn.Module):
    """Frames to normalised latents and back, stretch by stretch; parameter names are those of the released file."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        frame: FrameVAEConfig,
        temporal: TemporalVAEConfig,
        shift: Sequence[float] = _LATENT_SHIFT,
        scale: Sequence[float] = _LATENT_SCALE,
    ) -> None:
        """Builds both halves; `shift` and `scale` are mean and deviation of the latents, per channel."""
        super().__init__()
        self.spatial_vae = FrameVAE(frame)
        self.temporal_vae = TemporalVAE(temporal)
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1, 1))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OpenSoraVAE:
        """Returns the autoencoder a `config.json` describes: entries vae_2d, vae_temporal, shift, scale, if present."""
        return cls(
            FrameVAEConfig.from_json(values.get("vae_2d", {})),
            TemporalVAEConfig.from_json(values.get("vae_temporal", {})),
            values.get("shift", _LATENT_SHIFT),
            values.get("scale", _LATENT_SCALE),
        )

    def load_released(self, state: Mapping[str, Tensor]) -> None:
        """Loads a released state dict by name, every tensor of it.

        `shift` and `scale` may be absent (they stand in the code and the configuration as well).

        Raises:
            RuntimeError: from torch, naming missing and unexpected tensors.
        """
        self.load_state_dict({"shift": self.shift, "scale": self.scale, **state}, assign=True)

    def encode(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns normalised latents [B, 4, T', H / 8, W / 8], T' as `latent_frames` says.

        Args:
            video: [B, 3, T, H, W] in -1..1, H and W multiples of 8.
            generator: draws from both posteriors, as the original does; None takes their means.
        """
        frames = self.spatial_vae.encode(video, generator)
        parts = [
            drawn(*self.temporal_vae.encode(stretch), generator)
            for stretch in torch.split(frames, STRETCH_FRAMES, dim=2)
        ]
        return (torch.cat(parts, dim=2) - self.shift) / self.scale

    def decode(self, latents: Tensor, num_frames: int) -> Tensor:
        """Returns the video [B, 3, num_frames, H, W] in about -1..1; `num_frames` as it was encoded."""
        parts = []
        for index, stretch in enumerate(torch.split(latents * self.scale + self.shift, STRETCH_LATENTS, dim=2)):
            missing = num_frames - index * STRETCH_FRAMES
            parts.append(self.temporal_vae.decode(stretch, min(STRETCH_FRAMES, missing)))
        return self.spatial_vae.decode(torch.cat(parts, dim=2))


def latent_frames(num_frames: int) -> int:
    """Returns how many latent frames stand for a video: 5 for every 17 frames and a quarter of the rest, rounded up.

    Example:
        >>> latent_frames(51), latent_frames(17), latent_frames(16), latent_frames(1)
        (15, 5, 4, 1)
    """
    stretches, rest = divmod(num_frames, STRETCH_FRAMES)
    return stretches * STRETCH_LATENTS + -(-rest // _TIME_FACTOR)
