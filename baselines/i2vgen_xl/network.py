"""I2VGen-XL as released: the image branch that counts twice.

diffusers ships the network (`I2VGenXLUNet`), but adds the encoded image latents to the input once where VGen adds them
twice; the released weights were trained with twice.

Example:
    >>> from diffusers import I2VGenXLUNet
    >>> unet = I2VGenXLUNet.from_pretrained("ali-vilab/i2vgen-xl", subfolder="unet")  # doctest: +SKIP
    >>> double_image_latents(unet)  # doctest: +SKIP
"""

from __future__ import annotations

from diffusers import I2VGenXLUNet
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def double_image_latents(unet: I2VGenXLUNet) -> RemovableHandle:
    """Makes the encoded image latents count twice; returns a handle whose `remove()` undoes it.

    Source: VGen tools/modules/unet/unet_i2vgen.py lines 294-295 (the sum is taken twice).
    """
    handle: RemovableHandle = unet.image_latents_temporal_encoder.register_forward_hook(_double)
    return handle


def _double(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return 2 * output
