"""Ranks the systems of a table: best and second, who cannot be told apart from the best, and what the tests can see.

Example:
    >>> compared = compare(rows, columns, records)              # doctest: +SKIP
    >>> [row.marks for row in marked(rows, columns, compared)]   # doctest: +SKIP
    [{'mawe': 'best'}, {'mawe': 'second'}]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

from bench.records import Record
from bench.report.findings import BLOCKS, SIGNIFICANT, Comparison, Power, TableRow
from bench.report.rows import values_of
from bench.stats import holm, paired_test, prompts_needed
from metrics.api import MetricInfo

TIED_SHARE = 0.5
"""Share of ranked rows that hold the best value from which on it marks nobody: nobody stands out."""


def compare(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], records: Sequence[Record]
) -> tuple[Comparison, ...]:
    """Returns the paired tests of all pairs of ranked rows, per ranking metric, Holm-corrected within the metric.

    None at all where no two rows share a prompt, as is usual for videos of unknown prompts.
    """
    comparisons = []
    for column in columns:
        if column.better == "neither":
            continue
        ranked = [row.method for row in rows if row.ranked and row.ok and column.name not in row.apart]
        pairs = list(combinations(ranked, 2))
        values = {method: values_of(records, method, column.name) for method in ranked}
        tests = [paired_test(values[a], values[b], tests=len(pairs)) for a, b in pairs]
        corrected = holm([test.p for test in tests])
        comparisons += [
            Comparison(column.name, a, b, test, p) for (a, b), test, p in zip(pairs, tests, corrected, strict=True)
        ]
    return tuple(comparisons) if any(comparison.test.n for comparison in comparisons) else ()


def marked(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], comparisons: Sequence[Comparison]
) -> list[TableRow]:
    """Returns the rows with best and second best marked, and with the metrics on which they tie with the best.

    Equal means share a mark, and one ranked row alone earns none. Where more than `TIED_SHARE` of the ranked rows
    share the best mean, or a test says that another row is better than the best one (its mean is over other prompts
    then), the column carries no mark at all.
    """
    marks: dict[str, dict[str, str]] = {row.method: {} for row in rows}
    tied: dict[str, set[str]] = {row.method: set() for row in rows}
    for column in columns:
        ranked = ranking(rows, column)
        best = [method for method, mean in ranked if equal(mean, ranked[0][1])]
        if len(ranked) < 2 or len(best) > TIED_SHARE * len(ranked):
            continue
        verdicts = {m: {verdict(comparisons, column, winner, m) for winner in best} for m, _ in ranked[len(best) :]}
        if any("worse" in found for found in verdicts.values()):
            continue
        rest = ranked[len(best) :]
        second = [method for method, mean in rest if equal(mean, rest[0][1])]
        for mark, methods in (("best", best), ("second", second)):
            for method in methods:
                marks[method][column.name] = mark
        for method, found in verdicts.items():
            if "open" in found:
                tied[method].add(column.name)
    return [replace(row, marks=marks[row.method], tied=frozenset(tied[row.method])) for row in rows]


def ranking(rows: Sequence[TableRow], column: MetricInfo) -> list[tuple[str, float]]:
    """Returns (method, mean) of the ranked rows with a mean, best first; nothing for a metric that does not rank."""
    if column.better == "neither":
        return []
    compared = [row for row in rows if row.ranked and column.name not in row.apart]
    means = [(row.method, mean) for row in compared if (mean := row.scores[column.name].mean) is not None]
    return sorted(means, key=lambda pair: pair[1], reverse=column.better == "higher")


def equal(first: float, second: float) -> bool:
    """Returns whether two means are the same but for the rounding of their sums."""
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)


PairVerdict = Literal["better", "worse", "open", "untested"]
"""What a test says of one method against another: "open" if it cannot tell, "untested" if they share no prompt."""


def verdict(comparisons: Sequence[Comparison], column: MetricInfo, first: str, second: str) -> PairVerdict:
    """Returns what the corrected test says of the first method against the second on a metric.

    The test speaks of the prompts both have, the means of a table of all that each has: the two may disagree.
    """
    for comparison in comparisons:
        if comparison.metric == column.name and {comparison.first, comparison.second} == {first, second}:
            difference = comparison.test.difference
            if difference is None:
                return "untested"
            if not is_significant(comparison):
                return "open"
            larger = (difference > 0) == (comparison.first == first)
            return "better" if larger == (column.better == "higher") else "worse"
    return "untested"


def is_significant(comparison: Comparison) -> bool:
    """Returns whether the corrected p is below the level of the tests."""
    return comparison.p_holm is not None and comparison.p_holm < SIGNIFICANT


def power_of(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], comparisons: Sequence[Comparison]
) -> tuple[Power, ...]:
    """Returns what the tests of each ranking metric can see, from the measured differences and their spread."""
    found = []
    for column in columns:
        own = [c for c in comparisons if c.metric == column.name and c.test.p is not None]
        if not own:
            continue
        needed = {frozenset((c.first, c.second)): prompts_needed(c.test, len(own), level=SIGNIFICANT) for c in own}
        top = frozenset(method for method, _ in ranking(rows, column)[:2])
        counts = sorted(math.inf if count is None else count for count in needed.values())
        half = counts[(len(counts) - 1) // 2]
        found.append(
            Power(
                metric=column.name,
                pairs=len(own),
                apart=sum(map(is_significant, own)),
                least=math.ceil(1 + math.log2(len(own) / SIGNIFICANT)),
                first_two=needed.get(top),
                half=None if math.isinf(half) else int(half),
            )
        )
    return tuple(found)


def shared_prompts(comparisons: Sequence[Comparison]) -> int:
    """Returns on how many prompts the tests stand, those of the pair that shares most."""
    return max((comparison.test.n for comparison in comparisons), default=0)


def sorted_by(rows: Sequence[TableRow], column: MetricInfo) -> list[TableRow]:
    """Returns the rows of each block with the best mean of a metric first, those without one to compare last."""
    sign = -1.0 if column.better == "higher" else 1.0

    def key(row: TableRow) -> tuple[int, bool, float]:
        mean = row.scores[column.name].mean if row.stands_beside(column.name) else None
        return BLOCKS.index(row.block), mean is None, sign * (mean or 0.0)

    return sorted(rows, key=key)
