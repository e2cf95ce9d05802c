"""Vision transformers of DINO and DINOv2: the class token of a picture of any size.

One module serves both: names of its parameters are those of the released checkpoints, and a checkpoint's own shapes say
how wide and deep it is, which patch it has and whether its blocks are scaled (DINOv2).

Example:
    >>> network = VisionTransformer(Shape(width=32, depth=1, heads=2, patch=16, table=4, mlp=64))
    >>> tuple(network(torch.zeros(2, 3, 64, 80)).shape)
    (2, 32)

Source: Caron et al., DINO (arXiv:2104.14294); Oquab et al., DINOv2 (arXiv:2304.07193).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_WIDTH = 64
"""Width of an attention head in every released size of DINO and DINOv2."""

TABLE_OFFSET = 0.1
"""Added to the number of patches a side before the position table is scaled to it. It shifts the sampling grid, and the
released features depend on it. Source: facebookresearch/dino, `vision_transformer.py:174-194`; dinov2 likewise."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer.

    Attributes:
        width: of the tokens.
        depth: blocks.
        heads: of the attention.
        patch: side of a patch, pixels.
        table: side of the position table, patches.
        mlp: width inside of the blocks' second half.
        scaled: whether each half of a block is scaled by learned factors (LayerScale).
    """

    width: int
    depth: int
    heads: int
    patch: int
    table: int
    mlp: int
    scaled: bool = False


def shape_of(state: Mapping[str, Tensor], heads: int = 0) -> Shape:
    """Returns the sizes of the transformer a checkpoint belongs to.

    Args:
        state: the checkpoint.
        heads: of the attention, which shapes do not show; 0 for heads of the released width.

    Raises:
        KeyError: it is not a checkpoint of such a transformer.
    """
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    return Shape(
        width=width,
        depth=depth,
        heads=heads or width // HEAD_WIDTH,
        patch=patch,
        table=round((state["pos_embed"].shape[1] - 1) ** 0.5),
        mlp=state["blocks.0.mlp.fc1.weight"].shape[0],
        scaled="blocks.0.ls1.gamma" in state,
    )


class VisionTransformer(nn.Module):
    """Pictures float32 [N, 3, H, W] to class tokens float32 [N, width], after the last normalisation."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._shape = shape
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + shape.table**2, shape.width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, shape.width, shape.patch, shape.patch)})
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns the class tokens; pixels beyond the last whole patch are not looked at."""
        patches = self.patch_embed["proj"](pictures)
        rows, columns = patches.shape[-2:]
        square = rows == columns and pictures.shape[-2] == pictures.shape[-1]
        tokens = torch.cat([self.cls_token.expand(len(pictures), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + position_table(self.pos_embed, self._shape.table, rows, columns, square)
        for block in self.blocks:
            tokens = block(tokens)
        token: Tensor = self.norm(tokens[:, 0])
        return token


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attn = _Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(shape.width, shape.mlp), "fc2": nn.Linear(shape.mlp, shape.width)})
        self.ls1 = _Scale(shape.width) if shape.scaled else nn.Identity()
        self.ls2 = _Scale(shape.width) if shape.scaled else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(tokens)))
        added: Tensor = tokens + self.ls2(self.mlp["fc2"](hidden))
        return added


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor) -> Tensor:
        count, length, width = tokens.shape
        split = self.qkv(tokens).view(count, length, 3, self._heads, width // self._heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*split.unbind(0))
        joined: Tensor = self.proj(attended.transpose(1, 2).reshape(count, length, width))
        return joined


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


def position_table(table: Tensor, side: int, rows: int, columns: int, square: bool) -> Tensor:
    """Returns the position table [1, 1 + rows * columns, width] for a picture of so many patches.

    Args:
        table: [1, 1 + side * side, width], the class token's position first.
        side: of the table.
        rows: patches down.
        columns: patches across.
        square: whether the picture is exactly square; only then is a fitting table taken as it is.

    Source: facebookresearch/dino, `vision_transformer.py:174-194`.
    """
    if square and rows == columns == side:
        return table
    width = table.shape[-1]
    grid = table[:, 1:].view(1, side, side, width).permute(0, 3, 1, 2)
    factors = ((rows + TABLE_OFFSET) / side, (columns + TABLE_OFFSET) / side)
    scaled = functional.interpolate(grid, scale_factor=factors, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], scaled.flatten(2).transpose(1, 2)], dim=1)
