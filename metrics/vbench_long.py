"""VBench-Long's consistencies: two-second clips, each by itself and all against each other, fused after a remapping.

As published with `--dev_flag`, without scene splitting, with two repairs: clips are cut without encoding them anew, and
clips are grouped by the video they come from, as was intended. The remapping squeezes half of all possible clip-to-clip
scores into 0.93..1, so the fused value hardly sees drift: read `clip_to_clip` in `parts`.

Example: where a video of 48 frames at 10 a second is cut.
    >>> clip_spans(48, 10.0)
    [(0, 20), (20, 40), (28, 48)]
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrics.api import AssumedRate, Part, Score, Series, mean_or_none, metric
from metrics.clip import NO_DIRECTION
from metrics.consistency import consistency, similarities
from metrics.errors import SettingError
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.clip import ClipFeatures
from metrics.features.dino import DinoFeatures
from metrics.vbench_long_tables import BACKGROUND, SUBJECT

CLIP_SECONDS = 2
"""Length of a clip. Source: VBench-Long, `long_custom_input` mode."""

WEIGHT_IN_CLIP = WEIGHT_CLIP_TO_CLIP = 0.5
"""Weights of both halves. Source: `configs/slow_fast_params.yaml`, read with `--dev_flag`."""


class _LongConsistency(FeatureReader):
    """What both long consistencies share; they differ in features and table."""

    published_zero: bool

    @abstractmethod
    def _within(self) -> DinoFeatures | ClipFeatures:
        """Returns the feature compared inside of clips."""

    @abstractmethod
    def _between(self) -> DinoFeatures | ClipFeatures:
        """Returns the feature compared between clips."""

    @abstractmethod
    def _table(self) -> tuple[float, ...]:
        """Returns the remapping of clip-to-clip scores 0.00, 0.01 … 1.00."""

    def features(self) -> tuple[Feature, ...]:
        """Returns the passes of the image features."""
        return tuple(dict.fromkeys((self._within(), self._between())))

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the value of the clips that lie in frames start <= i < stop, None if there are none.

        Clips are compared with the first one of the video, so a window says how much of the beginning is left. That
        one alone has a value only where it is the whole video: in-clip values are on another scale than fused ones, and
        a video that stays as it is would seem to drift.
        """
        inside = [
            i
            for i, (first, last) in enumerate(zip(series["clip_start"], series["clip_stop"], strict=True))
            if first is not None and last is not None and start <= first and last <= stop
        ]
        if inside == [0] and len(series["clip_start"]) > 1:
            return None
        within = mean_or_none([series["in_clip"][i] for i in inside])
        later = [i - 1 for i in inside if i > 0]
        between = consistency(
            np.array([series["clip_previous"][i] for i in later], dtype=np.float64),
            np.array([series["clip_first"][i] for i in later], dtype=np.float64),
        )
        return None if within is None else fused(within, between, self._table(), self.published_zero)

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        within, between = tables[self._within()]["image"], tables[self._between()]["image"]
        names = ("clip_start", "clip_stop", "in_clip", "clip_previous", "clip_first")
        empty: dict[str, list[float | None]] = {name: [] for name in names}
        if len(within) < 2:
            return Score(None, {}, empty, "consistency compares frames and needs two of them")
        if isinstance(video.fps, AssumedRate):
            return Score(None, {}, empty, "the video states no frame rate, and clips are two seconds long")
        spans = clip_spans(len(within), video.fps)
        first_frames = similarities(between[[start for start, _ in spans]])
        series: dict[str, list[float | None]] = {
            "clip_start": [float(start) for start, _ in spans],
            "clip_stop": [float(stop) for _, stop in spans],
            "in_clip": [_in_clip(within[start:stop]) for start, stop in spans],
            "clip_previous": listed(first_frames["previous"]),
            "clip_first": listed(first_frames["first"]),
        }
        value = self.window(series, 0, video.num_frames)
        clip_to_clip = consistency(**first_frames)
        parts: dict[str, Part] = {
            "clips": len(spans),
            "in_clip": mean_or_none(series["in_clip"]),
            "clip_to_clip": clip_to_clip,
            "mapped": None if clip_to_clip is None else remapped(clip_to_clip, self._table()),
        }
        reason = "" if value is not None else NO_DIRECTION
        return Score(value, parts, series, reason)


