"""The order people mean when they number files: frame_2 before frame_10, and t0.25 before t0.5.

A number in a name is a run of the digits 0 to 9. Where dots stand between digits there are two readings, scene 1 frame
10 or 1.10 seconds; where they order the names differently, the one that gives no number twice is meant, or the one with
equal steps. What stays undecided is said, never guessed in silence: two names of one number, or dots that both readings
explain.

Example:
    >>> natural_order(["frame_10.png", "frame_2.png"]).names
    ('frame_2.png', 'frame_10.png')
    >>> natural_order(["t0.5.png", "t0.25.png", "t0.png"]).names
    ('t0.png', 't0.25.png', 't0.5.png')
    >>> natural_order(["frame_1.png", "frame_01.png"]).doubt
    "'frame_01.png' and 'frame_1.png' carry the same number"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePath

_WHOLE = re.compile(r"([0-9]+)")
_DECIMAL = re.compile(r"([0-9]+(?:\.[0-9]+)?)")

SortKey = tuple[tuple[str | Fraction, ...], ...]
"""Of every part of a path: text and numbers in turn, text first."""


@dataclass(frozen=True)
class NaturalOrder:
    """Names in order, and what is unsure about it.

    Attributes:
        names: ascending; names whose order is unsure stand by their characters, so that the order is always the same.
        doubt: half a sentence that names the files whose order cannot be known; empty if all of it is sure.
    """

    names: tuple[str, ...]
    doubt: str


def natural_order(names: Sequence[str]) -> NaturalOrder:
    """Returns names, or paths, in the order of the numbers in them."""
    by_whole, by_decimal = _sorted(names, _WHOLE), _sorted(names, _DECIMAL)
    if by_whole == by_decimal:
        return NaturalOrder(by_whole, _tie(by_whole, _WHOLE))
    tied = _tie(by_whole, _WHOLE), _tie(by_decimal, _DECIMAL)
    whole = not tied[0] and (bool(tied[1]) or _has_equal_steps(by_whole, _WHOLE))
    decimal = not tied[1] and (bool(tied[0]) or _has_equal_steps(by_decimal, _DECIMAL))
    if whole != decimal:
        return NaturalOrder(by_whole if whole else by_decimal, "")
    first, second = next((a, b) for a, b in zip(by_whole, by_decimal, strict=True) if a != b)
    return NaturalOrder(by_whole, f"the dots in {first!r} and {second!r} can be decimal points or separators")


def numbers_descend(names: Sequence[str]) -> tuple[str, str] | None:
    """Returns the first two names that differ in numbers only and stand in the wrong order; None if there are none.

    Example:
        >>> numbers_descend(["clip_1.mp4", "clip_10.mp4", "clip_2.mp4"])
        ('clip_10.mp4', 'clip_2.mp4')
        >>> numbers_descend(["day_2.mp4", "cat_1.mp4"])
    """
    rank = {name: position for position, name in enumerate(natural_order(names).names)}
    last: dict[str, str] = {}
    for name in names:
        text = _WHOLE.sub("0", name)
        if text in last and rank[name] < rank[last[text]]:
            return last[text], name
        last[text] = name
    return None


def _sorted(names: Sequence[str], numbers: re.Pattern[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (_key(name, numbers), name)))


def _key(name: str, numbers: re.Pattern[str]) -> SortKey:
    """Returns what names are compared by. The ending comes last: else "t0.png" would follow "t0.5.png"."""
    path = PurePath(name)
    last = (path.stem, path.suffix) if any(map(str.isalpha, path.suffix)) else (path.name, "")
    return tuple(_pieces(part, numbers) for part in (*path.parts[:-1], *last))


def _pieces(text: str, numbers: re.Pattern[str]) -> tuple[str | Fraction, ...]:
    convert: tuple[Callable[[str], str], type[Fraction]] = str, Fraction
    return tuple(convert[i % 2](piece) for i, piece in enumerate(numbers.split(text)))


def _tie(ordered: Sequence[str], numbers: re.Pattern[str]) -> str:
    for one, other in pairwise(ordered):
        if one != other and _key(one, numbers) == _key(other, numbers):
            return f"{one!r} and {other!r} carry the same number"
    return ""


def _has_equal_steps(ordered: Sequence[str], numbers: re.Pattern[str]) -> bool:
    """Returns whether one number grows by the same step from name to name while all else stays.

    Seconds are rounded in names (0.333, 0.667, 1): steps of decimals may differ by two units in the last place.
    """
    flat = [[piece for part in _key(name, numbers) for piece in part] for name in ordered]
    if len({len(pieces) for pieces in flat}) != 1:
        return False
    moving = [column for column in zip(*flat, strict=True) if len(set(column)) > 1]
    values = [value for column in moving for value in column if isinstance(value, Fraction)]
    if len(moving) != 1 or len(values) != len(ordered):
        return False
    steps = [b - a for a, b in pairwise(values)]
    digits = max(len(run.partition(".")[2]) for name in ordered for run in numbers.findall(name))
    return max(steps) - min(steps) <= (Fraction(2, 10**digits) if digits else 0)
