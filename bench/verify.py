"""Reads every file of a run's folder and says which are damaged; changes nothing.

Videos are compared with the hash in their record, first chunks are decoded and compared with theirs: a flipped bit in
FFV1 decodes without an error, only to other frames.

Example:
    >>> found = verify(Store("results/mini-1a2b3c"))    # doctest: +SKIP
    >>> found.damage, found.sentence()                  # doctest: +SKIP
    ((), '52 records, 52 videos, 4 first chunks: all whole')
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StoreError
from bench.records import Record, read_record
from bench.store import Store


@dataclass(frozen=True)
class Verification:
    """What reading everything gave.

    Attributes:
        records: records that were read, those outside the latest grid included.
        videos: videos of them that were read.
        starts: first chunks that were read.
        unfinished: cells of the latest grid that have not been made yet.
        damage: one sentence per damaged file; each says what makes it anew.
    """

    records: int
    videos: int
    starts: int
    unfinished: int
    damage: tuple[str, ...]

    def sentence(self) -> str:
        """Returns the counts, and whether everything is whole."""
        rest = f", {self.unfinished} cells not made yet" if self.unfinished else ""
        state = f"{len(self.damage)} damaged" if self.damage else "all whole"
        return f"{self.records} records, {self.videos} videos, {self.starts} first chunks{rest}: {state}"


def verify(store: Store) -> Verification:
    """Returns what is damaged in a folder.

    Args:
        store: the folder.

    Raises:
        StoreError: there is no run in it.
    """
    if store.path.is_file():
        raise StoreError(f"{store.path}: a file, not the folder of a run; `report` checks a bundle when it reads it")
    if not store.path.is_dir():
        raise StoreError(f"{store.path}: no such folder; name the folder of a run")
    if not any(os.path.lexists(store.path / name) for name in ("run.json", "cells")):
        raise StoreError(f"{store.path}: no run there, neither run.json nor cells; name the folder of a run")
    damage: list[str] = []
    planned = _planned(store, damage)
    records = list(_records(store, damage))
    videos = sum(_is_whole(store, record, damage) for record in records if record.status == "ok")
    starts = sum(_start_is_whole(store, path.stem, damage) for path in _files(store.path / "starts", damage))
    made = {f"{record.method}/{record.key}" for record in records}
    return Verification(len(records), videos, starts, len(planned - made), tuple(damage))


def _planned(store: Store, damage: list[str]) -> frozenset[str]:
    try:
        return frozenset(store.info().cells)
    except StoreError as error:
        damage.append(str(error))
        return frozenset()


def _records(store: Store, damage: list[str]) -> Iterator[Record]:
    for folder in _entries(store.path / "cells", damage):
        for path in _files(folder, damage):
            try:
                record, troubles = read_record(path)
            except StoreError as error:
                damage.append(str(error))
            else:
                damage += troubles
                yield record


def _is_whole(store: Store, record: Record, damage: list[str]) -> bool:
    try:
        store.whole_video(record)
    except StoreError as error:
        damage.append(str(error))
        return False
    return True


def _start_is_whole(store: Store, key: str, damage: list[str]) -> bool:
    try:
        store.load_start(key)
    except StoreError as error:
        damage.append(str(error))
        return False
    return True


def _files(folder: Path, damage: list[str]) -> list[Path]:
    """Returns the JSON files of a folder; those of a cell being written and those moved aside are no part of it."""
    return [path for path in _entries(folder, damage) if path.suffix == ".json" and not path.name.startswith(".")]


def _entries(folder: Path, damage: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as cause:
        damage.append(f"{folder}: cannot be read as a folder ({cause.strerror}); `run` makes it anew")
        return []
