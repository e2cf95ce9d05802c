"""CLIP score: how well the frames show what the prompt says.

Example: a window is the mean of its frames.
    >>> ClipScore().window({"cosine": [0.25, 0.75, 0.5]}, 0, 2)
    50.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.api import ChangingText, Part, Score, Series, mean_or_none, metric
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.clip import ClipFeatures

NO_DIRECTION = "some features have length zero, and with it no direction to compare"
"""Why a cosine is undefined."""


@metric(
    name="clip",
    title="CLIP",
    unit="100 × cosine",
    better="higher",
    version="1",
    definition="How well the frames fit the prompt: cosine of CLIP's features of text and frame, mean × 100.",
)
@dataclass
class ClipScore(FeatureReader):
    """100 times the mean cosine between prompt and frames; not clamped at zero.

    Series: `cosine`, one value per frame, -1..1.

    Attributes:
        model: a model of open_clip. OpenAI's weights need a "-quickgelu" name.
        pretrained: one of its tags, or a weights file.
        weights: folder with `open_clip_config.json` and `open_clip_model.safetensors`; replaces model and pretrained.
        preprocess: "crop" scales the short side and crops the middle, "squash" ignores the aspect, "pad" keeps all.
        dtype: of the towers; normalisation, products and means are float32 whatever it is.
        device: a torch device.

    Source: StreamingT2V (arXiv:2403.14773 v2), section 5; model and preprocessing as openai/CLIP `clip/clip.py:79-86`.
    """

    model: str = "ViT-B-32-quickgelu"
    pretrained: str = "openai"
    weights: str = ""
    preprocess: str = "crop"
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._feature()  # refuses settings it does not know

    def features(self) -> tuple[Feature, ...]:
        """Returns the CLIP pass."""
        return (self._feature(),)

    def _feature(self) -> ClipFeatures:
        return ClipFeatures(self.model, self.pretrained, self.weights, self.preprocess, self.dtype, self.device)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the score of frames start <= i < stop, or None if there are none."""
        mean = mean_or_none(series["cosine"][start:stop])
        return None if mean is None else 100 * mean

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video; None without a prompt."""
        feature = self._feature()
        features = tables[feature]
        parts: dict[str, Part] = {
            "model": feature.describe(),
            "activation": str(features["activation"][0]),
            "preprocess": self.preprocess,
            "dtype": self.dtype,
            "prompt_truncated": bool(features["truncated"][0]),
        }
        if not video.prompt.strip():
            return Score(None, parts, {"cosine": []}, "the CLIP score compares frames with a prompt, and there is none")
        image, text = unit(features["image"]), unit(features["text"])
        if isinstance(video.prompt, ChangingText):  # every frame with the text that is in force at it
            parts["texts"] = len(text)
            cosine = (image * text[video.prompt.in_force(len(image))]).sum(axis=-1)
        else:
            cosine = image @ text
        series = {"cosine": listed(cosine)}
        value = self.window(series, 0, video.num_frames)
        reason = "" if value is not None else NO_DIRECTION if len(cosine) else "the video has no frames"
        return Score(value, parts, series, reason)


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the features scaled to length one, along the last axis, in float32; NaN where they have no length.

    Example:
        >>> unit(np.array([3.0, 4.0], np.float32)).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    length[length == 0] = np.nan
    scaled: NDArray[np.float32] = features / length
    return scaled
