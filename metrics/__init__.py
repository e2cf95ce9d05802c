"""Metrics of long videos, for anyone's videos: arrays or files in, scores out.

Example: three lines score a file. (The folder of pictures stands for it here; DIS needs no weights.)
    >>> import numpy as np, pathlib, tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> texture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    >>> for i in range(4):
    ...     Image.fromarray(texture[:128, 2 * i : 2 * i + 128]).save(folder / f"{i}.png")

    >>> from metrics import score
    >>> from metrics.mawe import Mawe
    >>> scores = score(folder, prompt="a texture moves left", metrics=[Mawe(flow="dis", size=0), "scuts"])
    >>> sorted(scores), scores["scuts"].value, round(scores["mawe"].parts["mean_motion"], 1)
    (['mawe', 'scuts'], 0.0, 2.0)

Frames that are in memory already, or come one after another, need no file:
    >>> frames = (texture[:128, 2 * i : 2 * i + 128] for i in range(4))
    >>> score_frames(frames, fps=10, metrics=["scuts"])["scuts"].value
    0.0
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from metrics.api import Accumulator, AssumedRate, Frames, Metric, MetricInfo, Score, Series, metric
from metrics.errors import MetricError, SettingError, VideoError, WeightsError
from metrics.features.base import FeatureReader
from metrics.named import BUILT_IN, GROUPS, metrics_by_name


def score(
    video: str | Path,
    prompt: str = "",
    metrics: Sequence[str | Metric] = ("mawe", "scuts"),
    *,
    seams: Sequence[int] = (),
    num_frames: int | None = None,
    cache: bool = False,
) -> dict[str, Score]:
    """Returns the scores of a video file by metric name.

    Args:
        video: a video file, or a folder of pictures in the order of the numbers in their names.
        prompt: text the video was made from; CLIP needs it.
        metrics: names of `BUILT_IN` or of an installed package's metrics, for their default settings (ours have the
            paper's), or metric objects for others.
        seams: first frame of every chunk but the first, if the video was made in chunks.
        num_frames: score no more than this many frames from the start, at least two; None for all.
        cache: keep optical flow numbers and CLIP features on disk, to score the same file again in seconds.

    Warns:
        UserWarning: the file is readable and not sound, such as "2 damaged frames" or "completeness unknown".

    Raises:
        VideoError: if the file is not a readable video.
        SettingError: for an unknown metric, two of one name, or fewer than two frames.
        WeightsError: if weights are missing; the text says which file, and where to put it.
    """
    from metrics.features.cache import FeatureCache, default_folder
    from metrics.files import score_file

    if num_frames is not None and num_frames < 2:
        raise SettingError(f"num_frames must be 2 or more, not {num_frames!r}: a video has at least two frames")
    named = metrics_by_name(metrics)
    store = FeatureCache(default_folder()) if cache else None
    scored = score_file(video, named, prompt, seams, num_frames, store)
    if flags := scored.condition.flags():
        warnings.warn(f"{video}: {', '.join(flags)}", stacklevel=2)
    return dict(scored.scores)


def score_frames(
    frames: Frames | Iterable[Frames],
    fps: float,
    prompt: str = "",
    metrics: Sequence[str | Metric] = ("mawe", "scuts"),
    *,
    seams: Sequence[int] = (),
) -> dict[str, Score]:
    """Returns the scores of frames by metric name.

    Args:
        frames: one uint8 RGB array [T, H, W, 3], T >= 2, or an iterable of such arrays or of single frames [H, W, 3];
            an iterable is read once and never held whole.
        fps: frames per second, 0.01 to 1000; a `metrics.api.AssumedRate` where nobody knows, so that metrics that count
            seconds give no value.
        prompt: text the video was made from; CLIP needs it.
        metrics: as for `score`.
        seams: first frame of every chunk but the first, if the video was made in chunks.

    Raises:
        VideoError: if these are not frames of one size.
        SettingError: for an unknown metric, two of one name, or a frame rate that is none.
        WeightsError: if weights are missing; the text says which file, and where to put it.
    """
    from metrics.arrays import frame_chunks
    from metrics.decoding import PLAUSIBLE_FPS
    from metrics.scoring import VideoScorer

    slowest, fastest = PLAUSIBLE_FPS
    if not isinstance(fps, float | int | np.number) or not slowest <= fps <= fastest:
        raise SettingError(f"fps must be a number from {slowest:g} to {fastest:g}, not {fps!r}")
    scorer = VideoScorer(metrics_by_name(metrics), prompt, fps if isinstance(fps, AssumedRate) else float(fps))
    for chunk in frame_chunks(frames):
        scorer.update(chunk)
    return scorer.compute(seams)


__all__ = [
    "BUILT_IN",
    "GROUPS",
    "Accumulator",
    "FeatureReader",
    "Frames",
    "Metric",
    "MetricError",
    "MetricInfo",
    "Score",
    "Series",
    "SettingError",
    "VideoError",
    "WeightsError",
    "metric",
    "score",
    "score_frames",
]
