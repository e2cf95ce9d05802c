"""The only autoregressive loop: a short-video model made to continue a video, chunk by chunk.

A `ChunkModel` states how many frames it makes at once, how many given frames it starts from, and at which size; the
loop pads, conditions, seeds, drops the re-rendered frames, cuts at the exact total and un-pads. Systems that are shown
a changing number of frames use its core, `continue_video`, directly. Between chunks frames stay uint8 arrays, never a
compressed file, so nothing but the model can make them worse.

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
from functools import lru_cache
from typing import ClassVar

import numpy as np

from baselines.padding import PADS, blackened, letterbox, unletterbox
from generators.api import Frames, Request, Start
from generators.pipelines import check_option, check_sides
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

    size_multiple: ClassVar[int] = 1
    """What both sides must be multiples of; stated by the class."""

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
        request: the video to make; where its text changes, a chunk ends and the next one reads the new text.
        start: its first frames, at the size of the request.

    Raises:
        ValueError: the model cannot continue this start.
    """
    given, size = model.conditioning_frames, (model.height or request.height, model.width or request.width)
    if not 1 <= given <= len(start.frames):
        raise ValueError(
            f"{given} conditioning frames are asked for and the first chunk has {len(start.frames)}: set "
            f"conditioning_frames to 1 .. {len(start.frames)}"
        )
    check_sides(size, model.size_multiple)
    if model.num_frames <= given:
        raise ValueError(f"num_frames = {model.num_frames} must exceed the {given} conditioning frames")
    begin = lru_cache(maxsize=1)(model.begin)

    def make(text: str, history: Frames, seed: int, wanted: int) -> Frames:
        frames = begin(text)(history[-given:], seed)
        expected = (model.num_frames, *size, 3)
        if frames.shape != expected:
            raise ValueError(f"{type(model).__name__} made a chunk of shape {frames.shape}, not {expected}")
        return frames[given:]

    yield from continue_video(make, request, start.frames, size, keep=given, pad=model.pad, unpad=model.unpad)


Make = Callable[[str, Frames, int, int], Frames]
"""(text, the latest frames [n, h, w, 3], seed, frames wanted) -> [m, h, w, 3], new frames; those not wanted are cut."""


def continue_video(
    make: Make, request: Request, given: Frames, size: tuple[int, int], *, keep: int, pad: str, unpad: bool
) -> Iterator[Frames]:
    """Yields the frames that follow the given ones, one item per call of `make`, exactly as many as are missing.

    Args:
        make: draws what comes next, at least one frame.
        request: the video to make.
        given: its first frames, at the size of the request; none if nothing is continued.
        size: native height and width, at which `make` works.
        keep: how many of the latest frames `make` is shown at most.
        pad: one of `baselines.padding.PADS`.
        unpad: crop the padding off new frames before scaling them back.

    Raises:
        ValueError: `pad` is none of them, or `make` drew no frame.
    """
    check_option("pad", pad, PADS)
    position, chunk, height, width = len(given), 0, request.height, request.width
    history = letterbox(given[-keep:], *size) if keep else np.empty((0, *size, 3), dtype=np.uint8)
    for stretch in request.stretches(position):
        while position < stretch.stop:
            chunk += 1
            wanted = stretch.stop - position
            new = make(stretch.text, history, chunk_seed(request.seed, request.prompt, chunk), wanted)[:wanted]
            if not len(new):
                raise ValueError(f"call {chunk} of the network made no new frame: ask it for more frames")
            position += len(new)
            history = np.concatenate([history, new])[-keep:] if keep else history
            if pad == "every_chunk":
                history = blackened(history, height, width)
            yield unletterbox(new, height, width, crop=unpad)
