"""The floor without memory: the first-chunk model, asked for one new chunk after another from the text alone.

Every chunk is a good short video and no chunk knows the one before it. The distance between this row and a method's row
is what the method's memory buys.

Example:
    >>> Naive(weights="mini:text_to_video").info.continues_start
    True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from generators.api import Frames, Request, Start, method
from generators.first_chunk import FirstChunk


@method(
    name="naive",
    title="Naive",
    paper="",
    licence="CC-BY-NC-4.0 (ModelScope text-to-video)",
    continues_start=True,
    follows_prompts=True,
    group="floor",
)
@dataclass
class Naive(FirstChunk):
    """Concatenates independent clips of the first-chunk model.

    Attributes:
        batch: clips per network call. Clips do not depend on each other, so drawing several at once saves time and
            costs memory.
    """

    batch: int = 1

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields clips of `num_frames` frames, the last one cut; each is a chunk of its own."""
        drawn = 0
        for stretch in request.stretches(len(start.frames)):
            missing, spoken = stretch.stop - stretch.first, replace(request, prompt=stretch.text)
            chunks = range(drawn + 1, drawn + 1 + -(-missing // self.num_frames))
            clips = chain.from_iterable(self.clips(spoken, chunks, self.batch))
            for chunk, base in zip(chunks, clips, strict=True):
                yield self.refined(base, spoken, chunk)[:missing]
                missing -= self.num_frames
            drawn += len(chunks)
