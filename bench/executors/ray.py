"""Carries tasks out on a Ray cluster: one actor per worker, which keeps its weights loaded.

The driver owns the queue and the actors end with it. Only tasks and records travel; frames go from a worker straight
into the folder of the run, which every node must see. That is asked of each node before the first cell.

Source: Ray 2.60, docs.ray.io, "Actors" (fault tolerance, resources, lifetimes) and "Token authentication".
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.errors import BenchError, StoreError
from bench.executors.ray_nodes import Hello, Need, connect, greet, refuse, room
from bench.executors.schedule import Answer, Loss, carry_out, record_given_up
from bench.locations import open_store
from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Outcome, Task
from bench.worker import Worker

PATIENCE = 2.0
"""Seconds after which the cluster is asked again whether it has room for more workers."""

STARTS = 5
"""Workers that may die while they start, one after another, before the run ends."""


class RayWorker:
    """A worker as an actor: answers every task with its outcome.

    Args:
        spec: the grid, without its cells.
        location: the folder of the run.
    """

    def __init__(self, spec: RunSpec, location: str) -> None:
        # Ray ends workers whose driver is gone by SIGTERM, which it turns into an exception inside the cell that is
        # under way; that would be put down as the method's. Ended at once, the cell is merely unfinished.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._location = location
        self._worker = Worker(spec, open_store(location, records=False))

    def hello(self, token: str) -> Hello:
        """Returns which node this is and whether it sees the folder."""
        return greet(self._location, token)

    def run(self, task: Task) -> Outcome | StoreError:
        """Returns what became of a task, or why the folder cannot be written."""
        try:
            return self._worker.run(task)
        except StoreError as error:
            return error


@dataclass
class _Hand:
    """One actor: what it was asked, and the node it is on once it has answered the first time."""

    actor: Any
    asked: Any
    node: str = ""
    busy: bool = True


class RayWorkers:
    """Runs tasks on the actors of a Ray cluster; the task of one that is lost is done again by another.

    Args:
        spec: the grid; sent to every worker once.
        store: the folder.
        tasks: how many there are to do; no more workers are started than that.
    """

    def __init__(self, spec: RunSpec, store: Store, tasks: int) -> None:
        self._spec, self._store, self._tasks = spec, store, tasks
        self._need = Need.of(spec.profile.run)
        self._stack = ExitStack()
        self._hands: dict[int, _Hand] = {}
        self._started = self._failed_starts = 0
        self._token = secrets.token_hex(8)
        self._asked_at, self._room = 0.0, 0

    @property
    def workers(self) -> int:
        """Returns how many workers the cluster has room for now."""
        return max(1, min(self._wanted(), self._tasks))

    def __enter__(self) -> Self:
        """Connects to the cluster; what it cannot do is said before any work starts.

        Raises:
            ConfigError: nobody answers, or no node has what a worker needs.
            StoreError: a node does not see the folder.
        """
        run = self._spec.profile.run
        with ExitStack() as stack:
            # Ray prints a paragraph about every lost worker to standard output; what matters of it is in `note`.
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
            stack.enter_context(connect(run.address, run.workers, self._need))
            stack.callback(self._store.take_token, self._token)
            self._store.leave_token(self._token)
            refuse(self._need, self._store.location, self._token)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the actors and leaves the cluster as it was."""
        for hand in self._hands.values():
            self._end(hand)
        self._hands.clear()
        self._stack.close()

    def run(self, tasks: Sequence[Task], note: Callable[[str], None]) -> Iterator[Outcome]:
        """Yields one outcome per task, in the order they finish.

        Args:
            tasks: what is to be done.
            note: takes a sentence about every worker that was lost.

        Raises:
            BenchError: a node cannot start workers, or the folder cannot be written.
        """
        give_up = partial(record_given_up, self._spec, self._store)
        return carry_out(tasks, self, self._spec.profile.run.max_retries, give_up, note)

    def idle(self, tasks: int) -> Sequence[int]:
        """Returns the actors that have answered and have no task; starts those that the cluster has room for."""
        for _ in range(min(self._wanted(), tasks) - len(self._hands)):
            self._hands[self._started] = self._start()
            self._started += 1
        return [number for number, hand in self._hands.items() if not hand.busy]

    def give(self, worker: int, task: Task) -> None:
        """Sends a task."""
        hand = self._hands[worker]
        hand.asked, hand.busy = hand.actor.run.remote(task), True

    def wait(self) -> Sequence[Answer | Loss]:
        """Returns what actors have answered, and which of them are gone; nothing after `PATIENCE` seconds."""
        import ray

        asked = {hand.asked: number for number, hand in self._hands.items() if hand.busy}
        if not asked:
            time.sleep(PATIENCE)
            return []
        ready, _ = ray.wait(list(asked), timeout=PATIENCE)
        events = [self._receive(asked[one]) for one in ready]
        return [event for event in events if event is not None]

    def _receive(self, number: int) -> Answer | Loss | None:
        import ray

        hand = self._hands[number]
        try:
            answer: Hello | Outcome | StoreError = ray.get(hand.asked)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            return self._lost(number, error)
        hand.busy = False
        if isinstance(answer, StoreError):
            raise answer
        if isinstance(answer, Hello):
            answer.check()
            hand.node, self._failed_starts = answer.node, 0
            return None
        if answer.spoiled:
            self._end(self._hands.pop(number))  # `idle` starts a fresh one in its place
        return Answer(number, answer)

    def _lost(self, number: int, error: Exception) -> Loss | None:
        """Takes an actor off that died, or that cannot be reached and may still be working."""
        hand = self._hands.pop(number)
        self._end(hand)
        if hand.node:
            # Its node may be gone, and with it those that wait there: given a task, each would cost it a try.
            for other in [key for key, idle in self._hands.items() if not idle.busy and idle.node == hand.node]:
                self._end(self._hands.pop(other))
            return Loss(number, _ending(error, hand.node))
        self._failed_starts += 1
        if self._failed_starts >= STARTS:
            raise BenchError(f"{STARTS} workers died while they started, the last one so: {error}")
        return None

    def _start(self) -> _Hand:
        import ray

        actor = (
            ray.remote(RayWorker)
            .options(**self._need.options())
            .remote(dataclasses.replace(self._spec, cells=()), self._store.location)
        )
        return _Hand(actor, actor.hello.remote(self._token))

    def _end(self, hand: _Hand) -> None:
        import ray

        ray.kill(hand.actor, no_restart=True)

    def _wanted(self) -> int:
        """Returns how many actors to have: as many as were asked for, else as there is room for."""
        if self._spec.profile.run.workers:
            return self._spec.profile.run.workers
        if time.monotonic() - self._asked_at > PATIENCE:
            self._room, self._asked_at = room(self._need), time.monotonic()
        return self._room


def _ending(error: Exception, node: str) -> str:
    """Returns how an actor was lost, in a clause."""
    import ray.exceptions as known

    if isinstance(error, known.OutOfMemoryError):
        return f"killed on node {node} by Ray's memory monitor, because memory ran out: try fewer --workers"
    if isinstance(error, known.ActorUnavailableError):
        return f"out of reach on node {node}"
    if isinstance(error, known.RayActorError):
        return f"died on node {node}" + (", which was preempted" if error.preempted else "")
    return f"lost on node {node} ({type(error).__name__})"
