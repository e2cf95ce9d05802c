"""Strengths of systems from judgements of pairs, with intervals over prompts.

Example:
    >>> strengths = fit_strengths({("a", "b"): 3.0, ("b", "a"): 1.0}, ["a", "b"])
    >>> strengths["a"] > 0 > strengths["b"], round(strengths["a"] + strengths["b"], 6)
    (True, 0.0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats import MIN_CLUSTERS

PRIOR = 0.1
"""Weight of the prior in judgements: keeps a system that won every pair at a finite strength."""

FIT_STEPS = 50
"""Newton steps at most; some ten do."""

STRENGTH_RESAMPLES = 500
"""Bootstrap resamples: the ends of an interval then move by a few percent of its width."""

LEVEL = 0.95
"""Coverage of the intervals."""

Wins = Mapping[tuple[str, str], float]
"""Wins of the first over the second; a tie is half a win for both."""


@dataclass(frozen=True)
class Strength:
    """How well one system did with its judges.

    Attributes:
        value: natural logarithm of the odds; two systems that differ by d meet with the odds e^d. The mean is 0.
        low: lower end of its 95 % bootstrap interval over prompts; None for fewer than three prompts.
        high: upper end, likewise.
        judgements: judgements it took part in.
    """

    value: float
    low: float | None
    high: float | None
    judgements: int


def fit_strengths(wins: Wins, systems: Sequence[str]) -> dict[str, float]:
    """Returns the strength of each system: the most probable ones, with mean 0.

    Args:
        wins: of pairs of systems.
        systems: all systems, in any order.

    Source: Bradley and Terry (1952), Rank analysis of incomplete block designs, Biometrika 39: the odds of i against
    j are e^(s_i - s_j). Ties count half for both; a normal prior of precision `PRIOR` on each strength makes the
    maximum exist; Newton's method finds it, since the logarithm of the likelihood is concave.
    """
    index = {system: place for place, system in enumerate(systems)}
    won = np.zeros((len(systems), len(systems)))
    for (first, second), count in wins.items():
        won[index[first], index[second]] += count
    games = won + won.T
    s = np.zeros(len(systems))
    for _ in range(FIT_STEPS):
        chance = 1 / (1 + np.exp(s[None, :] - s[:, None]))
        slope = won.sum(axis=1) - (games * chance).sum(axis=1) - PRIOR * s
        weight = games * chance * (1 - chance)
        step = np.linalg.solve(np.diag(weight.sum(axis=1) + PRIOR) - weight, slope)
        s += step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    return dict(zip(systems, (s - s.mean()).tolist(), strict=True))


def strengths(by_prompt: Mapping[str, Wins], *, seed: int = 0) -> dict[str, Strength]:
    """Returns the strength of every system that was judged, the strongest first, with intervals over prompts.

    Args:
        by_prompt: wins by prompt; the bootstrap draws whole prompts, since judgements of one prompt hang together.
        seed: fixes the resampling.
    """
    systems = sorted({system for wins in by_prompt.values() for pair in wins for system in pair})
    whole = fit_strengths(_sum(list(by_prompt.values())), systems)
    prompts = list(by_prompt.values())
    ends: dict[str, tuple[float | None, float | None]] = dict.fromkeys(systems, (None, None))
    if len(prompts) >= MIN_CLUSTERS:
        draws = np.random.default_rng(seed).integers(0, len(prompts), size=(STRENGTH_RESAMPLES, len(prompts)))
        drawn = [fit_strengths(_sum([prompts[i] for i in draw]), systems) for draw in draws]
        for system in systems:
            tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            low, high = np.quantile([sample[system] for sample in drawn], tails)
            ends[system] = (float(low), float(high))
    counts = {s: sum(n for wins in prompts for pair, n in wins.items() if s in pair) for s in systems}
    ordered = sorted(systems, key=lambda system: -whole[system])
    return {system: Strength(whole[system], *ends[system], round(counts[system])) for system in ordered}


def agreement(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Returns the share of pairs that two orders agree on, a tie in one of them half; None for fewer than two systems.

    Args:
        first: by system, larger is better.
        second: likewise; systems that only one of them has are left out.

    Source: Kocmi et al. (2021), To ship or not to ship, WMT 2021: pairwise accuracy of a metric against judges.
    """
    systems = sorted(first.keys() & second.keys())
    pairs = [(a, b) for i, a in enumerate(systems) for b in systems[i + 1 :]]
    if not pairs:
        return None
    signs = [np.sign(first[a] - first[b]) * np.sign(second[a] - second[b]) for a, b in pairs]
    return float(np.mean([0.5 * (1 + sign) for sign in signs]))


def _sum(parts: Sequence[Wins]) -> dict[tuple[str, str], float]:
    total: dict[tuple[str, str], float] = {}
    for wins in parts:
        for pair, count in wins.items():
            total[pair] = total.get(pair, 0.0) + count
    return total
