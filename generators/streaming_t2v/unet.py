"""The video UNet in two halves, so that a memory can reach in between.

diffusers' `UNet3DConditionModel` runs from noise to noise in one call. StreamingT2V needs what lies in the middle: the
skip features and the mid-block output, which the short-term memory rewrites before the decoder reads them, and a
second copy of the encoder half, which is that memory. `encode` and `decode` run the very blocks of a diffusers network
one half at a time; `EncoderHalf` keeps only what the first half needs.

Example:
    >>> import torch
    >>> unet = video_unet(VideoUNetConfig(block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=4,
    ...     cross_attention_dim=8))
    >>> noise, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 5, 8)
    >>> decode(unet, encode(unet, noise, torch.tensor(9), text), text).shape
    torch.Size([1, 4, 3, 8, 8])
"""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import UNet3DConditionModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.models.unets.unet_3d_blocks import CrossAttnDownBlock3D, CrossAttnUpBlock3D
from torch import Tensor, nn

from generators.streaming_t2v.appearance import AnchoredCrossAttention, TextCrossAttention


@dataclass(frozen=True)
class VideoUNetConfig:
    """Sizes of the base video model; the defaults are the released ones.

    Attributes:
        in_channels: channels of the input latents.
        out_channels: channels of the prediction.
        block_out_channels: width of each level.
        attention_levels: for each level whether it has transformers; empty means all but the last.
        layers_per_block: residual blocks in a level of the encoder half.
        norm_num_groups: groups of the norms in residual blocks and transformers.
        attention_head_dim: size of one attention head.
        cross_attention_dim: width of text and image tokens.
        transformer_in_heads: heads of the first temporal transformer, whatever the width.
        transformer_in_norm_groups: groups of its norm; None means `norm_num_groups`.
        temporal_conv_norm_groups: groups of the norms in temporal convolutions; None means `norm_num_groups`.

    Source: ali-vilab/text-to-video-ms-1.7b, unet/config.json.
    """

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention_levels: tuple[bool, ...] = ()
    layers_per_block: int = 2
    norm_num_groups: int = 32
    attention_head_dim: int = 64
    cross_attention_dim: int = 1024
    transformer_in_heads: int = 8
    transformer_in_norm_groups: int | None = None
    temporal_conv_norm_groups: int | None = None

    @property
    def levels_with_attention(self) -> tuple[bool, ...]:
        """For each level whether it has transformers."""
        levels = len(self.block_out_channels)
        return tuple(self.attention_levels) or (True,) * (levels - 1) + (False,)

    @property
    def skip_channels(self) -> tuple[int, ...]:
        """Width of every stored skip feature, in the order the encoder half makes them."""
        widths = [self.block_out_channels[0]]
        last = len(self.block_out_channels) - 1
        for level, width in enumerate(self.block_out_channels):
            widths += [width] * (self.layers_per_block + (level < last))
        return tuple(widths)


@dataclass(frozen=True)
class Encoded:
    """What the encoder half hands to the decoder half.

    Attributes:
        skips: features [(B F), C, h, w] of every depth, outermost first.
        middle: the mid-block output [(B F), C, h, w].
        time: time embedding of every frame [(B F), E].
        num_frames: F.
    """

    skips: tuple[Tensor, ...]
    middle: Tensor
    time: Tensor
    num_frames: int


def video_unet(config: VideoUNetConfig) -> UNet3DConditionModel:
    """A freshly initialised base network of these sizes whose text attention takes one text per clip."""
    attention = config.levels_with_attention
    if len(attention) != len(config.block_out_channels):
        raise ValueError(
            f"attention_levels has {len(attention)} entries for {len(config.block_out_channels)} levels; give one each"
        )
    unet = UNet3DConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        down_block_types=tuple("CrossAttnDownBlock3D" if has else "DownBlock3D" for has in attention),
        up_block_types=tuple("CrossAttnUpBlock3D" if has else "UpBlock3D" for has in reversed(attention)),
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.attention_head_dim,
    )
    _resize_temporal_parts(unet, config)
    share_text_between_frames(unet)
    return unet


def _resize_temporal_parts(unet: UNet3DConditionModel, config: VideoUNetConfig) -> None:
    """Rebuilds the temporal parts whose groups or heads diffusers ties to other sizes."""
    unet.transformer_in = TransformerTemporalModel(
        num_attention_heads=config.transformer_in_heads,
        attention_head_dim=config.attention_head_dim,
        in_channels=config.block_out_channels[0],
        num_layers=1,
        norm_num_groups=config.transformer_in_norm_groups or config.norm_num_groups,
    )
    groups = config.temporal_conv_norm_groups
    if groups is None or groups == config.norm_num_groups:
        return
    for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        block.temp_convs = nn.ModuleList(
            TemporalConvLayer(conv.in_dim, conv.out_dim, dropout=0.1, norm_num_groups=groups)
            for conv in block.temp_convs
        )


