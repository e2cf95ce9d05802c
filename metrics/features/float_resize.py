"""Resizing as VBench does it: on floats, so that nothing is rounded and bicubic values leave 0..255.

Example:
    >>> tuple(short_side(torch.zeros(1, 3, 90, 160), 224, "bilinear", antialias=False).shape[-2:])
    (224, 398)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def short_side(pixels: Tensor, side: int, interpolation: str, *, antialias: bool) -> Tensor:
    """Returns pictures [N, 3, H, W] whose shorter side is `side`; floats, neither rounded nor clamped.

    Source: torchvision's `Resize` of one number, on float tensors.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) == side:
        return pixels
    size = (side, int(side * width / height)) if height <= width else (int(side * height / width), side)
    return functional.interpolate(pixels, size=size, mode=interpolation, antialias=antialias, align_corners=False)


def middle(pixels: Tensor, side: int) -> Tensor:
    """Returns the middle [N, 3, side, side] of pictures that are at least as large."""
    top, left = round((pixels.shape[-2] - side) / 2), round((pixels.shape[-1] - side) / 2)
    return pixels[..., top : top + side, left : left + side]


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Returns pictures of 0..255 divided by 255, minus the mean, over the standard deviation, by channel."""
    shift = torch.tensor(mean, device=pixels.device).view(3, 1, 1)
    scale = torch.tensor(std, device=pixels.device).view(3, 1, 1)
    return (pixels / 255 - shift) / scale
