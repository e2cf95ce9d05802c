"""DynamiCrafter's image projection: CLIP's tokens of one image become 16 tokens for every frame of a clip.

Learned queries, 16 per frame, read the image through a few rounds of attention (a perceiver). diffusers has the same
network for IP-Adapter; here it gains DynamiCrafter's sizes and the names of its checkpoint.

Example:
    >>> import torch
    >>> project = Resampler(width=16, depth=1, head_channels=8, heads=2, image_width=12, context_width=8, num_frames=4)
    >>> project(torch.zeros(1, 257, 12)).shape  # 4 frames of 16 tokens
    torch.Size([1, 64, 8])
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from torch import Tensor

_LAYER_PARTS = {
    "0.norm1": "ln0",
    "0.norm2": "ln1",
    "0.to_q": "attn.to_q",
    "0.to_out": "attn.to_out.0",
    "1.0": "ff.0",
    "1.1": "ff.1.net.0.proj",
    "1.3": "ff.1.net.2",
}


class Resampler(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Image tokens for every frame of a clip.

    The defaults are the released network (48.8M parameters).

    Args:
        width: channels inside.
        depth: rounds of attention and feed-forward.
        head_channels: channels of one head.
        heads: attention heads.
        frame_tokens: tokens (queries) per frame.
        num_frames: frames of a clip.
        image_width: channels of the image encoder's tokens.
        context_width: channels of the tokens made.

    Source: DynamiCrafter lvdm/modules/encoders/resampler.py; Jaegle et al., "Perceiver", arXiv:2103.03206.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        width: int = 1024,
        depth: int = 4,
        head_channels: int = 64,
        heads: int = 12,
        frame_tokens: int = 16,
        num_frames: int = 16,
        image_width: int = 1280,
        context_width: int = 1024,
    ) -> None:
        super().__init__()
        self.projection = IPAdapterPlusImageProjection(
            embed_dims=image_width,
            output_dims=context_width,
            hidden_dims=width,
            depth=depth,
            dim_head=head_channels,
            heads=heads,
            num_queries=frame_tokens * num_frames,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Returns the tokens [B, num_frames * frame_tokens, context_width], those of frame 0 first.

        Args:
            image: [B, N, image_width] all tokens of CLIP's image encoder after its last layer, without final norm.
        """
        tokens: Tensor = self.projection(image)
        return tokens


def convert_resampler_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a released image projection under the names of `Resampler`; none is left out.

    Args:
        state_dict: the entries of the checkpoint that begin with `image_proj_model.`, without it.

    Raises:
        ValueError: for a name that is not of this network.
    """
    converted: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        layer = re.fullmatch(r"(layers\.\d+)\.(.+)\.(weight|bias)", key)
        if layer is None:
            converted[f"projection.{key}"] = tensor
            continue
        block, part, parameter = layer.groups()
        if part == "0.to_kv":  # one matrix for keys (upper half) and values
            key_rows, value_rows = tensor.chunk(2)
            converted[f"projection.{block}.attn.to_k.{parameter}"] = key_rows
            converted[f"projection.{block}.attn.to_v.{parameter}"] = value_rows
        elif part in _LAYER_PARTS:
            converted[f"projection.{block}.{_LAYER_PARTS[part]}.{parameter}"] = tensor
        else:
            raise ValueError(f"{key} is not a tensor of DynamiCrafter's image projection; remove outer prefixes first")
    return converted