def text_attentions(half: UNet3DConditionModel | EncoderHalf) -> list[tuple[str, Attention]]:
    """Every text cross attention of a network with its name, in the order of its modules."""
    return [
        (name, module)
        for name, module in half.named_modules()
        if isinstance(module, Attention) and name.endswith(".attn2") and ".attentions." in f".{name}"
    ]


def share_text_between_frames(half: UNet3DConditionModel | EncoderHalf) -> None:
    """Lets every text cross attention take [B, N, D] tokens for [(B F), ...] frames."""
    for _, attention in text_attentions(half):
        attention.set_processor(TextCrossAttention())


def add_projection_blocks(unet: UNet3DConditionModel, text_tokens: int, image_tokens: int, width: int) -> None:
    """Gives every text cross attention a projection block of the appearance memory (eq. 6)."""
    for _, attention in text_attentions(unet):
        attention.set_processor(AnchoredCrossAttention(text_tokens, image_tokens, width))


class EncoderHalf(nn.Module):
    """The first half of a video UNet: input, time embedding, down blocks and mid block."""

    conv_in: nn.Module
    time_proj: nn.Module
    time_embedding: nn.Module
    transformer_in: nn.Module
    down_blocks: nn.ModuleList
    mid_block: nn.Module

    def __init__(self, unet: UNet3DConditionModel) -> None:
        super().__init__()
        self.conv_in = unet.conv_in
        self.time_proj = unet.time_proj
        self.time_embedding = unet.time_embedding
        self.transformer_in = unet.transformer_in
        self.down_blocks = unet.down_blocks
        self.mid_block = unet.mid_block


def encode(
    half: UNet3DConditionModel | EncoderHalf,
    sample: Tensor,
    timestep: Tensor,
    context: Tensor,
    added: Tensor | None = None,
) -> Encoded:
    """Skip features and mid-block output of the encoder half.

    What no text reaches (input convolution, first temporal transformer) runs once per clip, also where several texts
    share the clip, as both branches of guidance do.

    Args:
        half: a video UNet or its first half.
        sample: noisy latents [B, C, F, h, w].
        timestep: one for all clips [] or one each [B].
        context: text tokens [k B, N, D], all clips with the first text, then all with the second, ...
        added: features [(B F), C, h, w] to add after the first temporal transformer, or None.
    """
    batch, _, frames = sample.shape[:3]
    branches = context.shape[0] // batch
    time = half.time_embedding(half.time_proj(timestep.to(sample.device).expand(batch)).to(sample.dtype))
    time = time.repeat(branches, 1).repeat_interleave(frames, dim=0)

    hidden = half.conv_in(sample.transpose(1, 2).flatten(0, 1))
    hidden = half.transformer_in(hidden, num_frames=frames, return_dict=False)[0]
    if added is not None:
        hidden = hidden + added
    hidden = hidden.repeat(branches, 1, 1, 1)

    skips = (hidden,)
    for block in half.down_blocks:
        text = {"encoder_hidden_states": context} if isinstance(block, CrossAttnDownBlock3D) else {}
        hidden, states = block(hidden_states=hidden, temb=time, num_frames=frames, **text)
        skips += states
    hidden = half.mid_block(hidden, time, encoder_hidden_states=context, num_frames=frames)
    return Encoded(skips, hidden, time, frames)


def decode(unet: UNet3DConditionModel, encoded: Encoded, context: Tensor) -> Tensor:
    """Prediction [k B, C, F, h, w] of the decoder half from the features and text tokens [k B, N, D]."""
    hidden, skips = encoded.middle, encoded.skips
    for block in unet.up_blocks:
        layers = len(block.resnets)
        states, skips = skips[-layers:], skips[:-layers]
        text = {"encoder_hidden_states": context} if isinstance(block, CrossAttnUpBlock3D) else {}
        size = skips[-1].shape[2:] if skips else None
        hidden = block(
            hidden_states=hidden,
            temb=encoded.time,
            res_hidden_states_tuple=states,
            upsample_size=size,
            num_frames=encoded.num_frames,
            **text,
        )
    prediction: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    return prediction.reshape(-1, encoded.num_frames, *prediction.shape[1:]).transpose(1, 2)
