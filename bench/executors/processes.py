"""Carries tasks out in several processes of this machine.

Each process takes the cells of one method as long as there are any, so weights are loaded once per process and method.
Processes are spawned, not forked: torch and CUDA do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.errors import BenchError, StoreError
from bench.spec import RunSpec
from bench.store import Store
from bench.worker import Outcome, Task, Worker, lost


@dataclass
class _Child:
    """One process and what it is doing."""

    process: SpawnProcess
    connection: Connection
    method: str = ""
    task: Task | None = None
    since: float = field(default_factory=time.perf_counter)


class Processes:
    """Runs tasks in spawned processes; one that dies loses its task and is replaced.

    Args:
        spec: the grid; sent to every process once.
        store: the folder.
        workers: how many processes.
    """

    def __init__(self, spec: RunSpec, store: Store, workers: int) -> None:
        self.workers = workers
        self._spec, self._store = spec, store
        self._context = multiprocessing.get_context("spawn")
        self._children: list[_Child] = []

    def __enter__(self) -> Self:
        """Starts the processes."""
        self._children = [self._spawn() for _ in range(self.workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the processes; at once if something went wrong here."""
        for child in self._children:
            child.connection.close()
            if kind is not None:
                child.process.terminate()
        for child in self._children:
            child.process.join()
            child.process.close()

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yields one outcome per task, in the order they finish.

        Raises:
            StoreError: the folder cannot be written.
        """
        waiting = list(tasks)
        for child in self._children:
            self._give(child, waiting)
        while busy := {child.connection: child for child in self._children if child.task is not None}:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                child = busy[ready]
                yield self._receive(child)
                self._give(child, waiting)

    def _give(self, child: _Child, waiting: list[Task]) -> None:
        task = _next(waiting, child.method, [other.method for other in self._children if other.task is not None])
        child.task = task
        if task is None:
            return
        waiting.remove(task)
        child.method, child.since = task.cell.method, time.perf_counter()
        try:
            child.connection.send(task)
        except BrokenPipeError:
            self._replace(child)
            child.connection.send(task)

    def _receive(self, child: _Child) -> Outcome:
        task = child.task
        assert task is not None
        try:
            answer: Outcome | BenchError = child.connection.recv()
        except (EOFError, ConnectionResetError):
            reason = self._replace(child)
            return lost(self._spec, self._store, task, reason, time.perf_counter() - child.since)
        if isinstance(answer, BenchError):
            raise answer
        return answer

    def _replace(self, child: _Child) -> str:
        """Starts another process in place of a dead one; returns a sentence about its death."""
        child.process.join()
        code = child.process.exitcode
        child.process.close()
        child.connection.close()
        fresh = self._spawn()
        child.process, child.connection, child.method = fresh.process, fresh.connection, ""
        return f"its process ended with exit code {code}, perhaps for lack of memory; try fewer --workers"

    def _spawn(self) -> _Child:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, self._spec, self._store.path), daemon=True)
        process.start()
        there.close()
        return _Child(process, here)


def _next(waiting: Iterable[Task], method: str, busy: Sequence[str]) -> Task | None:
    """Returns the next task: of the same method, else of one that nobody works on, else of the longest queue."""
    queues: dict[str, list[Task]] = {}
    for task in waiting:
        queues.setdefault(task.cell.method, []).append(task)
    if not queues:
        return None
    if method in queues:
        return queues[method][0]
    free = [name for name in queues if name not in busy]
    return queues[max(free or queues, key=lambda name: len(queues[name]))][0]


def _serve(connection: Connection, spec: RunSpec, path: Path) -> None:
    """Runs in a spawned process: answers every task with its outcome until the other end closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(spec, Store(path))
    while True:
        try:
            task = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            connection.send(worker.run(task))
        except StoreError as error:
            connection.send(error)
        except KeyboardInterrupt:
            return


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, in the middle of a cell too: an orphan would go on for hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
