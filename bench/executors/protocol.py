"""What an executor is: it carries tasks out, in this process or elsewhere; which one never changes a byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bench.tasks import Outcome, Task


class Executor(Protocol):
    """Runs tasks and yields what became of each, in the order they finish."""

    @property
    def workers(self) -> int:
        """How many tasks run at the same time."""
        ...

    def run(self, tasks: Sequence[Task], note: Callable[[str], None]) -> Iterator[Outcome]:
        """Yields one outcome per task; `note` takes sentences about what happened between them."""
        ...
