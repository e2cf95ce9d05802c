"""Walks the chunks that files are made of, by the lengths they state; a length that cannot be true is a torn file.

Every walker takes an open binary file and reads headers only, never what the chunks hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

ZEROS = 32
"""Bytes: more zeros than compressed data ends with."""


class TornError(Exception):
    """A chunk ends behind the end of what holds it, or what should be a chunk is none."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a file.

    Attributes:
        kind: its name: four letters, or an EBML id as big-endian bytes.
        start: where what it holds begins, bytes from the beginning of the file.
        stop: where that ends; None if the file does not say (EBML).
    """

    kind: bytes
    start: int
    stop: int | None


def size_of(file: BinaryIO) -> int:
    """Returns the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def read_exactly(file: BinaryIO, start: int, count: int) -> bytes:
    """Returns bytes of a file.

    Raises:
        TornError: it ends before.
    """
    file.seek(start)
    data = file.read(count)
    if len(data) < count:
        raise TornError
    return data


def ends_in_zeros(file: BinaryIO) -> bool:
    """Returns whether a file ends as one does that took its place on the disk and was never finished."""
    file.seek(max(0, size_of(file) - ZEROS))
    return not any(file.read(ZEROS))


def riff(file: BinaryIO, start: int, stop: int) -> Iterator[Chunk]:
    """Yields the chunks of a RIFF list. Source: Multimedia Programming Interface 1.0 (1991), chapter 2."""
    while start + 8 <= stop:
        kind, length = read_exactly(file, start, 4), read_exactly(file, start + 4, 4)
        chunk = Chunk(kind, start + 8, start + 8 + int.from_bytes(length, "little"))
        if not kind.isascii() or not kind.decode("ascii").isprintable() or chunk.stop is None or chunk.stop > stop:
            raise TornError
        yield chunk
        start = chunk.stop + chunk.stop % 2


def iso(file: BinaryIO, start: int, stop: int) -> Iterator[Chunk]:
    """Yields the boxes of an MP4 or QuickTime file. Source: ISO/IEC 14496-12, 4.2."""
    while start + 8 <= stop:
        header = read_exactly(file, start, 8)
        length, kind, body = int.from_bytes(header[:4], "big"), header[4:], start + 8
        if length == 1:
            length, body = int.from_bytes(read_exactly(file, body, 8), "big"), body + 8
        end = start + length if length else stop
        if end < body or end > stop:
            raise TornError
        yield Chunk(kind, body, end)
        start = end


def png(file: BinaryIO, start: int, stop: int) -> Iterator[Chunk]:
    """Yields the chunks of a PNG file from behind its signature on. Source: PNG specification (W3C), 5.3."""
    while start < stop:
        header = read_exactly(file, start, 8)
        end = start + 8 + int.from_bytes(header[:4], "big")
        if end + 4 > stop:
            raise TornError
        yield Chunk(header[4:], start + 8, end)
        start = end + 4


def ebml(file: BinaryIO, start: int, stop: int) -> Iterator[Chunk]:
    """Yields the elements of a Matroska element; of unknown length is the last one yielded at most.

    Source: RFC 8794, sections 4 to 6: the leading zeros of the first byte say how long an id or a length is; an id
    keeps them, and a length of ones only is unknown.
    """
    while start < stop:
        kind, start = _vint(file, start, longest=4)
        length, start = _vint(file, start, longest=8)
        bits = 7 * len(length)
        value = int.from_bytes(length, "big") & ((1 << bits) - 1)
        if value == (1 << bits) - 1:
            yield Chunk(kind, start, None)
            return
        if start + value > stop:
            raise TornError
        yield Chunk(kind, start, start + value)
        start += value


def _vint(file: BinaryIO, start: int, longest: int) -> tuple[bytes, int]:
    first = read_exactly(file, start, 1)[0]
    count = 9 - first.bit_length()
    if count > longest:
        raise TornError
    return read_exactly(file, start, count), start + count
