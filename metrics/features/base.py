"""What several metrics read from the same frames is computed once.

Optical flow and CLIP image features cost more than everything else together, and more than one metric reads them. A
metric that reads such things names the `Feature` of each; two metrics that name equal features share one `FeaturePass`,
which sees the frames once and ends as a dictionary of arrays. A metric with no interest in sharing ignores this module
and implements `Metric` alone.

Example: a metric that reads one feature.
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Grey:
    ...     '''Mean grey level of every frame.'''
    ...     def identity(self, prompt): return "grey 1"
    ...     def load(self): return self
    ...     def begin(self, prompt): return GreyPass()
    >>> class GreyPass:
    ...     def __init__(self): self.levels = []
    ...     def update(self, frames): self.levels += [float(f.mean()) for f in frames]
    ...     def arrays(self): return {"grey": np.array(self.levels)}
    >>> @dataclass
    ... class Brightness(FeatureReader):
    ...     def features(self): return (Grey(),)
    ...     def read(self, tables, video): return Score(float(tables[Grey()]["grey"].mean()))
    ...     def window(self, series, start, stop): return None
    >>> accumulator = Brightness().begin("", fps=8.0)
    >>> accumulator.update(np.full((2, 4, 4, 3), 7, np.uint8))
    >>> accumulator.compute().value
    7.0
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from metrics.api import Frames, MetricInfo, Score, Series

Arrays = Mapping[str, NDArray[Any]]
"""What a pass found in a video: named arrays, small enough to keep on disk."""


class FeaturePass(Protocol):
    """State of one feature on one video; fresh per video."""

    def update(self, frames: Frames) -> None:
        """Takes the next frames. How a video is cut into calls never changes a bit of the arrays."""
        ...

    def arrays(self) -> Arrays:
        """Returns what was found in all frames; called once, after the last `update`."""
        ...


class LoadedFeature(Protocol):
    """A loaded feature."""

    def begin(self, prompt: str) -> FeaturePass:
        """Returns a fresh pass for one video."""
        ...


class Feature(Protocol):
    """Settings of something computed from the frames: frozen and hashable, so that equal settings are one feature."""

    def identity(self, prompt: str) -> str:
        """Returns all that its arrays depend on besides the frames, as one line: the name they are cached under."""
        ...

    def load(self) -> LoadedFeature:
        """Returns the loaded network; slow, and called once per metric at most."""
        ...


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video besides its frames.

    Attributes:
        prompt: text it was made from; may be empty.
        fps: frames per second.
        num_frames: length in frames.
        seams: first frame of every chunk but the first; empty if unknown.
    """

    prompt: str
    fps: float
    num_frames: int
    seams: tuple[int, ...] = ()


class FeatureReader(ABC):
    """A metric whose score is read from passes alone; `begin` makes it an ordinary `Metric`."""

    info: ClassVar[MetricInfo]

    @cached_property
    def _networks(self) -> dict[Feature, LoadedFeature]:
        """Loaded networks by feature; empty until the first video."""
        return {}

    @abstractmethod
    def features(self) -> tuple[Feature, ...]:
        """Returns the features this metric reads."""

    @abstractmethod
    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score, given the arrays of every feature."""

    @abstractmethod
    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value on frames start <= i < stop; see `Metric.window`."""

    def open(self, feature: Feature, prompt: str) -> FeaturePass:
        """Returns a fresh pass of one of the metric's features, loading its network the first time."""
        if feature not in self._networks:
            self._networks[feature] = feature.load()
        return self._networks[feature].begin(prompt)

    def begin(self, prompt: str, fps: float) -> _OwnPasses:
        """Returns a fresh accumulator that computes its own passes; see `Metric.begin`."""
        return _OwnPasses(self, prompt, fps)


class _OwnPasses:
    """Accumulator of a feature reader that shares with nobody."""

    def __init__(self, metric: FeatureReader, prompt: str, fps: float) -> None:
        self._metric, self._prompt, self._fps, self._num_frames = metric, prompt, fps, 0
        self._passes = {feature: metric.open(feature, prompt) for feature in dict.fromkeys(metric.features())}

    def update(self, frames: Frames) -> None:
        self._num_frames += len(frames)
        for pass_ in self._passes.values():
            pass_.update(frames)

    def compute(self, seams: Sequence[int] = ()) -> Score:
        tables = {feature: pass_.arrays() for feature, pass_ in self._passes.items()}
        return self._metric.read(tables, VideoFacts(self._prompt, self._fps, self._num_frames, tuple(seams)))


class FrameBuffer:
    """Cuts a stream of frames of any chunking into batches of one size, so that results do not depend on the chunks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[Frames] = []
        self._count = 0

    def push(self, frames: Frames) -> list[Frames]:
        """Returns the full batches [size, H, W, 3] that these frames complete, in order; keeps a copy of the rest."""
        batches = []
        while len(frames):
            taken = frames[: self._size - self._count]
            self._held.append(taken)
            self._count += len(taken)
            frames = frames[len(taken) :]
            if self._count == self._size:
                batches.append(self._join())
        if self._held:
            self._held[-1] = self._held[-1].copy()
        return batches

    def rest(self) -> list[Frames]:
        """Returns the last, shorter batch, if there is one."""
        return [self._join()] if self._held else []

    def _join(self) -> Frames:
        batch = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        self._held, self._count = [], 0
        return batch


def listed(values: NDArray[Any]) -> list[float | None]:
    """Returns a plain list of the numbers, None where one is not finite."""
    return [float(v) if np.isfinite(v) else None for v in values]
