"""Scores one video with several metrics and keeps their troubles apart: a metric that fails loses its own score only.

Metrics that read the same thing (optical flow, CLIP features) share one pass. If that pass breaks, each metric gets a
pass of its own over the stored video, so that the one to blame is the only one without a score.

Example:
    >>> board = Scorers(catalog).begin({"mawe": settings}, "a red ball", 10.0)   # doctest: +SKIP
    >>> board.update(frames)                                                     # doctest: +SKIP
    >>> board.compute((16,), lambda: read_video(path))["mawe"].value             # doctest: +SKIP
    45.2
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from zlib import crc32

from bench.catalog import Catalog
from bench.errors import BenchError, MetricFailure, foreign, trace_of
from bench.process_state import ProcessState
from bench.profile import Settings
from bench.records import StoredScore
from bench.score_contract import checked_score
from bench.settings import construct, located, score_settings
from generators.api import Frames
from generators.weights import MissingWeightsError
from metrics.api import Metric, Score
from metrics.errors import WeightsError
from metrics.features.base import Arrays, Feature
from metrics.features.kept import KeptFeatures
from metrics.scoring import VideoScorer

MISSING = (MissingWeightsError, WeightsError)


class Scorers:
    """Constructed metrics, kept from one video to the next so that their weights are loaded once.

    Args:
        catalog: where the metrics are found.
        weights_dir: folder of released weights; empty for the hub's cache.
    """

    def __init__(self, catalog: Catalog, weights_dir: str = "") -> None:
        self._catalog = catalog
        self._weights_dir = weights_dir
        self._metrics: dict[tuple[str, str], Metric] = {}

    def begin(
        self, metrics: Mapping[str, Settings], prompt: str, fps: float, features: KeptFeatures | None = None
    ) -> Scoreboard:
        """Returns a fresh board for one video; metrics that cannot begin are on it with the reason.

        Args:
            metrics: settings by name.
            prompt: text of the video; may be empty.
            fps: frames per second.
            features: cached features of the video; None for no cache.
        """
        board = Scoreboard(prompt, fps, tuple(metrics), features)
        for name, settings in metrics.items():
            info = self._catalog.metrics[name].info
            blank = StoredScore(None, version=info.version, settings=score_settings(info, settings))
            try:
                with foreign(MetricFailure, name, passing=MISSING):
                    board.add(name, self._metric(name, settings), blank)
            except MISSING as missing:
                board.lose(name, replace(blank, status="skipped", reason=str(missing)))
            except BenchError as error:
                board.lose(name, replace(blank, status="failed", reason=str(error), traceback=trace_of(error)))
            board.put_back(name)
        return board

    def _metric(self, name: str, settings: Settings) -> Metric:
        key = (name, repr(sorted(settings.items())))
        if key not in self._metrics:
            self._metrics[key] = construct(
                self._catalog.metrics[name].cls, located(name, settings, self._weights_dir), name
            )
        return self._metrics[key]


class Scoreboard:
    """The metrics of one video.

    Args:
        prompt: text of the video.
        fps: frames per second.
        order: names of all metrics, in the order scores are returned.
        features: cached features of the video, read at the beginning and added to at the end; None for no cache.

    Attributes:
        seconds: time spent in metrics so far.
        changes: sentences about global settings that a metric changed, which are put back.
    """

    def __init__(self, prompt: str, fps: float, order: tuple[str, ...], features: KeptFeatures | None = None) -> None:
        self.seconds = 0.0
        self.changes: list[str] = []
        self._state = ProcessState()
        self._order, self._features = order, features
        self._kept: dict[Feature, Arrays] = {}
        self._prompt, self._fps = prompt, fps
        self._metrics: dict[str, Metric] = {}
        self._blank: dict[str, StoredScore] = {}
        self._lost: dict[str, StoredScore] = {}
        self._scorer: VideoScorer | None = None
        self._error: MetricFailure | None = None

    def add(self, name: str, metric: Metric, blank: StoredScore) -> None:
        """Takes one more metric, before the first frames; raises what the metric raises.

        Building the shared scorer again with every metric finds the one that cannot begin; weights stay loaded.
        """
        with self._timed():
            kept = self._kept | (self._features.find({name: metric}) if self._features is not None else {})
            self._scorer = VideoScorer({**self._metrics, name: metric}, self._prompt, self._fps, kept)
        self._kept = kept
        self._metrics[name] = metric
        self._blank[name] = blank

    def put_back(self, who: str) -> bool:
        """Returns whether a metric changed settings that decide the numbers of others, having put them back."""
        changed = self._state.restore(numeric=True)
        if changed:
            self.changes.append(f"{who} changed {', '.join(changed)}")
        return bool(changed)

    def lose(self, name: str, score: StoredScore) -> None:
        """Takes the score of a metric that could not begin."""
        self._lost[name] = score

    def update(self, frames: Frames) -> None:
        """Hands the next frames to every metric, unless the shared pass is broken; `frames` itself is not changed."""
        if self._scorer is None or self._error is not None:
            return
        given = frames.copy()
        before = crc32(given.data)
        self._guard(lambda scorer: scorer.update(given))
        if len(self._metrics) > 1 and self._error is None and crc32(given.data) != before:
            self._error = MetricFailure("one of the metrics changed the frames of the others")

    def compute(self, seams: Sequence[int], replay: Callable[[], Iterable[Frames]]) -> dict[str, StoredScore]:
        """Returns all scores by name, in order.

        Args:
            seams: first frame of every chunk but the first.
            replay: gives the frames of the video once more, for the case that the shared pass broke.
        """
        scores = self._lost | self._computed(seams, replay)
        return {name: scores[name] for name in self._order}

    def _computed(self, seams: Sequence[int], replay: Callable[[], Iterable[Frames]]) -> dict[str, StoredScore]:
        scores: dict[str, Score] = {}
        if self._scorer is not None and self._error is None:
            self._guard(lambda scorer: scores.update(self._finished(scorer, seams)))
        if self._error is None:
            return {name: _filled(self._blank[name], score, name) for name, score in scores.items()}
        if len(self._metrics) == 1:
            reason, trace = str(self._error), trace_of(self._error)
            return {
                name: replace(blank, status="failed", reason=reason, traceback=trace)
                for name, blank in self._blank.items()
            }
        return self._one_by_one(seams, replay)

    def _finished(self, scorer: VideoScorer, seams: Sequence[int]) -> dict[str, Score]:
        scores = scorer.compute(seams)
        if self._features is not None:
            self._features.keep(scorer.tables, self._kept)
        return scores

    def _one_by_one(self, seams: Sequence[int], replay: Callable[[], Iterable[Frames]]) -> dict[str, StoredScore]:
        scores: dict[str, StoredScore] = {}
        for name, metric in self._metrics.items():
            board = Scoreboard(self._prompt, self._fps, (name,), self._features)
            try:
                with foreign(MetricFailure, name):
                    board.add(name, metric, self._blank[name])
                for frames in replay():
                    board.update(frames)
                scores |= board.compute(seams, replay)
            except MetricFailure as error:
                scores[name] = replace(self._blank[name], status="failed", reason=str(error))
            board.put_back(name)
            self.seconds += board.seconds
            self.changes += board.changes
        return scores

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    def _guard(self, step: Callable[[VideoScorer], None]) -> None:
        assert self._scorer is not None
        alone = len(self._metrics) == 1
        who = next(iter(self._metrics)) if alone else "one of the metrics"
        try:
            with self._timed(), foreign(MetricFailure, who):
                step(self._scorer)
        except MetricFailure as error:
            self._error = error
        if self.put_back(who) and not alone:
            self._error = self._error or MetricFailure(self.changes.pop())  # each alone: who it was, and clean numbers


def _filled(blank: StoredScore, returned: object, name: str) -> StoredScore:
    """Returns what a metric returned, as it is stored; what does not keep the contract loses this score only."""
    try:
        with foreign(MetricFailure, name):
            score = checked_score(returned, name)
    except MetricFailure as error:
        return replace(blank, status="failed", reason=str(error))
    return replace(blank, value=score.value, parts=score.parts, series=score.series, reason=score.reason)
