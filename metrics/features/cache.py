"""Keeps what was computed from a video on disk, so that scoring it again in another mode takes seconds.

An entry is named by the content of the video, and by everything else its arrays depend on: network, weights,
preprocessing, versions. The folder never grows beyond its limit; what was not used for longest goes first. Entries are
data (NumPy arrays, read without pickle) and may be deleted at any time.

Example:
    >>> import tempfile
    >>> cache = FeatureCache(Path(tempfile.mkdtemp()), max_bytes=100_000)
    >>> cache.put("a video", "dis 64", {"motion": np.zeros(3)})
    >>> cache.get("a video", "dis 64")["motion"].tolist(), cache.get("a video", "dis 128")
    ([0.0, 0.0, 0.0], None)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from metrics.decoding import READER_VERSION, frame_files, source_kind
from metrics.errors import VideoError
from metrics.features.base import Arrays

DEFAULT_LIMIT = 2 * 1024**3
"""Bytes a cache may take. A 240-frame video takes about half a megabyte, nearly all of it CLIP features."""


_DAMAGED = (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


class FeatureCache:
    """A folder of arrays by name; where it cannot be used, nothing is kept, and one warning says so."""

    def __init__(
        self, folder: Path | None, max_bytes: int = DEFAULT_LIMIT, warn: Callable[[str], None] = _warn
    ) -> None:
        """Takes a folder.

        Args:
            folder: made if it is not there; None where there is none to use, see `default_folder`.
            max_bytes: limit of all entries together, > 0.
            warn: is told, once, why the cache is not used; by default a Python warning.
        """
        self._folder, self._max_bytes, self._warn = folder, max_bytes, warn
        if folder is None:
            warn("there is no home folder for a cache: nothing computed is kept (set XDG_CACHE_HOME to a folder)")
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._give_up(f"cannot be made ({error.strerror or error})")
            return
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            self._give_up("is read-only")

    @property
    def usable(self) -> bool:
        """Whether anything is kept; False for good from the warning on."""
        return self._folder is not None

    def get(self, content: str, identity: str) -> Arrays | None:
        """Returns the arrays kept under a name, None if there are none or they are damaged.

        Args:
            content: hash of the video; see `content_hash`.
            identity: of the feature; see `metrics.features.base.Feature.identity`.
        """
        if self._folder is None:
            return None
        path = self._path(self._folder, content, identity)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except FileNotFoundError:
            return None
        except PermissionError as error:
            self._give_up(f"cannot be read ({error.strerror or error})")
            return None
        except _DAMAGED:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # read-only: what it holds is as good
            os.utime(path)
        return arrays

    def put(self, content: str, identity: str, arrays: Arrays) -> None:
        """Keeps arrays under a name: written beside it first, so that a reader never sees half of them."""
        if self._folder is None:
            return
        part: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
                part = Path(file.name)
                np.savez_compressed(file, allow_pickle=False, **arrays)
            part.replace(self._path(self._folder, content, identity))
            self._shrink(self._folder)
        except OSError as error:
            self._give_up(f"cannot be written ({error.strerror or error})")
            if part is not None:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)

    def _give_up(self, what: str) -> None:
        self._warn(f"the cache folder {self._folder} {what}: nothing computed is kept")
        self._folder = None

    @staticmethod
    def _path(folder: Path, content: str, identity: str) -> Path:
        return folder / (hashlib.sha256(f"{content}\n{identity}".encode(errors="surrogateescape")).hexdigest() + ".npz")

    def _shrink(self, folder: Path) -> None:
        """Deletes what was not used for longest until the limit holds."""
        entries = []
        for path in folder.glob("*.npz"):
            with contextlib.suppress(FileNotFoundError):  # another process may be shrinking, too
                status = path.stat()
                entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def default_folder() -> Path | None:
    """Returns where features are kept for this user, by the XDG convention; None if the user has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longvideo-bench" / "features"
    except RuntimeError:
        return None


def content_hash(path: Path, num_frames: int | None = None) -> str:
    """Returns a name for the frames that reading a video gives: a hash of its bytes and of how they are read.

    Args:
        path: a video file or a folder of pictures.
        num_frames: as many frames as are read of it, None for all.

    Raises:
        VideoError: it is no file that can be read twice, or cannot be opened.
    """
    files = frame_files(path) if source_kind(path) == "folder" else [path]
    total = hashlib.sha256(f"{READER_VERSION} {num_frames}".encode())
    for file in files:
        try:
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise VideoError("unreadable", f"{file} cannot be read: {error.strerror or error}") from error
    return total.hexdigest()
