"""Seams: how much more abrupt a video is where chunks were joined than inside of them.

Long videos are made chunk by chunk, and a cut detector does not see a join that jumps in pose but not in colours. Here
every declared boundary is compared with the frame pairs inside of the two chunks it joins, in each of six signals.

Example: a boundary at frame 4 whose contrast is 3, one at frame 8 that cannot be told from the inside.
    >>> Seams().window({"seam": [4, 8], "contrast": [3.0, 1.0]}, 0, 12)
    2.0
    >>> Seams().window({"seam": [4, 8], "contrast": [3.0, 1.0]}, 0, 8)
    3.0
    >>> Seams().window({"seam": [4, 8], "contrast": [3.0, 1.0]}, 8, 12)
    1.0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from metrics.api import Part, Score, Series, mean_or_none, metric
from metrics.clip import NO_DIRECTION, unit
from metrics.dynamic_degree import NO_FLOW
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.clip import ClipFeatures
from metrics.features.flow_statistics import FlowStatistics
from metrics.features.frame_statistics import FrameStatistics
from metrics.seam_search import guess_boundaries

Signals = Mapping[str, NDArray[np.float64]]
"""Named signals [P], one value >= 0 per frame pair, larger where consecutive frames differ more."""

FLOORS = MappingProxyType(
    {"warp_error": 1.0, "flow_change": 0.1, "difference": 0.5, "luminance": 0.5, "colour": 0.5, "clip": 0.005}
)
"""What is added to numerator and denominator of a contrast, in units of the signal (grey levels² per channel, pixels,
grey levels, grey levels, grey levels, 1 - cosine): jumps below it are invisible, and their ratio means nothing."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G, B in luminance. Source: ITU-R BT.601."""


@metric(
    name="seams",
    title="Seams",
    unit="× inside of chunks",
    better="lower",
    version="2",
    definition="How much more changes where two chunks join than inside of them; 1 is a join that cannot be seen.",
)
@dataclass
class Seams(FeatureReader):
    """Mean contrast of the chunk boundaries; 1 is a join that cannot be told from the inside of its chunks.

    The contrast of a boundary in one signal is the signal across it over the median inside of its two chunks; its
    contrast is the geometric mean over signals. Signals: `warp_error`, `flow_change` (how far the flow across the
    boundary differs from the flows before and after), `difference` (mean absolute), `luminance` and `colour` (jump of
    the mean), `clip` (1 - cosine of consecutive frames, if a CLIP is set).

    Series, one entry per boundary in order: `seam` (first frame of the later chunk), `contrast`, and the contrast in
    every signal by name. Without declared boundaries the score is None, and `parts` suggests some, as a guess.

    Attributes:
        flow: as in `metrics.mawe.Mawe`; equal settings share one pass.
        size: as there.
        flow_weights: as there.
        flow_precision: as there.
        clip_model: a model of open_clip, as `ClipScore.model`; empty leaves the CLIP signal out, if `clip_weights` is
            empty too.
        clip_pretrained: as `ClipScore.pretrained`.
        clip_weights: as `ClipScore.weights`.
        clip_preprocess: as `ClipScore.preprocess`.
        clip_dtype: as `ClipScore.dtype`.
        device: a torch device.
    """

    flow: str = "raft_large"
    size: int = 720
    flow_weights: str = ""
    flow_precision: str = "float32"
    clip_model: str = "ViT-B-32-quickgelu"
    clip_pretrained: str = "openai"
    clip_weights: str = ""
    clip_preprocess: str = "crop"
    clip_dtype: str = "float32"
    device: str = "cpu"

    def features(self) -> tuple[Feature, ...]:
        """Returns the flow pass, the frame statistics, and the CLIP pass if one is set."""
        clip = self._clip()
        return (self._flow(), FrameStatistics(), *([] if clip is None else [clip]))

    def _flow(self) -> FlowStatistics:
        return FlowStatistics(self.flow, self.size, self.flow_weights, self.device, self.flow_precision)

    def _clip(self) -> ClipFeatures | None:
        if not (self.clip_model or self.clip_weights):
            return None
        settings = (self.clip_model, self.clip_pretrained, self.clip_weights, self.clip_preprocess, self.clip_dtype)
        return ClipFeatures(*settings, self.device)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the mean contrast of the boundaries of chunks that begin in start <= i < stop, None without any.

        Of windows that follow each other every boundary is in one, that of the chunk behind it.
        """
        inside = [
            contrast
            for seam, contrast in zip(series["seam"], series["contrast"], strict=True)
            if seam is not None and start <= seam < stop
        ]
        return mean_or_none([c for c in inside if c is not None])

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the declared boundaries, or a guess where there are none."""
        clip = self._clip()
        image = None if clip is None else tables[clip]["image"]
        if image is not None and not image.any(axis=1).all():
            return Score(None, {}, {"seam": [], "contrast": []}, NO_DIRECTION)
        if not np.isfinite(tables[self._flow()]["motion"]).all():
            return Score(None, {}, {"seam": [], "contrast": []}, NO_FLOW)
        signals = pair_signals(tables[self._flow()], tables[FrameStatistics()], image)
        seams = sorted({seam for seam in video.seams if 0 < seam < video.num_frames})
        if not seams:
            return self._undeclared(signals, video.num_frames)
        series = contrasts(signals, seams, video.num_frames)
        value = self.window(series, 0, video.num_frames)
        reason = "" if value is not None else "no chunk has a frame pair inside of it to compare its boundaries with"
        return Score(value, _summary(series), series, reason)

    def _undeclared(self, signals: Signals, num_frames: int) -> Score:
        """Returns a score without a value; `parts` says which boundaries the video itself suggests."""
        reason = "no chunk boundaries are declared"
        guess = guess_boundaries(signals, FLOORS)
        empty: dict[str, list[float | None]] = {"seam": [], "contrast": []}
        if guess is None:
            return Score(None, {"guess": "none found"}, empty, reason)
        series = contrasts(signals, guess.boundaries, num_frames)
        parts: dict[str, Part] = {
            "guess": "boundaries " + ",".join(map(str, guess.boundaries)),
            "guess_period": guess.period,
            "guess_strength": guess.strength,
            "guess_contrast": self.window(series, 0, num_frames),
        }
        return Score(None, parts, empty, reason + "; `parts` holds a guess")


