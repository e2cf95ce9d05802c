"""Carries tasks out in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Outcome, Task
from bench.worker import Worker


class Serial:
    """Runs tasks in this process, one after another."""

    workers = 1

    def __init__(self, spec: RunSpec, store: Store) -> None:
        self._worker = Worker(spec, store)

    def run(self, tasks: Sequence[Task], note: Callable[[str], None]) -> Iterator[Outcome]:
        """Yields one outcome per task, in order; there is never anything to note."""
        for task in tasks:
            yield self._worker.run(task)
