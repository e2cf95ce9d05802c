"""Whether a metric answers to a dose: rank correlation, and a verdict in one word.

Example: a metric whose value grows with the dose in both scenes.
    >>> found = dose_answer([[1.0, 2.0, 3.0, 5.0], [2.0, 2.5, 2.6, 9.0]], better="lower")
    >>> found.verdict, found.rho, found.worse
    ('sees', 1.0, 1.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.stats import is_defined

Verdict = Literal["sees", "detects", "faint", "in part", "blind", "rewards", "undefined"]

MONOTONE = 0.8
"""Median Spearman correlation from which on an answer counts as monotone: one swap of neighbours in six gives 0.94."""

WEAK = 0.5
"""Median correlation below which there is no answer to speak of."""

MOST = 0.9
"""Share of scenes in which the strongest dose must be scored worse than the sound clip."""

FAINT = 0.1
"""Change at the strongest dose, in quartile ranges of the sound clips' values, below which an answer is faint."""


@dataclass(frozen=True)
class DoseAnswer:
    """How one reading answers to one fault.

    Attributes:
        rho: median over scenes of Spearman's correlation between dose and badness; 0 for a scene where nothing changes.
        worse: share of scenes in which the strongest dose is scored worse than the sound clip, ties half.
        change: median over scenes of the value at the strongest dose minus that of the sound clip, or None.
        size: the change in quartile ranges of the sound clips' values, or None where these do not differ.
        threshold: index of the weakest dose from which on at least `MOST` of the scenes are scored worse, or None.
        undefined: share of scenes with no value at the strongest dose.
        verdict: "sees" (monotone, the right way), "detects" (worse from some dose on, but not in proportion), "faint"
            (monotone, but too small to matter), "in part", "blind", "rewards" (monotone, the wrong way), or
            "undefined" (no value).
    """

    rho: float
    worse: float
    change: float | None
    size: float | None
    threshold: int | None
    undefined: float
    verdict: Verdict


def dose_answer(
    curves: Sequence[Sequence[float | None]], better: Literal["lower", "higher"], least: float = 0.0
) -> DoseAnswer:
    """Returns the answer of a reading to a fault.

    Args:
        curves: one per scene, the values at doses in ascending order, the sound clip first; None where undefined.
        better: which way is good.
        least: smallest change that matters, in the reading's unit.
    """
    sign = 1.0 if better == "lower" else -1.0
    table = sign * np.array([[v if is_defined(v) else np.nan for v in curve] for curve in curves], dtype=np.float64)
    undefined = float(np.isnan(table[:, -1]).mean())
    correlations = [_correlation(row) for row in table]
    rho = float(np.median(correlations))
    change = table[:, -1] - table[:, 0]
    median = float(np.nanmedian(change)) if not np.isnan(change).all() else None
    shares = [_worse(table[:, dose], table[:, 0]) for dose in range(1, table.shape[1])]
    size = None if median is None else _in_spreads(median, table[:, 0])
    small = median is not None and (abs(median) < least or (size is not None and abs(size) < FAINT))
    threshold = _threshold(shares)
    verdict: Verdict = "undefined" if undefined > 0.5 else _verdict(rho, shares[-1], threshold, small)
    signed = None if median is None else sign * median
    return DoseAnswer(rho, shares[-1], signed, size, threshold, undefined, verdict)


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Returns Spearman's rank correlation with average ranks for ties, None where x or y does not vary.

    Example:
        >>> spearman([1, 2, 3, 4], [10, 20, 25, 900])
        1.0
        >>> spearman([1, 2, 3], [5, 5, 5]) is None
        True

    Source: Spearman, The proof and measurement of association between two things, Am. J. Psychol. 15 (1904).
    """
    a, b = (average_ranks(np.asarray(values, np.float64)) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else None


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the ranks 1..n, equal values sharing the mean of theirs.

    Example:
        >>> average_ranks(np.array([3.0, 1.0, 3.0])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[group]
    return ranks


def _correlation(row: NDArray[np.float64]) -> float:
    """Returns Spearman's correlation of the defined values with the dose; 0 where they do not vary."""
    defined = np.flatnonzero(~np.isnan(row))
    if len(defined) < 3:
        return 0.0
    return spearman(defined.tolist(), row[defined].tolist()) or 0.0


def _worse(dosed: NDArray[np.float64], sound: NDArray[np.float64]) -> float:
    """Returns the share of scenes scored worse than sound, ties and undefined ones half."""
    difference = np.nan_to_num(dosed - sound)
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _threshold(shares: Sequence[float]) -> int | None:
    """Returns the index of the first of the unbroken run of large shares that ends the list."""
    first = None
    for index in reversed(range(len(shares))):
        if shares[index] < MOST:
            break
        first = index
    return first


def _in_spreads(change: float, sound: NDArray[np.float64]) -> float | None:
    defined = sound[~np.isnan(sound)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, [25, 75])
    return change / float(high - low) if high > low else None


def _verdict(rho: float, worse: float, threshold: int | None, small: bool) -> Verdict:
    if rho >= MONOTONE and worse >= MOST:
        return "faint" if small else "sees"
    if small:
        return "blind"
    if threshold is not None and rho >= WEAK:
        return "detects"
    if rho <= -MONOTONE and worse <= 1 - MOST:
        return "rewards"
    return "blind" if abs(rho) < WEAK else "in part"
