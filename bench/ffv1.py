"""Writes and reads the store's videos: lossless FFV1 in Matroska, streamed, the same frames giving the same bytes.

What is scored is what is stored, so nothing may be lost: RGB is kept as `bgr0`, which FFV1 codes without loss. Videos
of other origin are decoded by `metrics.decoding`.

Example:
    >>> with VideoWriter(Path("a.mkv"), fps=10.0) as video:      # doctest: +SKIP
    ...     video.write(frames)
    >>> sum(len(chunk) for chunk in read_video(Path("a.mkv")))   # doctest: +SKIP
    240
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.errors import StoreError
from bench.files import check_regular, replacing
from generators.api import Frames


class VideoWriter:
    """A video file that appears under its name only when the block ends without an error.

    Args:
        path: where the video goes.
        fps: frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.fps = fps
        self.num_frames = 0
        self._stack = ExitStack()
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        """Opens the file under a temporary name."""
        import av

        # `bitexact` leaves out the random segment number and the library's version: same frames, same bytes.
        temporary = self._stack.enter_context(replacing(self.path, make_way=True))
        container = av.open(str(temporary), "w", format="matroska", options={"fflags": "bitexact"})
        self._container = self._stack.enter_context(container)
        return self

    def write(self, frames: Frames) -> None:
        """Appends frames [t, H, W, 3]; the first call fixes the size."""
        import av

        if self._stream is None:
            self._open_stream(*frames.shape[1:3])
        for frame in np.ascontiguousarray(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            self._container.mux(self._stream.encode(picture))
        self.num_frames += len(frames)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes the file and moves it into place, or removes it if the block failed."""
        if kind is None and self._stream is not None:
            self._container.mux(self._stream.encode())
        self._stack.__exit__(kind, error, trace)

    def _open_stream(self, height: int, width: int) -> None:
        stream = self._container.add_stream("ffv1", rate=Fraction(self.fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        stream.codec_context.thread_count = 1  # the split into slices, and with it the bytes, must not follow the cores
        stream.codec_context.options = {"level": "3", "slicecrc": "1", "flags": "bitexact"}
        self._stream = stream


def read_video(path: Path, chunk: int = 16) -> Iterator[Frames]:
    """Yields the frames of a file of the store as [t, H, W, 3] with t <= `chunk`, in order.

    Raises:
        StoreError: the file is missing or torn.
    """
    import av

    check_regular(path)
    try:
        with av.open(str(path)) as container:
            pending: list[Frames] = []
            for picture in container.decode(video=0):
                pending.append(picture.to_ndarray(format="rgb24"))
                if len(pending) == chunk:
                    yield np.stack(pending)
                    pending = []
            if pending:
                yield np.stack(pending)
    except (av.error.FFmpegError, OSError, IndexError) as cause:
        raise _torn(path, cause) from cause


def read_whole_video(path: Path) -> Frames:
    """Returns all frames of a short file of the store, [T, H, W, 3].

    Raises:
        StoreError: the file is missing, torn, or holds no frame.
    """
    chunks = list(read_video(path))
    if len({chunk.shape[1:] for chunk in chunks}) != 1:
        raise StoreError(f"{path}: torn (no frames of one size in it); run again and it is made anew")
    return np.concatenate(chunks)


def pick_frames(path: Path, wanted: Collection[int]) -> dict[int, Frames]:
    """Returns some frames [H, W, 3] of a file of the store by index, as many of them as it has.

    Reads no further than the last of them, and converts no other: most of the time of a large video.

    Raises:
        StoreError: the file is missing or torn.
    """
    import av

    check_regular(path)
    found: dict[int, Frames] = {}
    try:
        with av.open(str(path)) as container:
            for index, picture in enumerate(container.decode(video=0)):
                if index in wanted:
                    found[index] = picture.to_ndarray(format="rgb24")
                if len(found) == len(wanted):
                    break
    except (av.error.FFmpegError, OSError, IndexError) as cause:
        raise _torn(path, cause) from cause
    return found


def _torn(path: Path, cause: Exception) -> StoreError:
    return StoreError(f"{path}: missing or torn ({cause}); run again and it is made anew")


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, read in pieces.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise _torn(path, cause) from cause


def frames_digest(frames: Frames) -> str:
    """Returns the SHA-256 over shape and bytes of frames, whatever file they lie in."""
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