@metric(
    name="subject_consistency_long",
    title="Subject, long",
    unit="cosine, fused",
    better="higher",
    version="2",
    definition="Subject consistency inside of two-second clips, and of their first frames against each other.",
)
@dataclass
class SubjectConsistencyLong(_LongConsistency):
    """VBench-Long's subject consistency: DINO inside of clips, DINOv2 between their first frames, fused half and half.

    A video of a single clip is its in-clip value alone, as published.

    Series, one entry per clip: `clip_start`, `clip_stop` (frames), `in_clip`; one per clip but the first:
    `clip_previous`, `clip_first` (cosines of first frames).

    Attributes:
        weights: as `metrics.consistency.SubjectConsistency`.
        long_weights: folder with `model.safetensors` of DINOv2 ViT-B/14, or a `.pth` file; unused with "dino".
        between: "dinov2" or "dino" between clips. Without `--dev_flag` the published code takes DINO and gives its half
            the weight 0; here both halves weigh 0.5 with either network, and `in_clip` in `parts` is the value without
            the flag.
        published_zero: keep the defect that a clip-to-clip score of exactly 0, total collapse, counts as missing.
        device: a torch device.

    Source: VBench 45e79ec, `vbench2_beta_long/subject_consistency.py`, `utils.py:146-188,361-405`.
    """

    weights: str = ""
    long_weights: str = ""
    between: Literal["dinov2", "dino"] = "dinov2"
    published_zero: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.between not in ("dinov2", "dino"):
            raise SettingError(f"`between` is 'dinov2' or 'dino', not {self.between!r}")

    def _within(self) -> DinoFeatures:
        return DinoFeatures(self.weights, "vbench", self.device)

    def _between(self) -> DinoFeatures:
        return DinoFeatures(self.long_weights, "long", self.device) if self.between == "dinov2" else self._within()

    def _table(self) -> tuple[float, ...]:
        return SUBJECT


@metric(
    name="background_consistency_long",
    title="Background, long",
    unit="cosine, fused",
    better="higher",
    version="2",
    definition="Background consistency inside of two-second clips, and of their first frames against each other.",
)
@dataclass
class BackgroundConsistencyLong(_LongConsistency):
    """VBench-Long's background consistency, by CLIP inside of clips and between them.

    With `--dev_flag` the published code compares clips by DreamSim, which is not offered here.

    Series: as `SubjectConsistencyLong`.

    Attributes:
        model: as `metrics.clip.ClipScore`.
        pretrained: as there.
        weights: as there.
        dtype: as there.
        published_zero: as `SubjectConsistencyLong`.
        device: a torch device.

    Source: VBench 45e79ec, `vbench2_beta_long/background_consistency.py`.
    """

    model: str = "ViT-B-32-quickgelu"
    pretrained: str = "openai"
    weights: str = ""
    dtype: str = "float32"
    published_zero: bool = False
    device: str = "cpu"

    def _within(self) -> ClipFeatures:
        return ClipFeatures(self.model, self.pretrained, self.weights, "vbench", self.dtype, self.device)

    def _between(self) -> ClipFeatures:
        return self._within()

    def _table(self) -> tuple[float, ...]:
        return BACKGROUND


def clip_spans(num_frames: int, fps: float) -> list[tuple[int, int]]:
    """Returns first frame and the frame after the last of every two-second clip.

    The frame rate is cut to a whole number. A rest is filled up with frames before it, so the last clip overlaps; a
    video shorter than one clip, or of less than one frame a second, stays whole.

    Source: VBench 45e79ec, `vbench2_beta_long/utils.py:146-188`.
    """
    length = CLIP_SECONDS * int(fps)
    if length < 1 or num_frames <= length:
        return [(0, num_frames)]
    spans = [(start, start + length) for start in range(0, num_frames - length + 1, length)]
    return spans if spans[-1][1] == num_frames else [*spans, (num_frames - length, num_frames)]


def remapped(score: float, table: tuple[float, ...]) -> float:
    """Returns a clip-to-clip score on the scale of in-clip ones: linear between 101 points, clamped at the ends."""
    return float(np.interp(score, np.linspace(0, 1, len(table)), table))


def fused(within: float, between: float | None, table: tuple[float, ...], published_zero: bool = False) -> float:
    """Returns the weighted sum of both halves; the first alone where there is no second one.

    Args:
        within: mean in-clip score.
        between: clip-to-clip score, None for a single clip.
        table: the remapping.
        published_zero: whether a remapped score of 0 counts as none.
    """
    if between is None:
        return within
    mapped = remapped(between, table)
    if published_zero and mapped == 0:
        return within
    return WEIGHT_IN_CLIP * within + WEIGHT_CLIP_TO_CLIP * mapped


def _in_clip(features: NDArray[np.float32]) -> float | None:
    return consistency(**similarities(features))
