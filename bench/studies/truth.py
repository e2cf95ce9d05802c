"""The rendered truth as a drop-in method: what a perfect model of the miniature world could show for a prompt.

Example:
    python -m bench run --methods truth --plugin docs/streaming-t2v/truth.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from generators.api import Frames, Request, Start, method
from generators.mini.grammar import parse
from generators.mini.world import Clip


@method(name="truth", title="rendered truth", paper="", licence="none", continues_start=False, group="truth")
@dataclass
class Truth:
    """The prompt's own scene, rendered; what the prompt leaves open is drawn from the seed.

    Attributes:
        chunk: frames a chunk, so that there are seams to look at where the streaming methods have theirs.
    """

    chunk: int = 8

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the whole video."""
        yield from Clip(parse(request.prompt), request.seed).stream(request.num_frames, self.chunk)
