"""OpenSoraPlan 1.2's image-to-video transformer: Allegro's, told what is given by two more patch embeddings.

Why it exists: the network is diffusers' `AllegroTransformer3DModel`, tensor for tensor, but for its input: noisy
latents, latents of the masked video and a folded mask each have a patch embedding, and the three are summed. The fold
of the mask is a memory view the authors trained with; it is reproduced literally (`fold_mask`).

Example:
    >>> import torch
    >>> config = InpaintConfig(num_layers=1, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24,
    ...                        caption_channels=8)
    >>> network = InpaintTransformer(config).eval()
    >>> x, text = torch.randn(1, 12, 3, 4, 4), torch.randn(1, 1, 5, 8)
    >>> network(x, torch.tensor([500]), text, torch.ones(1, 5)).shape
    torch.Size([1, 4, 3, 4, 4])

Source: Open-Sora-Plan eb1311b, opensora/models/diffusion/opensora/modeling_inpaint.py and
opensora/sample/pipeline_inpaint.py; golden data `opensoraplan12_inpaint`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AllegroTransformer3DModel
from diffusers.models.embeddings import PatchEmbed, get_1d_rotary_pos_embed
from torch import Tensor, nn

FRAMES_PER_LATENT = 4
"""Frames per latent frame after the first. Source: causal autoencoder D4_4x8x8."""

RotaryPositions = tuple[tuple[tuple[Tensor, Tensor], ...], tuple[Tensor, Tensor, Tensor]]
"""Cosines and sines per axis, and the integer position of every token per axis."""


@dataclass(frozen=True)
class InpaintConfig:
    """Sizes of the network; the defaults are those of the released 93x480p_i2v.

    Attributes:
        num_layers: transformer blocks.
        num_attention_heads: heads per block.
        attention_head_dim: channels per head, a multiple of 6 (three axes of channel pairs).
        cross_attention_dim: channels of a text token inside the blocks, equal to heads x head channels.
        caption_channels: channels of a text token as the text encoder gives it.
        in_channels: latent channels.
        patch_size: latent rows and columns per token.
        interpolation_scale_t: divides frame positions. Source: train_inpaint.sh:39-41, all three 1 for 480p i2v.
        interpolation_scale_h: divides row positions.
        interpolation_scale_w: divides column positions.
    """

    num_layers: int = 32
    num_attention_heads: int = 24
    attention_head_dim: int = 96
    cross_attention_dim: int = 2304
    caption_channels: int = 4096
    in_channels: int = 4
    patch_size: int = 2
    interpolation_scale_t: float = 1.0
    interpolation_scale_h: float = 1.0
    interpolation_scale_w: float = 1.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> InpaintConfig:
        """Returns the configuration written in a released `config.json`; entries of training are not read.

        Raises:
            ValueError: the file describes another design than the released one.
        """
        fixed = {"use_rope": True, "patch_size_t": 1, "norm_type": "ada_norm_single", "attention_bias": True}
        for name, value in fixed.items():
            if values.get(name, value) != value:
                raise ValueError(f"OpenSoraPlan config: {name} is {values[name]!r}; only {value!r} is built")
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


class InpaintTransformer(nn.Module):
    """The denoising network of OpenSoraPlan 1.2 image-to-video; parameter names are the released ones."""

    def __init__(self, config: InpaintConfig) -> None:
        super().__init__()
        self.config = config
        allegro = AllegroTransformer3DModel(
            patch_size=config.patch_size,
            num_attention_heads=config.num_attention_heads,
            attention_head_dim=config.attention_head_dim,
            in_channels=config.in_channels,
            out_channels=config.in_channels,
            num_layers=config.num_layers,
            cross_attention_dim=config.cross_attention_dim,
            caption_channels=config.caption_channels,
        )
        width = config.num_attention_heads * config.attention_head_dim
        self.pos_embed = allegro.pos_embed
        self.pos_embed_masked_video = self._given_embedding(config.in_channels, width)
        self.pos_embed_mask = self._given_embedding(FRAMES_PER_LATENT, width)
        self.adaln_single = allegro.adaln_single
        self.caption_projection = allegro.caption_projection
        self.transformer_blocks = allegro.transformer_blocks
        self.norm_out = allegro.norm_out
        self.scale_shift_table = allegro.scale_shift_table
        self.proj_out = allegro.proj_out

    def _given_embedding(self, channels: int, width: int) -> nn.Sequential:
        """Returns a patch embedding and a projection that starts at zero: at first, nothing is known to be given."""
        patches = PatchEmbed(
            patch_size=self.config.patch_size,
            in_channels=channels,
            embed_dim=width,
            pos_embed_type=None,
        )
        projection = nn.Linear(width, width, bias=False)
        nn.init.zeros_(projection.weight)
        return nn.Sequential(patches, projection)

    def forward(self, x: Tensor, timestep: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Returns the predicted noise, [B, C, T, h, w].

        Args:
            x: noisy latents, masked-video latents and folded mask, concatenated: [B, 2 C + 4, T, h, w], h and w even.
            timestep: [B], 0..999.
            text: [B, 1, L, caption_channels] (or without the 1).
            text_mask: [B, ..., L], 1 for a token, 0 for padding.
        """
        batch, _, frames, height, width = x.shape
        channels = [self.config.in_channels, self.config.in_channels, FRAMES_PER_LATENT]
        noisy, masked_video, mask = torch.split(
            x.to(self.proj_out.weight.dtype).transpose(1, 2).flatten(0, 1), channels, 1
        )
        tokens = self.pos_embed(noisy) + self.pos_embed_masked_video(masked_video) + self.pos_embed_mask(mask)
        tokens = torch.unflatten(tokens, 0, (batch, frames)).flatten(1, 2)
        modulation, time = self.adaln_single(timestep, batch_size=batch, hidden_dtype=tokens.dtype)
        projected = self.caption_projection(text.reshape(batch, -1, text.shape[-1]).to(tokens.dtype))
        bias = (1 - text_mask.reshape(batch, 1, -1).to(tokens.dtype)) * -10000.0
        rows, columns = height // self.config.patch_size, width // self.config.patch_size
        rotary = rotary_positions(self.config, (frames, rows, columns), x.device)
        for block in self.transformer_blocks:
            tokens = block(tokens, projected, temb=modulation, encoder_attention_mask=bias, image_rotary_emb=rotary)
        shift, scale = (self.scale_shift_table[None] + time[:, None]).chunk(2, dim=1)
        patches = self.proj_out(self.norm_out(tokens) * (1 + scale) + shift)
        return self._unpatchify(patches, (frames, rows, columns))

    def _unpatchify(self, patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Returns [B, C, T, h, w] from [B, T * rows * columns, p * p * C]."""
        size = self.config.patch_size
        cells = torch.unflatten(torch.unflatten(patches, -1, (size, size, -1)), 1, grid)
        return cells.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def rotary_positions(config: InpaintConfig, grid: tuple[int, int, int], device: torch.device) -> RotaryPositions:
    """Returns the 3D rotary tables of a (frames, rows, columns) grid in the form diffusers' Allegro blocks take.

    A third of each head's channels turns with each axis. Positions are integers from the start: diffusers' own
    helper truncates a float grid, which may lose a step. Source: modeling_inpaint.py with rope.py.
    """
    scales = (config.interpolation_scale_t, config.interpolation_scale_h, config.interpolation_scale_w)
    tables = tuple(
        get_1d_rotary_pos_embed(
            config.attention_head_dim // 3,
            torch.arange(size, dtype=torch.float32, device=device) / scale,
            use_real=True,
            repeat_interleave_real=False,
        )
        for size, scale in zip(grid, scales, strict=True)
    )
    axes = torch.meshgrid(*(torch.arange(size, device=device) for size in grid), indexing="ij")
    along_t, along_h, along_w = (axis.reshape(1, -1) for axis in axes)
    return tables, (along_t, along_h, along_w)


def fold_mask(mask: Tensor) -> Tensor:
    """Returns the mask as the network sees it, [B, 4, T', h, w], from [B, 1, 4 (T' - 1) + 1, h, w], a plane per frame.

    The first plane is repeated to four, then the memory is *viewed* as (B, 4, T', h, w): channel c of latent frame t
    holds plane c T' + t, not one of the four frames that latent stands for. The released weights were trained so.
    Source: pipeline_inpaint.py:597-607, train_inpaint.py:654-656.

    Raises:
        ValueError: the number of planes is not a multiple of 4 plus 1.
    """
    batch, _, frames, height, width = mask.shape
    if frames % FRAMES_PER_LATENT != 1:
        raise ValueError(f"the mask has {frames} frames; the autoencoder takes a multiple of 4 plus 1")
    first = mask[:, :, :1].expand(-1, -1, FRAMES_PER_LATENT - 1, -1, -1)
    planes = torch.cat([first, mask], dim=2).contiguous()
    return planes.view(batch, FRAMES_PER_LATENT, -1, height, width)


def given_frames_mask(num_frames: int, given: Sequence[int], height: int, width: int) -> Tensor:
    """Returns the mask of a video whose frames `given` are known, [1, 1, num_frames, height, width]: 1 is to make."""
    mask = torch.ones(1, 1, num_frames, height, width)
    mask[:, :, list(given)] = 0.0
    return mask
