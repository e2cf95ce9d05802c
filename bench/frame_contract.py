"""What every chunk of every method must keep: the array of `generators.api.Frames`, and the exact number of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from bench.errors import MethodFailure
from bench.profile import VideoSettings
from generators.api import Frames


def checked_frames(frames: object, video: VideoSettings, who: str) -> Frames:
    """Returns frames that keep the contract of `generators.api`.

    Raises:
        MethodFailure: they do not; the sentence says how.
    """
    want = f"uint8 [t, {video.height}, {video.width}, 3]"
    if not isinstance(frames, np.ndarray):
        raise MethodFailure(f"{who} yielded {type(frames).__name__}; yield NumPy arrays, {want}")
    if frames.dtype != np.uint8:
        raise MethodFailure(f"{who} yielded {frames.dtype} frames; yield {want}, values 0..255")
    if frames.ndim != 4 or frames.shape[1:] != (video.height, video.width, 3) or not len(frames):
        raise MethodFailure(f"{who} yielded frames of shape {list(frames.shape)}; yield {want} with t >= 1")
    return frames


def checked_chunks(chunks: object, who: str) -> Iterator[Any]:
    """Returns what `generate` returned as an iterator of chunks.

    Raises:
        MethodFailure: it cannot be iterated; the sentence says what to do.
    """
    if not isinstance(chunks, Iterable):
        raise MethodFailure(f"{who}: `generate` returned {type(chunks).__name__}; yield arrays of frames in it")
    return iter(chunks)


def check_total(missing: int, wanted: int, video: VideoSettings, who: str) -> None:
    """Raises MethodFailure unless a method yielded the exact number of frames.

    Args:
        missing: frames that are missing in the end, negative for too many.
        wanted: new frames that the method was to make.
        video: length of the whole video.
        who: name of the method.
    """
    if missing:
        what = f"stopped {missing} frames short" if missing > 0 else f"yielded at least {-missing} frames too many"
        first = video.num_frames - wanted
        less = f" ({video.num_frames} less the {first} of the first chunk)" if first else ""
        raise MethodFailure(f"{who} {what}: {wanted} new frames were asked for{less}; yield exactly those")
