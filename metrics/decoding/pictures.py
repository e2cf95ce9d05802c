"""Reads pictures: one as upright 8-bit RGB whatever its depth, and a folder of them as a video."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics.decoding.sources import Condition, Picture
from metrics.errors import VideoError
from metrics.natural_order import natural_order

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File name endings of the pictures in a folder of frames; whatever else lies there is ignored."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, OverflowError, struct.error, zlib.error)
"""What Pillow raises at broken files (its own error is an OSError)."""

_BITS_PER_SAMPLE = 258
"""Tag of TIFF. Source: TIFF 6.0, section 8."""


def folder_pictures(folder: Path, condition: Condition) -> Iterator[Picture]:
    """Yields the pictures of a folder in their order; a folder ends where it ends.

    Raises:
        VideoError: one of them cannot be read, or their order cannot be known.
    """
    from PIL import Image

    for file in frame_files(folder):
        with readable(file), Image.open(file) as picture:
            if not _is_alone(picture):
                raise VideoError(
                    "not-a-video", f"{file} holds several pictures: give a frame a file, or it as the video"
                )
            yield rgb(picture, file)
    condition.end_known = True


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Returns a context in which Pillow's errors come out as ours.

    Raises:
        VideoError: the file cannot be read as a picture.
    """
    from PIL import Image

    try:
        yield
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise VideoError("not-a-video", f"{file} is not a readable picture: {error}") from error


def frame_files(folder: Path) -> list[Path]:
    """Returns the picture files of a folder in the order of the numbers in their names (2 before 10).

    Raises:
        VideoError: there are none, or their order cannot be known; the text says what the folder holds instead.
    """
    held = [path for path in folder.iterdir() if not path.name.startswith(".")]
    names = [path.name for path in held if not path.is_dir()]
    frames = [name for name in names if Path(name).suffix.lower() in PICTURES]
    if not frames:
        others = sorted({Path(name).suffix.lower() or "files without an ending" for name in names})
        what = f"It holds {', '.join(others[:5])}." if others else "It is empty."
        if held and not names:
            what = f"It holds folders: name what lies in them, such as '{folder}/*/*.mp4' or '{folder}/*/'."
        raise VideoError(
            "no-frames", f"{folder} holds no pictures to read as frames ({', '.join(sorted(PICTURES))}). {what}"
        )
    by_stem: dict[str, str] = {}
    for name in sorted(frames):
        twin = by_stem.setdefault(Path(name).stem, name)
        if twin != name:
            raise VideoError("order", f"{folder} holds {twin!r} and {name!r}: keep one file a frame")
    order = natural_order(frames)
    if order.doubt:
        raise VideoError("order", f"{folder}: {order.doubt}: number the frames with equally many digits")
    return [folder / name for name in order.names]


def rgb(picture: Image, file: Path) -> Picture:
    """Returns a picture upright, as 8-bit RGB [H, W, 3]; transparent pixels keep the colour stored under them.

    16 bits become 8 by their high byte, real numbers from 0 to 1 become 0 to 255.

    Raises:
        VideoError: its values have a range that the format does not state.
    """
    from PIL import ExifTags, Image, ImageOps

    turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(_high_byte(picture))
    elif picture.mode in ("I", "F"):
        picture = Image.fromarray(_from_numbers(picture, file))
    picture.getexif()[ExifTags.Base.Orientation] = turned  # which an array does not carry
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _is_alone(picture: Image) -> bool:
    try:
        picture.seek(1)
    except EOFError:
        return True
    return False


def _high_byte(picture: Image) -> Picture:
    bits = 16
    if picture.format == "TIFF":
        bits = int(np.ravel(picture.tag_v2.get(_BITS_PER_SAMPLE, 16))[0])  # type: ignore[attr-defined]
    values = np.asarray(picture).astype(np.uint16)
    return np.asarray(values >> (bits - 8), np.uint8)


def _from_numbers(picture: Image, file: Path) -> Picture:
    values = np.asarray(picture)
    low, high = values.min(), values.max()
    if picture.mode == "I" and picture.format == "PNG":
        return np.asarray(values >> 8, np.uint8)  # older versions of Pillow give 16-bit grey so
    if picture.mode == "I":
        kind = "32-bit integers, a format that does not say which of them is white"
        raise VideoError("depth", f"{file} holds {kind} (seen: {low} to {high}): save it with 8 or 16 bits")
    if not (low >= 0 and high <= 1):  # written so that it refuses NaN
        raise VideoError(
            "depth", f"{file} holds real numbers from {low:g} to {high:g}, not 0 to 1: save it with 8 bits"
        )
    return np.asarray(np.rint(values * 255), np.uint8)
