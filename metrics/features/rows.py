"""Rows of numbers that grow with a video, kept apart from everything that comes and goes with its frames.

A small array a frame, allocated between the large temporaries of a network, keeps the memory around it from being used
again: what a process holds then grows by many times what is kept. Here rows are copied into blocks of many frames.

Example:
    >>> rows = FrameRows(np.float32)
    >>> rows.append(np.ones((3, 2)))
    >>> rows.append(np.zeros((1, 2)))
    >>> rows.array((0, 2)).sum(axis=1).tolist()
    [2.0, 2.0, 2.0, 0.0]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

ROWS_PER_BLOCK = 1024
"""Rows of a block: of a thumbnail or a feature this is a megabyte or so, too much to fit into a gap between others."""


class FrameRows:
    """Rows of one shape, which the first of them says; as many as there is memory for."""

    def __init__(self, dtype: DTypeLike) -> None:
        """Begins without any.

        Args:
            dtype: type of every number.
        """
        self._dtype = np.dtype(dtype)
        self._blocks: list[NDArray[Any]] = []
        self._count = 0

    def append(self, rows: ArrayLike) -> None:
        """Copies rows [n, ...] behind those that are there, n >= 0."""
        rest = np.asarray(rows)
        while len(rest):
            used = self._count % ROWS_PER_BLOCK
            if not used:
                self._blocks.append(np.empty((ROWS_PER_BLOCK, *rest.shape[1:]), self._dtype))
            taken = rest[: ROWS_PER_BLOCK - used]
            self._blocks[-1][used : used + len(taken)] = taken
            self._count += len(taken)
            rest = rest[len(taken) :]

    def array(self, empty: tuple[int, ...]) -> NDArray[Any]:
        """Returns all rows [N, ...], one after the other.

        Args:
            empty: shape of what is returned where there are none.
        """
        if not self._count:
            return np.zeros(empty, self._dtype)
        *full, last = self._blocks
        return np.concatenate([*full, last[: self._count - ROWS_PER_BLOCK * len(full)]])
