"""Reads pictures that move, WebP and APNG, with Pillow: FFmpeg's library reads no moving WebP."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

from metrics.decoding.chunks import TornError, ends_in_zeros, png, read_exactly, riff, size_of
from metrics.decoding.pictures import readable, rgb
from metrics.decoding.sources import Condition, Picture
from metrics.errors import VideoError

_PNG_SIGNATURE_BYTES = 8


def animation_rate(path: Path) -> float | None:
    """Returns frames per second, the average; None if the file states no times."""
    try:
        seconds, _ = _examined(path)
    except TornError:
        return None
    return round(len(seconds) / sum(seconds), 6) if sum(seconds) > 0 else None


def animation_pictures(path: Path, condition: Condition) -> Iterator[Picture]:
    """Yields the pictures of an animation, put together on its canvas as they are shown.

    Raises:
        VideoError: bytes are missing at the end, or a picture cannot be decoded.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile

    try:
        _, whole = _examined(path)
    except TornError as error:
        raise VideoError(
            "truncated", f"{path} is cut off: bytes that its own structure announces are missing"
        ) from error
    with readable(path), Image.open(path) as picture:
        first = int(isinstance(picture, PngImageFile) and picture.default_image)  # a still for those who cannot animate
        for index in count(first):
            try:
                picture.seek(index)
            except EOFError:
                break
            yield rgb(picture.copy(), path)
    condition.end_known = whole


def _examined(path: Path) -> tuple[list[float], bool]:
    """Returns how long each frame is shown (nothing for a single picture), and whether the file ends as it should.

    Raises:
        TornError: the file ends before its structure does.
    """
    with path.open("rb") as file:
        read = _webp_seconds if read_exactly(file, 0, 4) == b"RIFF" else _png_seconds
        seconds, stop = read(file)
        return seconds, size_of(file) <= stop and not ends_in_zeros(file)


def _webp_seconds(file: BinaryIO) -> tuple[list[float], int]:
    """Returns seconds, and where the file ends.

    Source: RFC 9649, section 2.7.1.1: the duration of an ANMF chunk, milliseconds in 24 bits from byte 12 on.
    """
    stop = 8 + int.from_bytes(read_exactly(file, 4, 4), "little")
    if stop > size_of(file):
        raise TornError
    starts = [chunk.start for chunk in riff(file, 12, stop) if chunk.kind == b"ANMF"]
    seconds = [int.from_bytes(read_exactly(file, start + 12, 3), "little") / 1000 for start in starts]
    return seconds, stop + stop % 2


def _png_seconds(file: BinaryIO) -> tuple[list[float], int]:
    """Returns seconds, and where the file ends.

    Source: PNG specification (W3C), 11.3.6.2: the delay in an fcTL chunk, a fraction in bytes 20 to 23.
    """
    seconds = []
    for chunk in png(file, _PNG_SIGNATURE_BYTES, size_of(file)):
        if chunk.kind == b"fcTL":
            data = read_exactly(file, chunk.start + 20, 4)
            denominator = int.from_bytes(data[2:], "big") or 100  # zero means hundredths, by the specification
            seconds.append(int.from_bytes(data[:2], "big") / denominator)
        if chunk.kind == b"IEND":
            return seconds, chunk.start + 4  # behind its checksum
    raise TornError
