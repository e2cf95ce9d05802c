"""Carries tasks out in several processes of this machine.

Each process takes the cells of one method as long as there are any, so weights are loaded once per process and method.
Processes are spawned, not forked: torch and CUDA do not survive a fork.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from tqdm import tqdm

from bench.errors import BenchError, StoreError
from bench.executors.deaths import ending, memory_kills
from bench.executors.gpus import seeing
from bench.executors.schedule import Answer, Loss, carry_out, record_given_up
from bench.locations import open_store
from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Outcome, Task
from bench.worker import Worker

PATIENCE = 10.0
"""Seconds that a process gets to end by itself."""


@dataclass
class _Child:
    """One process, a descriptor that tells its end, the GPUs it sees, and whether it has a task."""

    process: SpawnProcess
    connection: Connection
    end: int
    gpus: str | None
    memory_kills: int
    busy: bool = False

    def close(self) -> None:
        """Waits for the process to end, and ends it where it does not."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
        os.close(self.end)


class Processes:
    """Runs tasks in spawned processes; the task of one that dies is done again by another.

    Args:
        spec: the grid; sent to every process once.
        store: the folder.
        gpus: what each process sees, as `bench.executors.gpus.shares` says; None for all there is. One process each.
    """

    def __init__(self, spec: RunSpec, store: Store, gpus: Sequence[str | None]) -> None:
        self.workers = len(gpus)
        self._spec, self._store = spec, store
        self._free = list(gpus)
        self._context = multiprocessing.get_context("spawn")
        self._children: dict[int, _Child] = {}
        self._started = 0

    def __enter__(self) -> Self:
        """Returns itself; processes are started when there is work for them."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the processes; at once if something went wrong here."""
        for child in self._children.values():
            child.connection.close()
            if kind is not None:
                child.process.terminate()
        for child in self._children.values():
            child.close()
        self._children.clear()

    def run(self, tasks: Sequence[Task], note: Callable[[str], None]) -> Iterator[Outcome]:
        """Yields one outcome per task, in the order they finish.

        Args:
            tasks: what is to be done.
            note: takes a sentence about every process that was lost.

        Raises:
            StoreError: the folder cannot be written.
        """
        retries = self._spec.profile.run.max_retries
        return carry_out(tasks, self, retries, lambda lost: record_given_up(self._spec, self._store, lost), note)

    def idle(self, tasks: int) -> Sequence[int]:
        """Returns the processes without a task; starts those that are missing."""
        for number, child in list(self._children.items()):
            if not child.busy and not child.process.is_alive():
                self._bury(number)
        while len(self._children) < min(self.workers, tasks):
            self._children[self._started] = self._spawn()
            self._started += 1
        return [number for number, child in self._children.items() if not child.busy]

    def give(self, worker: int, task: Task) -> None:
        """Sends a task; a process that died just now is found by `wait`."""
        child = self._children[worker]
        child.busy = True
        try:
            child.connection.send(task)
        except (BrokenPipeError, ConnectionResetError):
            return

    def wait(self) -> Sequence[Answer | Loss]:
        """Returns what busy processes have answered, and which of them are gone.

        A process counts as gone when it has ended, even if something it started still holds its end of the pipe.
        """
        busy = {number: child for number, child in self._children.items() if child.busy}
        ready = set(wait([thing for child in busy.values() for thing in (child.connection, child.end)]))
        return [
            self._receive(number) for number, child in busy.items() if child.connection in ready or child.end in ready
        ]

    def _receive(self, number: int) -> Answer | Loss:
        child = self._children[number]
        answer: Outcome | BenchError | None = None
        try:
            if child.connection.poll():
                answer = child.connection.recv()
        except (EOFError, OSError):
            answer = None
        if isinstance(answer, BenchError):
            raise answer
        if answer is None:
            return Loss(number, self._bury(number))
        child.busy = False
        if answer.spoiled:
            child.process.kill()
            child.process.join()  # `idle` starts a fresh one in its place
        return Answer(number, answer)

    def _bury(self, number: int) -> str:
        """Takes a process off that is gone or does not answer; returns how it ended, in a clause."""
        child = self._children.pop(number)
        child.process.join(PATIENCE)
        code = child.process.exitcode
        memory = code == -9 and memory_kills() > child.memory_kills
        child.close()
        child.connection.close()
        self._free.append(child.gpus)
        return ending(code, memory)

    def _spawn(self) -> _Child:
        gpus = self._free.pop(0)
        here, there = self._context.Pipe()
        work = (there, replace(self._spec, cells=()), self._store.location)
        process = self._context.Process(target=_serve, args=work, daemon=True)
        with seeing(gpus):
            process.start()
        there.close()
        return _Child(process, here, _end_of(process), gpus, memory_kills())


def _end_of(process: SpawnProcess) -> int:
    """Returns a descriptor that becomes readable when a process has ended.

    The library's sentinel is a pipe that a fork of the process holds open, too; the kernel's descriptor is not.
    """
    assert process.pid is not None
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # kernels before 5.3, and some sandboxes
            return os.pidfd_open(process.pid)
    return os.dup(process.sentinel)


def _serve(connection: Connection, spec: RunSpec, location: str) -> None:
    """Runs in a spawned process: answers every task with its outcome until the other end closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The lock that tqdm makes for itself is a semaphore of the system, and Python warns of those that a process leaves
    # behind: this one ends by `os._exit`, or is killed.
    tqdm.set_lock(threading.RLock())
    store = open_store(location, records=False)
    _answer(connection, Worker(spec, store))
    store.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a thread that a method left behind would keep the process for ever


def _answer(connection: Connection, worker: Worker) -> None:
    while True:
        try:
            task: Task = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            answer: Outcome | StoreError = worker.run(task)
        except StoreError as error:
            answer = error
        except KeyboardInterrupt:
            return
        with contextlib.suppress(OSError):  # the parent is gone: the next `recv` says so
            connection.send(answer)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, in the middle of a cell too: an orphan would go on for hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
