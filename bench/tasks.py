"""What is handed to workers, and what comes back.

Example:
    >>> Task("video", spec.cells[0], state=store.state(spec.cells[0]))   # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.records import Record, Status
from bench.spec import Cell, RunSpec


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        kind: "start" draws the first chunk of the cell, "video" makes (or reads) and scores its video, "scores"
            scores it again.
        cell: which cell.
        metrics: for "scores", which metrics.
        lost: what ended earlier workers of this task, one clause per worker, in order.
        state: of its record or first chunk when it was planned (`Store.state`); another one later says that another
            command has written it since.
    """

    kind: Literal["start", "video", "scores"]
    cell: Cell
    metrics: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    state: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: the task.
        status: "ok", "failed" or "skipped".
        reason: why not ok.
        seconds: wall time.
        record: the stored record; None for a first chunk.
        notes: sentences about damaged files that were made anew for it.
        changes: sentences about global settings that a plugin changed, which were put back.
        spoiled: what it left behind that cannot be undone; the process should end, and a fresh one take over.
        elsewhere: another command is at it, and nothing was done.
    """

    task: Task
    status: Status
    reason: str
    seconds: float
    record: Record | None = None
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    spoiled: tuple[str, ...] = ()
    elsewhere: bool = False


def blank(spec: RunSpec, cell: Cell, status: Status, reason: str) -> Record:
    """Returns the record of a cell without a video."""
    return Record(cell.key, cell.method, spec.titles[cell.method], cell.prompt, cell.seed, status, reason)
