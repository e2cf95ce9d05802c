"""Subject and background consistency: how alike the frames of a video are to each other, by learned features.

VBench's two consistencies are one formula on two features: DINO sees what the subject is, CLIP what the scene is. Both
reward standstill, so read them beside the dynamic degree.

Example: three frames whose features turn by 60 degrees each time.
    >>> turned = np.array([[1.0, 0.0], [0.5, 3**0.5 / 2], [-0.5, 3**0.5 / 2]])
    >>> similarities(turned)["previous"].round(3).tolist(), similarities(turned)["first"].round(3).tolist()
    ([0.5, 0.5], [0.5, -0.5])
    >>> round(consistency(**similarities(turned)), 6)
    0.375
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.api import Part, Score, Series, metric
from metrics.clip import NO_DIRECTION
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.clip import ClipFeatures
from metrics.features.dino import DinoFeatures

LAGS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Distances in frames at which the lag curve is read."""


class _Consistency(FeatureReader):
    """What both consistencies share; they differ in the feature they read."""

    @abstractmethod
    def _feature(self) -> DinoFeatures | ClipFeatures:
        """Returns the feature whose frames are compared."""

    def features(self) -> tuple[Feature, ...]:
        """Returns the pass of the image features."""
        return (self._feature(),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of frames start <= i < stop, None without pairs.

        Frames are compared with the first one of the video, not of the window: for a growing prefix that is VBench's
        value of the shortened video, for other windows it says how much of the beginning is left.
        """
        pairs = slice(start, max(stop - 1, start))
        previous, first = (np.array(series[name][pairs], dtype=np.float64) for name in ("previous", "first"))
        return consistency(previous, first)

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        features = tables[self._feature()]["image"]
        if len(features) < 2:
            return Score(None, {}, {"previous": [], "first": []}, "consistency compares frames and needs two of them")
        found = similarities(features)
        series = {name: listed(values) for name, values in found.items()}
        value = self.window(series, 0, video.num_frames)
        parts = _lag_parts(features) | _collapse_parts(found["first"])
        if value is None:
            return Score(None, parts, series, NO_DIRECTION)
        return Score(value, parts, series)


@metric(
    name="subject_consistency",
    title="Subject",
    unit="cosine",
    better="higher",
    version="1",
    definition="How alike the frames are to the first one and to the one before, by DINO: what the subject is.",
)
@dataclass
class SubjectConsistency(_Consistency):
    """VBench's subject consistency: mean of the cosines of DINO features to the frame before and to the first frame.

    `parts`: `lag_N`, the mean cosine of frames N apart, and `collapse`, the largest rise of the cosine to the first
    frame above its lowest value so far, with its frame (sink collapse seen by DINO).

    Series (index i is frame i + 1): `previous` and `first`, cosines -1..1; the value clamps them at 0.

    Attributes:
        weights: folder with `model.safetensors` of DINO ViT-B/16, or a `.pth` file.
        device: a torch device.

    Source: VBench 45e79ec, `vbench/subject_consistency.py:54-68`.
    """

    weights: str = ""
    device: str = "cpu"

    def _feature(self) -> DinoFeatures:
        return DinoFeatures(self.weights, "vbench", self.device)


@metric(
    name="background_consistency",
    title="Background",
    unit="cosine",
    better="higher",
    version="1",
    definition="How alike the frames are to the first one and to the one before, by CLIP: what the scene is.",
)
@dataclass
class BackgroundConsistency(_Consistency):
    """VBench's background consistency: as `SubjectConsistency`, on CLIP ViT-B/32 image features.

    Frames are scaled without antialiasing and neither rounded nor clamped, as VBench has it: these are not the features
    of the CLIP score.

    Series and `parts`: as `SubjectConsistency`.

    Attributes:
        model: as `metrics.clip.ClipScore`.
        pretrained: as there.
        weights: as there.
        dtype: as there.
        device: a torch device.

    Source: VBench 45e79ec, `vbench/background_consistency.py:27-64`.
    """

    model: str = "ViT-B-32-quickgelu"
    pretrained: str = "openai"
    weights: str = ""
    dtype: str = "float32"
    device: str = "cpu"

    def _feature(self) -> ClipFeatures:
        return ClipFeatures(self.model, self.pretrained, self.weights, "vbench", self.dtype, self.device)


def similarities(features: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Returns the cosines of every frame but the first to the frame before ("previous") and to the first ("first").

    NaN where a feature has no length.

    Args:
        features: [T, D], T >= 1.
    """
    unit = _unit(features)
    return {"previous": (unit[1:] * unit[:-1]).sum(axis=1), "first": unit[1:] @ unit[0]}


def consistency(previous: NDArray[np.float64], first: NDArray[np.float64]) -> float | None:
    """Returns the mean over frames of (max(0, previous) + max(0, first)) / 2, None without frames or with a NaN.

    Args:
        previous: cosines to the frame before.
        first: cosines to the first frame.
    """
    if not len(previous) or np.isnan(previous).any() or np.isnan(first).any():
        return None
    return float((np.maximum(previous, 0) + np.maximum(first, 0)).mean() / 2)


def lag_curve(features: NDArray[np.floating], lags: Sequence[int] = LAGS) -> dict[int, float | None]:
    """Returns the mean cosine of frames so many apart, by lag; None where the video is too short or it is undefined."""
    unit = _unit(features)
    curve: dict[int, float | None] = {}
    for lag in lags:
        pairs = (unit[lag:] * unit[:-lag]).sum(axis=1)
        curve[lag] = float(pairs.mean()) if len(pairs) and np.isfinite(pairs).all() else None
    return curve


def _unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns features of length one, NaN where there is no length to divide by."""
    wide = features.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float64] = wide / np.where(length > 0, length, np.nan)
    return unit


def _lag_parts(features: NDArray[np.floating]) -> dict[str, Part]:
    return {f"lag_{lag}": value for lag, value in lag_curve(features).items()}


def _collapse_parts(first: NDArray[np.float64]) -> dict[str, Part]:
    """Returns by how much the cosine to the first frame rises above its lowest value so far, and at which frame."""
    rises = first - np.minimum.accumulate(first)
    if not np.isfinite(rises).all():
        return {"collapse": None, "collapse_frame": None}
    return {"collapse": float(rises.max()), "collapse_frame": int(rises.argmax()) + 1}
