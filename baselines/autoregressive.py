"""The only autoregressive loop: a short-video model made to continue a video, chunk by chunk.

A `ChunkModel` states how many frames it makes at once, how many given frames it starts from, and at which size; the
loop pads, conditions, seeds, drops the re-rendered frames, cuts at the exact total and un-pads. Between chunks frames
stay uint8 arrays, never a compressed file, so nothing but the model can make them worse.

Example:
    >>> import numpy as np
    >>> from generators.api import Request, Start
    >>> @dataclass
    ... class Fade(ChunkModel):
    ...     num_frames: int = 5
    ...     conditioning_frames: int = 1
    ...     def begin(self, prompt):
    ...         return lambda conditioning, seed: np.repeat(conditioning // 2, 5, axis=0)
    >>> frames = np.full((16, 8, 8, 3), 200, np.uint8)
    >>> request = Request("a fade", seed=0, num_frames=26, height=8, width=8, fps=8.0)
    >>> [(len(chunk), int(chunk[0, 0, 0, 0])) for chunk in Fade().generate(request, Start(frames, frames))]
    [(4, 100), (4, 50), (2, 25)]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from baselines.padding import PADS, blackened, letterbox, unletterbox
from generators.api import Frames, Request, Start
from generators.pipelines import check_option
from generators.seeds import chunk_seed

Extend = Callable[[Frames, int], Frames]
"""(conditioning [C, h, w, 3], seed) -> [F, h, w, 3], whose first C frames re-render the conditioning frames."""


@dataclass(kw_only=True)
class ChunkModel(ABC):
    """A model that makes F frames at once, the first C of which show C given frames again.

    A subclass is a method: it states its own defaults, `conditioning_frames` (C, a setting or a property) and `begin`.

    Attributes:
        num_frames: F, frames made per network call, given ones included; each call adds F - C new ones.
        height: native height in pixels; 0 for that of the request.
        width: native width in pixels; 0 for that of the request.
        pad: one of `baselines.padding.PADS`.
        unpad: crop the padding off new frames before scaling them back; False squashes the padded frame.
    """

    num_frames: int = 16
    height: int = 0
    width: int = 0
    pad: str = "once"
    unpad: bool = True

    @property
    @abstractmethod
    def conditioning_frames(self) -> int:
        """C, given frames that a call starts from."""

    @abstractmethod
    def begin(self, prompt: str) -> Extend:
        """Returns the function that makes chunks of one video; what does not change between chunks is done here."""

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, `num_frames` - `conditioning_frames` per network call."""
        return autoregress(self, request, start)


def autoregress(model: ChunkModel, request: Request, start: Start) -> Iterator[Frames]:
    """Yields the frames that follow the start, one item per network call, exactly as many as are missing.

    Args:
        model: makes the chunks.
        request: the video to make.
        start: its first frames, at the size of the request.

    Raises:
        ValueError: the model cannot continue this start.
    """
    check_option("pad", model.pad, PADS)
    given, size = model.conditioning_frames, (model.height or request.height, model.width or request.width)
    if not 1 <= given <= len(start.frames):
        raise ValueError(
            f"{given} conditioning frames are asked for and the first chunk has {len(start.frames)}: set "
            f"conditioning_frames to 1 .. {len(start.frames)}"
        )
    if model.num_frames <= given:
        raise ValueError(f"num_frames = {model.num_frames} must exceed the {given} conditioning frames")
    missing, chunk = request.num_frames - len(start.frames), 0
    if missing <= 0:
        return
    extend = model.begin(request.prompt)
    conditioning = letterbox(start.frames[-given:], *size)
    while missing > 0:
        chunk += 1
        frames = extend(conditioning, chunk_seed(request.seed, request.prompt, chunk))
        expected = (model.num_frames, *size, 3)
        if frames.shape != expected:
            raise ValueError(f"{type(model).__name__} made a chunk of shape {frames.shape}, not {expected}")
        conditioning = frames[-given:]
        if model.pad == "every_chunk":
            conditioning = blackened(conditioning, request.height, request.width)
        new = frames[given:][:missing]
        missing -= len(new)
        yield unletterbox(new, request.height, request.width, crop=model.unpad)
