"""Shows how a run goes: a live bar on a terminal, one line per cell elsewhere.

Example:
    >>> estimate = Estimate({"svd": 3}, workers=1)
    >>> estimate.took("svd", 10.0)
    >>> estimate.seconds_left()
    20.0
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bench.terminal import on_terminal, printable, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bench.worker import Outcome


class Estimate:
    """Time left, from how long the cells of each method took: a floor takes a second, a diffusion model minutes.

    Args:
        todo: number of cells by method.
        workers: cells that run at the same time.
    """

    def __init__(self, todo: Mapping[str, int], workers: int) -> None:
        self._left = dict(todo)
        self._workers = workers
        self._took: dict[str, list[float]] = {}

    def took(self, method: str, seconds: float) -> None:
        """Counts one finished cell."""
        self._left[method] -= 1
        self._took.setdefault(method, []).append(seconds)

    def mean(self) -> float:
        """Returns the mean seconds per finished cell, 0 before the first."""
        took = [seconds for times in self._took.values() for seconds in times]
        return sum(took) / len(took) if took else 0.0

    def seconds_left(self) -> float:
        """Returns the expected seconds to the end; methods that have not finished a cell count with the mean."""
        total = 0.0
        for method, count in self._left.items():
            times = self._took.get(method)
            total += count * (sum(times) / len(times) if times else self.mean())
        return total / min(self._workers, max(1, sum(self._left.values())))


class Display:
    """A context that shows one phase of a run on standard error.

    Args:
        what: "first chunks" or "cells".
        todo: number of tasks by method.
        workers: tasks that run at the same time.
    """

    def __init__(self, what: str, todo: Mapping[str, int], workers: int) -> None:
        self._what, self._total = what, sum(todo.values())
        self._estimate = Estimate(todo, workers)
        self._count = 0
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
            self._bar.stop()

    def done(self, outcome: Outcome) -> None:
        """Shows one finished task."""
        cell = outcome.task.cell
        self._estimate.took(cell.method, outcome.seconds)
        self._count += 1
        speed = f"{self._estimate.mean():.1f} s/cell"
        left = f"{_clock(self._estimate.seconds_left())} left"
        name = cell.prompt.id if outcome.task.kind == "start" else f"{cell.method} · {cell.prompt.id}"
        line = f"{name} · seed {cell.seed}: {outcome.status}, {outcome.seconds:.1f} s"
        if outcome.reason:
            line += f" ({outcome.reason})"
        if self._bar is not None and self._row is not None:
            self._bar.console.print(line, markup=False, highlight=False)
            self._bar.update(self._row, completed=self._count, speed=speed, left=left)
        else:
            say(f"[{self._count}/{self._total} {self._what}] {line} · {speed} · {left}")


class FrameDisplay:
    """A context that shows how scoring of files goes: videos done, frames per second.

    Args:
        total: number of videos.
    """

    def __init__(self, total: int) -> None:
        self._total, self._count, self._frames = total, 0, 0
        self._began = time.perf_counter()
        self._bar: Progress | None = None
        self._row: TaskID | None = None

    def __enter__(self) -> Self:
        """Starts the bar if standard error is a terminal."""
        if on_terminal():
            self._bar = _terminal_bar()
            self._bar.start()
            self._row = self._bar.add_task("videos", total=self._total, speed="", left="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar off."""
        if self._bar is not None:
            self._bar.stop()

    def frames(self, count: int) -> None:
        """Counts frames just scored."""
        self._frames += count
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, speed=self._speed())

    def done(self, path: str, status: str, reason: str) -> None:
        """Shows one finished video."""
        self._count += 1
        line = printable(f"{path}: {status}" + (f" ({reason})" if reason else ""))
        if self._bar is not None and self._row is not None:
            self._bar.console.print(line, markup=False, highlight=False)
            self._bar.update(self._row, completed=self._count)
        else:
            say(f"[{self._count}/{self._total} videos] {line} · {self._speed()}")

    def _speed(self) -> str:
        return f"{self._frames / max(time.perf_counter() - self._began, 1e-9):.1f} frames/s"


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


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
