"""How the frames so far are handed to a pipeline: the one part of the diffusers adapter that is code and not data.

Every pipeline takes frames as PIL pictures, except those that take floats. Most accept uint8 arrays as well and take
their 0..255 for 0..1 without a word, so they are never handed.

Example:
    >>> valid_context(16, step=4), valid_context(16, step=8), valid_context(16, step=1)
    (13, 9, 16)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from generators.api import Frames

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

CONDITION_CLASSES = {
    "LTXConditionPipeline": "diffusers.pipelines.ltx.pipeline_ltx_condition",
    "LTX2ConditionPipeline": "diffusers.pipelines.ltx2.pipeline_ltx2_condition",
}
"""Pipelines that take conditions, and the module that holds the class of one."""

GREY = 128
"""Level of the frames that WanVACEPipeline is to fill. Source: diffusers' documentation of the pipeline."""


def valid_context(frames: int, step: int) -> int:
    """Returns the largest k * step + 1 that is not above `frames`, which is >= 1."""
    return (frames - 1) // step * step + 1


def context_of(history: Frames, most: int, step: int, least: int) -> Frames:
    """Returns the frames to hand over: the newest ones, as many as a pipeline reads without losing any.

    Args:
        history: the frames so far [n, H, W, 3], n >= 1.
        most: no more than so many.
        step: a length of k * step + 1.
        least: so many at least; the first of them is repeated in front where there are fewer.
    """
    newest = history[-valid_context(min(most, len(history)), step) :]
    lacking = max(0, least - len(newest))
    return np.concatenate([newest[:1].repeat(lacking, axis=0), newest]) if lacking else newest


def given_arguments(
    pipeline: str, takes: str, form: str, name: str, context: Frames, num_frames: int
) -> dict[str, Any]:
    """Returns the arguments by which a pipeline is shown the context.

    Args:
        pipeline: its class's name.
        takes: one of `baselines.diffusers_pipelines.TAKES`.
        form: "pil" or "tensor".
        name: the argument that takes the frames; empty for the usual one.
        context: [C, H, W, 3]; not read where nothing is taken.
        num_frames: frames that are asked for, the context included where the answer repeats it.
    """
    if takes == "nothing":
        return {}
    if takes == "image":
        return {name or "image": pictures(context[-1:])[0]}
    if takes == "conditions":
        return {name or "conditions": [_condition(pipeline, pictures(context))]}
    if takes == "masked_video":
        return _masked(name or "video", context, num_frames)
    return {name or "video": floats(context) if form == "tensor" else pictures(context)}


def pictures(frames: Frames) -> list[Image]:
    """Returns frames as PIL pictures."""
    from PIL import Image

    return [Image.fromarray(frame) for frame in frames]


def floats(frames: Frames) -> torch.Tensor:
    """Returns frames as float32 [1, T, 3, H, W] in 0..1."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)[None].float() / 255


def _condition(pipeline: str, frames: list[Image]) -> object:
    """Returns the condition that a clip's first frames are these."""
    from importlib import import_module

    module = import_module(CONDITION_CLASSES[pipeline])
    if pipeline == "LTX2ConditionPipeline":
        return module.LTX2VideoCondition(frames=frames, index=0)
    return module.LTXVideoCondition(video=frames, frame_index=0)


def _masked(name: str, context: Frames, num_frames: int) -> dict[str, Any]:
    """Returns a clip whose rest is grey, and a mask that is black where it is to be kept and white where it is not."""
    from PIL import Image

    height, width = context.shape[1:3]
    missing = num_frames - len(context)
    grey = Image.new("RGB", (width, height), (GREY, GREY, GREY))
    keep, fill = Image.new("L", (width, height), 0), Image.new("L", (width, height), 255)
    return {name: pictures(context) + [grey] * missing, "mask": [keep] * len(context) + [fill] * missing}
