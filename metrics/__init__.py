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
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from metrics.api import Accumulator, Frames, Metric, MetricInfo, Score, Series, metric
from metrics.errors import MetricError, SettingError, VideoError, WeightsError
from metrics.features.base import FeatureReader

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "clip": "metrics.clip:ClipScore",
        "mawe": "metrics.mawe:Mawe",
        "scuts": "metrics.scuts:SceneCuts",
        "seams": "metrics.seams:Seams",
        "stillness": "metrics.stillness:Stillness",
    }
)
"""The metrics of this package by name, as `module:class`; the class has the paper's settings as defaults."""


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
        metrics: names of `BUILT_IN` for the paper's settings, or metric objects for others.
        seams: first frame of every chunk but the first, if the video was made in chunks.
        num_frames: score no more than this many frames from the start; None for all.
        cache: keep optical flow numbers and CLIP features on disk, to score the same file again in seconds.

    Raises:
        VideoError: if the file is not a readable video.
        SettingError: for an unknown metric.
        WeightsError: if weights are missing; the text says which file, and where to put it.
    """
    from metrics.features.cache import FeatureCache, default_folder
    from metrics.files import score_file

    chosen = [_built_in(m) if isinstance(m, str) else m for m in metrics]
    store = FeatureCache(default_folder()) if cache else None
    named = {m.info.name: m for m in chosen}
    return dict(score_file(video, named, prompt, seams, num_frames, store).scores)


def _built_in(name: str) -> Metric:
    if name not in BUILT_IN:
        raise SettingError(f"no metric is called {name!r}: choose from {', '.join(sorted(BUILT_IN))}")
    module, _, cls = BUILT_IN[name].partition(":")
    made: Metric = getattr(import_module(module), cls)()
    return made


__all__ = [
    "BUILT_IN",
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
]
