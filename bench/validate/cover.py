"""Which columns to read together so that no fault goes unseen: the smallest set, from the measured answers.

Example: one column sees two faults, the other the third.
    >>> found = smallest_cover({"a": {"blur", "cut"}, "b": {"freeze"}, "c": {"cut"}}, {"blur", "cut", "freeze"}, most=2)
    >>> found.columns, sorted(found.unseen)
    (('a', 'b'), [])
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import combinations

from bench.validate.doses import STRENGTHS, DoseTable
from bench.validate.instruments import MEASUREMENTS

SEEN = ("sees", "detects")
"""Verdicts that count as seen."""

MOST_COLUMNS = 3
"""Columns that a reader keeps in mind together."""


@dataclass(frozen=True)
class Cover:
    """Columns to read together.

    Attributes:
        columns: names of their readings.
        unseen: faults that none of them sees.
    """

    columns: tuple[str, ...]
    unseen: frozenset[str]


def column_cover(table: DoseTable) -> Cover:
    """Returns at most three columns of the report's table that see as many faults as three can.

    A reading of fewer scenes than most were measured in is no candidate: of two scenes, chance alone agrees in many.
    """
    scenes = {name: min(map(len, curves.values())) for name, curves in table.curves.items()}
    seen = {
        reading.name: {kind for kind, found in table.answers[reading.name].items() if found.verdict in SEEN}
        for reading in MEASUREMENTS
        if reading.name in table.answers and not reading.part and not reading.drift
        if scenes[reading.name] == max(scenes.values())
    }
    return smallest_cover(seen, set(STRENGTHS), MOST_COLUMNS)


def smallest_cover(seen: Mapping[str, AbstractSet[str]], faults: Collection[str], most: int) -> Cover:
    """Returns the fewest columns that together see the most faults, the first in order of those that do.

    Args:
        seen: faults by column.
        faults: all of them.
        most: columns, at most.
    """
    best = Cover((), frozenset(faults))
    for size in range(1, most + 1):
        for columns in combinations(seen, size):
            unseen = frozenset(faults).difference(*(seen[column] for column in columns))
            if len(unseen) < len(best.unseen):
                best = Cover(columns, unseen)
    return best
