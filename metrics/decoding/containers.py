"""Reads the video stream of a container with FFmpeg's libraries (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.format import Flags
from av.sidedata.sidedata import Type
from av.stream import Disposition

from metrics.decoding.colour import RgbConverter
from metrics.decoding.completeness import Tally, end_known
from metrics.decoding.orientation import UPRIGHT, axes_of, upright
from metrics.decoding.sources import Condition, Picture
from metrics.errors import VideoError

DEFAULT_FPS = 10.0
"""Frames per second where a container states none. Source: StreamingT2V shows its videos at 10."""

PLAUSIBLE_FPS = (0.01, 1000.0)
"""What an average rate is believed between: of DV, for one, FFmpeg computes an average of 60000."""

EVEN = 0.05
"""Largest relative difference of stated and shown rate that is rounding: times of short videos are coarse."""

READS_OTHER_FILES = frozenset({"concat", "dash", "hls", "image2", "imf", "sdp"})
"""Formats, as FFmpeg names them, that lead to other files."""


def container_rate(path: Path) -> float | None:
    """Returns the frame rate that a container states, None if it states none."""
    with _opened(path) as (container, stream):
        return _rate(container, stream)


def container_pictures(path: Path, condition: Condition) -> Iterator[Picture]:
    """Yields the frames of a container upright, in the order they are shown, and notes their condition.

    A packet that the decoder refuses is counted as a damaged frame, and the next one is read.

    Raises:
        VideoError: frames are missing at the end, or no right angle turns them upright.
    """
    with _opened(path) as (container, stream):
        rate = _rate(container, stream)
        frame_seconds = 1 / (rate or DEFAULT_FPS)
        converter, tally, corrupt, trouble = RgbConverter(), Tally(), set[int | None](), ""
        shown: list[float] = []  # first and last time, in seconds
        count = 0
        packets = container.demux()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                if packet.size:
                    tally.add(packet, packet.stream == stream, frame_seconds)
                if packet.stream != stream:
                    continue
                if packet.is_corrupt:
                    corrupt.add(packet.pts)
            except FFmpegError as error:  # the demuxer cannot go on
                trouble = str(error)
                break
            try:
                frames = packet.decode()
            except FFmpegError:
                condition.damaged += 1
                continue
            for frame in frames:
                condition.damaged += bool(frame.is_corrupt or (frame.pts is not None and frame.pts in corrupt))
                count += 1
                shown = [*shown[:1], frame.time] if frame.time is not None else shown
                yield _picture(frame, converter, path)
        condition.end_known = end_known(path, container, stream, tally, frame_seconds)
        if rate and len(shown) == 2 and shown[1] > shown[0]:
            average = (count - 1) / (shown[1] - shown[0])
            condition.uneven = (rate, average) if abs(average / rate - 1) > EVEN else None
        if trouble:
            raise VideoError("truncated", f"{path} cannot be read to its end: {trouble}")


def _picture(frame: Any, converter: RgbConverter, path: Path) -> Picture:
    try:
        picture = converter.convert(frame)
    except (FFmpegError, ValueError, MemoryError) as error:
        raise VideoError("not-a-video", f"{path}: its frames cannot be converted to RGB: {error}") from error
    matrix = next((bytes(data) for data in frame.side_data if data.type == Type.DISPLAYMATRIX), b"")
    if not matrix:
        return picture
    try:
        axes = axes_of(matrix)
    except VideoError as error:
        raise VideoError(error.reason, f"{path}: {error}") from error
    return picture if axes == UPRIGHT else upright(picture, axes)


def _rate(container: Any, stream: Any) -> float | None:
    if container.format.flags & Flags.no_timestamps.value or not stream.average_rate:
        return None  # a raw stream has no clock: FFmpeg invents 25 frames a second
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if PLAUSIBLE_FPS[0] <= rate <= PLAUSIBLE_FPS[1]), None)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Gives the container and the stream to read."""
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except (FFmpegError, ValueError) as error:
        raise VideoError("not-a-video", f"{path} cannot be opened as a video: {error}") from error
    with container:
        if READS_OTHER_FILES & set(container.format.name.split(",")):
            raise VideoError("not-a-video", f"{path} is a list of other files: give the videos it names")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise VideoError("not-a-video", f"{path} holds no video stream")
        if streams[0].codec_context is None:
            raise VideoError("not-a-video", f"{path}: no decoder is known for its video stream")
        longer = [s for s in streams if s.frames > 1]
        stream = longer[0] if streams[0].frames == 1 and longer else streams[0]
        stream.codec_context.thread_count = 1  # threads patch up damaged frames each in their own way
        yield container, stream
