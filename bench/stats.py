"""The only place where numbers are reduced over videos, so that every table and figure counts the same way.

A method's score is the plain mean over its videos. A value that is undefined (None, NaN or infinite) is left out of the
mean and counted beside it; a failed or skipped video is counted too; nothing vanishes. Videos of one prompt with
different seeds are not independent, so intervals and tests treat the prompt as the unit.

Example:
    >>> s = summarise([1.0, 3.0, None], clusters=["a", "b", "c"])
    >>> s.mean, s.n, s.undefined
    (2.0, 2, 1)
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 4000
"""Bootstrap resamples behind every interval: the ends of a 95 % interval then move by about 1 % of its width."""

MIN_CLUSTERS = 3
"""Fewest prompts for which an interval is given: two prompts have three distinct resamples."""

EXACT_UP_TO = 14
"""Most prompts for which all 2^n sign flips are tried (16,384); beyond, they are drawn at random."""

FLIPS = 20000
"""Fewest random sign flips of a Monte-Carlo test: standard error 0.0015 at p = 0.05."""

FLIPS_PER_TEST = 40
"""Random sign flips for each test that shares the level: Holm's correction then leaves the smallest p below 0.025."""

ROUNDING = 1e-9
"""Share of the spread below which a mean difference is the rounding of a sum: equal scores."""


@dataclass(frozen=True)
class Summary:
    """One number per method and metric, with what it is made of.

    Attributes:
        mean: arithmetic mean over the videos with a defined value, or None if there is none.
        median: their median, or None.
        std: their sample standard deviation (n - 1), or None for fewer than two.
        low: lower end of the 95 % bootstrap interval of the mean, or None for fewer than `MIN_CLUSTERS` prompts.
        high: upper end, likewise.
        n: videos with a defined value.
        undefined: finished videos whose value is undefined.
    """

    mean: float | None
    median: float | None
    std: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int


