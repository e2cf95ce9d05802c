"""HeliosBench's arithmetic: the frames its drifts compare, its ratings from 10 to 1, and its total.

Kept as published, defects included, so that its numbers can be compared with; nothing else in this package reads it but
the frames.

Example:
    >>> rating("drifting_aesthetic", 0.0481), rating("aesthetic", 0.35)
    (6, 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

END_FRAMES = 8
"""Frames that are looked at near either end."""


def eight_frames_at_both_ends(num_frames: int) -> tuple[list[int], list[int]]:
    """Returns eight evenly spaced frames of the first 15 % of a video and eight of the last 15 %.

    A portion shorter than eight frames is widened to eight; both are the whole video where that is shorter still.

    Example:
        >>> eight_frames_at_both_ends(81)
        ([0, 1, 3, 4, 6, 7, 9, 10], [68, 69, 71, 72, 74, 76, 77, 79])

    Source: HeliosBench in PKU-YuanGroup/Helios, `eval/utils/utils.py:190-248`.
    """
    stop, start = int(0.15 * num_frames), int(0.85 * num_frames)
    stop = min(num_frames, max(stop, END_FRAMES))
    start = max(0, min(start, num_frames - END_FRAMES))
    first = [int(i * stop / END_FRAMES) for i in range(END_FRAMES)]
    last = [start + int(i * (num_frames - start) / END_FRAMES) for i in range(END_FRAMES)]
    return first, last


def _falling(first: float, step: float) -> tuple[float, ...]:
    """Returns nine thresholds from the first one down; a negative step goes up."""
    return tuple(round(first - step * i, 2) for i in range(9))


THRESHOLDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "aesthetic": (0.70, 0.65, 0.60, 0.55, 0.50, 0.45, 0.40, 0.45, 0.40),  # the repeats are theirs: 3, 2 never occur
        "motion_amplitude": _falling(0.45, 0.05),
        "motion_smoothness": _falling(0.99, 0.01),
        "semantic": _falling(0.30, 0.01),
        "naturalness": (0.65, 0.60, 0.55, 0.50, 0.45, 0.40, 0.30, 0.25, 0.20),
        "drifting_aesthetic": _falling(0.01, -0.01),
        "drifting_motion_smoothness": _falling(0.01, -0.01),
        "drifting_semantic": _falling(0.01, -0.01),
        "drifting_naturalness": _falling(0.06, -0.02),
    }
)
"""What earns 10, 9 … 2 in long videos. Source: PKU-YuanGroup/Helios, `eval/9_merge_all_scores.py`."""

SEGMENT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "aesthetic": 0.03,
        "motion_amplitude": 0.03,
        "motion_smoothness": 0.03,
        "semantic": 0.255,
        "naturalness": 0.255,
        "drifting_aesthetic": 0.099,
        "drifting_motion_smoothness": 0.099,
        "drifting_semantic": 0.099,
        "drifting_naturalness": 0.099,
    }
)
"""Weights of the ratings in the total; they sum to 0.996, so that the best total is 9.96. Source: as `THRESHOLDS`."""


def rating(dimension: str, mean: float) -> int:
    """Returns the rating 10..1 of a mean over videos: 10 is best.

    Args:
        dimension: a key of `THRESHOLDS`; those that begin with "drifting_" are better the lower they are.
        mean: of the dimension over all videos.
    """
    lower = dimension.startswith("drifting_")
    for i, threshold in enumerate(THRESHOLDS[dimension]):
        if mean <= threshold if lower else mean >= threshold:
            return 10 - i
    return 1


def total(ratings: Mapping[str, int]) -> float:
    """Returns the weighted sum of the ratings of all nine dimensions; at most 9.96."""
    return sum(weight * ratings[dimension] for dimension, weight in SEGMENT_WEIGHTS.items())