def pair_signals(pairs: Arrays, frame: Arrays, image: NDArray[np.float32] | None) -> Signals:
    """Returns every signal of a video; those that need CLIP features [T, D] only where they are given."""
    colour = frame["colour"].astype(np.float64)
    luminance = colour @ LUMA
    signals = {
        "warp_error": pairs["warp_error"].astype(np.float64),
        "flow_change": _both_sides(pairs["flow_change"].astype(np.float64)),
        "difference": frame["difference"].astype(np.float64),
        "luminance": np.abs(np.diff(luminance)),
        "colour": np.linalg.norm(np.diff(colour - luminance[:, None], axis=0), axis=1),
    }
    if image is not None:
        features = unit(image).astype(np.float64)
        signals["clip"] = np.maximum(0.0, 1.0 - (features[1:] * features[:-1]).sum(axis=1))
    return signals


def _both_sides(change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the smaller of each flow's differences to its two neighbours.

    A jump makes one odd flow and two large differences; only the odd flow itself is large on both sides.
    """
    after = np.append(change[1:], np.nan)
    smaller: NDArray[np.float64] = np.nan_to_num(np.fmin(change, after))
    return smaller


def contrasts(signals: Signals, seams: Sequence[int], num_frames: int) -> dict[str, list[float | None]]:
    """Returns `seam`, `contrast` and the contrast in every signal, one entry per boundary; None where undefined.

    Args:
        signals: of the whole video.
        seams: boundaries 0 < b < num_frames, ascending.
        num_frames: length of the video.
    """
    edges = [0, *seams, num_frames]
    series: dict[str, list[float | None]] = {"seam": [float(s) for s in seams], "contrast": []}
    table = np.full((len(seams), len(signals)), np.nan)
    for i, (before, seam, after) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        inside = np.r_[before : seam - 1, seam : after - 1].astype(int)  # pair p joins frames p and p + 1
        if len(inside):
            table[i] = [
                (signal[seam - 1] + FLOORS[name]) / (np.median(signal[inside]) + FLOORS[name])
                for name, signal in signals.items()
            ]
    series["contrast"] = listed(np.exp(np.log(table).mean(axis=1)))
    series |= {name: listed(table[:, column]) for column, name in enumerate(signals)}
    return series


def _summary(series: Mapping[str, Sequence[float | None]]) -> dict[str, Part]:
    """Returns counts, the mean contrast in every signal, and the worst boundary by name."""
    parts: dict[str, Part] = {"seams": len(series["seam"]), "boundaries": "declared"}
    for name in series:
        if name not in ("seam", "contrast"):
            parts[f"{name}_contrast"] = mean_or_none([c for c in series[name] if c is not None])
    defined = [(c, i) for i, c in enumerate(series["contrast"]) if c is not None]
    if defined:
        contrast, index = max(defined)
        frame = series["seam"][index]
        parts |= {"worst_contrast": contrast, "worst_index": index, "worst_frame": int(frame or 0)}
    return parts
