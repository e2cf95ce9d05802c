"""Carries tasks out, in this process or in several; which one never changes a byte.

Example:
    >>> with open_executor(spec, store, tasks=16) as executor:    # doctest: +SKIP
    ...     for outcome in executor.run(tasks, print):
    ...         print(outcome.status)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from bench.executors.gpus import shares, visible_gpus
from bench.executors.processes import Processes
from bench.executors.protocol import Executor
from bench.executors.serial import Serial
from bench.profile import Run
from bench.spec import RunSpec
from bench.store import Store


def open_executor(spec: RunSpec, store: Store, tasks: int) -> AbstractContextManager[Executor]:
    """Returns the executor that the profile names, as a context.

    Args:
        spec: the grid.
        store: the folder.
        tasks: how many there are to do; no more workers are started than that.

    Raises:
        ConfigError: what the profile asks for is not here.
    """
    if spec.profile.run.executor == "serial":
        return nullcontext(Serial(spec, store))
    if spec.profile.run.executor == "ray":
        from bench.executors.ray import RayWorkers

        return RayWorkers(spec, store, tasks)
    return Processes(spec, store, slots(spec.profile.run, visible_gpus)[: max(1, tasks)])


def slots(run: Run, gpus: Callable[[], Sequence[str]]) -> list[str | None]:
    """Returns what each process of this machine sees: its GPUs as `CUDA_VISIBLE_DEVICES` has them, or None for all.

    Args:
        run: how the run is carried out.
        gpus: says which GPUs there are; asked only where the run is to use them.

    Raises:
        ConfigError: the workers do not fit on the GPUs.
    """
    if run.device == "cuda":
        return list(shares(gpus(), run.gpus_per_worker, run.workers))
    if run.device.startswith("cuda:"):
        return [None] * (run.workers or 1)  # one GPU, named by its number: nobody else's is hidden
    return [None] * (run.workers or max(1, (os.cpu_count() or 1) // run.threads))


def who(run: Run, tasks: int) -> tuple[int, str]:
    """Returns how many workers would do so many tasks, and who they are, in words; nothing is started or asked.

    Raises:
        ConfigError: the workers do not fit on this machine's GPUs.
    """
    if run.executor == "serial":
        return 1, "this process"
    if run.executor == "ray":
        workers = f"{run.workers}" if run.workers else "as many as there is room for"
        return run.workers or 1, f"workers of a Ray cluster ({run.address}): {workers}"
    places = slots(run, visible_gpus)[: max(1, tasks)]
    seen = [f"GPU {place}" for place in places if place is not None]
    return len(places), f"{len(places)} processes of this machine" + (f" on {'; '.join(seen)}" if seen else "")


def idle_gpus(run: Run, tasks: int) -> str:
    """Returns a sentence where this process would use one of several GPUs for so many tasks; empty elsewhere."""
    count = len(visible_gpus()) if run.executor == "serial" and run.device == "cuda" and tasks > 1 else 0
    return f"one of {count} GPUs is used: --executor processes uses all of them" if count > 1 else ""


__all__ = ["Executor", "idle_gpus", "open_executor", "who"]
