"""The floor without motion: a video that stops after its first chunk.

Its warp error is nearly zero by construction, which is why a benchmark of long videos has to show it.

Example:
    >>> Still.info.title
    'Still'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from generators.api import Frames, Request, Start, method


@method(name="still", title="Still", paper="", licence="none", continues_start=True, group="floor")
@dataclass
class Still:
    """Repeats the last frame of the first chunk.

    Attributes:
        chunk: frames per yielded chunk.
    """

    chunk: int = 16

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields copies of the last frame."""
        for first in range(len(start.frames), request.num_frames, self.chunk):
            yield np.repeat(start.frames[-1:], min(self.chunk, request.num_frames - first), axis=0)
