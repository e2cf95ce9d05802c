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
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from metrics.decoding import READER_VERSION, frame_files
from metrics.errors import MetricError
from metrics.features.base import Arrays

DEFAULT_LIMIT = 2 * 1024**3
"""Bytes a cache may take. A 240-frame video takes about half a megabyte, nearly all of it CLIP features."""


class FeatureCache:
    """A folder of arrays by name."""

    def __init__(self, folder: Path, max_bytes: int = DEFAULT_LIMIT) -> None:
        """Takes a folder.

        Args:
            folder: made if it is not there.
            max_bytes: limit of all entries together, > 0.

        Raises:
            MetricError: if the folder cannot be made.
        """
        self._folder, self._max_bytes = folder, max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MetricError(f"the cache folder {folder} cannot be made ({error}): score without a cache") from error

    def get(self, content: str, identity: str) -> Arrays | None:
        """Returns the arrays kept under a name, None if there are none or they are damaged.

        Args:
            content: hash of the video; see `content_hash`.
            identity: of the feature; see `metrics.features.base.Feature.identity`.
        """
        path = self._path(content, identity)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)
            return None
        return arrays

    def put(self, content: str, identity: str, arrays: Arrays) -> None:
        """Keeps arrays under a name: written beside it first, so that a reader never sees half of them."""
        path = self._path(content, identity)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        Path(file.name).replace(path)
        self._shrink()

    def _path(self, content: str, identity: str) -> Path:
        return self._folder / (hashlib.sha256(f"{content}\n{identity}".encode()).hexdigest() + ".npz")

    def _shrink(self) -> None:
        """Deletes what was not used for longest until the limit holds."""
        entries = []
        for path in self._folder.glob("*.npz"):
            with contextlib.suppress(FileNotFoundError):  # another process may be shrinking, too
                status = path.stat()
                entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def default_folder() -> Path:
    """Returns where features are kept for this user, by the XDG convention."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longvideo-bench" / "features"


def content_hash(path: Path, num_frames: int | None = None) -> str:
    """Returns a name for the frames that reading a video gives: a hash of its bytes and of how they are read.

    Args:
        path: a video file or a folder of pictures.
        num_frames: as many frames as are read of it, None for all.
    """
    files = frame_files(path) if path.is_dir() else [path]
    total = hashlib.sha256(f"{READER_VERSION} {num_frames}".encode())
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
