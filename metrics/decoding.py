"""Reads videos made anywhere, as a stream of RGB chunks, by one rule.

The rule:
    - *Stream*: the first video stream of the container that is not a cover picture. Where a file holds the same film
      in several sizes, the first is what its maker put first; players disagree on the rest.
    - *Frames*: every coded frame once, in the order it is shown. Frames are never repeated or dropped to make the rate
      constant, because a repeated frame changes every score: a video of variable rate is the list of its frames.
    - *Rate*: the average rate the container states. Where it states none, `DEFAULT_FPS`, and the probe says so.
    - *Rotation*: frames come upright, turned by the display matrix (multiples of 90 degrees).
    - *Colour*: 8-bit RGB by the codec library's conversion; transparent pixels keep the colour stored under them.
    - *Folders*: the picture files in a folder, in the order of the numbers in their names.
    - *Damage*: a file that ends before its header says it does is an error, not a shorter video.

Example:
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         Image.new("RGB", (8, 6), (i, 0, 0)).save(Path(folder) / f"{i}.png")
    ...     print(probe(folder))
    ...     print([chunk.shape for chunk in read_frames(folder, chunk=2)])
    Probe(fps=10.0, height=6, width=8, fps_known=False)
    [(2, 6, 8, 3), (1, 6, 8, 3)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.api import Frames
from metrics.errors import VideoError

READER_VERSION = 1
"""Changes whenever the same file would give other frames."""

DEFAULT_FPS = 10.0
"""Frames per second where a container states none. Source: StreamingT2V shows its videos at 10."""

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File name endings of the pictures in a folder of frames; whatever else lies there is ignored."""

ALLOWED_LOSS = 2
"""Frames by which a header may overstate a video: muxers round durations and edit lists hide a frame or two."""

_Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Probe:
    """What a file says of itself before it is decoded.

    Attributes:
        fps: frames per second, average; `DEFAULT_FPS` where it is not stated.
        height: of the upright frames, pixels.
        width: of the upright frames, pixels.
        fps_known: whether the file states a rate.
    """

    fps: float
    height: int
    width: int
    fps_known: bool = True


def probe(path: str | Path) -> Probe:
    """Returns rate and size of a video, from its header and its first frame.

    Raises:
        VideoError: if it is not a readable video.
    """
    path = Path(path)
    height, width = next(_pictures(path)).shape[:2]
    if path.is_dir():
        return Probe(DEFAULT_FPS, height, width, fps_known=False)
    with _opened(path) as (_, stream):
        rate = stream.average_rate
        return Probe(float(rate) if rate else DEFAULT_FPS, height, width, fps_known=bool(rate))


def read_frames(path: str | Path, chunk: int = 16, num_frames: int | None = None) -> Iterator[Frames]:
    """Yields the frames of a video in order, uint8 RGB [t, H, W, 3] with t = chunk but for the last.

    Args:
        path: a video file, or a folder of pictures.
        chunk: frames per array, >= 1; memory use grows with it and with nothing else.
        num_frames: read no further than this many frames; None for all.

    Raises:
        VideoError: if it is not a readable video, or is found to be damaged on the way.
    """
    pictures = islice(_pictures(Path(path)), num_frames)
    while held := list(islice(pictures, chunk)):
        for picture in held:
            if picture.shape != held[0].shape:
                raise VideoError("resized", f"the frames of {path} differ in size: re-encode it at one size")
        yield np.stack(held)


def _pictures(path: Path) -> Iterator[_Picture]:
    """Yields every frame [H, W, 3]; at least one."""
    if not path.exists():
        raise VideoError("missing", f"there is no {path}")
    if path.is_file() and not path.stat().st_size:
        raise VideoError("empty", f"{path} has no bytes in it")
    found = False
    for picture in _from_folder(path) if path.is_dir() else _from_container(path):
        found = True
        yield picture
    if not found:
        raise VideoError("no-frames", f"{path} holds no frames")


def _from_folder(folder: Path) -> Iterator[_Picture]:
    from PIL import Image, UnidentifiedImageError

    for file in frame_files(folder):
        try:
            with Image.open(file) as picture:
                yield np.asarray(picture.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise VideoError("not-a-video", f"{file} is not a readable picture: {error}") from error


def frame_files(folder: Path) -> list[Path]:
    """Returns the picture files of a folder in the order of the numbers in their names (2 before 10)."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in PICTURES and not file.name.startswith("."))
    return sorted(files, key=lambda file: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", file.name)])


def _from_container(path: Path) -> Iterator[_Picture]:
    from av.error import FFmpegError

    with _opened(path) as (container, stream):
        count, end = 0, 0.0
        try:
            for frame in container.decode(stream):
                picture = frame.to_ndarray(format="rgb24")
                yield np.ascontiguousarray(np.rot90(picture, frame.rotation // 90)) if frame.rotation else picture
                count += 1
                end = float(frame.time or 0)
        except FFmpegError as error:
            raise VideoError("truncated", f"{path} cannot be decoded after frame {count}: {error}") from error
        _refuse_if_short(path, container, stream, count, end)


def _refuse_if_short(path: Path, container: Any, stream: Any, count: int, end: float) -> None:
    """Raises if the header promises more than was found: the demuxers of several formats end silently."""
    promised = int(stream.frames)
    rate = stream.average_rate
    if not promised and rate and len(container.streams) == 1 and container.duration:
        start = float(stream.start_time * stream.time_base) if stream.start_time else 0.0
        seconds_missing = container.duration / 1e6 - (end - start) - float(1 / rate)
        promised = count + max(0, round(seconds_missing * float(rate)))
    if count and count < promised - ALLOWED_LOSS:
        raise VideoError("truncated", f"{path} ends after {count} frames and its header promises {promised}")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Gives the container and the stream to read."""
    import av
    from av.error import FFmpegError
    from av.stream import Disposition

    try:
        container = av.open(str(path))
    except FFmpegError as error:
        raise VideoError("not-a-video", f"{path} cannot be opened as a video: {error}") from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise VideoError("not-a-video", f"{path} holds no video stream")
        yield container, streams[0]
