"""The ceiling: the scene a prompt of the miniature world describes, rendered instead of generated.

What a perfect model of that world could show. Only the miniature world can be rendered, and its frames are square, so
only a profile of such videos offers this row.

Example:
    >>> frames = next(Truth().generate(Request("a red circle bouncing up and down on grass", 0, 8, 64, 64, 10.0), None))
    >>> frames.shape
    (8, 64, 64, 3)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from generators.api import Frames, Request, Start, UnsupportedRequestError, method
from generators.mini.grammar import Scene, parse
from generators.mini.world import Clip


@method(name="truth", title="Rendered truth", paper="", licence="none", continues_start=False, group="ceiling")
@dataclass
class Truth:
    """The prompt's own scene; what the prompt leaves open is drawn from the seed.

    Attributes:
        chunk: frames a chunk, so that there are seams to look at where the streaming methods have theirs.
    """

    chunk: int = 8

    def generate(self, request: Request, start: Start | None) -> Iterator[Frames]:
        """Yields the whole video; the shared first chunk is not read.

        Raises:
            UnsupportedRequestError: the prompt or the size is not of the miniature world.
        """
        yield from Clip(_scene(request), request.seed).stream(request.num_frames, self.chunk, request.height)


def _scene(request: Request) -> Scene:
    if request.height != request.width:
        raise UnsupportedRequestError(
            f"truth renders square frames only, not {request.width} × {request.height} pixels; leave it out"
        )
    try:
        return parse(request.prompt)
    except ValueError as cause:
        raise UnsupportedRequestError(f"truth can render the miniature world only: {cause}") from cause
