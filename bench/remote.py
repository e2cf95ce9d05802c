"""A results folder in object storage: files are made in a local folder, then uploaded, the video before its record.

Object storage has no rename and needs none: an object appears whole. The local folder is this process's own and is
removed with it; of what others have written, records come at once and videos when they are read.

Example:
    >>> store = open_store("s3://bucket/run")              # doctest: +SKIP
    >>> [record.status for record in store.records()]      # doctest: +SKIP
    ['ok', 'ok', 'failed']
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, StoreError, foreign
from bench.owner import is_gone, this_process
from bench.records import Record, RunInfo
from bench.spec import Cell
from bench.store import Store
from generators.api import Start

SCRATCH = "longvideo-bench-"
"""How the names of local folders begin, before who made them."""


class Bucket:
    """The objects below an address, by their names relative to it.

    Args:
        address: of any kind that fsspec knows, such as s3://bucket/run.

    Raises:
        ConfigError: the kind is unknown, or a package for it is missing.
        StoreError: whatever the storage answers with, here and in every method.
    """

    def __init__(self, address: str) -> None:
        import fsspec

        self.address = address.rstrip("/")
        # Folders exist in no object storage, but in a folder that stands for one.
        options = {"auto_mkdir": True} if address.startswith("file://") else {"use_listings_cache": False}
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address, **options)
        except (ImportError, ValueError) as cause:
            raise ConfigError(
                f"--out {address}: {cause}. For s3:// addresses: pip install 'longvideo-bench[remote]'"
            ) from cause

    def sizes(self) -> dict[str, tuple[int, str]]:
        """Returns the bytes of every object, and a text that changes when it does."""
        with self._asking("list the objects"):
            found = self._files.find(self._root, detail=True) if self._files.exists(self._root) else {}
        return {
            path.removeprefix(self._root).lstrip("/"): (int(about["size"]), self._mark(about))
            for path, about in found.items()
        }

    def about(self, name: str) -> tuple[int, str] | None:
        """Returns the bytes of an object, and a text that changes when it does; None if there is none."""
        with self._asking(f"look for {name}"):
            if not self._files.exists(self._path(name)):
                return None
            found = self._files.info(self._path(name))
            return int(found["size"]), self._mark(found)

    def upload(self, path: Path, name: str) -> None:
        """Puts a local file in the place of an object."""
        with self._asking(f"write {name}"):
            self._files.put_file(str(path), self._path(name))

    def download(self, names: Mapping[str, Path]) -> None:
        """Fetches objects into local files."""
        for path in names.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._asking("read"):
            self._files.get([self._path(name) for name in names], [str(path) for path in names.values()])

    def has(self, name: str) -> bool:
        """Returns whether there is such an object."""
        with self._asking(f"look for {name}"):
            return bool(self._files.exists(self._path(name)))

    def remove(self, name: str) -> None:
        """Removes an object, if there is one."""
        with self._asking(f"remove {name}"):
            if self._files.exists(self._path(name)):
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _mark(self, about: Mapping[str, Any]) -> str:
        return str(about.get("ETag") or about.get("mtime") or about.get("LastModified") or "")

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return foreign(StoreError, f"{self.address}: the storage, asked to {what},")


class RemoteStore(Store):
    """A results folder in object storage; see `bench.store.Store`.

    Args:
        address: such as s3://bucket/run.
        records: fetch all records now. A worker needs those of its own cells only, and fetches them one by one.
    """

    def __init__(self, address: str, records: bool = True) -> None:
        _remove_scratch_of_the_gone()
        super().__init__(Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{this_process()}~")))
        self._scratch = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self._bucket = Bucket(address)
        self._there: dict[str, tuple[int, str]] = {}
        self._fetched: set[Path] = set()
        self._all = records
        if records:
            self.refresh()

    def __str__(self) -> str:
        """Returns the address."""
        return self.location

    @property
    def location(self) -> str:
        """Returns the address."""
        return self._bucket.address

    def refresh(self) -> None:
        """Takes in what others have written since."""
        if not self._all:
            return
        now = self._bucket.sizes()
        wanted = {name for name in now if name.endswith(".json") and not name.startswith(("report/", ".token-"))}
        for name in self._there.keys() - now.keys():
            (self.path / name).unlink(missing_ok=True)
        self._fetch({name for name in wanted if now[name] != self._there.get(name)})
        self._there = now

    def settled(self) -> Store:
        """Returns itself: an address does not depend on the working directory."""
        return self

    def close(self) -> None:
        """Removes the local folder."""
        self._scratch()

    def open(self, info: RunInfo) -> tuple[str, ...]:
        """Writes run.json, as in `Store.open`, and fails at once where nothing may be written."""
        damage = super().open(info)
        self._upload(self.path / "run.json")
        return damage

    def save(self, record: Record) -> None:
        """Uploads the video of a cell if it was made here, then its record."""
        super().save(record)
        video = self._cell(record.method, record.key, ".mkv")
        if record.status == "ok" and not record.source and video.exists() and video not in self._fetched:
            self._upload(video)
            video.unlink()
        elif video in self._fetched:  # it was here to be scored again, and is there
            video.unlink(missing_ok=True)
            self._fetched.discard(video)
        self._upload(self.record_path(record))

    def log(self, entries: Sequence[str]) -> None:
        """Appends entries to run.log; of two commands that fail at the same time, one's may be lost."""
        path = self.path / "run.log"
        if self._bucket.has(path.name):
            self._fetch({path.name})
        super().log(entries)
        self._upload(path)

    def claim_path(self, cell: Cell, *, start: bool = False) -> Path:
        """Returns where this process lays a claim; others do not see it, so that shards should share the work."""
        path = super().claim_path(cell, start=start)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def state(self, cell: Cell, *, start: bool = False) -> str:
        """Returns what tells whether the record of a cell, or its first chunk, was written since; empty without one."""
        name, _ = self._objects(cell, start)
        return _as_text(self._there.get(name) if self._all else self._bucket.about(name))

    def written_since(self, cell: Cell, state: str, *, start: bool = False) -> bool:
        """As in `Store`; asks the storage, since what was listed for the plan may be old, and takes in what is new."""
        record, video = self._objects(cell, start)
        for name in (record, video):
            if (found := self._bucket.about(name)) is not None:
                self._there[name] = found
            else:
                self._there.pop(name, None)
        now = self._there.get(record)
        if _as_text(now) == state:
            return False
        (self.path / record).unlink(missing_ok=True)
        if now is not None:
            self._fetch({record})
        return True

    def discard(self, cell: Cell) -> None:
        """Removes the record of a cell, here and there."""
        super().discard(cell)
        name = self._name(self._cell(cell.method, cell.key, ".json"))
        self._bucket.remove(name)
        self._there.pop(name, None)

    def examine(self, cell: Cell) -> tuple[Record | None, tuple[str, ...]]:
        """Returns what `Store.examine` returns; fetches the record first where not all were fetched."""
        path = self._cell(cell.method, cell.key, ".json")
        if not self._all and not path.exists() and self._bucket.has(self._name(path)):
            self._fetch({self._name(path)})
        return super().examine(cell)

    def whole_video(self, record: Record) -> Path:
        """Returns the video of a record, fetched and compared with its hash."""
        if not record.source and not (path := self.video_path(record)).exists():
            self._fetch({self._name(path)})
            self._fetched.add(path)
        return super().whole_video(record)

    def cell_video(self, cell: Cell) -> Path:
        """Returns where the video of a cell is made; one that was fetched before is no longer the latest."""
        path = super().cell_video(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fetched.discard(path)
        return path

    def has_start(self, key: str) -> bool:
        """Returns whether a first chunk has been drawn."""
        name = self._name(self.start_paths(key)[0].with_suffix(".json"))
        return name in self._there or self._bucket.has(name)

    def save_start(
        self, key: str, start: Start, fps: float, cost: Mapping[str, float | None] | None = None, memory: str = ""
    ) -> None:
        """Stores a first chunk here and there; its JSON last."""
        path, base = self.start_paths(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        super().save_start(key, start, fps, cost, memory)
        for made in (path, base, path.with_suffix(".json")):
            if made.exists():
                self._upload(made)

    def load_start(self, key: str) -> tuple[Start, str]:
        """Returns a stored first chunk, fetched where it is not here."""
        path, base = self.start_paths(key)
        wanted = [made for made in (path.with_suffix(".json"), path, base) if not made.exists()]
        self._fetch({self._name(made) for made in wanted if self._bucket.has(self._name(made))})
        return super().load_start(key)

    def leave_token(self, token: str) -> None:
        """Leaves an object by which others can tell that they see this very folder."""
        super().leave_token(token)
        self._upload(self._token(token))

    def has_token(self, token: str) -> bool:
        """Returns whether the object is there that another process has left."""
        return self._bucket.has(self._name(self._token(token)))

    def take_token(self, token: str) -> None:
        """Removes the object again."""
        super().take_token(token)
        self._bucket.remove(self._name(self._token(token)))

    def published(self, page: Path) -> str:
        """Uploads a page and everything beside it, if it lies in this folder; returns its address."""
        if not page.is_relative_to(self.path):
            return str(page)
        for path in sorted(page.parent.rglob("*")):
            if path.is_file():
                self._upload(path)
        return f"{self.location}/{self._name(page)}"

    def _size_of(self, video: Path) -> int | None:
        name = self._name(video)
        found = self._there.get(name) if self._all else self._bucket.about(name)
        return found[0] if found else None

    def _objects(self, cell: Cell, start: bool) -> tuple[str, str]:
        """Returns the names of the record and the video of a cell, or of its first chunk."""
        video = self.start_paths(cell.start_key)[0] if start else self._cell(cell.method, cell.key, ".mkv")
        return self._name(video.with_suffix(".json")), self._name(video)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _fetch(self, names: set[str]) -> None:
        if names:
            self._bucket.download({name: self.path / name for name in sorted(names)})

    def _upload(self, path: Path) -> None:
        name = self._name(path)
        self._bucket.upload(path, name)
        if self._all and (found := self._bucket.about(name)) is not None:  # else it looks like another command's
            self._there[name] = found


def _as_text(about: tuple[int, str] | None) -> str:
    return "-".join(map(str, about)) if about else ""


def _remove_scratch_of_the_gone() -> None:
    """Removes the local folders of processes that were killed: they hold videos, and nobody else ever looks there."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        if is_gone(folder.name.removeprefix(SCRATCH).split("~")[0]):
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays
