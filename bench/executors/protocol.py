"""What an executor is: it carries tasks out, in this process or elsewhere; which one never changes a byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from bench.worker import Outcome, Task


class Executor(Protocol):
    """Runs tasks and yields what became of each, in the order they finish."""

    workers: int

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yields one outcome per task."""
        ...
