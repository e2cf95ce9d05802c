"""Turns and mirrors frames upright by the display matrix that their container states.

The matrix says where the pixel in column x and row y of a coded frame is shown: at (a x + c y, b x + d y). Only right
angles and their mirror images keep pixels whole; any other angle would blur every frame, and is refused.

Source: ISO/IEC 14496-12, 6.2.2 (matrix values, 16.16 fixed point, row by row: a b u, c d v, x y w).
"""

from __future__ import annotations

import math
import struct

import numpy as np

from metrics.decoding.sources import Picture
from metrics.errors import VideoError

TOLERANCE = 2.0
"""Degrees by which a stated angle may miss a right angle: tools that write angles as decimals round them."""

Axes = tuple[int, int, int, int]
"""(a, b, c, d) with each -1, 0 or 1."""

UPRIGHT: Axes = (1, 0, 0, 1)


def axes_of(matrix: bytes) -> Axes:
    """Returns the right angle that a display matrix states, as the library gives it: nine native 32-bit integers.

    Example: a quarter turn clockwise, and a picture that is upside down.
        >>> axes_of(struct.pack("=9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
        (0, 1, -1, 0)
        >>> axes_of(struct.pack("=9i", 65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30))
        (1, 0, 0, -1)

    Raises:
        VideoError: the angle is none of the right ones within `TOLERANCE`.
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    if not (a or b) or not (c or d):
        return UPRIGHT  # states no direction: players show it as it is
    first, second = _nearest(a, b), _nearest(c, d)
    if first[0] * second[0] + first[1] * second[1]:
        raise VideoError("rotated", "its display matrix is skewed: re-encode it upright")
    return (*first, *second)


def upright(picture: Picture, axes: Axes) -> Picture:
    """Returns a frame as it is shown.

    Example:
        >>> upright(np.array([[1, 2], [3, 4]], np.uint8), (0, 1, -1, 0)).tolist()
        [[3, 1], [4, 2]]
    """
    a, b, c, d = axes
    if b:
        picture = np.swapaxes(picture, 0, 1)
    if a + c < 0:
        picture = picture[:, ::-1]
    if b + d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _nearest(x: int, y: int) -> tuple[int, int]:
    degrees = math.degrees(math.atan2(y, x))
    turns = round(degrees / 90)
    if abs(degrees - 90 * turns) > TOLERANCE:
        raise VideoError("rotated", f"it is to be shown turned by {degrees:.0f} degrees: re-encode it upright")
    return ((1, 0), (0, 1), (-1, 0), (0, -1))[turns % 4]
