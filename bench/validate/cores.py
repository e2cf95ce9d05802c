"""Runs independent tasks on every core, results in order, one thread of arithmetic per process.

Example:
    >>> with Cores(1) as cores:
    ...     list(cores.map(abs, [-1, -2]))
    [1, 2]
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
Mapped = TypeVar("Mapped")


class Cores:
    """A context that keeps worker processes until it is left.

    Args:
        workers: processes; with one, everything runs in this process.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Starts the processes."""
        if self._workers > 1:
            spawn = multiprocessing.get_context("spawn")  # torch does not survive a fork
            self._pool = ProcessPoolExecutor(self._workers, mp_context=spawn, initializer=_one_thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the processes; after an error, what has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=error is not None)

    def map(self, function: Callable[[Item], Mapped], tasks: Sequence[Item]) -> Iterable[Mapped]:
        """Returns the result of every task in order.

        Args:
            function: of a module, so that another process finds it; its results depend on the task alone.
            tasks: values that can be pickled.
        """
        return map(function, tasks) if self._pool is None else self._pool.map(function, tasks)


def _one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
