"""MAWE, the motion-aware warp error: how badly motion predicts the next frame, per unit of motion.

Two definitions go by this name and differ by orders of magnitude: the script its authors released and the formula in
their paper. Both are read from the same per-pair numbers, and the score says which one it is.

Example: a window is read from the series alone.
    >>> series = {"warp_error": [4.0, 6.0], "motion": [2.0, 2.0], "motion_squared": [4.0, 4.0], "known": [9, 9]}
    >>> Mawe(mode="paper").window(series, 0, 3)
    1.25
    >>> round(Mawe(coeff=1.0).window(series, 0, 3), 6)
    2.5
    >>> Mawe(mode="paper").window(series, 0, 1) is None
    True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrics.api import Part, Score, Series, metric
from metrics.errors import SettingError
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.flow_statistics import FlowStatistics


@metric(
    name="mawe",
    title="MAWE",
    unit="grey levels² per pixel of motion",
    better="lower",
    version="2",
    definition="What remains when each frame is warped onto the next along its optical flow, per amount of motion.",
)
@dataclass
class Mawe(FeatureReader):
    """The motion-aware warp error.

    Series (index i is the pair of frames i and i + 1): `warp_error`, `motion`, `motion_squared`, `known` (see
    `metrics.features.flow_statistics.FlowStatisticsPass`). A value that is not finite is None.

    Attributes:
        mode: "official" is the released script, the mean over pairs of W_i / (coeff * O_i) with O_i the mean flow
            length; "paper" is the appendix, the mean of W_i divided by the mean squared flow length of the video.
        coeff: the script's constant; "paper" has none.
        flow: estimator; see `metrics.flow.estimators.load_estimator`.
        size: side of the square the frames are squashed to, pixels; 0 keeps their size.
        flow_weights: weights file or folder, empty for the default.
        device: a torch device.
        flow_precision: arithmetic of the network; anything but "float32" leaves parity.

    Source: StreamingT2V (arXiv:2403.14773 v2), appendix, and its released `mawe.py:59-95` (coefficient, updates, size).
    """

    mode: Literal["official", "paper"] = "official"
    coeff: float = 9.5
    flow: str = "raft_large"
    size: int = 720
    flow_weights: str = ""
    device: str = "cpu"
    flow_precision: str = "float32"

    def __post_init__(self) -> None:
        if self.mode not in ("official", "paper"):
            raise SettingError(f"MAWE has the modes 'official' and 'paper', not {self.mode!r}")
        if not self.coeff > 0:
            raise SettingError(f"`coeff` divides the warp error and must be positive, not {self.coeff}")

    def features(self) -> tuple[Feature, ...]:
        """Returns the flow pass."""
        return (self._feature(),)

    def _feature(self) -> FlowStatistics:
        return FlowStatistics(self.flow, self.size, self.flow_weights, self.device, self.flow_precision)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the MAWE of frames start <= i < stop, that is of the pairs inside; None where it is undefined."""
        pairs = slice(start, max(stop - 1, start))
        columns = (series["warp_error"], series["motion"], series["motion_squared"])
        warp_error, motion, motion_squared = (np.array(c[pairs], dtype=np.float64) for c in columns)
        if self.mode == "paper":
            return paper_mawe(warp_error, motion_squared)
        return official_mawe(warp_error, motion, self.coeff)

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the MAWE of the video and every other reading of the same pairs in `parts`."""
        pairs = tables[self._feature()]
        series: dict[str, list[float | None]] = {
            name: listed(pairs[name]) for name in ("warp_error", "motion", "motion_squared", "known")
        }
        value = self.window(series, 0, video.num_frames)
        parts = self._settings(video) | _counts(pairs) | _readings(pairs, self.coeff)
        return Score(value, parts, series, "" if value is not None else _why_undefined(pairs))

    def _settings(self, video: VideoFacts) -> dict[str, Part]:
        flow_pass = self._feature().identity(video.prompt)
        coeff = self.coeff if self.mode == "official" else None
        return {"mode": self.mode, "coeff": coeff, "flow": self.flow, "size": self.size, "flow_pass": flow_pass}


def official_mawe(warp_error: NDArray[np.float64], motion: NDArray[np.float64], coeff: float) -> float | None:
    """Returns the mean over pairs of W / (coeff * O), or None without pairs or where a ratio is not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.mean(warp_error / (coeff * motion)) if len(motion) else np.nan
    return float(value) if np.isfinite(value) else None


def paper_mawe(warp_error: NDArray[np.float64], motion_squared: NDArray[np.float64]) -> float | None:
    """Returns mean W / mean O², or None without pairs, without motion, or where a pair is not finite."""
    return _ratio_of_means(warp_error, motion_squared)


def _ratio_of_means(above: NDArray[np.float64], below: NDArray[np.float64]) -> float | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.mean(above) / np.mean(below) if len(above) else np.nan
    return float(value) if np.isfinite(value) else None


def _counts(pairs: Arrays) -> dict[str, Part]:
    """Returns how many pairs are unusual: they decide a mean of ratios, so nobody should have to guess."""
    warp_error, motion, known = pairs["warp_error"], pairs["motion"], pairs["known"]
    return {
        "pairs": len(motion),
        "zero_motion_pairs": int((motion == 0).sum()),
        "zero_error_pairs": int((warp_error == 0).sum()),
        "nonfinite_pairs": int((~np.isfinite(motion)).sum()),
        "unknown_pairs": int((known == 0).sum()),
        "known_fraction": float(known.mean() / pairs["cells"][0]) if len(known) else None,
    }


def _readings(pairs: Arrays, coeff: float) -> dict[str, Part]:
    """Returns the other readings of the same pairs, and the spread of the pair ratios; None where undefined."""
    warp_error, motion = pairs["warp_error"].astype(np.float64), pairs["motion"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = warp_error / (coeff * motion)
    usable = np.flatnonzero(np.isfinite(ratios))
    worst = int(usable[np.argmax(ratios[usable])]) if len(usable) else None
    finite = np.isfinite(motion)
    return {
        "official": official_mawe(warp_error, motion, coeff),
        "paper": paper_mawe(warp_error, pairs["motion_squared"]),
        "ratio_of_means": _ratio_of_means(warp_error, coeff * motion),
        "mean_warp_error": float(warp_error.mean()) if len(warp_error) else None,
        "mean_motion": float(motion[finite].mean()) if finite.any() else None,
        "median_pair_ratio": float(np.median(ratios[usable])) if len(usable) else None,
        "max_pair_ratio": float(ratios[worst]) if worst is not None else None,
        "max_pair": worst,
    }


def _why_undefined(pairs: Arrays) -> str:
    counts = _counts(pairs)
    if not counts["pairs"]:
        return "MAWE compares consecutive frames and needs at least two"
    if counts["nonfinite_pairs"]:
        return f"the flow of {counts['nonfinite_pairs']} of {counts['pairs']} frame pairs is not finite"
    return f"{counts['zero_motion_pairs']} of {counts['pairs']} frame pairs have no motion to divide by"
