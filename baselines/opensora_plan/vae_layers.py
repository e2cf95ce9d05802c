"""Layers of OpenSoraPlan 1.2's causal autoencoder, under the class names its `config.json` writes.

Why they are here: the checkpoint's configuration names a class for each level, so each is a class of that name. All
work on [B, C, T, h, w]; none sees a later frame.

Example:
    >>> import torch
    >>> layer_named("Spatial2xTime2x3DUpsample")(4)(torch.randn(1, 4, 3, 2, 2)).shape
    torch.Size([1, 4, 5, 4, 4])

Source: Open-Sora-Plan eb1311b, opensora/models/causalvideovae/model/modules (conv.py, resnet_block.py, attention.py,
updownsample.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def per_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Returns a 2D layer applied to every frame of [B, C, T, h, w]."""
    return torch.unflatten(layer(x.transpose(1, 2).flatten(0, 1)), 0, (x.shape[0], x.shape[2])).transpose(1, 2)


class CausalConv3d(nn.Module):
    """A 3D convolution that sees no later frame; the first frame is repeated in front."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int, int], stride: int = 1, pad_sides: bool = True
    ) -> None:
        super().__init__()
        self.frames_in_front = kernel[0] - 1
        sides = (0, kernel[1] // 2, kernel[2] // 2) if pad_sides else 0
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, padding=sides)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, out, T', h', w'] from [B, in, T, h, w]."""
        if self.frames_in_front:
            x = torch.cat([x[:, :, :1].expand(-1, -1, self.frames_in_front, -1, -1), x], dim=2)
        out: Tensor = self.conv(x)
        return out


class ResnetBlock3D(nn.Module):
    """Two normalised causal convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_groups, in_channels, eps=1e-6)
        self.norm2 = nn.GroupNorm(norm_groups, out_channels, eps=1e-6)
        self.conv1, self.conv2, shortcut = self._convolutions(in_channels, out_channels)
        if in_channels != out_channels:
            self.nin_shortcut = shortcut

    def _convolutions(self, in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Returns the two convolutions and the shortcut's 1x1 convolution."""
        return (
            CausalConv3d(in_channels, out_channels, (3, 3, 3)),
            CausalConv3d(out_channels, out_channels, (3, 3, 3)),
            CausalConv3d(in_channels, out_channels, (1, 1, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, out, T, h, w] (or [B * T, out, h, w]) from the same with `in` channels."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        shortcut = x if self.norm1.num_channels == self.norm2.num_channels else self.nin_shortcut(x)
        out: Tensor = shortcut + hidden
        return out


class ResnetBlock2D(ResnetBlock3D):
    """The same with 2D convolutions on each frame; its normalisations see one frame at a time."""

    def _convolutions(self, in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        return (
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.Conv2d(in_channels, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, out, T, h, w] from [B, in, T, h, w]."""
        return per_frame(super().forward, x)


class AttnBlock3DFix(nn.Module):
    """One-head attention among the places of each frame."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.q = CausalConv3d(channels, channels, (1, 1, 1))
        self.k = CausalConv3d(channels, channels, (1, 1, 1))
        self.v = CausalConv3d(channels, channels, (1, 1, 1))
        self.proj_out = CausalConv3d(channels, channels, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Returns x plus what its places gather from each other, [B, C, T, h, w]."""
        normed = self.norm(x)
        query, key, value = (self._to_frames(project(normed)) for project in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.proj_out(self._from_frames(attended, x))
        return out

    def _to_frames(self, x: Tensor) -> Tensor:
        """Returns [B * T, h * w, C] from [B, C, T, h, w]."""
        return x.permute(0, 2, 3, 4, 1).flatten(2, 3).flatten(0, 1)

    def _from_frames(self, x: Tensor, like: Tensor) -> Tensor:
        """Returns [B, C, T, h, w] from [B * T, h * w, C]."""
        batch, channels, frames, height, width = like.shape
        return x.reshape(batch, frames, height, width, channels).permute(0, 4, 1, 2, 3)


class AttnBlock3D(AttnBlock3DFix):
    """The older spelling, which mixes frames and channels: memory is read as frames without moving that axis first.

    Checkpoints trained with it need it. Source: attention.py, AttnBlock3D.
    """

    def _to_frames(self, x: Tensor) -> Tensor:
        batch, channels, frames, height, width = x.shape
        return x.reshape(batch * frames, channels, height * width).transpose(1, 2)

    def _from_frames(self, x: Tensor, like: Tensor) -> Tensor:
        return x.transpose(1, 2).reshape(like.shape)


class Downsample(nn.Module):
    """Halves rows and columns of every frame; zeros stand after the last row and column."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, T, h / 2, w / 2] from [B, C, T, h, w]."""
        return per_frame(lambda frames: self.conv(F.pad(frames, (0, 1, 0, 1))), x)


class Spatial2xTime2x3DDownsample(nn.Module):
    """Halves rows and columns, and frames but for the first: 2k + 1 -> k + 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, (3, 3, 3), stride=2, pad_sides=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, k + 1, h / 2, w / 2] from [B, C, 2 k + 1, h, w]."""
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class SpatialUpsample2x(nn.Module):
    """Doubles rows and columns by repetition, then convolves each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, (1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, T, 2 h, 2 w] from [B, C, T, h, w]."""
        out: Tensor = self.conv(x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4))
        return out


class Spatial2xTime2x3DUpsample(nn.Module):
    """Doubles rows and columns, and frames but for the first, trilinearly; the first frame is kept apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, (3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, 2 k + 1, 2 h, 2 w] from [B, C, k + 1, h, w]."""
        parts = [F.interpolate(x[:, :, :1], scale_factor=(1, 2, 2), mode="trilinear")]
        if x.shape[2] > 1:
            parts.append(F.interpolate(x[:, :, 1:], scale_factor=(2, 2, 2), mode="trilinear"))
        out: Tensor = self.conv(torch.cat(parts, dim=2))
        return out


_LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    layer.__name__: layer
    for layer in (
        AttnBlock3D,
        AttnBlock3DFix,
        Downsample,
        ResnetBlock2D,
        ResnetBlock3D,
        Spatial2xTime2x3DDownsample,
        Spatial2xTime2x3DUpsample,
        SpatialUpsample2x,
    )
}


def layer_named(name: str) -> Callable[..., nn.Module]:
    """Returns the class a `config.json` names.

    Raises:
        ValueError: v1.2 has no such layer.
    """
    if name not in _LAYERS:
        raise ValueError(f"causal autoencoder config: no layer named {name!r}; known: {', '.join(sorted(_LAYERS))}")
    return _LAYERS[name]
