"""I2VGen-XL as released: the image branch that counts twice, and VGen's names.

diffusers ships the network (`I2VGenXLUNet`), but adds the encoded image latents to the input once where VGen adds them
twice; the released weights were trained with twice.

Example:
    >>> from diffusers import I2VGenXLUNet
    >>> unet = I2VGenXLUNet.from_pretrained("ali-vilab/i2vgen-xl", subfolder="unet")  # doctest: +SKIP
    >>> double_image_latents(unet)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import I2VGenXLUNet
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys

_OWN_PARTS = {
    "context_embedding.": "context_embedding.",
    "fps_embedding.": "fps_embedding.",
    "local_image_concat.": "image_latents_proj_in.",
    "local_image_embedding.": "image_latents_context_embedding.",
    "local_temporal_encoder.layers.0.0.norm.": "image_latents_temporal_encoder.norm1.",
    "local_temporal_encoder.layers.0.0.fn.to_out.": "image_latents_temporal_encoder.attn1.to_out.",
    "local_temporal_encoder.layers.0.1.net.0.0.": "image_latents_temporal_encoder.ff.net.0.proj.",
    "local_temporal_encoder.layers.0.1.net.2.": "image_latents_temporal_encoder.ff.net.2.",
}
_ENCODER_QKV = "local_temporal_encoder.layers.0.0.fn.to_qkv.weight"


def double_image_latents(unet: I2VGenXLUNet) -> RemovableHandle:
    """Makes the encoded image latents count twice; returns a handle whose `remove()` undoes it.

    Source: VGen tools/modules/unet/unet_i2vgen.py lines 294-295 (the sum is taken twice).
    """
    handle: RemovableHandle = unet.image_latents_temporal_encoder.register_forward_hook(_double)
    return handle


def _double(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return 2 * output


def convert_vgen_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of VGen's `i2vgen_xl` checkpoint under the names of `I2VGenXLUNet`; none is left out.

    Args:
        state_dict: the entry `state_dict` of the released `.pth` file.

    Raises:
        ValueError: names that are not of this network.
    """
    converted: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        own = next((prefix for prefix in _OWN_PARTS if key.startswith(prefix)), None)
        if own is not None:
            converted[_OWN_PARTS[own] + key[len(own) :]] = tensor
        elif key == _ENCODER_QKV:
            for name, rows in zip(("to_q", "to_k", "to_v"), tensor.chunk(3), strict=True):
                converted[f"image_latents_temporal_encoder.attn1.{name}.weight"] = rows
        else:
            shared[key] = tensor
    return converted | convert_lvdm_keys(shared)