@dataclass(frozen=True)
class PairedTest:
    """Two methods over the prompts both have a value for.

    Attributes:
        difference: mean over prompts of first minus second, or None if they share no prompt.
        low: lower end of its 95 % bootstrap interval, or None for fewer than `MIN_CLUSTERS` prompts.
        high: upper end, likewise.
        p: two-sided p-value of the sign-flip test, or None if they share no prompt.
        n: prompts both have a value for.
        exact: True if every sign flip was tried.
        std: sample standard deviation (n - 1) of the prompts' differences, or None for fewer than two prompts.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    exact: bool
    std: float | None = None


def is_defined(value: float | None) -> TypeGuard[float]:
    """Returns whether a value takes part in means: a finite number."""
    return value is not None and math.isfinite(value)


def summarise(
    values: Sequence[float | None], clusters: Sequence[Hashable], *, level: float = 0.95, seed: int = 0
) -> Summary:
    """Returns mean, spread and bootstrap interval of the values of one method's finished videos.

    Args:
        values: one per video; None, NaN and infinities are undefined.
        clusters: the prompt of each video; the bootstrap draws whole prompts.
        level: coverage of the interval.
        seed: fixes the resampling.

    Raises:
        ValueError: `values` and `clusters` differ in length.
    """
    kept = [(float(v), c) for v, c in zip(values, clusters, strict=True) if is_defined(v)]
    undefined = len(values) - len(kept)
    if not kept:
        return Summary(None, None, None, None, None, 0, undefined)
    x = np.array([v for v, _ in kept])
    low, high = bootstrap_interval(x, [c for _, c in kept], level=level, seed=seed)
    std = float(x.std(ddof=1)) if len(x) > 1 else None
    return Summary(float(x.mean()), float(np.median(x)), std, low, high, len(x), undefined)


def bootstrap_interval(
    values: Array, clusters: Sequence[Hashable], *, level: float = 0.95, seed: int = 0
) -> tuple[float | None, float | None]:
    """Returns the bias-corrected and accelerated (BCa) bootstrap interval of the mean, resampling whole clusters.

    With few clusters (fewer than about ten) any bootstrap interval is too narrow; the report says so.

    Args:
        values: [n] finite values, n >= 1.
        clusters: [n] cluster of each value.
        level: coverage of the interval.
        seed: fixes the resampling.

    Returns:
        (low, high), or (None, None) for fewer than `MIN_CLUSTERS` clusters.

    Source: Efron (1987), Better bootstrap confidence intervals, JASA 82(397): the BCa interval, with the jackknife
    estimate of its acceleration.
    """
    sums, counts = _cluster_totals(values, clusters)
    k = len(sums)
    if k < MIN_CLUSTERS:
        return None, None
    draws = _resamples(k, seed)
    replicates = np.sort(sums[draws].sum(axis=1) / counts[draws].sum(axis=1))
    mean = values.mean()
    if replicates[0] == replicates[-1]:
        return float(mean), float(mean)
    # The same resample summed in another order differs in the last bits; that is a tie, and half a tie counts.
    ties = np.isclose(replicates, mean, rtol=1e-12, atol=1e-12 * np.abs(values).max())
    bias = _probit((np.sum((replicates < mean) & ~ties) + 0.5 * np.sum(ties)) / RESAMPLES)
    acceleration = _acceleration((sums.sum() - sums) / (counts.sum() - counts))
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + _probit(tail)
        ends.append(NormalDist().cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(replicates, ends)
    return float(low), float(high)


def paired_test(
    first: Mapping[tuple[str, int], float | None],
    second: Mapping[tuple[str, int], float | None],
    *,
    tests: int = 1,
) -> PairedTest:
    """Returns whether two methods differ, from the videos of the same prompt and seed that both have a value for.

    The differences are averaged over seeds, then the signs of the prompts' differences are flipped: under the null
    hypothesis that the methods are exchangeable for each prompt, every sign pattern is equally likely. No distribution
    is assumed. The smallest p that n prompts can give is 2^(1-n).

    Args:
        first: value of each (prompt, seed), the prompt by any key of its text.
        second: likewise.
        tests: how many tests share the level: more need more flips.
    """
    per_prompt: dict[str, list[float]] = {}
    for key in sorted(first.keys() & second.keys()):
        a, b = first[key], second[key]
        if is_defined(a) and is_defined(b):
            per_prompt.setdefault(key[0], []).append(a - b)
    if not per_prompt:
        return PairedTest(None, None, None, None, 0, exact=True)
    differences = np.array([np.mean(d) for d in per_prompt.values()])
    low, high = bootstrap_interval(differences, list(per_prompt))
    p, exact = sign_flip_p(differences, tests)
    std = float(differences.std(ddof=1)) if len(differences) > 1 else None
    return PairedTest(float(differences.mean()), low, high, p, len(differences), exact, std)


def sign_flip_p(differences: Array, tests: int = 1) -> tuple[float, bool]:
    """Returns the two-sided p-value of the mean of paired differences, and whether it is exact.

    Args:
        differences: [n] finite differences, n >= 1; up to `EXACT_UP_TO` of them all signs are tried.
        tests: as for `paired_test`.

    Source: Fisher (1935), The Design of Experiments, section 21; Monte-Carlo form with (b + 1) / (m + 1):
    Phipson and Smyth (2010), Permutation p-values should never be zero.
    """
    n = len(differences)
    exact = n <= EXACT_UP_TO
    flipped = np.abs(_signs(n, 0 if exact else _flips(tests)) @ differences)
    observed = abs(differences.sum())
    # Sums of the same numbers in another order differ in the last bits; those are ties, not smaller values.
    extreme = int(np.sum(flipped >= observed - 1e-9 * np.abs(differences).sum()))
    return (extreme / len(flipped), True) if exact else ((extreme + 1) / (len(flipped) + 1), False)


def _flips(tests: int) -> int:
    return max(FLIPS, FLIPS_PER_TEST * tests)


@lru_cache(maxsize=1)
def _signs(n: int, flips: int) -> Array:
    """Returns patterns of n signs, [patterns, n]: as many drawn ones, always the same, or all 2^n for none."""
    if flips:
        bits = np.random.default_rng(0).integers(0, 2, size=(flips, n))
    else:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


@lru_cache(maxsize=1)
def _resamples(k: int, seed: int) -> NDArray[np.int64]:
    """Returns which of k clusters each resample draws, [RESAMPLES, k]."""
    return np.random.default_rng(seed).integers(0, k, size=(RESAMPLES, k))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns p-values corrected for testing all of them (family-wise error), in the given order; None stays None.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2).
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p))
        adjusted[index] = running
    return adjusted


def smallest_p(prompts: int, tests: int = 1) -> float:
    """Returns the smallest two-sided p that the sign-flip test can give with so many prompts, of so many tests.

    2 of 2^n patterns where all are tried, and 1 of the drawn ones and the observed one beyond.
    """
    return min(1.0, 2.0 ** (1 - prompts)) if prompts <= EXACT_UP_TO else 1 / (_flips(tests) + 1)


def prompts_needed(test: PairedTest, tests: int, *, level: float = 0.05, power: float = 0.8) -> int | None:
    """Returns how many prompts would tell two methods apart, were their true difference and spread those measured.

    The level is shared among all tests (Bonferroni), which is what Holm asks of the smallest p. Two bounds, the larger
    counts: the sign-flip test cannot give a smaller p with fewer prompts, and a paired z-test of that power needs
    ((z_{1 - a/2} + z_{power}) * std / difference)^2. A rough figure: with few prompts the spread is hardly known.

    Args:
        test: the two methods as measured.
        tests: how many tests share the level, >= 1.
        level: family-wise error.
        power: probability of telling them apart.

    Returns:
        The number of prompts, or None where there is no spread to go by, or no difference to find.

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, 2nd ed., chapter 2: sample size for
    the mean of paired differences, in its normal approximation.
    """
    if test.std is None or test.difference is None or abs(test.difference) <= ROUNDING * test.std:
        return None
    share = level / tests
    least = math.ceil(1 + math.log2(1 / share))
    z = NormalDist().inv_cdf(1 - share / 2) + NormalDist().inv_cdf(power)
    return max(least, math.ceil((z * test.std / test.difference) ** 2))


def summarise_curves(
    curves: Sequence[Sequence[float | None]], clusters: Sequence[Hashable], *, seed: int = 0
) -> list[Summary]:
    """Returns one summary per point of curves over time.

    Args:
        curves: one per video, all with the same number of points; None where a video has no value.
        clusters: the prompt of each video.
        seed: fixes the resampling; every point draws the same prompts, so a band is smooth.

    Raises:
        ValueError: curves of different lengths.
    """
    return [summarise(points, clusters, seed=seed) for points in zip(*curves, strict=True)]


def mean_defined(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the defined values, or None if there is none."""
    defined = [v for v in values if is_defined(v)]
    return float(np.mean(defined)) if defined else None


