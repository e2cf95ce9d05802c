"""One way to read a video, whatever it is made of: rate and size, frames in chunks, and how sound it was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from metrics.api import AssumedRate, Frames
from metrics.decoding.animations import animation_pictures, animation_rate
from metrics.decoding.containers import DEFAULT_FPS, container_pictures, container_rate
from metrics.decoding.pictures import folder_pictures
from metrics.decoding.sources import Condition, Picture, absolute, source_kind
from metrics.errors import VideoError

READER_VERSION = 2
"""Changes whenever the same file would give other frames."""


@dataclass(frozen=True)
class Probe:
    """What a file says of itself before it is decoded.

    Attributes:
        fps: frames per second, average; `DEFAULT_FPS`, as an `AssumedRate`, where it is not stated.
        height: of the upright frames, pixels.
        width: of the upright frames, pixels.
        fps_known: whether the file states a rate.
    """

    fps: float
    height: int
    width: int
    fps_known: bool = True


class VideoReader:
    """A video file or a folder of pictures.

    Example: how a caller learns of damage, and refuses it.
        >>> reader = VideoReader("video.mp4", max_damaged=0)                       # doctest: +SKIP
        >>> for frames in reader.frames():                                         # doctest: +SKIP
        ...     scorer.update(frames)         # VideoError with reason "damaged" at the first damaged frame
        >>> reader.condition.damaged, reader.condition.flags()                     # doctest: +SKIP
        (0, ())

    Attributes:
        condition: of what was read by the last call of `frames`; complete once its last chunk was taken.
    """

    def __init__(self, path: str | Path, max_damaged: int | None = None) -> None:
        """Takes a video; nothing is decoded yet.

        Args:
            path: its name never carries meaning.
            max_damaged: damaged frames that are borne, >= 0; one more is an error. None to count them only.

        Raises:
            VideoError: it is no file that can be read twice.
        """
        self._path, self._max_damaged = absolute(path), max_damaged
        self._kind = source_kind(path)
        self.condition = Condition()

    def probe(self) -> Probe:
        """Returns rate and size, from the header and the first frame.

        Raises:
            VideoError: if it is not a readable video.
        """
        height, width = next(self._pictures(Condition())).shape[:2]
        rate = None
        if self._kind != "folder":
            rate = (container_rate if self._kind == "container" else animation_rate)(self._path)
        return Probe(rate or AssumedRate(DEFAULT_FPS), height, width, fps_known=rate is not None)

    def frames(self, chunk: int = 16, num_frames: int | None = None) -> Iterator[Frames]:
        """Yields the frames in order, uint8 RGB [t, H, W, 3] with t = chunk but for the last.

        Args:
            chunk: frames per array, >= 1; memory use grows with it and with nothing else.
            num_frames: read no further than this many frames; None for all.

        Raises:
            VideoError: if it is not a readable video, or is found to be torn or too damaged on the way.
        """
        self.condition = Condition()
        pictures = islice(self._pictures(self.condition), num_frames)
        size = None
        while held := list(islice(pictures, chunk)):
            for picture in held:
                size = size or picture.shape
                if picture.shape != size:
                    raise VideoError("resized", f"the frames of {self._path} differ in size: re-encode it at one size")
            yield np.stack(held)

    def _pictures(self, condition: Condition) -> Iterator[Picture]:
        """Yields every frame; at least one."""
        found = False
        for picture in self._source(condition):
            self._refuse_damage(condition)
            found = True
            yield picture
        if not found:
            raise VideoError("no-frames", f"{self._path} holds no frames that can be decoded")
        self._refuse_damage(condition)

    def _source(self, condition: Condition) -> Iterator[Picture]:
        if self._kind == "folder":
            return folder_pictures(self._path, condition)
        return (container_pictures if self._kind == "container" else animation_pictures)(self._path, condition)

    def _refuse_damage(self, condition: Condition) -> None:
        if self._max_damaged is not None and condition.damaged > self._max_damaged:
            raise VideoError(
                "damaged", f"{self._path} has more damaged frames than the {self._max_damaged} that are allowed"
            )


def probe(path: str | Path) -> Probe:
    """Returns rate and size of a video; see `VideoReader.probe`."""
    return VideoReader(path).probe()


def read_frames(path: str | Path, chunk: int = 16, num_frames: int | None = None) -> Iterator[Frames]:
    """Yields the frames of a video; see `VideoReader.frames`."""
    yield from VideoReader(path).frames(chunk, num_frames)
