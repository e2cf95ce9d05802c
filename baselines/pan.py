"""The floor with motion: a camera that pans over the last frame of the first chunk, mirrored at its edges.

It moves forever, never cuts and shows nothing new: what a metric of motion and consistency gives to a video without
any video model. The plane is the frame continued by mirror images, so the pan never meets an edge.

Example:
    >>> mirrored(np.array([-1, 0, 3, 4, 7, 8]), 4).tolist()
    [0, 0, 3, 3, 0, 0]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators.api import Frames, Request, Start, method
from generators.seeds import chunk_seed


@method(name="pan", title="Pan", paper="", licence="none", continues_start=True, group="floor")
@dataclass
class Pan:
    """Slides a window over the mirrored last frame at constant velocity.

    Attributes:
        speed: frame widths per second.
        chunk: frames per yielded chunk.
    """

    speed: float = 0.125
    chunk: int = 16

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the pan; its direction is drawn from the seed and the prompt, its first frame moves on by one step."""
        plane = start.frames[-1].astype(np.float32)
        angle = 2 * math.pi * np.random.default_rng(chunk_seed(request.seed, request.prompt, 1)).random()
        step = self.speed * request.width / request.fps
        down, right = step * math.sin(angle), step * math.cos(angle)
        before = len(start.frames)
        for first in range(before, request.num_frames, self.chunk):
            last = min(first + self.chunk, request.num_frames)
            yield np.stack(
                [window(plane, (t - before + 1) * down, (t - before + 1) * right) for t in range(first, last)]
            )


def mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Returns indices 0 .. size - 1 of a line that is continued by its mirror image on both sides without end."""
    folded = np.mod(index, 2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)


def window(plane: NDArray[np.float32], down: float, right: float) -> NDArray[np.uint8]:
    """Returns the view [H, W, 3] of the mirrored plane shifted by a sub-pixel distance, bilinear, uint8."""
    rows, cols = math.floor(down), math.floor(right)
    y, x = np.arange(plane.shape[0]) + rows, np.arange(plane.shape[1]) + cols
    height, width = plane.shape[:2]
    upper, lower = plane[mirrored(y, height)], plane[mirrored(y + 1, height)]
    lines = upper + np.float32(down - rows) * (lower - upper)
    near, far = lines[:, mirrored(x, width)], lines[:, mirrored(x + 1, width)]
    return np.rint(near + np.float32(right - cols) * (far - near)).astype(np.uint8)
