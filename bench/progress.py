"""Shows how a run goes: a live bar on a terminal, one line per cell elsewhere.

Example:
    >>> estimate = Estimate({"svd": 3}, workers=1)
    >>> estimate.took("svd", 10.0)
    >>> estimate.seconds_left()
    20.0
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bench.terminal import on_terminal, printable, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Estimate:
    """Time left, from how long the cells of each method took: a floor takes a second, a diffusion model minutes.

    Args:
        todo: number of cells by method.
        workers: cells that run at the same time.
    """

    def __init__(self, todo: Mapping[str, int], workers: int) -> None:
        self._left = dict(todo)
        self._workers = workers
        self._took: dict[str, tuple[float, int]] = {}

    def took(self, method: str, seconds: float) -> None:
        """Counts one finished cell."""
        self._left[method] -= 1
        took, cells = self._took.get(method, (0.0, 0))
        self._took[method] = took + seconds, cells + 1

    def mean(self) -> float:
        """Returns the mean seconds per finished cell, 0 before the first."""
        cells = sum(count for _, count in self._took.values())
        return sum(seconds for seconds, _ in self._took.values()) / cells if cells else 0.0

    def seconds_left(self) -> float:
        """Returns the expected seconds to the end; methods that have not finished a cell count with the mean."""
        total = 0.0
        for method, count in self._left.items():
            seconds, cells = self._took.get(method, (0.0, 0))
            total += count * (seconds / cells if cells else self.mean())
        return total / min(self._workers, max(1, sum(self._left.values())))


@dataclass(frozen=True)
class Step:
    """One finished piece of work, as it is shown.

    Attributes:
        group: whose it is: pieces of one group take about the same time.
        name: what it is called.
        status: "ok", "failed", "skipped" …
        reason: why not ok.
        seconds: wall time.
        frames: frames that were made or read.
    """

    group: str
    name: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    frames: int = 0


class Display:
    """A context that shows one phase of a run on standard error: what is done, how fast, how long it still takes.

    Args:
        what: "first chunks", "cells" or "videos".
        todo: number of pieces by group.
        workers: pieces that run at the same time.
    """

    def __init__(self, what: str, todo: Mapping[str, int], workers: int) -> None:
        self._what, self._total = what, sum(todo.values())
        self._estimate = Estimate(todo, workers)
        self._count = self._frames = 0
        self._began = time.perf_counter()
        self._bar: Progress | None = None
        self._row: TaskID | None = None

    def __enter__(self) -> Self:
        """Starts the bar if standard error is a terminal."""
        if on_terminal():
            self._bar = _terminal_bar()
            self._bar.start()
            self._row = self._bar.add_task(self._what, total=self._total, speed="", left="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar off."""
        if self._bar is not None:
            with self._terminal():
                self._bar.stop()

    def done(self, step: Step) -> None:
        """Shows one finished piece."""
        self._estimate.took(step.group, step.seconds)
        self._count += 1
        self._frames += step.frames
        left = f"{clock(self._estimate.seconds_left())} left"
        line = printable(f"{step.name}: {step.status}, {step.seconds:.1f} s")
        line += printable(f" ({step.reason})") if step.reason else ""
        if self._bar is not None and self._row is not None:
            with self._terminal():
                self._bar.console.print(line, markup=False, highlight=False)
                self._bar.update(self._row, completed=self._count, speed=self._speed(), left=left)
        else:
            say(f"[{self._count}/{self._total} {self._what}] {line} · {self._speed()} · {left}")

    def note(self, sentence: str) -> None:
        """Shows a sentence between the pieces."""
        if self._bar is not None:
            with self._terminal():
                self._bar.console.print(f"note: {printable(sentence)}", markup=False, highlight=False)
        else:
            say(f"note: {printable(sentence)}")

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        """Goes on without a bar where the terminal is gone, as after a disconnect: the run does not need one."""
        try:
            yield
        except OSError:
            self._bar = None

    def _speed(self) -> str:
        speed = f"{self._estimate.mean():.1f} s each"
        if self._frames:
            speed += f" · {self._frames / max(time.perf_counter() - self._began, 1e-9):.1f} frames/s"
        return speed


def _terminal_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
    )


def clock(seconds: float) -> str:
    """Returns seconds as "minutes:seconds", with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
