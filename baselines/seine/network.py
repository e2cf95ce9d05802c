"""SEINE's network: Stable Diffusion's image UNet, taught time by two changes.

Every transformer block gains a temporal attention between its text attention and its feed-forward layer (rotary on part
of each head, plus a learned bias per distance in time), and every norm outside the transformers takes its statistics
over the whole clip. Everything else is diffusers' `UNet2DConditionModel`, run on all frames as one batch.

Example:
    >>> network = SeineUNet(block_out_channels=(16, 32), attention_levels=(True, False), layers_per_block=1,
    ...                     cross_attention_dim=8, num_attention_heads=2, norm_num_groups=4, num_frames=4)
    >>> network(torch.zeros(1, 9, 4, 8, 8), torch.tensor([10]), torch.zeros(1, 77, 8)).shape
    torch.Size([1, 4, 4, 8, 8])
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

ROTARY_CHANNELS = 32
"""Channels of each head that rotate with time. Source: SEINE models/attention.py (TemporalAttention)."""

BIAS_BUCKETS = 32
"""Learned biases per head: 16 distances in each direction. Source: SEINE models/attention.py (RelativePositionBias)."""


class SeineUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the noise (or v) of a clip of which some frames are given.

    The defaults are the released network (909.1M parameters, 16 frames).

    Args:
        block_out_channels: channels per resolution, finest first.
        attention_levels: which resolutions have transformer blocks, finest first.
        layers_per_block: residual blocks per resolution on the way down (one more on the way up).
        cross_attention_dim: width of the text tokens.
        num_attention_heads: heads of every attention, the same number at every resolution, or one per resolution.
        norm_num_groups: groups of every group norm.
        num_frames: frames of a clip; fixed, because clip-wide norms must know where a clip ends.
        prediction_type: what it was trained to predict, "epsilon" as the released network or "v_prediction"; kept in
            the configuration for the sampler, the network itself computes the same.

    Source: SEINE models/unet.py, models/resnet.py, models/attention.py (Vchitect/SEINE bd8d519).
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        attention_levels: tuple[bool, ...] = (True, True, True, False),
        layers_per_block: int = 2,
        cross_attention_dim: int = 768,
        num_attention_heads: int | tuple[int, ...] = 8,
        norm_num_groups: int = 32,
        num_frames: int = 16,
        prediction_type: str = "epsilon",
    ) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(
            in_channels=9,
            out_channels=4,
            down_block_types=tuple("CrossAttnDownBlock2D" if level else "DownBlock2D" for level in attention_levels),
            up_block_types=tuple("CrossAttnUpBlock2D" if level else "UpBlock2D" for level in attention_levels[::-1]),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=num_attention_heads,  # the number of heads, despite diffusers' name
            norm_num_groups=norm_num_groups,
        )
        self.num_frames = num_frames
        _normalise_over_clips(self.unet, num_frames)
        _attend_over_time(self.unet, num_frames)

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """Returns the prediction [B, 4, F, h, w].

        Args:
            sample: [B, 9, F, h, w] noisy latents (4), mask (1; 0 = given, 1 = to make), latents of the given
                frames (4; missing frames are the latents of mid-grey).
            timestep: [B] integers in 0..999.
            text: [B, 77, cross_attention_dim] last hidden states of CLIP's text encoder.

        Raises:
            ValueError: if the clip has another number of frames than the network was built for.
        """
        batch, _, frames = sample.shape[:3]
        if frames != self.num_frames:
            raise ValueError(f"this SEINE network makes {self.num_frames} frames at a time, but the clip has {frames}")
        noise = self.unet(
            sample.transpose(1, 2).flatten(0, 1),
            timestep.repeat_interleave(frames),
            text.repeat_interleave(frames, dim=0),
            return_dict=False,
        )[0]
        predicted: Tensor = noise.unflatten(0, (batch, frames)).transpose(1, 2)
        return predicted


class ClipGroupNorm(nn.GroupNorm):
    """Group norm over the channels, height, width *and frames* of a clip."""

    def __init__(self, groups: int, channels: int, eps: float, num_frames: int) -> None:
        super().__init__(groups, channels, eps)
        self.num_frames = num_frames

    def forward(self, frames: Tensor) -> Tensor:
        """Returns the normalised frames [B*F, C, h, w], same shape as given, frames of one clip in a row."""
        clips = torch.unflatten(frames, 0, (-1, self.num_frames)).transpose(1, 2)
        return super().forward(clips).transpose(1, 2).flatten(0, 1)


class TemporalBlock(BasicTransformerBlock):  # type: ignore[misc]
    """A transformer block of SEINE: space, text, time, feed-forward, each on a residual path."""

    def __init__(
        self, channels: int, heads: int, head_channels: int, cross_attention_dim: int, num_frames: int
    ) -> None:
        super().__init__(channels, heads, head_channels, cross_attention_dim=cross_attention_dim)
        self.norm_temp = nn.LayerNorm(channels)
        self.attn_temp = TemporalAttention(channels, heads)
        self.num_frames = num_frames

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: None = None,
        timestep: None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        class_labels: None = None,
    ) -> Tensor:
        """Returns the new hidden states [B*F, h*w, C].

        Args:
            hidden_states: [B*F, h*w, C], frames of one clip in a row.
            encoder_hidden_states: [B*F, 77, D] text tokens, repeated per frame.
            attention_mask: not used by SEINE; named because diffusers' transformer passes it, as the rest below.
            encoder_attention_mask: not used.
            timestep: not used.
            cross_attention_kwargs: not used.
            class_labels: not used.
        """
        states = hidden_states + self.attn1(self.norm1(hidden_states))
        states = states + self.attn2(self.norm2(states), encoder_hidden_states=encoder_hidden_states)
        pixels = states.unflatten(0, (-1, self.num_frames)).transpose(1, 2)  # [B, h*w, F, C]
        over_time = self.attn_temp(self.norm_temp(pixels).flatten(0, 1)).unflatten(0, pixels.shape[:2])
        states = states + over_time.transpose(1, 2).flatten(0, 1)
        result: Tensor = states + self.ff(self.norm3(states))
        return result


class TemporalAttention(nn.Module):
    """Self-attention over the frames of one pixel, aware of time through a rotation and a bias."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.time_rel_pos_bias = RelativeBias(heads)
        self.rotary_emb = Rotary(min(ROTARY_CHANNELS, channels // heads))

    def forward(self, states: Tensor) -> Tensor:
        """Returns the attended states [N, F, C]; `states` has the same shape."""
        query, key, value = (
            project(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [N, heads, F, C / heads]
            for project in (self.to_q, self.to_k, self.to_v)
        )
        attended = nn.functional.scaled_dot_product_attention(
            self.rotary_emb(query),
            self.rotary_emb(key),
            value,
            attn_mask=self.time_rel_pos_bias(states.shape[1], states.device).to(query.dtype)[None],
        )
        merged: Tensor = self.to_out[0](attended.transpose(1, 2).flatten(2))
        return merged


class Rotary(nn.Module):
    """Rotates the first channels of each head, in neighbouring pairs, by an angle that grows with time.

    Source: Su et al., "RoFormer", arXiv:2104.09864, equation 15; the checkpoint brings its own frequencies.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(10000.0 ** (-torch.arange(0, channels, 2) / channels), requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        """Returns the rotated states [..., F, C]; channels beyond the rotated ones pass unchanged."""
        times = torch.arange(states.shape[-2], device=states.device, dtype=torch.float32)
        angles = times[:, None] * self.freqs.float()
        cos, sin = angles.cos().to(states.dtype), angles.sin().to(states.dtype)
        turning, still = states.tensor_split([2 * len(self.freqs)], dim=-1)
        even, odd = turning[..., ::2], turning[..., 1::2]
        turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
        return torch.cat([turned, still], dim=-1)


class RelativeBias(nn.Module):
    """A learned attention bias for each head and each distance between two frames."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BIAS_BUCKETS, heads)

    def forward(self, num_frames: int, device: torch.device) -> Tensor:
        """Returns the biases [heads, F, F] on the device of the frames, rows are queries, columns are keys."""
        times = torch.arange(num_frames, device=device)  # the layer's own device is none while it is offloaded
        buckets = distance_buckets(times[None, :] - times[:, None])
        biases: Tensor = self.relative_attention_bias(buckets).permute(2, 0, 1)
        return biases


def distance_buckets(distances: Tensor, buckets: int = BIAS_BUCKETS, max_distance: int = 32) -> Tensor:
    """The bucket of each signed distance, 0..buckets-1; shape as given.

    Half of the buckets serve each direction. Of those, the nearer half are one distance wide, the others grow
    logarithmically up to `max_distance`, beyond which all distances share the last one.

    Source: Raffel et al., "T5", arXiv:1910.10683, section 2.1.
    """
    half = buckets // 2
    exact = half // 2
    size = distances.abs()
    growth = torch.log(size.clamp(min=1) / exact) / math.log(max_distance / exact) * (half - exact)
    far = (exact + growth.long()).clamp(max=half - 1)
    return torch.where(size < exact, size, far) + half * (distances > 0)


def convert_seine_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the `ema` entry of `seine.pt` under the names of `SeineUNet`; none is left out."""
    return {f"unet.{key}": tensor for key, tensor in state_dict.items()}


def _normalise_over_clips(unet: UNet2DConditionModel, num_frames: int) -> None:
    """Replaces the norms of the residual blocks and the last one; the transformers keep theirs, per frame."""
    outside = [name for name, module in unet.named_modules() if isinstance(module, nn.GroupNorm)]
    for name in outside:
        parent_name, _, child = name.rpartition(".")
        if child == "norm":  # the entry of a spatial transformer
            continue
        old = unet.get_submodule(name)
        new = ClipGroupNorm(old.num_groups, old.num_channels, old.eps, num_frames)
        setattr(unet.get_submodule(parent_name), child, new)


def _attend_over_time(unet: UNet2DConditionModel, num_frames: int) -> None:
    blocks = [name for name, module in unet.named_modules() if isinstance(module, BasicTransformerBlock)]
    for name in blocks:
        parent_name, _, child = name.rpartition(".")
        old = unet.get_submodule(name)
        new = TemporalBlock(
            old.dim, old.num_attention_heads, old.attention_head_dim, old.cross_attention_dim, num_frames
        )
        unet.get_submodule(parent_name)[int(child)] = new
