"""Claims of work under way, so that two commands in one folder share a grid and neither does what the other does.

A claim is a small file beside the cell that names its process and is touched every `REFRESH` seconds. It counts as
long as that process lives; of a process of another machine, as long as it is touched. Then anyone may take it over.

Example:
    >>> with claimed(Path("cells/still/.claim-0123")) as mine:   # doctest: +SKIP
    ...     print(mine)
    True
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.errors import StoreError
from bench.files import folder_clock
from bench.owner import is_alive, is_gone, this_process

REFRESH = 20.0
"""Seconds between two touches of a claim."""

SILENT = 120.0
"""Seconds without a touch after which a claim of another machine no longer counts."""


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Returns a context that holds a claim; False if another process holds it.

    Raises:
        StoreError: the folder cannot be written.
    """
    if not _take(path):
        yield False
        return
    done = threading.Event()
    threading.Thread(target=_refresh, args=(path, done), name="claim", daemon=True).start()
    try:
        yield True
    finally:
        done.set()
        if _owner(path) == this_process():
            path.unlink(missing_ok=True)


def is_claimed(path: Path) -> bool:
    """Returns whether somebody holds a claim; one whose holder is gone or silent does not count."""
    owner = _owner(path)
    if owner is None or is_gone(owner):
        return False
    if is_alive(owner):  # however long it was stopped
        return True
    try:
        return folder_clock(path.parent) - path.stat().st_mtime < SILENT
    except FileNotFoundError:
        return False
    except OSError as cause:
        raise StoreError(f"{path}: cannot be read ({cause.strerror}); make the folder of the run readable") from cause


def _take(path: Path) -> bool:
    try:
        return _create(path) or (not is_claimed(path) and _take_over(path))
    except OSError as cause:
        raise StoreError(f"{path}: cannot be written ({cause.strerror}); make the run's folder writable") from cause


def _take_over(path: Path) -> bool:
    """Returns whether a claim that no longer counts is ours now; one process at a time may try."""
    turn = path.with_name(f"{path.name}.turn")
    if not _create(turn):
        if not is_claimed(turn):
            turn.unlink(missing_ok=True)
        return False
    try:
        if is_claimed(path):
            return False
        ours = path.with_name(f".tmp-{this_process()}~{path.name}")
        ours.write_text(this_process(), encoding="ascii")
        ours.replace(path)
        return True
    finally:
        turn.unlink(missing_ok=True)


def _create(path: Path) -> bool:
    """Returns whether the claim is ours now: of several processes that try, one succeeds."""
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(this_process())
    except FileExistsError:
        return False
    return True


def _owner(path: Path) -> str | None:
    """Returns whose claim it is; None if there is none, empty if it cannot be read (yet)."""
    try:
        return path.read_text(encoding="ascii", errors="replace") if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _refresh(path: Path, done: threading.Event) -> None:
    while not done.wait(REFRESH):
        with contextlib.suppress(OSError):
            os.utime(path)
