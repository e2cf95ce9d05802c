"""One video, many metrics, one pass: what several of them read is computed once.

Example:
    >>> from metrics.scuts import SceneCuts
    >>> scorer = VideoScorer({"scuts": SceneCuts()}, prompt="", fps=8.0)
    >>> scorer.update(np.zeros((20, 32, 32, 3), np.uint8))
    >>> scorer.compute()["scuts"].value
    0.0
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from metrics.api import Accumulator, Frames, Metric, Score
from metrics.features.base import Arrays, Feature, FeaturePass, FeatureReader, VideoFacts


class VideoScorer:
    """Scores one video by several metrics.

    Attributes:
        seconds: per metric, wall time spent on it so far. What metrics share counts for the first that reads it.
        tables: the arrays of every shared feature, by feature, once `compute` has run.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        prompt: str,
        fps: float,
        kept: Mapping[Feature, Arrays] | None = None,
    ) -> None:
        """Begins a video; loads the weights of metrics that are used for the first time.

        Args:
            metrics: by the name their scores are returned under.
            prompt: text the video was made from; may be empty.
            fps: frames per second.
            kept: arrays of features that were computed from the same frames before; they are not computed again.
        """
        self.seconds = dict.fromkeys(metrics, 0.0)
        self.tables: dict[Feature, Arrays] = dict(kept or {})
        self._prompt, self._fps, self._num_frames = prompt, fps, 0
        self._metrics = dict(metrics)
        self._accumulators: dict[str, Accumulator] = {}
        self._passes: dict[Feature, tuple[str, FeaturePass]] = {}
        for name, metric in metrics.items():
            with self._timed(name):
                self._open(name, metric)

    def update(self, frames: Frames) -> None:
        """Takes the next frames, uint8 [T, H, W, 3]. How a video is cut into calls never changes a score."""
        self._num_frames += len(frames)
        frames = np.ascontiguousarray(frames)
        for name, pass_ in self._passes.values():
            with self._timed(name):
                pass_.update(frames)
        for name, accumulator in self._accumulators.items():
            with self._timed(name):
                accumulator.update(frames)

    def compute(self, seams: Sequence[int] = ()) -> dict[str, Score]:
        """Returns the score of every metric, in the order they were given; called once, after the last `update`.

        Args:
            seams: first frame of every chunk but the first, empty if unknown.
        """
        for feature, (name, pass_) in self._passes.items():
            with self._timed(name):
                self.tables[feature] = pass_.arrays()
        video = VideoFacts(self._prompt, self._fps, self._num_frames, tuple(seams))
        scores = {}
        for name, metric in self._metrics.items():
            with self._timed(name):
                if isinstance(metric, FeatureReader):
                    scores[name] = metric.read(self.tables, video)
                else:
                    scores[name] = self._accumulators[name].compute(seams)
        return scores

    def _open(self, name: str, metric: Metric) -> None:
        if not isinstance(metric, FeatureReader):
            self._accumulators[name] = metric.begin(self._prompt, self._fps)
            return
        for feature in metric.features():
            if feature not in self.tables and feature not in self._passes:
                self._passes[feature] = name, metric.open(feature, self._prompt)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin
