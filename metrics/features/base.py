"""What several metrics read from the same frames is computed once.

Optical flow and CLIP image features cost more than everything else together, and more than one metric reads them. A
metric that reads such things names the `Source` of each; two metrics that name equal sources share one `Track`, which
sees the frames once and ends as a dictionary of arrays. A metric with no interest in sharing ignores this module and
implements `Metric` alone.

Example: a metric that reads one source.
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Grey:
    ...     '''Mean grey level of every frame.'''
    ...     def identity(self, prompt): return "grey 1"
    ...     def load(self): return self
    ...     def track(self, prompt): return GreyTrack()
    >>> class GreyTrack:
    ...     def __init__(self): self.levels = []
    ...     def update(self, frames): self.levels += [float(f.mean()) for f in frames]
    ...     def arrays(self): return {"grey": np.array(self.levels)}
    >>> @dataclass
    ... class Brightness(TrackReader):
    ...     def sources(self): return (Grey(),)
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

from .api import Frames, MetricInfo, Score, Series

Arrays = Mapping[str, NDArray[Any]]
"""What a track found in a video: named arrays, small enough to keep on disk."""


class Track(Protocol):
    """State of one source on one video; fresh per video."""

    def update(self, frames: Frames) -> None:
        """Takes the next frames. How a video is cut into calls never changes a bit of the arrays."""
        ...

    def arrays(self) -> Arrays:
        """Returns what was found in all frames; called once, after the last `update`."""
        ...


class Network(Protocol):
    """A loaded source."""

    def track(self, prompt: str) -> Track:
        """Returns a fresh track for one video."""
        ...


class Source(Protocol):
    """Settings of something computed from the frames: frozen and hashable, so that equal settings are one source."""

    def identity(self, prompt: str) -> str:
        """Returns all that its arrays depend on besides the frames, as one line: the name they are cached under."""
        ...

    def load(self) -> Network:
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


class TrackReader(ABC):
    """A metric whose score is read from tracks alone; `begin` makes it an ordinary `Metric`."""

    info: ClassVar[MetricInfo]

    @cached_property
    def _networks(self) -> dict[Source, Network]:
        """Loaded networks by source; empty until the first video."""
        return {}

    @abstractmethod
    def sources(self) -> tuple[Source, ...]:
        """Returns the sources this metric reads."""

    @abstractmethod
    def read(self, tables: Mapping[Source, Arrays], video: VideoFacts) -> Score:
        """Returns the score, given the arrays of every source."""

    @abstractmethod
    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value on frames start <= i < stop; see `Metric.window`."""

    def open(self, source: Source, prompt: str) -> Track:
        """Returns a fresh track of one of the metric's sources, loading its network the first time."""
        if source not in self._networks:
            self._networks[source] = source.load()
        return self._networks[source].track(prompt)

    def begin(self, prompt: str, fps: float) -> _OwnTracks:
        """Returns a fresh accumulator that computes its own tracks; see `Metric.begin`."""
        return _OwnTracks(self, prompt, fps)


class _OwnTracks:
    """Accumulator of a track reader that shares with nobody."""

    def __init__(self, metric: TrackReader, prompt: str, fps: float) -> None:
        self._metric, self._prompt, self._fps, self._num_frames = metric, prompt, fps, 0
        self._tracks = {source: metric.open(source, prompt) for source in dict.fromkeys(metric.sources())}

    def update(self, frames: Frames) -> None:
        self._num_frames += len(frames)
        for track in self._tracks.values():
            track.update(frames)

    def compute(self, seams: Sequence[int] = ()) -> Score:
        tables = {source: track.arrays() for source, track in self._tracks.items()}
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
