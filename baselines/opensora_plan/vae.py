"""OpenSoraPlan 1.2's causal video autoencoder: 4k + 1 frames to k + 1 latent frames, each side an eighth.

Why it exists: no library ships it. It is Stable Diffusion's autoencoder with causal 3D convolutions (the first frame
stands for what came before), so that one image is a valid video. Two spellings of its attention share their parameter
names and differ in the result; the checkpoint's `config.json` says which one it was trained with.

Example:
    >>> import torch
    >>> config = CausalVAEConfig(hidden_size=8, hidden_size_mult=(1, 1, 1, 1), num_res_blocks=1, norm_groups=4)
    >>> vae = CausalVAE(config).eval()
    >>> mean, _ = vae.encode(torch.randn(1, 3, 5, 16, 16))
    >>> mean.shape, vae.decode(mean).shape
    (torch.Size([1, 4, 2, 2, 2]), torch.Size([1, 3, 5, 16, 16]))

Source: Open-Sora-Plan eb1311b, opensora/models/causalvideovae/model (vae/modeling_causalvae.py, modules/conv.py,
resnet_block.py, attention.py, updownsample.py); golden data `opensoraplan12_causal_vae`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from baselines.opensora_plan.vae_layers import CausalConv3d, ResnetBlock3D, layer_named, per_frame
from baselines.opensora_plan.vae_tiling import Tiling, decoded_in_tiles, encoded_in_tiles


@dataclass(frozen=True)
class CausalVAEConfig:
    """Layout of the autoencoder, in the names of its `config.json`; the defaults are those of D4_4x8x8 as in v1.2.

    Attributes:
        hidden_size: channels of the first level.
        hidden_size_mult: channels of each level over `hidden_size`.
        z_channels: channels before the last 1x1 convolution.
        embed_dim: channels of the latents.
        num_res_blocks: residual blocks per level of the encoder; the decoder has one more.
        encoder_attention: class name of the encoder's attention, `AttnBlock3D` or `AttnBlock3DFix`.
        encoder_resnet_blocks: class name of the residual blocks of each level of the encoder.
        encoder_spatial_downsample: class name of what follows each level, empty for nothing.
        decoder_attention: as for the encoder.
        decoder_resnet_blocks: as for the encoder.
        decoder_spatial_upsample: what follows each level of the decoder, which runs from the last to the first.
        norm_groups: groups of every normalisation, 32 in the original.
        scaling_factor: what the transformer's latents are multiplied with. Source: sample_inpaint.py, 0.18215.
    """

    hidden_size: int = 128
    hidden_size_mult: tuple[int, ...] = (1, 2, 4, 4)
    z_channels: int = 4
    embed_dim: int = 4
    num_res_blocks: int = 2
    encoder_attention: str = "AttnBlock3DFix"
    encoder_resnet_blocks: tuple[str, ...] = ("ResnetBlock2D", "ResnetBlock2D", "ResnetBlock3D", "ResnetBlock3D")
    encoder_spatial_downsample: tuple[str, ...] = (
        "Downsample",
        "Spatial2xTime2x3DDownsample",
        "Spatial2xTime2x3DDownsample",
        "",
    )
    decoder_attention: str = "AttnBlock3DFix"
    decoder_resnet_blocks: tuple[str, ...] = ("ResnetBlock3D",) * 4
    decoder_spatial_upsample: tuple[str, ...] = (
        "",
        "SpatialUpsample2x",
        "Spatial2xTime2x3DUpsample",
        "Spatial2xTime2x3DUpsample",
    )
    norm_groups: int = 32
    scaling_factor: float = 0.18215

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CausalVAEConfig:
        """Returns the configuration written in a `config.json`.

        Raises:
            ValueError: a class is named that v1.2 does not use; the message names it and the entry.
        """
        expected = {
            "q_conv": "CausalConv3d",
            "encoder_conv_in": "Conv2d",
            "encoder_conv_out": "CausalConv3d",
            "encoder_mid_resnet": "ResnetBlock3D",
            "decoder_conv_in": "CausalConv3d",
            "decoder_conv_out": "CausalConv3d",
            "decoder_mid_resnet": "ResnetBlock3D",
            "use_quant_layer": True,
            "double_z": True,
        }
        for name, value in expected.items():
            if values.get(name, value) != value:
                raise ValueError(f"causal autoencoder config: {name} is {values[name]!r}; only {value!r} is built")
        for name in ("encoder_temporal_downsample", "decoder_temporal_upsample"):
            if any(values.get(name, ())):
                raise ValueError(f"causal autoencoder config: {name} is {values[name]!r}; v1.2 merges it into space")
        if list(values.get("attn_resolutions", ())):
            raise ValueError("causal autoencoder config: attn_resolutions must be empty; attention is in the middle")
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        settings: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in known.items()}
        return cls(**settings)


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, channels: int, attention: str, norm_groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock3D(channels, channels, norm_groups)
        self.attn_1 = layer_named(attention)(channels, norm_groups)
        self.block_2 = ResnetBlock3D(channels, channels, norm_groups)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, T, h, w] from the same shape."""
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class DownLevel(nn.Module):
    """Residual blocks of one level of the encoder, then its downsampling."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features handed to the next level."""
        for block in self.block:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class UpLevel(nn.Module):
    """Residual blocks of one level of the decoder, then its upsampling."""

    def __init__(self, blocks: list[nn.Module], upsample: nn.Module | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features handed to the next level."""
        for block in self.block:
            x = block(x)
        return x if self.upsample is None else self.upsample(x)


def _blocks(kind: str, in_channels: int, out_channels: int, count: int, norm_groups: int) -> list[nn.Module]:
    """Returns `count` residual blocks, the first of which changes the width."""
    widths = [in_channels] + [out_channels] * count
    return [layer_named(kind)(a, b, norm_groups) for a, b in pairwise(widths)]


class Encoder(nn.Module):
    """Video to moments before the last 1x1 convolution."""

    def __init__(self, config: CausalVAEConfig) -> None:
        super().__init__()
        widths = [config.hidden_size * multiplier for multiplier in config.hidden_size_mult]
        self.conv_in = nn.Conv2d(3, config.hidden_size, 3, padding=1)
        levels = []
        inputs = [config.hidden_size, *widths]
        for level, width in enumerate(widths):
            kind, after = config.encoder_resnet_blocks[level], config.encoder_spatial_downsample[level]
            blocks = _blocks(kind, inputs[level], width, config.num_res_blocks, config.norm_groups)
            levels.append(DownLevel(blocks, layer_named(after)(width) if after else None))
        self.down = nn.ModuleList(levels)
        self.mid = Middle(widths[-1], config.encoder_attention, config.norm_groups)
        self.norm_out = nn.GroupNorm(config.norm_groups, widths[-1], eps=1e-6)
        self.conv_out = CausalConv3d(widths[-1], 2 * config.z_channels, (3, 3, 3))

    def forward(self, video: Tensor) -> Tensor:
        """Returns [B, 2 z, k + 1, H / 8, W / 8] from [B, 3, 4 k + 1, H, W]."""
        x = per_frame(self.conv_in, video)
        for level in self.down:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return out


class Decoder(nn.Module):
    """Latents to video; levels run from the last to the first."""

    def __init__(self, config: CausalVAEConfig) -> None:
        super().__init__()
        widths = [config.hidden_size * multiplier for multiplier in config.hidden_size_mult]
        self.conv_in = CausalConv3d(config.z_channels, widths[-1], (3, 3, 3))
        self.mid = Middle(widths[-1], config.decoder_attention, config.norm_groups)
        levels = []
        inputs = [*widths[1:], widths[-1]]
        for level, width in enumerate(widths):
            kind, after = config.decoder_resnet_blocks[level], config.decoder_spatial_upsample[level]
            blocks = _blocks(kind, inputs[level], width, config.num_res_blocks + 1, config.norm_groups)
            levels.append(UpLevel(blocks, layer_named(after)(width) if after else None))
        self.up = nn.ModuleList(levels)
        self.norm_out = nn.GroupNorm(config.norm_groups, widths[0], eps=1e-6)
        self.conv_out = CausalConv3d(widths[0], 3, (3, 3, 3))

    def forward(self, z: Tensor) -> Tensor:
        """Returns [B, 3, 4 k + 1, H, W] from [B, z, k + 1, H / 8, W / 8]."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class CausalVAE(nn.Module):
    """The autoencoder; latents are not scaled here (the transformer sees them times 0.18215)."""

    def __init__(self, config: CausalVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = CausalConv3d(2 * config.z_channels, 2 * config.embed_dim, (1, 1, 1))
        self.post_quant_conv = CausalConv3d(config.embed_dim, config.z_channels, (1, 1, 1))
        self.decoder = Decoder(config)

    def encode(self, video: Tensor, tiling: Tiling | None = None) -> tuple[Tensor, Tensor]:
        """Returns mean and log variance of the latents, both [B, C, k + 1, H / 8, W / 8].

        Args:
            video: [B, 3, 4 k + 1, H, W] in -1..1, H and W multiples of 8.
            tiling: works tile by tile where the video exceeds one, which changes the result a little; None never does.
        """
        mean, log_variance = encoded_in_tiles(self._moments, video, tiling).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def decode(self, latents: Tensor, tiling: Tiling | None = None) -> Tensor:
        """Returns the video, [B, 3, 4 k + 1, H, W] in about -1..1, of latents [B, C, k + 1, H / 8, W / 8]."""
        return decoded_in_tiles(self._video, latents, tiling)

    def _moments(self, video: Tensor) -> Tensor:
        moments: Tensor = self.quant_conv(self.encoder(video))
        return moments

    def _video(self, latents: Tensor) -> Tensor:
        video: Tensor = self.decoder(self.post_quant_conv(latents))
        return video


def unwrapped(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Returns the autoencoder's tensors out of what its file holds: bare, or wrapped by the training code.

    Source: modeling_causalvae.py, init_from_ckpt: averaged weights first, their names behind "module.".
    """
    if checkpoint.get("ema_state_dict"):
        averaged: Mapping[str, Tensor] = checkpoint["ema_state_dict"]
        return {name.removeprefix("module."): value for name, value in averaged.items()}
    inner: Mapping[str, Any] = checkpoint.get("state_dict", checkpoint)
    bare: Mapping[str, Tensor] = inner.get("gen_model", inner)
    return bare
