"""STDiT3, the transformer of Open-Sora 1.2: spatial and temporal blocks in turn, one time step per frame.

Why it exists: no library ships it, and its way of continuing a video is the point: given frames enter as clean latents
and are modulated with time step 0 while the others are denoised (`x_mask`). Parameter names are the released ones.

Example:
    >>> import torch
    >>> config = STDiT3Config(depth=1, hidden_size=48, num_heads=2, caption_channels=8, model_max_length=4)
    >>> network = STDiT3(config).eval()
    >>> latents, text, fps = torch.randn(1, 4, 5, 6, 6), torch.randn(1, 1, 4, 8), torch.tensor([24.0])
    >>> given = torch.tensor([[False, True, True, True, True]])
    >>> network(latents, torch.tensor([900.0]), text, torch.ones(1, 4), fps, 48, 48, x_mask=given).shape
    torch.Size([1, 8, 5, 6, 6])

Source of every formula: Open-Sora branch opensora/v1.2, opensora/models/stdit/stdit3.py and layers/blocks.py; the
numbers are proven by the golden data `opensora12_stdit3`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.opensora.stdit3_layers import (
    FeedForward,
    FrameRotary,
    SelfAttention,
    TextAttention,
    grid_positions,
    sinusoidal_features,
)

_FREQUENCY_WIDTH = 256
"""Width of the sinusoidal features of time step and frame rate. Source: blocks.py, TimestepEmbedder."""


@dataclass(frozen=True)
class STDiT3Config:
    """Sizes of the network; the defaults are the released STDiT3-XL/2.

    Attributes:
        depth: number of pairs of one spatial and one temporal block.
        hidden_size: channels of a token.
        num_heads: attention heads; `hidden_size / num_heads` is even.
        in_channels: latent channels; the network gives twice as many, of which the first half is the velocity.
        caption_channels: channels of a text token.
        model_max_length: tokens of the empty text.
        patch_size: latent frames, rows and columns per token.
        input_sq_size: pixels at which positions have scale 1.
        mlp_ratio: width of the MLP over `hidden_size`.
    """

    depth: int = 28
    hidden_size: int = 1152
    num_heads: int = 16
    in_channels: int = 4
    caption_channels: int = 4096
    model_max_length: int = 300
    patch_size: tuple[int, int, int] = (1, 2, 2)
    input_sq_size: int = 512
    mlp_ratio: float = 4.0

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> STDiT3Config:
        """Returns the configuration written in a released `config.json`; entries about training are not read.

        Raises:
            ValueError: the file describes a variant that was never released (no query-key norm, no sigma channels).
        """
        for flag in ("qk_norm", "pred_sigma"):
            if values.get(flag, True) is not True:
                raise ValueError(f"STDiT3 config: {flag} is {values[flag]!r}; only the released value true is built")
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        if "patch_size" in known:
            known["patch_size"] = tuple(known["patch_size"])  # type: ignore[arg-type]
        return cls(**known)  # type: ignore[arg-type]


class STDiTBlock(nn.Module):
    """Self-attention, text attention and MLP; the first and last are shifted, scaled and gated by the time step."""

    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        channels = config.hidden_size
        self.attn = SelfAttention(channels, config.num_heads)
        self.cross_attn = TextAttention(channels, config.num_heads)
        self.mlp = FeedForward(channels, int(channels * config.mlp_ratio), channels)
        self.scale_shift_table = nn.Parameter(torch.randn(6, channels) / channels**0.5)

    def forward(
        self,
        x: Tensor,
        text: Tensor,
        keep: Tensor,
        modulation: Tensor,
        grid: tuple[int, int],
        rotary: FrameRotary | None,
    ) -> Tensor:
        """Returns the tokens after the block, [B, T * S, C] -> [B, T * S, C].

        Args:
            x: tokens of T frames with S tokens each.
            text: [B, L, C].
            keep: bool [B, L], false for padding.
            modulation: [B, T or 1, 6, C] from the time step of each frame.
            grid: (T, S).
            rotary: given in a temporal block, which attends along T; None in a spatial one, which attends along S.
        """
        frames, places = grid
        table = (self.scale_shift_table + modulation)[:, :, :, None]
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = table.unbind(2)
        x = torch.unflatten(x, 1, (frames, places))
        modulated = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale_attn) + shift_attn
        if rotary is None:
            attended = self.attn(modulated.flatten(0, 1), None).view_as(x)
        else:
            columns = modulated.transpose(1, 2).flatten(0, 1)
            attended = torch.unflatten(self.attn(columns, rotary), 0, (-1, places)).transpose(1, 2)
        x = x + gate_attn * attended
        x = x + self.cross_attn(x.flatten(1, 2), text, keep).view_as(x)
        modulated = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale_mlp) + shift_mlp
        out: Tensor = x + gate_mlp * self.mlp(modulated)
        return out.flatten(1, 2)


class FinalLayer(nn.Module):
    """Modulates once more, with the bare time embedding, and projects every token to its patch."""

    def __init__(self, channels: int, patch_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, patch_channels)
        self.scale_shift_table = nn.Parameter(torch.randn(2, channels) / channels**0.5)

    def forward(self, x: Tensor, time: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns patches [B, T * S, P] from tokens [B, T * S, C] and time [B, T or 1, C].

        On given frames the original normalises an already modulated tensor; the sampler discards those outputs, so
        here they are computed like the others.
        """
        shift, scale = (self.scale_shift_table + time[:, :, None])[:, :, :, None].unbind(2)
        normed = torch.unflatten(F.layer_norm(x, x.shape[-1:], eps=1e-6), 1, grid)
        out: Tensor = self.linear((normed * (1 + scale) + shift).flatten(1, 2))
        return out


