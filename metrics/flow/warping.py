"""Forward warping and the warp error, as the released MAWE script does them, on any device.

Every step that changes a number is here: the resize to the network's size, the rounding of target cells, which source
pixel wins a cell that several reach, which cells stay unknown, and how the error is normalised.

Example: a picture that moves one pixel right leaves its first column unknown and is otherwise predicted exactly.
    >>> import torch
    >>> left = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4).repeat(1, 3, 1, 1)
    >>> flow = torch.zeros(1, 2, 3, 4)
    >>> flow[:, 0] = 1
    >>> warped, known = forward_warp(left, flow)
    >>> warped[0, 0].tolist()
    [[0, 0, 1, 2], [0, 4, 5, 6], [0, 8, 9, 10]]
    >>> known[0, 0].tolist()
    [False, True, True, True]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from metrics.api import Frames

NEAR_HALF = 1e-3
"""Distance to a half grey level below which the order of summing may decide the rounding; sums are good to 1e-4."""


def resize_frames(frames: Frames, size: int | tuple[int, int], device: str | torch.device = "cpu") -> Tensor:
    """Returns the frames as uint8 [T, 3, height, width] on the device, squashed to the size (aspect is not kept).

    Bilinear without antialiasing in float32, rounded half to even. Sizes like 2 : 3 put many pixels exactly between two
    grey levels, so the last bit of a sum decides; torch's own kernel sums in another order on every kind of processor.
    Here the order is spelt out, that of the machine the reference's numbers come from, and it is the same anywhere.

    Args:
        frames: [T, H, W, 3].
        size: (height, width), or the side of a square, in pixels; 0 keeps the frames as they are.
        device: where the result lives.

    Source: StreamingT2V, `mawe.py:62` (torchvision `F.resize`, antialias off, on x86 with AVX-512).
    """
    pixels = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)
    height, width = (size, size) if isinstance(size, int) else size
    if size == 0 or tuple(pixels.shape[-2:]) == (height, width):
        return pixels.contiguous()
    resized = functional.interpolate(pixels.float(), size=(height, width), mode="bilinear", align_corners=False)
    undecided = ((resized - resized.floor() - 0.5).abs() < NEAR_HALF).nonzero(as_tuple=True)
    resized[undecided] = _summed(pixels, height, width, undecided)
    return resized.round_().to(torch.uint8)


def _summed(pixels: Tensor, height: int, width: int, places: tuple[Tensor, ...]) -> Tensor:
    """Returns the resized values float32 [N] at some places (frame, channel, row, column), summed in a fixed order."""
    frame, channel, row, column = places
    device = pixels.device
    upper, lower, upper_weight, lower_weight = (part[row] for part in _neighbours(pixels.shape[2], height, device))
    left, right, left_weight, right_weight = (part[column] for part in _neighbours(pixels.shape[3], width, device))
    total = torch.zeros(len(row), device=device)
    for weight, y, x in (
        (upper_weight * right_weight, upper, right),
        (upper_weight * left_weight, upper, left),
        (lower_weight * left_weight, lower, left),
        (lower_weight * right_weight, lower, right),
    ):
        total = _fused(weight, pixels[frame, channel, y, x], total)
    return total


def _neighbours(before: int, after: int, device: str | torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the two pixels that each pixel of a resized side lies between, and their float32 weights, all [after]."""
    scale = torch.tensor(before, dtype=torch.float32) / torch.tensor(after, dtype=torch.float32)
    place = _fused(scale, torch.arange(after) + 0.5, torch.tensor(-0.5)).clamp_min(0)
    first = place.long()
    weight = (place - first).clamp(0, 1)
    second = (first + 1).clamp_max(before - 1)
    return first.to(device), second.to(device), (1 - weight).to(device), weight.to(device)


def _fused(factor: Tensor, values: Tensor, added: Tensor) -> Tensor:
    """Returns factor * values + added, rounded to float32 once: the product is exact in float64."""
    return torch.addcmul(added.double(), factor.double(), values.double()).float()


def forward_warp(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the image moved along its flow, uint8 [N, C, H, W], and which cells are known, bool [N, H, W].

    Every source pixel goes to the nearest cell, half to even; where several meet, the last in row-major order wins, as
    in NumPy's assignment; pixels that leave the frame, or whose flow is not finite, go nowhere. Unknown cells are 0.
    The winner is found by a maximum over source indices, which is the same on every device and in every run.

    Args:
        image: uint8 [N, C, H, W].
        flow: float32 [N, 2, H, W], (x, y) in pixels, defined on the image's own pixels.

    Source: StreamingT2V, `mawe.py:25-56`.
    """
    n, channels, height, width = image.shape
    source, target = _links(flow)
    winner = torch.full((n, height * width + 1), -1, dtype=torch.int64, device=flow.device)
    winner.scatter_reduce_(1, target, source.expand_as(target), reduce="amax")
    winner = winner[:, :-1]
    known = winner >= 0
    gathered = image.reshape(n, channels, -1).gather(2, winner.clamp_min(0)[:, None].expand(-1, channels, -1))
    warped = torch.where(known[:, None], gathered, torch.zeros_like(gathered))
    return warped.view_as(image), known.view(n, height, width)


def _links(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the flat index of every source pixel [1, H*W] and of its target cell [N, H*W]; H*W means none."""
    n, _, height, width = flow.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    to_x, to_y = torch.round(flow[:, 0] + x), torch.round(flow[:, 1] + y)
    # Compared as floats: casting a huge or undefined value to an integer differs between processors.
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    no_cell = torch.full_like(to_x, height * width, dtype=torch.int64)
    row, column = torch.where(inside, to_y, 0).long(), torch.where(inside, to_x, 0).long()
    source = torch.arange(height * width, device=flow.device)[None]
    return source, torch.where(inside, row * width + column, no_cell).view(n, -1)


@dataclass(frozen=True)
class PairNumbers:
    """Per-pair numbers of N frame pairs, each a tensor [N] on the device of the flow.

    Attributes:
        warp_error: float64, mean squared difference per channel between the right frame and the warped left frame over
            known cells, on the 0..255 scale; 0 where no cell is known, as the script has it.
        motion: float64, mean length of the flow vectors, pixels; not finite where a vector is not.
        motion_squared: float64, mean squared length, pixels squared.
        known: int64, number of known cells.
    """

    warp_error: Tensor
    motion: Tensor
    motion_squared: Tensor
    known: Tensor


def pair_numbers(left: Tensor, right: Tensor, flow: Tensor) -> PairNumbers:
    """Returns warp error, motion and known cells of frame pairs.

    Args:
        left: uint8 [N, 3, H, W].
        right: uint8 [N, 3, H, W], the frames that follow.
        flow: float32 [N, 2, H, W], from left to right.

    Source: StreamingT2V, `mawe.py:80-92`. Squared differences of integers are summed as integers, so the error does
        not depend on the order of summation.
    """
    channels, cells = left.shape[1], left.shape[2] * left.shape[3]
    warped, known = forward_warp(left, flow)
    difference = (right.to(torch.int32) - warped.to(torch.int32)).square_().sum(dim=1)
    squared = torch.where(known, difference, 0).flatten(1).sum(dim=1)  # int32 summed into int64
    count = known.flatten(1).sum(dim=1)
    normaliser = torch.where(count > 0, count, cells) * channels
    length = flow.square().sum(dim=1)
    return PairNumbers(
        warp_error=squared.double() / normaliser,
        motion=length.sqrt().flatten(1).mean(dim=1, dtype=torch.float64),
        motion_squared=length.flatten(1).mean(dim=1, dtype=torch.float64),
        known=count,
    )
