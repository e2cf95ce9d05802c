"""Hands tasks to workers, wherever these are: those of one method together, and again where a worker was lost.

Example:
    >>> schedule = Schedule(tasks, retries=2)              # doctest: +SKIP
    >>> schedule.next(worker=0).cell.method                # doctest: +SKIP
    'svd'
    >>> schedule.lost(worker=0, reason="killed by SIGKILL").cell.method    # doctest: +SKIP
    'svd'
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bench.records import StoredScore
from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Outcome, Task, blank


@dataclass(frozen=True)
class Answer:
    """A worker has finished its task.

    Attributes:
        worker: which worker.
        outcome: what became of the task.
    """

    worker: int
    outcome: Outcome


@dataclass(frozen=True)
class Loss:
    """A worker is gone, and its task with it.

    Attributes:
        worker: which worker.
        reason: how it ended, in a clause such as "killed by SIGKILL (signal 9)".
    """

    worker: int
    reason: str


class Pool(Protocol):
    """Workers somewhere; each has a number that no other worker of the pool ever gets."""

    def idle(self, tasks: int) -> Sequence[int]:
        """Returns the workers that have no task, after starting what is missing for so many unfinished tasks."""
        ...

    def give(self, worker: int, task: Task) -> None:
        """Hands a task to an idle worker."""
        ...

    def wait(self) -> Sequence[Answer | Loss]:
        """Returns what has happened since, after waiting for it; may return nothing now and then."""
        ...


@dataclass(frozen=True)
class GivenUp:
    """A task whose workers were lost too often.

    Attributes:
        task: the task; `lost` says what ended each worker.
        seconds: how long the last try took.
    """

    task: Task
    seconds: float

    @property
    def reason(self) -> str:
        """Returns a sentence."""
        ends = list(dict.fromkeys(self.task.lost))
        times = f"{len(self.task.lost)} times" if len(self.task.lost) > 1 else "once"
        return f"its worker was lost {times}: {'; then '.join(ends)}"


class Schedule:
    """Queues of tasks by method, and who works on what.

    A worker gets the tasks of the method it has loaded as long as there are any, then those of a method that nobody
    works on, then those of the longest queue. The task of a lost worker goes to the end of its queue.

    Args:
        tasks: what is to be done.
        retries: how often a task is tried again after its worker was lost.
    """

    def __init__(self, tasks: Sequence[Task], retries: int) -> None:
        self._retries = retries
        self._queues: dict[str, deque[Task]] = {}
        self._loaded: dict[int, str] = {}
        self._busy: dict[int, tuple[Task, float]] = {}
        for task in tasks:
            self._queues.setdefault(task.cell.method, deque()).append(task)

    @property
    def unfinished(self) -> int:
        """Returns how many tasks wait or are under way."""
        return len(self._busy) + sum(map(len, self._queues.values()))

    def next(self, worker: int) -> Task | None:
        """Returns the next task of a worker, or None if none waits."""
        waiting = {method: queue for method, queue in self._queues.items() if queue}
        if not waiting:
            return None
        method = self._loaded.get(worker, "")
        if method not in waiting:
            taken = {task.cell.method for task, _ in self._busy.values()}
            free = [name for name in waiting if name not in taken]
            method = max(free or waiting, key=lambda name: len(waiting[name]))
        task = waiting[method].popleft()
        self._loaded[worker] = method
        self._busy[worker] = (task, time.perf_counter())
        return task

    def finished(self, worker: int) -> None:
        """Takes the task of a worker off."""
        del self._busy[worker]

    def lost(self, worker: int, reason: str) -> Task | GivenUp:
        """Returns the task of a worker that is gone, queued again, or given up after too many tries."""
        task, since = self._busy.pop(worker)
        self._loaded.pop(worker, None)
        task = replace(task, lost=(*task.lost, reason))
        if len(task.lost) > self._retries:
            return GivenUp(task, time.perf_counter() - since)
        self._queues[task.cell.method].append(task)
        return task


def carry_out(
    tasks: Sequence[Task], pool: Pool, retries: int, give_up: Callable[[GivenUp], Outcome], note: Callable[[str], None]
) -> Iterator[Outcome]:
    """Yields one outcome per task, in the order they finish.

    Args:
        tasks: what is to be done.
        pool: who does it.
        retries: as for `Schedule`.
        give_up: makes the outcome of a task whose workers were lost too often.
        note: takes a sentence about every lost worker.
    """
    schedule = Schedule(tasks, retries)
    while unfinished := schedule.unfinished:
        for worker in pool.idle(unfinished):
            task = schedule.next(worker)
            if task is None:
                break
            pool.give(worker, task)
        for event in pool.wait():
            if isinstance(event, Answer):
                schedule.finished(event.worker)
                yield event.outcome
                continue
            lost = schedule.lost(event.worker, event.reason)
            if isinstance(lost, GivenUp):
                yield give_up(lost)
            else:
                note(f"{lost.cell.method} · {lost.cell.prompt.id}: worker {event.reason}; tried again on another one")


def record_given_up(spec: RunSpec, store: Store, lost: GivenUp) -> Outcome:
    """Returns the outcome of a task that was given up; its cell's record says why."""
    task, record = lost.task, None
    written = task.kind != "start" and store.written_since(task.cell, task.state)  # by the lost worker, or another
    if written and (known := store.find(task.cell)) is not None:
        return Outcome(task, known.status, known.reason, lost.seconds, known)
    if task.kind == "video":
        record = replace(blank(spec, task.cell, "failed", lost.reason), lost=task.lost)
        store.save(record)
    elif task.kind == "scores" and (known := store.find(task.cell)) is not None:
        failed = StoredScore(None, reason=lost.reason, status="failed")
        record = replace(
            known, scores={**known.scores, **dict.fromkeys(task.metrics, failed)}, lost=(*known.lost, *task.lost)
        )
        store.save(record)
    return Outcome(task, "failed", lost.reason, lost.seconds, record)
