"""Conditional Attention Module (CAM): the short-term memory that makes one chunk go on where the last one stopped.

A copy of the video UNet's encoder half looks at the last frames of the previous chunk, added as features to the first
noisy latents. Its feature of every depth is handed to the UNet, whose skips attend to it, pixel by pixel over time.
Attention instead of addition lets all sixteen frames of the window read all eight conditioning frames.

Example:
    >>> import torch
    >>> FrameEncoder((4, 6), 8)(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 8, 8, 8])
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from generators.streaming_t2v.unet import Encoded, EncoderHalf, VideoUNetConfig, encode, share_text_between_frames

LOGIT_AT_START = 16.0
"""Attention logit, when training starts, of a feature of unit variance with itself."""


class FrameEncoder(nn.Module):
    """Features at latent size of frames at pixel size.

    The last convolution starts at zero. The others start such that they keep the variance of what they read, which is
    ours: with torch's own start the seven activations leave nothing of the frames, 1e-4 of it in miniature, and the
    memory stays blind for as many steps as it takes to grow back.

    Source: StreamingT2V section 4.1, E_cond; ControlNet's condition embedding (arXiv:2302.05543); He et al.
        (arXiv:1502.01852) for the start, with SiLU's mean square of 0.36 for unit input in place of ReLU's.
    """

    def __init__(self, channels: tuple[int, ...], out_channels: int, in_channels: int = 3) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, wider in pairwise(channels):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, wider, 3, padding=1, stride=2))
        for layer in (self.conv_in, *self.blocks):
            nn.init.normal_(layer.weight, std=(0.36 * layer.weight[0].numel()) ** -0.5)
            nn.init.zeros_(layer.bias)
        self.conv_out = nn.Conv2d(channels[-1], out_channels, 3, padding=1)
        _start_at_zero(self.conv_out)
        self.activation = nn.SiLU()

    def forward(self, frames: Tensor) -> Tensor:
        """Features [N, out_channels, H / s, W / s], s = 2 ** (levels - 1), of frames [N, 3, H, W] in -1..1."""
        hidden: Tensor = self.activation(self.conv_in(frames))
        for block in self.blocks:
            hidden = self.activation(block(hidden))
        features: Tensor = self.conv_out(hidden)
        return features


class ConditionalAttentionModule(nn.Module):
    """Features of the conditioning frames for every skip of the UNet and for its middle.

    Source: StreamingT2V section 4.1 and fig. 3; Picsart-AI-Research/StreamingT2V, controlnet.py.
    """

    def __init__(self, unet: UNet3DConditionModel, frame_encoder: FrameEncoder) -> None:
        """Takes over the encoder half of `unet`: pass a network of its own, not the one to be steered."""
        super().__init__()
        self.encoder = EncoderHalf(unet)
        self.controlnet_cond_embedding = frame_encoder
        share_text_between_frames(self.encoder)

    def embed(self, frames: Tensor) -> Tensor:
        """Features [(B K), C, h, w] of the conditioning frames [B, K, 3, H, W] in -1..1.

        They depend on nothing else: once per chunk is enough for all steps and both branches of guidance.
        """
        features: Tensor = self.controlnet_cond_embedding(frames.flatten(0, 1))
        return features

    def forward(self, latents: Tensor, timestep: Tensor, text: Tensor, embedded: Tensor) -> Encoded:
        """What the UNet's skips and middle attend to: features of K frames.

        Args:
            latents: noisy window [B, C, F, h, w]; its first K frames are read.
            timestep: [] or [B].
            text: text tokens without image tokens [k B, N, D].
            embedded: `embed`'s features of the K conditioning frames.
        """
        count = embedded.shape[0] // latents.shape[0]
        return encode(self.encoder, latents[:, :, :count], timestep, text, added=embedded)


class TemporalMerger(nn.Module):
    """Per-pixel temporal cross attention of a UNet feature to a CAM feature.

    As in the released code there is one more linear layer before the projection that starts at zero, and no positions:
    the order of the conditioning frames does not matter here. All other layers start as the identity, which is ours:
    CAM is a copy of what makes the queries, so that each frame finds its own counterpart from the first step on.
    Frames of a clip are so alike that queries start enlarged: a frame's own features then stand out from the others'.

    With `positions`, which is an ablation of ours, keys and values carry a sinusoidal position over the conditioning
    frames, and queries that of their frame in the window, whose first frames the conditioning frames are: without the
    latter no query could ask for a place.

    Source: StreamingT2V eq. 4-5.
    """

    def __init__(self, channels: int, head_dim: int, norm_groups: int, positions: bool = False) -> None:
        super().__init__()
        self.positions = positions
        if channels % head_dim or channels % norm_groups:
            raise ValueError(
                f"a merger of {channels} channels needs a head size and a group count that divide it, "
                f"not {head_dim} and {norm_groups}: set merger_head_dim and merger_norm_groups"
            )
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.attention = Attention(channels, channels, heads=channels // head_dim, dim_head=head_dim)
        attention = self.attention
        for layer in (self.proj_in, attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]):
            nn.init.eye_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            attention.to_q.weight.mul_(LOGIT_AT_START / head_dim**0.5)
        self.proj_out = nn.Linear(channels, channels)
        _start_at_zero(self.proj_out)

    def forward(self, feature: Tensor, memory: Tensor, num_frames: int, num_memory_frames: int) -> Tensor:
        """The feature [(B F), C, h, w] after it has attended to the memory [(B K), C, h, w]."""
        channels, height, width = feature.shape[1:]
        clip = feature.reshape(-1, num_frames, channels, height, width)
        normed = self.norm(clip.transpose(1, 2))  # statistics over time and space
        queries = self.proj_in(normed.permute(0, 3, 4, 2, 1).flatten(0, 2))
        seen = memory.reshape(-1, num_memory_frames, channels, height, width)
        keys = seen.permute(0, 3, 4, 1, 2).flatten(0, 2)
        if self.positions:
            queries = queries + frame_positions(num_frames, queries)
            keys = keys + frame_positions(num_memory_frames, keys)
        merged: Tensor = self.proj_out(self.attention(queries, encoder_hidden_states=keys))
        merged = merged.reshape(-1, height, width, num_frames, channels).permute(0, 3, 4, 1, 2)
        return feature + merged.reshape(feature.shape)


class Injector(nn.Module):
    """Mergers for every skip of the UNet and for its mid-block output."""

    def __init__(self, config: VideoUNetConfig, head_dim: int, norm_groups: int, positions: bool = False) -> None:
        super().__init__()
        self.skips = nn.ModuleList(
            TemporalMerger(width, head_dim, norm_groups, positions) for width in config.skip_channels
        )
        self.middle = TemporalMerger(config.block_out_channels[-1], head_dim, norm_groups, positions)

    def forward(self, encoded: Encoded, memory: Encoded) -> Encoded:
        """The UNet's features merged with the CAM's; what the down path itself computed stays as it was."""
        frames = (encoded.num_frames, memory.num_frames)
        skips = tuple(
            merger(skip, feature, *frames)
            for merger, skip, feature in zip(self.skips, encoded.skips, memory.skips, strict=True)
        )
        return replace(encoded, skips=skips, middle=self.middle(encoded.middle, memory.middle, *frames))


def frame_positions(count: int, like: Tensor) -> Tensor:
    """Sines, then cosines, of the frame numbers 0 .. count - 1 at geometric frequencies 1 .. 1/10000, [count, C].

    C, type and device are those of `like` [..., C].

    Source: Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.5.
    """
    half = like.shape[-1] // 2
    numbers = torch.arange(count, dtype=torch.float32, device=like.device)
    exponents = torch.arange(half, dtype=torch.float32, device=like.device) / half
    angles = numbers[:, None] * 10000.0**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)


class SparseEncoder(nn.Module):
    """Ablation: a zero-padded encoder in the manner of SparseCtrl instead of CAM.

    The conditioning frames are padded with zero frames to the length of the window, with a mask as fourth channel; the
    encoder sees no noise, and its features are added to the UNet's through 1x1 convolutions that start at zero.

    Source: StreamingT2V appendix A.3 (ablation); Guo et al., SparseCtrl (arXiv:2311.16933).
    """

    def __init__(self, unet: UNet3DConditionModel, frame_encoder: FrameEncoder, config: VideoUNetConfig) -> None:
        """Takes over the encoder half of `unet`; `frame_encoder` reads 4 channels."""
        super().__init__()
        self.encoder = EncoderHalf(unet)
        self.controlnet_cond_embedding = frame_encoder
        share_text_between_frames(self.encoder)
        self.skips = nn.ModuleList(_zero_convolution(width) for width in config.skip_channels)
        self.middle = _zero_convolution(config.block_out_channels[-1])

    def embed(self, frames: Tensor, num_frames: int) -> Tensor:
        """Features [(B F), C, h, w] of conditioning frames [B, K, 3, H, W] in -1..1, zero-padded to F frames."""
        padded = pad_with_mask(frames.transpose(1, 2), num_frames)
        features: Tensor = self.controlnet_cond_embedding(padded.transpose(1, 2).flatten(0, 1))
        return features

    def forward(self, encoded: Encoded, latents: Tensor, timestep: Tensor, text: Tensor, embedded: Tensor) -> Encoded:
        """The UNet's features plus the encoder's; arguments as in `ConditionalAttentionModule.forward`."""
        seen = encode(self.encoder, torch.zeros_like(latents), timestep, text, added=embedded)
        skips = tuple(
            skip + zero(feature) for zero, skip, feature in zip(self.skips, encoded.skips, seen.skips, strict=True)
        )
        return replace(encoded, skips=skips, middle=encoded.middle + self.middle(seen.middle))


def pad_with_mask(known: Tensor, num_frames: int) -> Tensor:
    """Known frames [B, C, K, h, w] and a mask channel, zero-padded to [B, C + 1, num_frames, h, w]; mask 1 = known."""
    marked = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)
    missing = marked.new_zeros(*marked.shape[:2], num_frames - marked.shape[2], *marked.shape[3:])
    return torch.cat([marked, missing], dim=2)


def _zero_convolution(channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, 1)
    _start_at_zero(convolution)
    return convolution


def _start_at_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
