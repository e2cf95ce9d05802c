"""Takes frames as anyone holds them, an array or an iterator, and checks them before a metric sees them.

Example:
    >>> video = np.zeros((20, 32, 32, 3), np.uint8)
    >>> [chunk.shape for chunk in frame_chunks(video)]
    [(16, 32, 32, 3), (4, 32, 32, 3)]
    >>> [chunk.shape for chunk in frame_chunks(frame for frame in video[:2])]
    [(1, 32, 32, 3), (1, 32, 32, 3)]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from metrics.api import Frames
from metrics.errors import VideoError

FRAMES_PER_CHUNK = 16
"""Frames of an array that metrics are shown at a time; no score depends on it."""


def frame_chunks(frames: Frames | Iterable[Frames]) -> Iterator[Frames]:
    """Yields the frames in order, uint8 RGB [t, H, W, 3], t >= 1; memory does not grow with their number.

    Args:
        frames: one array [T, H, W, 3], or an iterable of such arrays or of single frames [H, W, 3], all of one size.

    Raises:
        VideoError: it is not made of uint8 RGB frames, their size changes, or there are fewer than two.
    """
    size: tuple[int, ...] = ()
    count = 0
    for part in [frames] if isinstance(frames, np.ndarray) else frames:
        chunk = _checked(part, count)
        if size and chunk.shape[1:] != size:
            what = f"{chunk.shape[1]} x {chunk.shape[2]} pixels, the frames before it {size[0]} x {size[1]}"
            raise VideoError("resized", f"frame {count} has {what}: give frames of one size")
        size = chunk.shape[1:]
        count += len(chunk)
        for start in range(0, len(chunk), FRAMES_PER_CHUNK):
            yield chunk[start : start + FRAMES_PER_CHUNK]
    if count < 2:
        raise VideoError("no-frames" if not count else "one-frame", f"{count} frames given: a video has at least two")


def _checked(part: object, position: int) -> Frames:
    """Returns one array as [t, H, W, 3]; `position` is the index of its first frame, for the message."""
    if not isinstance(part, np.ndarray):
        what = type(part).__name__
        raise VideoError("not-frames", f"frame {position} is a {what}: give NumPy arrays, such as np.asarray(frame)")
    if part.dtype != np.uint8:
        raise VideoError("not-frames", f"frame {position} is of {part.dtype}: give uint8, 0 to 255")
    chunk = part[None] if part.ndim == 3 else part
    if chunk.ndim != 4 or chunk.shape[-1] != 3 or 0 in chunk.shape[1:]:
        shape = list(part.shape)
        raise VideoError("not-frames", f"frame {position} has the shape {shape}: give RGB, [T, H, W, 3] or [H, W, 3]")
    return chunk
