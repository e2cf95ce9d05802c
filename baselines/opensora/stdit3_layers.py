"""Positions, attention and MLP of STDiT3: the parts that know nothing of its configuration.

Parameter names are the released ones.

Example:
    >>> import torch
    >>> SelfAttention(channels=48, num_heads=2)(torch.randn(1, 5, 48), FrameRotary(head_dim=24)).shape
    torch.Size([1, 5, 48])

Source of every formula: Open-Sora branch opensora/v1.2, opensora/models/stdit/stdit3.py and layers/blocks.py; the
numbers are proven by the golden data `opensora12_stdit3`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoidal_features(values: Tensor, width: int) -> Tensor:
    """Returns cosines then sines of `values` at geometric frequencies 1 .. 1/10000, [B] -> [B, width], float32.

    Source: blocks.py, TimestepEmbedder.timestep_embedding.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    angles = values.float()[:, None] * torch.exp(-math.log(10000.0) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def grid_positions(
    rows: int, columns: int, channels: int, scale: float, base_size: int, device: torch.device
) -> Tensor:
    """Returns sines and cosines of the token grid, [rows * columns, channels], float32; column half first.

    Coordinates are shrunk by `scale` (pixel size over the training size) and stretched so that a side of `base_size`
    tokens spans the same range whatever the aspect. Source: blocks.py, PositionEmbedding2D.
    """
    half = channels // 2
    frequencies = 1.0 / 10000.0 ** (torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)

    def encode(count: int) -> Tensor:
        coordinates = torch.arange(count, dtype=torch.float32, device=device) / scale * base_size / count
        angles = coordinates[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    across = encode(columns)[None].expand(rows, -1, -1)
    down = encode(rows)[:, None].expand(-1, columns, -1)
    return torch.cat([across, down], dim=-1).reshape(rows * columns, channels)


class FrameRotary(nn.Module):
    """Rotates channel pairs (0, 1), (2, 3), ... of queries and keys by their frame number times a frequency."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        self.freqs = nn.Parameter(1.0 / 10000.0**exponents, requires_grad=False)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Returns x rotated, its frames counted from `first`; [..., T, head_dim].

        Source: rotary_embedding_torch 0.5.3, defaults.
        """
        frames = torch.arange(first, first + x.shape[-2], dtype=torch.float32, device=x.device)
        angles = frames[:, None] * self.freqs.float()
        cos, sin = angles.cos(), angles.sin()
        even, odd = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
        rotated = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
        return rotated.flatten(-2).to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head attention with RMS-normalised queries and keys; rotary afterwards where one is given."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.q_norm = nn.RMSNorm(channels // num_heads, eps=1e-6)
        self.k_norm = nn.RMSNorm(channels // num_heads, eps=1e-6)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, rotary: FrameRotary | None) -> Tensor:
        """Returns attention over the second axis, [N, L, C] -> [N, L, C]."""
        heads = torch.unflatten(self.qkv(x), -1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        query, key = self.q_norm(query), self.k_norm(key)
        if rotary is not None:
            query, key = rotary(query), rotary(key)
        attended = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class TextAttention(nn.Module):
    """Attention of un-normalised tokens to the text; padding tokens take no part."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_linear = nn.Linear(channels, channels)
        self.kv_linear = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, text: Tensor, keep: Tensor) -> Tensor:
        """Returns [B, N, C] from tokens x [B, N, C], text [B, L, C] and keep, bool [B, L]."""
        query = torch.unflatten(self.q_linear(x), -1, (self.num_heads, -1)).transpose(1, 2)
        key, value = torch.unflatten(self.kv_linear(text), -1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=keep[:, None, None])
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two linear layers with tanh-approximated GELU between them."""

    def __init__(self, channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [..., out_channels] from [..., channels]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out
