"""The contract of a metric: what anyone implements to add a column to the table.

A metric is a dataclass stamped with `@metric(...)`: its fields are its settings, and profiles set them by name (a field
called `device` is filled from the profile). `begin` returns a fresh accumulator for one video; the weights live in the
metric and are loaded on the first `begin`, the state lives in the accumulator. The score keeps per-frame series, and
`window` reads any stretch of the video out of them, so curves over time cost nothing.

Example:
    >>> import dataclasses
    >>> @metric(name="brightness", title="Brightness", unit="0..255", better="higher", version="1")
    ... @dataclasses.dataclass
    ... class Brightness:
    ...     '''Mean grey level, to show the contract.'''
    ...     def begin(self, prompt, fps):
    ...         return _Sum(self)
    ...     def window(self, series, start, stop):
    ...         return mean_or_none(series["grey"][start:stop])
    >>> class _Sum:
    ...     def __init__(self, metric):
    ...         self.metric, self.grey = metric, []
    ...     def update(self, frames):
    ...         self.grey += [float(f.mean()) for f in frames]
    ...     def compute(self, seams=()):
    ...         series = {"grey": self.grey}
    ...         return Score(self.metric.window(series, 0, len(self.grey)), {}, series)
    >>> accumulator = Brightness().begin("a prompt", fps=10.0)
    >>> accumulator.update(np.full((2, 4, 4, 3), 100, np.uint8))
    >>> accumulator.compute().value
    100.0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
"""RGB video frames [T, H, W, 3], uint8 in 0..255, T >= 1: the only array that crosses a package line."""

Series = Mapping[str, Sequence[float | None]]
"""Named per-frame, per-pair or per-event numbers of one video, plain lists that JSON can hold (None = undefined)."""

Part = float | int | str | bool | None

DIRECTIONS = ("lower", "higher", "neither")
"""What `better` may say."""


class ChangingText(str):
    """A text that changes on the way: as a text it is the first one, so any metric can read it.

    Args:
        first: the text of the first frames.
        changes: (first frame, text) of every later one, by rising frame.

    Example:
        >>> text = ChangingText("rain", ((2, "sunshine"),))
        >>> text.upper(), text.texts, text.in_force(4)
        ('RAIN', ('rain', 'sunshine'), [0, 0, 1, 1])
    """

    changes: tuple[tuple[int, str], ...]

    def __new__(cls, first: str, changes: tuple[tuple[int, str], ...]) -> ChangingText:
        """Returns the first text, with the others kept beside it."""
        made = super().__new__(cls, first)
        made.changes = changes
        return made

    def __getnewargs__(self) -> tuple[str, tuple[tuple[int, str], ...]]:  # type: ignore[override]
        """Returns what makes an equal text: how it is copied, and sent to another process."""
        return str(self), self.changes

    def __repr__(self) -> str:
        return f"ChangingText({str(self)!r}, {self.changes!r})"

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts in order, the first one included."""
        return (str(self), *(text for _, text in self.changes))

    def in_force(self, num_frames: int) -> list[int]:
        """Returns for each of so many frames which of `texts` it is for."""
        return [sum(at <= frame for at, _ in self.changes) for frame in range(num_frames)]


class AssumedRate(float):
    """A frame rate that a video does not state: as a number it is the one assumed, so any metric can read it.

    A metric whose value depends on the rate has none then, and says so.

    Example:
        >>> AssumedRate(10.0) == 10.0, isinstance(10.0, AssumedRate)
        (True, False)
    """


@dataclass(frozen=True)
class MetricInfo:
    """What `list metrics` prints.

    Attributes:
        name: identifier on the command line: 1 to 64 lower case letters, digits, underscores.
        title: column head in tables.
        unit: unit of the value, such as "cuts" or "100 x cosine".
        better: "lower", "higher", or "neither" for a diagnosis that does not rank.
        version: changes whenever the same frames would give another value; stale scores are recomputed.
        definition: what it measures, in one plain line for a reader of the table.
        package: installed distribution that decides the values, empty for none; its version is kept among the settings
            of a score, so that scores by another one are stale.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    version: str
    definition: str = ""
    package: str = ""


@dataclass(frozen=True)
class Score:
    """What a metric says of one video.

    Attributes:
        value: the number in the table, or None where it is undefined.
        parts: named scalars and settings behind it (counts of unusual frames, mode, model, library versions).
        series: per-frame, per-pair or per-event values; their index convention is in the metric's docstring.
        reason: why `value` is None, in a sentence; empty otherwise.
    """

    value: float | None
    parts: Mapping[str, Part] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    reason: str = ""


class Accumulator(Protocol):
    """State of one metric on one video; fresh per video, never reset."""

    def update(self, frames: Frames) -> None:
        """Takes the next frames. How a video is cut into calls never changes the score."""
        ...

    def compute(self, seams: Sequence[int] = ()) -> Score:
        """Returns the score of all frames so far; called once, after the last `update`.

        Args:
            seams: first frame of every chunk but the first, where the maker of the video is known to have joined
                chunks; empty if unknown.
        """
        ...


class Metric(Protocol):
    """A measure of a video. Classes are stamped with `@metric`, which sets `info`."""

    info: ClassVar[MetricInfo]

    def begin(self, prompt: str, fps: float) -> Accumulator:
        """Returns a fresh accumulator for one video.

        Args:
            prompt: the text the video was made from; may be empty, and a metric that needs it then gives None.
            fps: frames per second, > 0; an `AssumedRate` where the video states none.
        """
        ...

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of the metric on frames start <= i < stop of a video with this series, or None.

        Loads no weights and reads nothing but `series` and the metric's settings. On the whole video it equals
        `Score.value`.
        """
        ...


M = TypeVar("M")


def metric(
    *,
    name: str,
    title: str,
    unit: str,
    better: Literal["lower", "higher", "neither"],
    version: str,
    definition: str = "",
    package: str = "",
) -> Callable[[type[M]], type[M]]:
    """Stamps a class as a metric: sets its `info` (see `MetricInfo` for the arguments).

    Raises:
        ValueError: the name is not made as it must be, or `better` is none of its three words.
    """
    if not re.fullmatch("[a-z0-9_]{1,64}", name):
        raise ValueError(f"name {name!r}: give 1 to 64 lower case letters, digits and underscores")
    if better not in DIRECTIONS:
        raise ValueError(f"metric {name!r}: better must be one of {', '.join(DIRECTIONS)}, not {better!r}")
    info = MetricInfo(name, title, unit, better, version, definition, package)

    def stamp(cls: type[M]) -> type[M]:
        cls.info = info  # type: ignore[attr-defined]
        return cls

    return stamp


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Returns the arithmetic mean in float64, or None if there is no value or one of them is undefined."""
    if not values or any(v is None for v in values):
        return None
    return float(np.mean(np.asarray(values, dtype=np.float64)))