class FeatureEmbedder(nn.Module):
    """Embeds one number per sample (time step or frame rate)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_FREQUENCY_WIDTH, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, values: Tensor) -> Tensor:
        """Returns [B, C] from [B]; the features are computed in float32, whatever the weights are."""
        weight: Tensor = self.mlp[0].weight  # type: ignore[assignment]
        out: Tensor = self.mlp(sinusoidal_features(values, _FREQUENCY_WIDTH).to(weight.dtype))
        return out


class TextEmbedder(nn.Module):
    """Projects text tokens; `y_embedding` [L, caption channels] is the empty text of guidance, not trained."""

    y_embedding: Tensor

    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        empty = torch.randn(config.model_max_length, config.caption_channels) / config.caption_channels**0.5
        self.register_buffer("y_embedding", empty)
        self.y_proj = FeedForward(config.caption_channels, config.hidden_size, config.hidden_size)

    def forward(self, text: Tensor) -> Tensor:
        """Returns [B, L, C] from [B, 1, L, caption channels]."""
        out: Tensor = self.y_proj(text.squeeze(1))
        return out


class PatchEmbedder(nn.Module):
    """Turns latents, padded at the end to whole patches, into tokens."""

    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, config.patch_size, stride=config.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, T', rows, columns] from [B, channels, T, h, w]."""
        missing = [-size % patch for size, patch in zip(x.shape[2:], self.patch_size, strict=True)]
        out: Tensor = self.proj(F.pad(x, (0, missing[2], 0, missing[1], 0, missing[0])))
        return out


