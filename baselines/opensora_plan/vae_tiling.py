"""Overlapping tiles for OpenSoraPlan's causal autoencoder, as its released inference runs it.

Why it exists: 93 frames of 480 x 640 do not fit through the autoencoder at once, and the authors' sampling script
always tiles, so the tiles are part of the released system. Tiles overlap by one latent frame in time, whose repeat is
dropped, and by an eighth of a side in space, where they are blended linearly.

Example:
    >>> import torch
    >>> def brighter(video):
    ...     return video + 1
    >>> video = torch.randn(1, 3, 9, 24, 24)
    >>> tiles = in_tiles(brighter, video, frames=5, side=16, overlap=0.25, stretch=1.0)
    >>> torch.allclose(tiles, brighter(video))
    True

Source: Open-Sora-Plan eb1311b, opensora/sample/sample_inpaint.py:47-58 (sizes) and
causalvideovae/model/vae/modeling_causalvae.py (tiled_encode, tiled_decode).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """Size of a tile in pixels.

    Attributes:
        frames: frames of a tile, 4 k + 1.
        side: rows and columns of a tile, a multiple of 8.
        overlap: share of a side that neighbours have in common.
    """

    frames: int = 29
    side: int = 512
    overlap: float = 0.125


def encoded_in_tiles(encode: Callable[[Tensor], Tensor], video: Tensor, tiling: Tiling | None) -> Tensor:
    """Returns encode(video), tile by tile where the video [B, 3, T, H, W] exceeds a tile in any direction."""
    if tiling is None or not _exceeds(video, tiling.frames, tiling.side):
        return encode(video)
    return in_tiles(encode, video, tiling.frames, tiling.side, tiling.overlap, 1 / 8)


def decoded_in_tiles(decode: Callable[[Tensor], Tensor], latents: Tensor, tiling: Tiling | None) -> Tensor:
    """Returns decode(latents), tile by tile where the latents [B, C, T, h, w] exceed a tile in any direction."""
    if tiling is None:
        return decode(latents)
    frames, side = (tiling.frames - 1) // 4 + 1, tiling.side // 8
    if not _exceeds(latents, frames, side):
        return decode(latents)
    return in_tiles(decode, latents, frames, side, tiling.overlap, 8.0)


def _exceeds(x: Tensor, frames: int, side: int) -> bool:
    return x.shape[2] > frames or max(x.shape[3:]) > side


def in_tiles(
    network: Callable[[Tensor], Tensor], x: Tensor, frames: int, side: int, overlap: float, stretch: float
) -> Tensor:
    """Returns network(x) put together from tiles.

    Args:
        network: turns [B, C, T, h, w] into [B, C', T', stretch h, stretch w], its first frame standing for one frame.
        x: the whole input.
        frames: frames of a tile; each tile begins with the last frame of the one before.
        side: rows and columns of a tile.
        overlap: share of a side that neighbours have in common.
        stretch: rows of the output per row of the input.
    """
    parts = []
    for first in range(0, max(1, x.shape[2] - 1), frames - 1):
        part = _in_squares(network, x[:, :, first : first + frames], side, overlap, stretch)
        parts.append(part[:, :, 1:] if first else part)
    return torch.cat(parts, dim=2)


def _in_squares(network: Callable[[Tensor], Tensor], x: Tensor, side: int, overlap: float, stretch: float) -> Tensor:
    """Returns network(x) put together from squares that are blended where they overlap."""
    step = int(side * (1 - overlap))
    common = int(side * stretch * overlap)
    kept = int(side * stretch) - common
    rows: list[list[Tensor]] = []
    for top in range(0, x.shape[3], step):
        row: list[Tensor] = []
        for left in range(0, x.shape[4], step):
            tile = network(x[..., top : top + side, left : left + side])
            if rows:
                tile = _blended(rows[-1][len(row)], tile, common, dim=3)
            if row:
                tile = _blended(row[-1], tile, common, dim=4)
            row.append(tile)
        rows.append(row)
    bands = [torch.cat([tile[..., :kept, :kept] for tile in row], dim=4) for row in rows]
    return torch.cat(bands, dim=3)


def _blended(before: Tensor, tile: Tensor, common: int, dim: int) -> Tensor:
    """Returns the tile, its first `common` rows (dim 3) or columns (dim 4) faded in over the end of the one before."""
    common = min(common, before.shape[dim], tile.shape[dim])
    shape = [1] * tile.ndim
    shape[dim] = common
    weight = (torch.arange(common, device=tile.device) / common).to(tile.dtype).view(shape)
    end = before.narrow(dim, before.shape[dim] - common, common)
    start, rest = torch.split(tile, [common, tile.shape[dim] - common], dim=dim)
    return torch.cat([end * (1 - weight) + start * weight, rest], dim=dim)
