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

from collections.abc import Iterable, Sequence
from pathlib import Path

from metrics.api import Accumulator, Frames, Metric, MetricInfo, Score, Series, metric
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
        num_frames: score no more than this many frames from the start; None for all.
        cache: keep optical flow numbers and CLIP features on disk, to score the same file again in seconds.

    Raises:
        VideoError: if the file is not a readable video.
        SettingError: for an unknown metric, or two of one name.
        WeightsError: if weights are missing; the text says which file, and where to put it.
    """
    from metrics.features.cache import FeatureCache, default_folder
    from metrics.files import score_file

    named = metrics_by_name(metrics)
    store = FeatureCache(default_folder()) if cache else None
    return dict(score_file(video, named, prompt, seams, num_frames, store).scores)


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
        fps: frames per second, > 0.
        prompt: text the video was made from; CLIP needs it.
        metrics: as for `score`.
        seams: first frame of every chunk but the first, if the video was made in chunks.

    Raises:
        VideoError: if these are not frames of one size.
        SettingError: for an unknown metric, two of one name, or a frame rate that is none.
        WeightsError: if weights are missing; the text says which file, and where to put it.
    """
    from metrics.arrays import frame_chunks
    from metrics.scoring import VideoScorer

    if not 0 < fps < float("inf"):
        raise SettingError(f"fps must be a positive number, not {fps!r}")
    scorer = VideoScorer(metrics_by_name(metrics), prompt, float(fps))
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
