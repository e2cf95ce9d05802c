"""Zero padding: how frames of one shape enter a model of another shape, and how they come back.

The paper pads the initial frames with zeros where a method's resolution differs from the shared first chunk (section
5.2). The authors' own code for it scales a frame to fit, centres it and fills the rest with black; what comes out is
cropped to the same box and scaled back.

Source: Picsart-AI-Research/StreamingT2V, t2v_enhanced/inference_utils.py (`resize_to_fit`, `pad_to_fit`) and
model_func.py (the crop afterwards).

Example:
    >>> content_box(720, 720, 576, 1024)
    (0, 224, 576, 576)
"""

from __future__ import annotations

import numpy as np

from generators.api import Frames
from generators.frames import resize

PADS = ("once", "every_chunk")
"""When bars are made black: only on the initial frames, or anew on the frames every chunk is conditioned on."""


def content_box(height: int, width: int, native_height: int, native_width: int) -> tuple[int, int, int, int]:
    """Returns (top, left, height, width) of a height x width frame fitted into a native frame and centred."""
    scale = min(native_height / height, native_width / width)
    inner_height, inner_width = round(height * scale), round(width * scale)
    return (native_height - inner_height) // 2, (native_width - inner_width) // 2, inner_height, inner_width


def letterbox(frames: Frames, native_height: int, native_width: int) -> Frames:
    """Returns the frames scaled to fit, centred on black: [T, native_height, native_width, 3]."""
    height, width = frames.shape[1:3]
    top, left, inner_height, inner_width = content_box(height, width, native_height, native_width)
    if (inner_height, inner_width) == (native_height, native_width):
        return resize(frames, native_height, native_width)
    canvas = np.zeros((len(frames), native_height, native_width, 3), dtype=np.uint8)
    canvas[:, top : top + inner_height, left : left + inner_width] = resize(frames, inner_height, inner_width)
    return canvas


def unletterbox(frames: Frames, height: int, width: int, *, crop: bool = True) -> Frames:
    """Returns native frames at [T, height, width, 3].

    Args:
        frames: [T, native_height, native_width, 3].
        height: height of the video in pixels.
        width: width of the video in pixels.
        crop: cut out the box in which a height x width frame sits, then scale; False squashes the whole frame.
    """
    if crop:
        top, left, inner_height, inner_width = content_box(height, width, *frames.shape[1:3])
        frames = frames[:, top : top + inner_height, left : left + inner_width]
    return resize(frames, height, width)


def blackened(frames: Frames, height: int, width: int) -> Frames:
    """Returns native frames with everything outside the box of a height x width frame made black."""
    top, left, inner_height, inner_width = content_box(height, width, *frames.shape[1:3])
    canvas = np.zeros_like(frames)
    box = np.s_[:, top : top + inner_height, left : left + inner_width]
    canvas[box] = frames[box]
    return canvas
