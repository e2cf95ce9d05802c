"""VideoCrafter2's network: ModelScope's video UNet that also hears the frame rate.

FreeNoise runs on it. The network is diffusers' `UNet3DConditionModel`; what is added is one small network that turns
the frame rate into a vector, which joins the embedding of the timestep.

Example:
    >>> import torch
    >>> network = VideoCrafterUNet(block_out_channels=(32, 64), attention_levels=(True, False), layers_per_block=1,
    ...                            cross_attention_dim=8, head_channels=8)
    >>> network(torch.zeros(1, 4, 3, 8, 8), torch.tensor([10]), torch.zeros(1, 77, 8), torch.tensor([16])).shape
    torch.Size([1, 4, 3, 8, 8])
"""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import ConfigMixin, ModelMixin, UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn

from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys


class VideoCrafterUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the noise of a clip from its text and frame rate.

    The defaults are the released network (1413.3M parameters).

    Args:
        block_out_channels: channels per resolution, finest first.
        attention_levels: which resolutions have transformer blocks, finest first.
        layers_per_block: residual blocks per resolution on the way down (one more on the way up).
        cross_attention_dim: width of the text tokens.
        head_channels: channels of one attention head.
        norm_num_groups: groups of every group norm.

    Source: VideoCrafter2's lvdm/modules/networks/openaimodel3d.py as shipped with AILab-CVC/FreeNoise 404b68b.
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
    ) -> None:
        super().__init__()
        self.unet = fps_conditioned_unet(
            4,
            block_out_channels,
            attention_levels,
            layers_per_block,
            cross_attention_dim,
            head_channels,
            norm_num_groups,
        )

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, fps: Tensor) -> Tensor:
        """Returns the predicted noise [B, 4, F, h, w].

        Args:
            sample: [B, 4, F, h, w] noisy latents.
            timestep: [B] integers in 0..999.
            text: [B, 77, cross_attention_dim] penultimate hidden states of OpenCLIP-H's text encoder.
            fps: [B] frames per second.
        """
        noise: Tensor = self.unet(
            sample, timestep, text, timestep_cond=fps_features(self.unet, fps), return_dict=False
        )[0]
        return noise


class TimeAndFpsEmbedding(nn.Module):
    """The vector every residual block hears: the timestep's plus the frame rate's, each through its own network."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.time = TimestepEmbedding(features, width)
        self.fps = TimestepEmbedding(features, width)

    def forward(self, time: Tensor, fps: Tensor) -> Tensor:
        """Returns [B, width]; `time` and `fps` are sinusoidal features [B, features]."""
        embedding: Tensor = self.time(time) + self.fps(fps)
        return embedding


def fps_conditioned_unet(
    in_channels: int,
    block_out_channels: tuple[int, ...],
    attention_levels: tuple[bool, ...],
    layers_per_block: int,
    cross_attention_dim: int,
    head_channels: int,
    norm_num_groups: int,
) -> UNet3DConditionModel:
    """A `UNet3DConditionModel` whose `timestep_cond` argument takes the sinusoidal features of the frame rate.

    Arguments as in `VideoCrafterUNet`; `in_channels` counts the channels of its input.
    """
    unet = UNet3DConditionModel(
        in_channels=in_channels,
        out_channels=4,
        down_block_types=tuple("CrossAttnDownBlock3D" if level else "DownBlock3D" for level in attention_levels),
        up_block_types=tuple("CrossAttnUpBlock3D" if level else "UpBlock3D" for level in attention_levels[::-1]),
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=head_channels,
        norm_num_groups=norm_num_groups,
    )
    unet.time_embedding = TimeAndFpsEmbedding(block_out_channels[0], 4 * block_out_channels[0])
    return unet


def fps_features(unet: UNet3DConditionModel, fps: Tensor) -> Tensor:
    """Sinusoidal features [B, C] of the frame rates [B], made as those of the timestep are."""
    features: Tensor = unet.time_proj(fps)
    return features.to(unet.dtype)


def convert_videocrafter_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a released network under the names of `VideoCrafterUNet` or `DynamiCrafterUNet`; none is left out.

    Args:
        state_dict: the entries of the checkpoint's `state_dict` that begin with `model.diffusion_model.`, without it.
    """
    return {_rename(key): tensor for key, tensor in convert_lvdm_keys(state_dict).items()}


def _rename(key: str) -> str:
    key = key.replace("time_embedding.", "time_embedding.time.").replace("fps_embedding.", "time_embedding.fps.")
    for image_projection in ("to_k_ip", "to_v_ip"):
        key = key.replace(f"attn2.{image_projection}.", f"attn2.processor.{image_projection}.")
    return f"unet.{key}"
