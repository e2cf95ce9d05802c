"""DynamiCrafter's network: VideoCrafter's, shown an image twice.

The image's latents are concatenated to the noisy latents of every frame, and its tokens (from `resampler.Resampler`)
stand beside the text: each text attention adds a second attention, with keys and values of its own, to 16 image tokens
that belong to the frame at hand.

Example:
    >>> network = DynamiCrafterUNet(block_out_channels=(32, 64), attention_levels=(True, False), layers_per_block=1,
    ...                             cross_attention_dim=8, head_channels=8)
    >>> text, image = torch.zeros(1, 77, 8), torch.zeros(1, 2 * 16, 8)
    >>> network(torch.zeros(1, 8, 2, 8, 8), torch.tensor([10]), text, image, fps=torch.tensor([10])).shape
    torch.Size([1, 4, 2, 8, 8])
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from baselines.networks.videocrafter import fps_conditioned_unet, fps_features


class DynamiCrafterUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the velocity of a clip from an image, its text and the frame rate.

    The defaults are the released network at 576x1024 (1438.9M parameters).

    Args:
        block_out_channels: channels per resolution, finest first.
        attention_levels: which resolutions have transformer blocks, finest first.
        layers_per_block: residual blocks per resolution on the way down (one more on the way up).
        cross_attention_dim: width of the text and image tokens.
        head_channels: channels of one attention head.
        norm_num_groups: groups of every group norm.
        text_tokens: number of text tokens.
        frame_tokens: number of image tokens that one frame sees.
        default_fps: frame rate when none is given.

    Source: DynamiCrafter lvdm/modules/networks/openaimodel3d.py, lvdm/modules/attention.py (c453369).
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        attention_levels: tuple[bool, ...] = (True, True, True, False),
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        head_channels: int = 64,
        norm_num_groups: int = 32,
        text_tokens: int = 77,
        frame_tokens: int = 16,
        default_fps: int = 10,
    ) -> None:
        super().__init__()
        self.unet = fps_conditioned_unet(
            8,
            block_out_channels,
            attention_levels,
            layers_per_block,
            cross_attention_dim,
            head_channels,
            norm_num_groups,
        )
        self.text_tokens, self.frame_tokens, self.default_fps = text_tokens, frame_tokens, default_fps
        for block in _spatial_blocks(self.unet):
            width = block.attn2.inner_dim
            block.attn2.set_processor(ImageCrossAttention(cross_attention_dim, width, text_tokens, frame_tokens))

    def forward(
        self, sample: Tensor, timestep: Tensor, text: Tensor, image: Tensor, fps: Tensor | None = None
    ) -> Tensor:
        """Returns the predicted velocity [B, 4, F, h, w].

        Args:
            sample: [B, 8, F, h, w] noisy latents (4) and the image's latents (4).
            timestep: [B] integers in 0..999.
            text: [B, text_tokens, D] penultimate hidden states of OpenCLIP-H's text encoder.
            image: [B, F * frame_tokens, D] image tokens, those of frame 0 first, or [B, frame_tokens, D] for all.
            fps: [B] frames per second; None = `default_fps`.

        Raises:
            ValueError: if the number of text or image tokens doesn't fit.
        """
        batch, frames = sample.shape[0], sample.shape[2]
        if image.shape[1] == self.frame_tokens:
            image = image.repeat(1, frames, 1)
        if text.shape[1] != self.text_tokens or image.shape[1] != frames * self.frame_tokens:
            raise ValueError(
                f"{frames} frames need {self.text_tokens} text tokens and {frames} x {self.frame_tokens} image tokens, "
                f"but there are {text.shape[1]} and {image.shape[1]}"
            )
        if fps is None:
            fps = torch.full((batch,), self.default_fps, device=sample.device)
        velocity: Tensor = self.unet(
            sample,
            timestep,
            torch.cat([text, image], dim=1),
            timestep_cond=fps_features(self.unet, fps),
            return_dict=False,
        )[0]
        return velocity


class ImageCrossAttention(nn.Module):
    """Attention processor: text attention plus attention to the image tokens of the frame, with equal weight.

    Source: DynamiCrafter lvdm/modules/attention.py lines 51-150 (`image_cross_attention_scale` 1.0, not learned).
    """

    def __init__(self, context_width: int, width: int, text_tokens: int, frame_tokens: int) -> None:
        super().__init__()
        self.to_k_ip = nn.Linear(context_width, width, bias=False)
        self.to_v_ip = nn.Linear(context_width, width, bias=False)
        self.text_tokens, self.frame_tokens = text_tokens, frame_tokens

    def forward(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: None = None,
    ) -> Tensor:
        """Returns the attended states [B*F, h*w, C].

        Args:
            attn: the text attention; its query and output projection serve both.
            hidden_states: [B*F, h*w, C], frames of one clip in a row.
            encoder_hidden_states: [B*F, text_tokens + F * frame_tokens, D], the same for all frames of a clip.
            attention_mask: not used; named because diffusers passes it.
        """
        text, image = encoder_hidden_states.tensor_split([self.text_tokens], dim=1)
        image = self._tokens_of_each_frame(image)
        query = _split_heads(attn.to_q(hidden_states), attn.heads)
        attended = nn.functional.scaled_dot_product_attention(
            query, _split_heads(attn.to_k(text), attn.heads), _split_heads(attn.to_v(text), attn.heads)
        ) + nn.functional.scaled_dot_product_attention(
            query, _split_heads(self.to_k_ip(image), attn.heads), _split_heads(self.to_v_ip(image), attn.heads)
        )
        merged: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(2))
        return merged

    def _tokens_of_each_frame(self, image: Tensor) -> Tensor:
        """Row b * F + t keeps the tokens of frame t: [B*F, F * frame_tokens, D] -> [B*F, frame_tokens, D]."""
        per_frame = torch.unflatten(image, 1, (-1, self.frame_tokens))
        rows = torch.arange(len(image), device=image.device)
        return per_frame[rows, rows % per_frame.shape[1]]


def _split_heads(states: Tensor, heads: int) -> Tensor:
    return torch.unflatten(states, -1, (heads, -1)).transpose(1, 2)


def _spatial_blocks(unet: nn.Module) -> list[BasicTransformerBlock]:
    transformers = [module for module in unet.modules() if isinstance(module, Transformer2DModel)]
    return [block for transformer in transformers for block in transformer.transformer_blocks]