def median_defined(values: Sequence[float | None]) -> float | None:
    """Returns the median of the defined values, or None if there is none."""
    defined = [v for v in values if is_defined(v)]
    return float(np.median(defined)) if defined else None


def largest_defined(values: Sequence[float | None]) -> float | None:
    """Returns the largest of the defined values, or None if there is none; for peaks such as memory."""
    return max((v for v in values if is_defined(v)), default=None)


def _cluster_totals(values: Array, clusters: Sequence[Hashable]) -> tuple[Array, Array]:
    """Returns the sum and the number of values of each cluster, [k] each, in order of first appearance."""
    index: dict[Hashable, int] = {}
    labels = np.array([index.setdefault(cluster, len(index)) for cluster in clusters])
    sums: Array = np.bincount(labels, weights=values).astype(np.float64)
    return sums, np.bincount(labels).astype(np.float64)


def _acceleration(jackknife: Array) -> float:
    """Returns BCa's acceleration from the leave-one-cluster-out means."""
    deviations = jackknife.mean() - jackknife
    spread = float(np.sum(deviations**2)) ** 1.5  # 0 for values too near for their cube to be a float, too
    return float(np.sum(deviations**3)) / (6.0 * spread) if spread > 0 else 0.0


def _probit(p: float) -> float:
    """Returns the standard normal quantile, for p kept half a resample away from 0 and 1."""
    edge = 0.5 / RESAMPLES
    return NormalDist().inv_cdf(min(max(float(p), edge), 1.0 - edge))
