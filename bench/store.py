"""The owner of every path under results/: run.json, first chunks, one video and one JSON per cell.

Files are written under a temporary name and moved into place, the JSON of a cell last, so a JSON implies its video and
a killed run leaves nothing half done under a final name. Several processes may write into the same folder.

Example:
    >>> store = Store(Path("results/mini-1a2b3c"))
    >>> [record.status for record in store.records()]   # doctest: +SKIP
    ['ok', 'ok', 'failed']
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import StoreError
from bench.ffv1 import VideoWriter, file_digest, frames_digest, read_whole_video
from bench.files import check_regular, read_json, remove_leftovers, write_json
from bench.given_file import given_video
from bench.records import Record, RunInfo, check_schema, read_info, read_record, write_info, write_record
from bench.spec import Cell
from generators.api import Start


class Store:
    """A results folder. Reading never creates anything; `open` makes the folder and takes the grid of a command.

    Args:
        path: the folder of one run.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        """Returns where it is, as the command names it."""
        return str(self.path)

    @property
    def location(self) -> str:
        """Returns where the folder is for other processes and machines; `open_store` opens it there."""
        return str(self.path.absolute())

    def settled(self) -> Store:
        """Returns the store at a place that does not depend on the working directory."""
        return Store(self.path.absolute())

    def close(self) -> None:
        """Lets go of what this process alone has of it: nothing, in a folder."""

    def refresh(self) -> None:
        """Takes in what others have written since; in a folder, it is there at once."""

    def published(self, page: Path) -> str:
        """Returns where a page that was written into the folder is to be opened."""
        return str(page)

    # -- the run ---------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Returns whether this folder holds a run."""
        return (self.path / "run.json").is_file()

    def open(self, info: RunInfo) -> tuple[str, ...]:
        """Writes run.json, keeping the creation time of an earlier command in the same folder.

        Returns:
            What was damaged and is written anew, in sentences.

        Raises:
            StoreError: the folder cannot be written, or belongs to another version.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for method in info.methods:
                (self.path / "cells" / method).mkdir(parents=True, exist_ok=True)
            (self.path / "starts").mkdir(exist_ok=True)
        except OSError as cause:
            raise StoreError(
                f"{cause.filename or self.path}: cannot write results there ({cause.strerror}); "
                "move what lies there away, or choose a folder with --out"
            ) from cause
        remove_leftovers(self.path)
        created, damage = self._created()
        write_info(self.path / "run.json", dataclasses.replace(info, created=created or info.created))
        return damage

    def _created(self) -> tuple[str, tuple[str, ...]]:
        """Returns when the folder was made, empty if unknown, and what is damaged in its run.json."""
        path = self.path / "run.json"
        if not os.path.lexists(path):
            return "", ()
        try:
            raw = read_json(path)
        except StoreError as error:
            return "", (str(error),)
        if isinstance(raw.get("schema"), int):
            check_schema(path, raw)
        try:
            return read_info(path).created, ()
        except StoreError as error:
            return "", (str(error),)

    def info(self) -> RunInfo:
        """Returns what run.json says.

        Raises:
            StoreError: there is none, it is torn, or it is of another schema.
        """
        return read_info(self.path / "run.json")

    def known(self) -> RunInfo | None:
        """Returns what run.json says; None if there is none, or one that `open` has to write anew."""
        try:
            return self.info()
        except StoreError:
            return None

    # -- cells -----------------------------------------------------------------------------------------------------

    def records(self) -> list[Record]:
        """Returns the records of the grid in run.json that exist, in grid order, named as its prompts are.

        Raises:
            StoreError: one of them is damaged; running the same command again makes that cell anew.
        """
        records, damage = self.survey()
        if damage:
            raise StoreError(damage[0] + (f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""))
        return records

    def survey(self) -> tuple[list[Record], tuple[str, ...]]:
        """Returns the readable records of the grid, in grid order, and one sentence per damaged record or score.

        A record keeps the prompt's id of the day it was made, which another prompt may have today: ids are those of
        run.json, found by the text.
        """
        info = self.info()
        today = {prompt.text_hash: prompt for prompt in info.prompts}
        records, damage = [], []
        for name in info.cells:
            path = self.path / "cells" / f"{name}.json"
            if not os.path.lexists(path):
                continue
            try:
                record, troubles = read_record(path)
            except StoreError as error:
                damage.append(str(error))
            else:
                records.append(dataclasses.replace(record, prompt=today.get(record.prompt.text_hash, record.prompt)))
                damage += troubles
        return records, tuple(damage)

    def unlisted(self) -> list[Record]:
        """Returns the readable records of rows that run.json does not list, the newest of every prompt and seed.

        Folders hold such rows where an earlier version wrote run.json, or where it was torn and is written anew.
        """
        listed = set(self.info().methods)
        folders = (self.path / "cells").iterdir() if (self.path / "cells").is_dir() else ()
        found: dict[tuple[str, str, int], Record] = {}
        paths = [path for folder in folders if folder.name not in listed for path in folder.glob("*.json")]
        for path in sorted(paths, key=lambda path: (path.stat().st_mtime, path.name)):
            with contextlib.suppress(StoreError):  # `verify` names what is damaged outside the grid
                record, _ = read_record(path)
                found[record.method, record.prompt_key, record.seed] = record
        return list(found.values())

    def find(self, cell: Cell) -> Record | None:
        """Returns the record of a cell whose files are whole, else None.

        Raises:
            StoreError: the record or its video is torn (the sentence says which).
        """
        return self.examine(cell)[0]

    def examine(self, cell: Cell) -> tuple[Record | None, tuple[str, ...]]:
        """Returns what `find` returns, and one sentence per damaged score. Raises like it."""
        path = self._cell(cell.method, cell.key, ".json")
        if not os.path.lexists(path):
            return None, ()
        record, troubles = read_record(path)
        if record.status == "ok" and not record.source:  # a given video is checked by its content before it is planned
            video = self.video_path(record)
            if (size := self._size_of(video)) is None:
                raise StoreError(f"{video}: the video is missing; it is made anew")
            if size != record.video_bytes:
                raise StoreError(f"{video}: the video has {size} bytes, not {record.video_bytes}; it is made anew")
        return record, troubles

    def claim_path(self, cell: Cell, *, start: bool = False) -> Path:
        """Returns where the claim on a cell lies, or on its first chunk; see `bench.claims`."""
        name = f".claim-{cell.start_key if start else cell.key}"
        return self.path / "starts" / name if start else self.path / "cells" / cell.method / name

    def state(self, cell: Cell, *, start: bool = False) -> str:
        """Returns what tells whether the record of a cell, or its first chunk, was written since; empty without one."""
        path = self.start_paths(cell.start_key)[0] if start else self.cell_video(cell)
        try:
            found = path.with_suffix(".json").lstat()
        except OSError:
            return ""
        return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"

    def written_since(self, cell: Cell, state: str, *, start: bool = False) -> bool:
        """Returns whether the record of a cell, or its first chunk, was written since it had this `state`."""
        return self.state(cell, start=start) != state

    def save(self, record: Record) -> None:
        """Writes the JSON of a cell; the video of an "ok" record is in place before."""
        write_record(self.record_path(record), record)

    def log(self, entries: Sequence[str]) -> None:
        """Appends entries to run.log."""
        with (self.path / "run.log").open("a", encoding="utf-8") as log:
            log.writelines(entries)

    def discard(self, cell: Cell) -> None:
        """Removes the record of a cell, so that it is made anew; a folder in its place stays until then."""
        path = self._cell(cell.method, cell.key, ".json")
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)

    def record_path(self, record: Record) -> Path:
        """Returns where the JSON of a record is."""
        return self._cell(record.method, record.key, ".json")

    def video_path(self, record: Record) -> Path:
        """Returns where the video of a record is: in the folder if it was made, at its own place if it was given."""
        return Path(record.source) if record.source else self._cell(record.method, record.key, ".mkv")

    def whole_video(self, record: Record) -> Path:
        """Returns where the video of a record is, having read it: its bytes are those that were scored.

        Raises:
            StoreError: it is missing, or its SHA-256 is another one.
        """
        if record.source:
            return given_video(record)
        path = self.video_path(record)
        check_regular(path)
        if file_digest(path) != record.video_sha256:
            raise StoreError(f"{path}: damaged, its SHA-256 is not the one in its record; it is made anew")
        return path

    def cell_video(self, cell: Cell) -> Path:
        """Returns where the video of a cell goes."""
        return self._cell(cell.method, cell.key, ".mkv")

    def has_start(self, key: str) -> bool:
        """Returns whether a first chunk has been drawn."""
        return self.start_paths(key)[0].with_suffix(".json").exists()

    def start_paths(self, key: str) -> tuple[Path, Path]:
        """Returns where the frames of a first chunk go, and its base frames where their size differs."""
        return self.path / "starts" / f"{key}.mkv", self.path / "starts" / f"{key}.base.mkv"

    # -- first chunks ----------------------------------------------------------------------------------------------

    def save_start(
        self, key: str, start: Start, fps: float, cost: Mapping[str, float | None] | None = None, memory: str = ""
    ) -> None:
        """Stores a first chunk: its frames, its base frames where their size differs, and last a JSON with their hash.

        Args:
            key: its key.
            start: the chunk.
            fps: frames per second.
            cost: what drawing it cost, as in `bench.records.Record`.
            memory: likewise.
        """
        path, base = self.start_paths(key)
        for target, frames in ((path, start.frames), (base, start.base)):
            if target == path or frames.shape != start.frames.shape:
                with VideoWriter(target, fps) as writer:
                    writer.write(frames)
        content = {
            "sha256": frames_digest(start.frames),
            "base_sha256": frames_digest(start.base),
            "base_differs": start.base.shape != start.frames.shape,
            "cost": cost or {},
            "memory": memory,
        }
        write_json(path.with_suffix(".json"), content, make_way=True)

    def load_start(self, key: str) -> tuple[Start, str]:
        """Returns a stored first chunk and the SHA-256 of its frames.

        Raises:
            StoreError: it is missing or torn.
        """
        path, base_path = self.start_paths(key)
        content = read_json(path.with_suffix(".json"))
        frames = read_whole_video(path)
        base = read_whole_video(base_path) if content.get("base_differs") else frames
        digest = frames_digest(frames)
        if (digest, frames_digest(base)) != (content.get("sha256"), content.get("base_sha256")):
            raise StoreError(f"{path}: the first chunk is not the one that was stored; it is drawn again")
        return Start(frames, base), digest

    # -- who else sees the folder ----------------------------------------------------------------------------------

    def leave_token(self, token: str) -> None:
        """Leaves a file by which others can tell that they see this very folder. Raises StoreError like `save`."""
        write_json(self._token(token), {"token": token})

    def has_token(self, token: str) -> bool:
        """Returns whether the file is there that another process has left."""
        return self._token(token).is_file()

    def take_token(self, token: str) -> None:
        """Removes the file again."""
        self._token(token).unlink(missing_ok=True)

    # -- paths -----------------------------------------------------------------------------------------------------

    def _cell(self, method: str, key: str, suffix: str) -> Path:
        return self.path / "cells" / method / f"{key}{suffix}"

    def _size_of(self, video: Path) -> int | None:
        """Returns the bytes of a video of this folder; None if there is none."""
        if not os.path.lexists(video):
            return None
        check_regular(video)
        return video.stat().st_size

    def _token(self, token: str) -> Path:
        return self.path / f".token-{token}.json"


def latest(results: Path) -> Path:
    """Returns the folder of the run that was started last.

    Raises:
        StoreError: there is no run.
    """
    runs = [path for path in results.glob("*/run.json") if path.is_file()]
    if not runs:
        raise StoreError(f"{results}: no run there; start one with `python -m bench run`, or name a folder with --out")
    return max(runs, key=lambda path: path.stat().st_mtime).parent
