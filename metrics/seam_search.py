"""Where chunks may have been joined, guessed from the video itself: a search for jumps that come at equal distances.

The result is a suggestion. It finds joins that show; joins that do not show have no trace to find.

Example: a jump every 5 frames from frame 7 on.
    >>> jumps = np.ones(30)
    >>> jumps[[6, 11, 16, 21, 26]] = 9.0
    >>> guess_boundaries({"warp_error": jumps}, {"warp_error": 1.0}).boundaries
    (7, 12, 17, 22, 27)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHORTEST_CHUNK = 4
"""Frames in the shortest chunk searched for: no method of the benchmark makes shorter ones."""

NEIGHBOURS = 8
"""Pairs on either side of a pair that say what is usual there."""

SEARCHED = frozenset({"warp_error", "flow_change", "difference", "clip"})
"""Signals the search looks at."""

STANDS_OUT = 3.0
"""Robust standard deviations above the usual from which on a pair speaks for a boundary; below, it speaks against."""

ENOUGH = 6.0
"""What all boundaries of a rhythm must exceed that by together: hundreds of rhythms are tried on every video."""


@dataclass(frozen=True)
class Guess:
    """Suggested boundaries.

    Attributes:
        boundaries: first frames of all chunks but the first, ascending.
        period: distance between them in frames.
        strength: how far the least of the pairs across them lies above the usual, in robust standard deviations.
    """

    boundaries: tuple[int, ...]
    period: int
    strength: float


def guess_boundaries(signals: Mapping[str, NDArray[np.float64]], floors: Mapping[str, float]) -> Guess | None:
    """Returns the most likely boundaries, or None where nothing stands out.

    Args:
        signals: per-pair signals [P]; see `metrics.seams.pair_signals`.
        floors: what is invisible in each.
    """
    num_frames = 1 + min(len(signal) for signal in signals.values())
    if num_frames < 3 * SHORTEST_CHUNK:
        return None
    score = _standardised(surprise(signals, floors)) - STANDS_OUT
    candidates = score[SHORTEST_CHUNK - 1 : num_frames - SHORTEST_CHUNK]  # pair b - 1 lies across boundary b
    best: tuple[float, Guess] | None = None
    for period in range(SHORTEST_CHUNK, num_frames // 2 + 1):
        rhythms = _rhythms(candidates, period)
        firsts = SHORTEST_CHUNK + np.arange(len(rhythms.total))
        # One or two jumps somewhere are cuts, not a rhythm; one in the very middle may join two halves.
        halves = (rhythms.count == 1) & (firsts == period) & (2 * firsts == num_frames)
        likely = (rhythms.least > 0) & (halves | ((rhythms.count >= 3) & (rhythms.total >= ENOUGH)))
        if not likely.any():
            continue
        total = np.where(likely, rhythms.total, -np.inf)
        at = int(total.argmax())
        if best is None or total[at] > best[0]:
            boundaries = tuple(range(int(firsts[at]), num_frames - SHORTEST_CHUNK + 1, period))
            best = float(total[at]), Guess(boundaries, period, float(rhythms.least[at] + STANDS_OUT))
    return None if best is None else best[1]


@dataclass(frozen=True)
class _Rhythms:
    """What speaks for every rhythm of one period, by its first boundary: the first candidate and those behind it.

    Attributes:
        count: boundaries of the rhythm.
        total: sum of their scores.
        least: smallest of them.
    """

    count: NDArray[np.int64]
    total: NDArray[np.float64]
    least: NDArray[np.float64]


def _rhythms(scores: NDArray[np.float64], period: int) -> _Rhythms:
    """Returns all rhythms of one period over the scores of boundaries that follow one another.

    The first chunk may be longer than the others, and the first boundary or two may not show: a rhythm begins within
    three periods.
    """
    rows = -(-len(scores) // period)

    def behind(fill: float) -> NDArray[np.float64]:
        padded = np.pad(scores, (0, rows * period - len(scores)), constant_values=fill)
        return padded.reshape(rows, period)[::-1]

    begins = min(len(scores), 3 * period - SHORTEST_CHUNK + 1)
    total = np.cumsum(behind(0.0), axis=0)[::-1].reshape(-1)[:begins]
    least = np.minimum.accumulate(behind(np.inf), axis=0)[::-1].reshape(-1)[:begins]
    return _Rhythms((len(scores) - 1 - np.arange(begins)) // period + 1, total, least)


def surprise(signals: Mapping[str, NDArray[np.float64]], floors: Mapping[str, float]) -> NDArray[np.float64]:
    """Returns per pair the mean over signals of the log of the signal over its median around that pair, [P].

    Only signals of `SEARCHED` count: brightness and colour move for many other reasons.
    """
    logs: list[NDArray[np.float64]] = []
    for name in sorted(SEARCHED & set(signals)):
        signal = signals[name]
        padded = np.pad(signal, NEIGHBOURS, constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
        usual = np.nanmedian(np.delete(around, NEIGHBOURS, axis=1), axis=1)
        logs.append(np.log((signal + floors[name]) / (usual + floors[name])))
    mean: NDArray[np.float64] = np.mean(logs, axis=0)
    return mean


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the values less their median, in robust standard deviations (1.4826 times the median deviation)."""
    deviation = values - np.median(values)
    standardised: NDArray[np.float64] = deviation / (1.4826 * np.median(np.abs(deviation)) + 1e-2)
    return standardised
