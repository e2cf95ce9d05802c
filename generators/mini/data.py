"""Training data of the miniature networks: random clips, and their frames as networks read them.

Example:
    >>> clip, text = random_clip(np.random.default_rng(0))
    >>> tuple(to_tensor(clip.render(0, 2)).shape), text.startswith("a ")
    ((2, 3, 64, 64), True)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from generators.api import Frames
from generators.mini.grammar import caption, random_scene
from generators.mini.world import Clip


def as_pixels(frames: Tensor) -> Tensor:
    """Returns frames [..., H, W, 3] uint8 as floats [..., 3, H, W] in -1..1."""
    return frames.movedim(-1, -3).float() / 127.5 - 1


def to_tensor(frames: Frames) -> Tensor:
    """Returns frames [T, H, W, 3] uint8 as a float tensor [T, 3, H, W] in -1..1, channels last in memory."""
    return as_pixels(torch.from_numpy(np.ascontiguousarray(frames)))


def random_clip(rng: np.random.Generator, two_things: float = 0.2) -> tuple[Clip, str]:
    """Returns a random clip and its caption."""
    scene = random_scene(rng, two_things)
    return Clip(scene, int(rng.integers(2**31))), caption(scene)
