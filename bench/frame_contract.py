"""What every chunk of every method must keep: the array of `generators.api.Frames`, and the exact number of frames."""

from __future__ import annotations

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


def check_total(missing: int, video: VideoSettings, who: str) -> None:
    """Raises MethodFailure unless a method yielded the exact number of frames; `missing` is negative for too many."""
    if missing:
        what = f"stopped {missing} frames short" if missing > 0 else f"yielded at least {-missing} frames too many"
        raise MethodFailure(f"{who} {what}: a video of {video.num_frames} frames was asked for; yield the exact number")