class STDiT3(nn.Module):
    """The denoising network of Open-Sora 1.2."""

    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        self.config = config
        channels = config.hidden_size
        self.rope = FrameRotary(channels // config.num_heads)
        self.x_embedder = PatchEmbedder(config)
        self.t_embedder = FeatureEmbedder(channels)
        self.fps_embedder = FeatureEmbedder(channels)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))
        self.y_embedder = TextEmbedder(config)
        self.spatial_blocks = nn.ModuleList(STDiTBlock(config) for _ in range(config.depth))
        self.temporal_blocks = nn.ModuleList(STDiTBlock(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(channels, math.prod(config.patch_size) * 2 * config.in_channels)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor,
        mask: Tensor,
        fps: Tensor,
        height: float,
        width: float,
        x_mask: Tensor | None = None,
    ) -> Tensor:
        """Returns the velocity (first half of the channels) and an unused variance, [B, 2 * in_channels, T, h, w].

        Args:
            x: latents [B, in_channels, T, h, w]; odd h or w is padded with zeros and cropped again.
            timestep: [B] in 0..1000, fractions allowed.
            y: text [B, 1, L, caption channels].
            mask: [B, ..., L], 1 for a token, 0 for padding; at least one token per sample.
            fps: frames per second of the video, [B].
            height: height of the video in pixels.
            width: width of the video in pixels.
            x_mask: bool [B, T], false for given frames, which use time step 0; their outputs mean nothing.
        """
        tokens, grid = self.embed(x, height, width)
        frames, places = grid[0], grid[1] * grid[2]
        time = self.frame_times(timestep, fps, x_mask)
        modulation = self.modulation(time)
        text = self.y_embedder(y.to(tokens.dtype))
        keep = kept_tokens(mask)
        for spatial, temporal in zip(self.spatial_blocks, self.temporal_blocks, strict=True):
            tokens = spatial(tokens, text, keep, modulation, (frames, places), None)
            tokens = temporal(tokens, text, keep, modulation, (frames, places), self.rope)
        return self.finish(tokens, time, grid, x.shape)

    def embed(
        self, x: Tensor, height: float, width: float, embedder: PatchEmbedder | None = None
    ) -> tuple[Tensor, tuple[int, int, int]]:
        """Returns the tokens of latents with their positions, [B, T * S, C], and their grid: T, rows, columns.

        Args:
            x: latents [B, in_channels, T, h, w].
            height: height of the video in pixels.
            width: width of the video in pixels.
            embedder: makes the tokens; the network's own if left out.
        """
        embedder = embedder or self.x_embedder
        patches = embedder(x.to(embedder.proj.weight.dtype))
        frames, rows, columns = patches.shape[2:]
        places = rows * columns
        scale = math.sqrt(height * width) / self.config.input_sq_size
        positions = grid_positions(
            rows, columns, self.config.hidden_size, scale, round(math.sqrt(places)), patches.device
        ).to(patches.dtype)
        tokens = (patches.flatten(3).permute(0, 2, 3, 1) + positions).flatten(1, 2)
        return tokens, (frames, rows, columns)

    def modulation(self, time: Tensor) -> Tensor:
        """Returns what shifts, scales and gates the blocks, [B, T or 1, 6, C], from `frame_times`."""
        return torch.unflatten(self.t_block(time), -1, (6, -1))

    def finish(self, tokens: Tensor, time: Tensor, grid: tuple[int, int, int], shape: torch.Size) -> Tensor:
        """Returns velocity and variance of latents of a shape, float32; arguments as `embed` and `frame_times` gave."""
        out = self.final_layer(tokens, time, (grid[0], grid[1] * grid[2]))
        cells = self._unpatchify(out, grid)
        return cells[:, :, : shape[2], : shape[3], : shape[4]].float()

    def frame_times(self, timestep: Tensor, fps: Tensor, x_mask: Tensor | None) -> Tensor:
        """Returns time plus frame-rate embeddings, [B, 1, C], or [B, T, C] where given frames have time step 0."""
        rate = self.fps_embedder(fps)
        time: Tensor = (self.t_embedder(timestep) + rate)[:, None]
        if x_mask is None:
            return time
        clean = (self.t_embedder(torch.zeros_like(timestep)) + rate)[:, None]
        return torch.where(x_mask[:, :, None], time, clean)

    def _unpatchify(self, patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Returns latents [B, C, T, h, w] from [B, T' * rows * columns, pt * ph * pw * C]."""
        cells = torch.unflatten(torch.unflatten(patches, -1, (*self.config.patch_size, -1)), 1, grid)
        return cells.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def kept_tokens(mask: Tensor) -> Tensor:
    """Returns which text tokens are no padding, bool [B, L], from a mask [B, ..., L] of ones and zeros."""
    return mask.reshape(mask.shape[0], -1) != 0


def load_released_stdit3(network: STDiT3, state: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Loads a released state dict by name, every tensor of it; `assign` takes the tensors instead of copying them.

    Some writers repeat `rope.freqs` under each temporal block because the blocks hold the same module; the repeats
    are the one thing left out, after checking that they are repeats.

    Raises:
        ValueError: a repeated `rope.freqs` differs from the first.
        RuntimeError: from torch, naming missing and unexpected tensors.
    """
    repeats = {name for name in state if name.startswith("temporal_blocks.") and name.endswith(".freqs")}
    for name in sorted(repeats):
        if not torch.equal(state[name], state["rope.freqs"]):
            raise ValueError(f"{name} differs from rope.freqs; this is not an Open-Sora 1.2 checkpoint")
    network.load_state_dict({name: value for name, value in state.items() if name not in repeats}, assign=assign)
