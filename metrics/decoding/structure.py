"""Whether a file holds all the bytes that its own structure promises, for the containers that promise any.

A length in bytes says it best: times are rounded, a last frame may be shown for seconds, and counts in headers include
frames that were never written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

from metrics.decoding.chunks import Chunk, TornError, ebml, ends_in_zeros, iso, read_exactly, riff, size_of
from metrics.decoding.pictures import UNREADABLE

Structure = Literal["whole", "torn", "unknown"]

_SEGMENT, _CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")
_UNSTATED_RIFF = (0, 0xFFFFFFFF)
_FLV_TAGS = (8, 9, 18)
_GIF_EXTENSION, _GIF_PICTURE, _GIF_END = 0x21, 0x2C, 0x3B


def structure_of(path: Path, container: str) -> Structure:
    """Returns whether a file is whole.

    Args:
        path: an existing file.
        container: name of its format, as FFmpeg calls it.
    """
    examine = next((walk for name, walk in _WALKS.items() if name in container.split(",")), None)
    if examine is None:
        return "unknown"
    with path.open("rb") as file:
        try:
            structure = examine(file)
        except TornError:
            return "torn"
        # Tables of MP4 tell more: zeros at its end are padding, or samples that cannot be decoded.
        return "unknown" if structure == "whole" and examine is not _iso and ends_in_zeros(file) else structure


def is_fragmented(path: Path) -> bool:
    """Returns whether an MP4 file keeps its samples in fragments, of which no table counts all."""
    with path.open("rb") as file:
        try:
            return any(box.kind == b"moof" for box in iso(file, 0, size_of(file)))
        except TornError:
            return False


def _iso(file: BinaryIO) -> Structure:
    """Fragments end in an index (mfra) or nowhere in particular; without fragments the boxes end with the file."""
    kinds = [box.kind for box in iso(file, 0, size_of(file))]
    return "unknown" if b"moof" in kinds and kinds[-1] != b"mfra" else "whole"


def _matroska(file: BinaryIO) -> Structure:
    for element in ebml(file, 0, size_of(file)):
        if element.kind == _SEGMENT:
            return _segment(file, element)
    return "unknown"


def _segment(file: BinaryIO, segment: Chunk) -> Structure:
    if segment.stop is None:
        return "unknown"
    for element in ebml(file, segment.start, segment.stop):
        if element.stop is None:
            return "unknown"
        if element.kind == _CLUSTER and any(part.stop is None for part in ebml(file, element.start, element.stop)):
            return "torn"
    return "whole"


def _avi(file: BinaryIO) -> Structure:
    size = size_of(file)
    if int.from_bytes(read_exactly(file, 4, 4), "little") in _UNSTATED_RIFF:
        return "unknown"
    for part in riff(file, 0, size):
        if part.kind != b"RIFF":
            return "unknown"
        _riff_list(file, part)
    return "whole"


def _riff_list(file: BinaryIO, parent: Chunk) -> None:
    assert parent.stop is not None
    for chunk in riff(file, parent.start + 4, parent.stop):
        if chunk.kind == b"LIST":
            _riff_list(file, chunk)


def _ivf(file: BinaryIO) -> Structure:
    """Frames of stated lengths; the header counts them, or something else. Source: FFmpeg's `ivfdec.c`, `ivfenc.c`."""
    header, stop, frames = read_exactly(file, 0, 32), size_of(file), 0
    start = int.from_bytes(header[6:8], "little")
    while start < stop:
        start += 12 + int.from_bytes(read_exactly(file, start, 4), "little")
        frames += 1
    if start > stop:
        raise TornError
    return "whole" if frames == int.from_bytes(header[24:28], "little") else "unknown"


def _flv(file: BinaryIO) -> Structure:
    """Tags repeat their length behind themselves, and none says that it is the last. Source: FLV 10.1, annex E."""
    start, stop = int.from_bytes(read_exactly(file, 5, 4), "big") + 4, size_of(file)
    while start < stop:
        header = read_exactly(file, start, 11)
        length = 11 + int.from_bytes(header[1:4], "big")
        if header[0] & 0x1F not in _FLV_TAGS or int.from_bytes(read_exactly(file, start + length, 4), "big") != length:
            raise TornError
        start += length + 4
    return "unknown"


def _gif(file: BinaryIO) -> Structure:
    """Blocks to a last one, which some writers leave out. Source: GIF89a specification, sections 15 to 27."""
    start, stop = 13 + _gif_colours(read_exactly(file, 10, 1)[0]), size_of(file)
    while start < stop:
        kind = read_exactly(file, start, 1)[0]
        if kind == _GIF_END:  # in front of more bytes it may be a pixel of a file that lacks its middle
            return "whole" if start == stop - 1 and _gif_is_filled(file) else "unknown"
        if kind == _GIF_EXTENSION:
            start += 2
        elif kind == _GIF_PICTURE:
            start += 11 + _gif_colours(read_exactly(file, start + 9, 1)[0])
        else:
            raise TornError
        while length := read_exactly(file, start, 1)[0]:
            start += 1 + length
        start += 1
    return "unknown"


def _gif_is_filled(file: BinaryIO) -> bool:
    """Returns whether every picture of a GIF holds all its pixels: FFmpeg's decoder says nothing where some lack."""
    from PIL import Image

    file.seek(0)
    try:
        with Image.open(file, formats=["GIF"]) as picture:
            for index in count():
                picture.seek(index)
                picture.load()
    except EOFError:
        return True
    except (*UNREADABLE, Image.DecompressionBombError):
        return False
    return True


def _gif_colours(flags: int) -> int:
    """Returns the bytes of the colour table that a block announces."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


_WALKS: Mapping[str, Callable[[BinaryIO], Structure]] = MappingProxyType(
    {"avi": _avi, "flv": _flv, "gif": _gif, "ivf": _ivf, "matroska": _matroska, "mp4": _iso}
)
