"""Frames on their way in and out of networks: resizing, and tensors turned into uint8 arrays.

Only uint8 arrays travel between the first chunk, the methods and the harness; a method meets floats inside its network
and nowhere else. Both directions are here, so that every system rounds and resizes the same way.

Example:
    >>> import numpy as np
    >>> resize(np.zeros((2, 4, 4, 3), np.uint8), 8, 6).shape
    (2, 8, 6, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from generators.api import Frames

if TYPE_CHECKING:
    import torch


def resize(frames: Frames, height: int, width: int) -> Frames:
    """Returns the frames scaled to [T, height, width, 3], bicubic and anti-aliased; the same array if the size fits.

    Source: Picsart-AI-Research/StreamingT2V, t2v_enhanced/inference_utils.py: `Image.resize` with Pillow's default
    filter, which is bicubic with support scaled by the reduction.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    from PIL import Image

    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), bicubic)) for frame in frames])


def to_frames(video: torch.Tensor) -> Frames:
    """Returns a decoded video as uint8 frames.

    Args:
        video: [T, 3, H, W], floating point, 0..1, on any device.

    Returns:
        [T, H, W, 3], values rounded to the nearest of 0..255.

    Raises:
        ValueError: a value is not finite, which half precision can cause.
    """
    if not bool(video.isfinite().all()):
        raise ValueError(
            f"the network made values that are not finite (dtype {str(video.dtype).removeprefix('torch.')} after "
            'decoding): set dtype = "bfloat16" or dtype = "float32" for this method'
        )
    pixels = (video.float() * 255.0).round().clamp(0, 255).byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())
