"""Scores a video file: reads it, shows it to the metrics, and keeps what can be used again.

Example:
    >>> import tempfile
    >>> from metrics.scuts import SceneCuts
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(4):
    ...         Image.new("RGB", (16, 16), (9 * i, 0, 0)).save(Path(folder) / f"{i}.png")
    ...     scored = score_file(folder, {"scuts": SceneCuts()})
    >>> scored.num_frames, scored.scores["scuts"].value
    (4, 0.0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.api import Metric, Score
from metrics.decoding import Condition, Probe, VideoReader
from metrics.errors import VideoError
from metrics.scoring import VideoScorer

if TYPE_CHECKING:
    from metrics.features.cache import FeatureCache


@dataclass(frozen=True)
class ScoredFile:
    """What scoring one video gave.

    Attributes:
        scores: by metric name.
        seconds: wall time per metric; see `VideoScorer`.
        num_frames: frames read.
        probe: rate and size.
        condition: how sound the file was found to be; its `flags()` belong beside the scores.
    """

    scores: Mapping[str, Score]
    seconds: Mapping[str, float]
    num_frames: int
    probe: Probe
    condition: Condition


def score_file(
    path: str | Path,
    metrics: Mapping[str, Metric],
    prompt: str = "",
    seams: Sequence[int] = (),
    num_frames: int | None = None,
    cache: FeatureCache | None = None,
    on_frames: Callable[[int], None] | None = None,
    max_damaged: int | None = None,
) -> ScoredFile:
    """Returns the scores of a video; the file is decoded once and streamed.

    Args:
        path: a video file or a folder of pictures; its name never carries meaning.
        metrics: by name.
        prompt: text the video was made from; may be empty.
        seams: first frame of every chunk but the first, empty if unknown.
        num_frames: score no more than this many frames from the start; None for all.
        cache: where features are looked up and kept; None for no cache.
        on_frames: is told how many frames were just scored, for a progress display.
        max_damaged: damaged frames that are borne; one more is an error. None to count them only.

    Raises:
        VideoError: if it is not a readable video, has a single frame or too many damaged ones.
        MetricError: if a metric's weights or settings are wrong.
    """
    path, reader = Path(path), VideoReader(path, max_damaged)
    facts = reader.probe()
    features = None
    if cache is not None:
        from metrics.features.cache import content_hash
        from metrics.features.kept import KeptFeatures

        features = KeptFeatures(cache, content_hash(path, num_frames), prompt)
    kept = features.find(metrics) if features is not None else {}
    scorer, count = VideoScorer(metrics, prompt, facts.fps, kept), 0
    for frames in reader.frames(num_frames=num_frames):
        scorer.update(frames)
        count += len(frames)
        if on_frames is not None:
            on_frames(len(frames))
    if count < 2:
        raise VideoError("one-frame", f"{path} is a single picture: a video has at least two frames")
    scores = scorer.compute(seams)
    if features is not None:
        features.keep(scorer.tables, kept)
    return ScoredFile(scores, scorer.seconds, count, facts, reader.condition)
