"""Carries tasks out, in this process or in several; which one never changes a byte.

Example:
    >>> with open_executor(spec, store, tasks=16) as executor:    # doctest: +SKIP
    ...     for outcome in executor.run(tasks):
    ...         print(outcome.status)
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from bench.executors.processes import Processes
from bench.executors.protocol import Executor
from bench.executors.serial import Serial
from bench.spec import RunSpec
from bench.store import Store


def open_executor(spec: RunSpec, store: Store, tasks: int) -> AbstractContextManager[Executor]:
    """Returns the executor that the profile names, as a context.

    Args:
        spec: the grid.
        store: the folder.
        tasks: how many there are to do; no more processes are started than that.
    """
    run = spec.profile.run
    workers = min(run.workers or max(1, (os.cpu_count() or 1) // run.threads), tasks)
    if run.executor == "serial" or workers <= 1:
        return nullcontext(Serial(spec, store))
    return Processes(spec, store, workers)


__all__ = ["Executor", "open_executor"]
