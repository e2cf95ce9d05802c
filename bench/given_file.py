"""A video that lies elsewhere: its size, its hash, and whether it is still the one that was scored.

Example:
    >>> given_video(record)   # doctest: +SKIP
    PosixPath('/data/clips/a.mp4')
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from bench.errors import StoreError
from bench.ffv1 import file_digest
from bench.records import Record
from bench.terminal import printable
from generators.api import Frames
from metrics.decoding import DEFAULT_FPS, frame_files, read_frames
from metrics.errors import VideoError
from metrics.features.cache import content_hash


def frame_size_of(path: Path) -> int:
    """Returns the bytes of a video file, or of the pictures in a folder."""
    return sum(file.stat().st_size for file in (frame_files(path) if path.is_dir() else [path]))


def first_frames(count: int) -> str:
    """Returns what tables say of a video of which no more than so many frames were to be read."""
    return f"first {count} frames"


ASSUMED_RATE = f"{DEFAULT_FPS:g} frames a second assumed"
"""What tables say of a video that states no frame rate."""


def stated_rate(record: Record) -> float:
    """Returns the frames per second that the video states, 0 where they were assumed."""
    return 0.0 if ASSUMED_RATE in record.flags else record.fps


def digest_of(path: Path) -> str:
    """Returns the SHA-256 of a video file, or a hash of the pictures in a folder and of their order."""
    return content_hash(path) if path.is_dir() else file_digest(path)


def given_video(record: Record) -> Path:
    """Returns where the given video of a record lies, having read it: its bytes are those that were scored.

    Raises:
        StoreError: it has moved or changed since.
    """
    path, name = Path(record.source), printable(record.source)
    if not path.exists():
        raise StoreError(f"{name}: the given video has moved or is gone; give its new path to `score`")
    try:
        same = frame_size_of(path) == record.video_bytes and digest_of(path) == record.video_sha256
    except (VideoError, OSError) as error:
        raise StoreError(f"{name}: the given video cannot be read any more: {error}") from error
    if not same:
        raise StoreError(f"{name}: the given video has changed since it was scored; give it to `score` again")
    return path


def read_given_video(path: Path, num_frames: int) -> Iterator[Frames]:
    """Yields the first frames of a given video as [t, H, W, 3].

    Raises:
        StoreError: it cannot be read.
    """
    try:
        yield from read_frames(path, num_frames=num_frames)
    except VideoError as error:
        raise StoreError(f"{printable(str(path))}: {error}") from error


def pick_given_frames(path: Path, wanted: Collection[int]) -> dict[int, Frames]:
    """Returns some frames [H, W, 3] of a given video by index, as many of them as it has; reads no further than needed.

    Raises:
        StoreError: it cannot be read.
    """
    found: dict[int, Frames] = {}
    start = 0
    try:
        for frames in read_frames(path, num_frames=max(wanted) + 1):
            found |= {start + i: frames[i] for i in range(len(frames)) if start + i in wanted}
            start += len(frames)
    except VideoError as error:
        raise StoreError(f"{printable(str(path))}: {error}") from error
    return found
