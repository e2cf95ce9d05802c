"""MUSIQ: a transformer that judges the quality of a picture from patches of it at three sizes.

Written from the paper and from facts about the released checkpoint (names, padding, positions). Only the class token is
judged and padding is masked, so padding tokens are never made here: the numbers are the same.

Example:
    >>> network = Musiq(width=32, mlp=48, heads=2, depth=1).eval()
    >>> tuple(network(torch.zeros(2, 3, 40, 64)).shape)
    (2,)

Source: Ke et al., MUSIQ (arXiv:2108.05997); checkpoint `musiq_spaq_ckpt` of chaofengc/IQA-PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 32
"""Side of a patch, pixels."""

LONG_SIDES = (224, 384)
"""Long sides of the two scaled copies; the third set of patches is of the picture itself."""

GRID = 10
"""Side of the table of positions, which patches of any picture are hashed to."""

STEM = 64
"""Channels of the stem; the patch features have four times as many, on an 8 x 8 map."""

HEAD_WIDTH = 64
"""Width of an attention head in the released network."""


class Musiq(nn.Module):
    """Pictures float32 [N, 3, H, W], 0..1, to scores float32 [N]; about 0..100 with the released weights."""

    def __init__(self, width: int = 384, mlp: int = 1152, heads: int = 6, depth: int = 14) -> None:
        """Makes a network; the defaults are the released sizes.

        Args:
            width: of the tokens.
            mlp: width inside of the blocks' second half.
            heads: of the attention.
            depth: blocks.
        """
        super().__init__()
        self.conv_root = _StandardisedConv(3, STEM, 7, 2)
        self.gn_root = nn.GroupNorm(32, STEM, eps=1e-6)
        self.block1 = _Bottleneck()
        self.embedding = nn.Linear(4 * STEM * (PATCH // 4) ** 2, width)
        self.transformer_encoder = _Encoder(width, mlp, heads, depth)
        self.head = nn.Linear(width, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns the scores."""
        tokens, positions, scales = patch_tokens(2 * pictures - 1)
        count, length = tokens.shape[:2]
        stem = self.gn_root(self.conv_root(tokens.flatten(0, 1))).relu()
        stem = functional.max_pool2d(functional.pad(stem, (0, 1, 0, 1)), 3, 2)
        features = self.block1(stem).permute(0, 2, 3, 1).reshape(count, length, -1)
        encoded = self.transformer_encoder(self.embedding(features), positions, scales)
        scores: Tensor = self.head(encoded[:, 0])[:, 0]
        return scores


class _StandardisedConv(nn.Conv2d):
    """A convolution whose filters are brought to mean 0 and (unbiased) standard deviation 1, padded as TensorFlow does.

    The padding of an even stride is larger behind than before.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        sides: list[int] = []
        for size in (maps.shape[-1], maps.shape[-2]):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [missing // 2, missing - missing // 2]
        deviation, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (deviation + 1e-5)
        return functional.conv2d(functional.pad(maps, sides), weight, stride=stride)


class _Bottleneck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        wide = 4 * STEM
        self.conv1, self.gn1 = _StandardisedConv(STEM, STEM, 1), nn.GroupNorm(32, STEM, eps=1e-4)
        self.conv2, self.gn2 = _StandardisedConv(STEM, STEM, 3), nn.GroupNorm(32, STEM, eps=1e-4)
        self.conv3, self.gn3 = _StandardisedConv(STEM, wide, 1), nn.GroupNorm(32, wide, eps=1e-4)
        self.conv_proj, self.gn_proj = _StandardisedConv(STEM, wide, 1), nn.GroupNorm(32, wide, eps=1e-4)

    def forward(self, maps: Tensor) -> Tensor:
        straight = self.gn_proj(self.conv_proj(maps))
        maps = self.gn1(self.conv1(maps)).relu()
        maps = self.gn2(self.conv2(maps)).relu()
        out: Tensor = (self.gn3(self.conv3(maps)) + straight).relu()
        return out


class _Encoder(nn.Module):
    def __init__(self, width: int, mlp: int, heads: int, depth: int) -> None:
        super().__init__()
        self.posembed_input = _Table("position_emb", torch.zeros(1, GRID * GRID, width))
        self.scaleembed_input = _Table("scale_emb", torch.zeros(1 + len(LONG_SIDES), width))
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.transformer = nn.ModuleDict({f"encoderblock_{i}": _Block(width, mlp, heads) for i in range(depth)})

    def forward(self, tokens: Tensor, positions: Tensor, scales: Tensor) -> Tensor:
        tokens = tokens + self.posembed_input(positions) + self.scaleembed_input(scales)
        tokens = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in self.transformer.values():
            tokens = block(tokens)
        normed: Tensor = self.encoder_norm(tokens)
        return normed


class _Table(nn.Module):
    """A learned row per index, under the name the checkpoint has for it."""

    def __init__(self, name: str, rows: Tensor) -> None:
        super().__init__()
        self._name = name
        self.register_parameter(name, nn.Parameter(rows))

    def forward(self, index: Tensor) -> Tensor:
        table: Any = self.get_parameter(self._name)
        rows: Tensor = table.view(-1, table.shape[-1])[index]
        return rows


class _Block(nn.Module):
    def __init__(self, width: int, mlp: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, mlp), "fc2": nn.Linear(mlp, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(tokens)))
        out: Tensor = tokens + self.mlp["fc2"](hidden)
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        count, length, width = tokens.shape
        asked, keys, values = (
            linear(tokens).view(count, length, self._heads, -1).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(asked, keys, values)
        joined: Tensor = self.out(attended.transpose(1, 2).reshape(count, length, width))
        return joined


def patch_tokens(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the patches of pictures at all three sizes [N, L, 3, 32, 32], their positions [L] and scales [L].

    The copies of 224 and 384 pixels come first, then the picture itself. A size that 32 does not divide is padded with
    zeros on all sides, more behind than before. Positions are cells of a 10 x 10 table, rows first.

    Args:
        pictures: [N, 3, H, W], -1..1.
    """
    height, width = pictures.shape[-2:]
    patches, positions, scales = [], [], []
    for scale, side in enumerate((*LONG_SIDES, None)):
        scaled = pictures if side is None else _long_side(pictures, side, height, width)
        cut = _patches(scaled)
        rows, columns = cut.shape[1:3]
        patches.append(cut.flatten(1, 2))
        down, across = torch.arange(rows) * GRID // rows, torch.arange(columns) * GRID // columns
        positions.append((down[:, None] * GRID + across).flatten())
        scales.append(torch.full((rows * columns,), scale))
    device = pictures.device
    return torch.cat(patches, dim=1), torch.cat(positions).to(device), torch.cat(scales).to(device)


def _long_side(pictures: Tensor, side: int, height: int, width: int) -> Tensor:
    factor = side / max(height, width)
    size = (round(height * factor), round(width * factor))
    return functional.interpolate(pictures, size=size, mode="bicubic", align_corners=False)


def _patches(pictures: Tensor) -> Tensor:
    """Returns [N, rows, columns, 3, 32, 32]."""
    down, across = -pictures.shape[-2] % PATCH, -pictures.shape[-1] % PATCH
    whole = functional.pad(pictures, (across // 2, across - across // 2, down // 2, down - down // 2))
    return whole.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5)
