"""VBench's final scale: scores stretched to 0..1 between constants, and weighted into one quality number.

Example:
    >>> round(final_scale("subject_consistency", 0.95), 4), final_scale("imaging_quality", 66.5)
    (0.9414, 0.665)

Source: VBench 45e79ec, `scripts/constant.py:30-80`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "subject_consistency": (0.1462, 1.0),
        "background_consistency": (0.2615, 1.0),
        "flickering": (0.6293, 1.0),
        "dynamic_degree": (0.0, 1.0),
        "aesthetic_quality": (0.0, 1.0),
        "imaging_quality": (0.0, 100.0),  # VBench divides by 100 before, and scales by 0..1
    }
)
"""Lowest and highest value of every dimension that is offered here, in the unit of its column."""

WEIGHTS: Mapping[str, float] = MappingProxyType({name: 0.5 if name == "dynamic_degree" else 1.0 for name in RANGES})
"""Weights of the dimensions in the quality score; motion smoothness, weight 1, is not offered here."""


def final_scale(column: str, mean: float) -> float:
    """Returns a mean over videos on VBench's final scale; not clamped, as there.

    The dynamic degree must be VBench's, the share of videos whose part `dynamic` is true.

    Args:
        column: a key of `RANGES`.
        mean: of the column over all videos.
    """
    low, high = RANGES[column]
    return (mean - low) / (high - low)
