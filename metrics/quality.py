"""VBench's aesthetic and imaging quality: what two learned judges make of single frames.

Both prefer over-exposed frames to normal ones (Self-Forcing++, arXiv:2510.02283): read exposure drift beside them.

Example:
    >>> ImagingQuality().window({"score": [60.0, 70.0, 20.0]}, 0, 2)
    65.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metrics.api import Score, Series, mean_or_none, metric
from metrics.clip import NO_DIRECTION, unit
from metrics.errors import WeightsError
from metrics.features.base import Arrays, Feature, FeaturePass, FeatureReader, VideoFacts, listed
from metrics.features.clip import ClipFeatures
from metrics.features.musiq import MusiqScores


@metric(
    name="imaging_quality",
    title="Imaging",
    unit="0..100",
    better="higher",
    version="1",
    definition="Mean over frames of MUSIQ's judgement of a photograph: blur, noise, exposure.",
)
@dataclass
class ImagingQuality(FeatureReader):
    """Mean of MUSIQ's score over frames.

    Series: `score`, one value per frame, 0..100.

    Attributes:
        weights: the checkpoint file; see `metrics.features.musiq.MusiqScores`.
        device: a torch device.

    Source: VBench 45e79ec, `vbench/imaging_quality.py:11-55`; VBench divides by 100 in its total alone.
    """

    weights: str = ""
    device: str = "cpu"

    def features(self) -> tuple[Feature, ...]:
        """Returns the pass of the judge."""
        return (MusiqScores(self.weights, self.device),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the mean score of frames start <= i < stop, None if there are none."""
        return mean_or_none(series["score"][start:stop])

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        series = {"score": listed(tables[MusiqScores(self.weights, self.device)]["score"])}
        value = self.window(series, 0, video.num_frames)
        return Score(value, {}, series, "" if value is not None else "the judge's score of some frames is not finite")


@metric(
    name="aesthetic_quality",
    title="Aesthetic",
    unit="0..1",
    better="higher",
    version="1",
    definition="Mean over frames of the LAION predictor's judgement of how a picture pleases.",
)
@dataclass
class AestheticQuality(FeatureReader):
    """Mean of the LAION aesthetic predictor over frames, divided by 10.

    Series: `score`, one value per frame, about 0..10.

    Attributes:
        model: as `metrics.clip.ClipScore`.
        pretrained: as there.
        weights: as there.
        head: the file `sa_0_4_vit_l_14_linear.pth` of LAION-AI/aesthetic-predictor (4 kB, MIT), or one like it.
        dtype: as `metrics.clip.ClipScore`.
        device: a torch device.

    Source: VBench 45e79ec, `vbench/aesthetic_quality.py:42-75`.
    """

    model: str = "ViT-L-14-quickgelu"
    pretrained: str = "openai"
    weights: str = ""
    head: str = ""
    dtype: str = "float32"
    device: str = "cpu"

    def features(self) -> tuple[Feature, ...]:
        """Returns the CLIP pass with VBench's preprocessing."""
        return (self._feature(),)

    def _feature(self) -> ClipFeatures:
        return ClipFeatures(self.model, self.pretrained, self.weights, "vbench", self.dtype, self.device)

    @cached_property
    def _linear(self) -> tuple[NDArray[np.float32], float]:
        """The head's weights [D] and its bias."""
        from metrics.features.tensors import read_tensors

        if not Path(self.head).is_file():
            raise WeightsError(
                f'no aesthetic head at "{self.head}": get sa_0_4_vit_l_14_linear.pth (4 kB) from '
                "LAION-AI/aesthetic-predictor and name it: --set metrics.aesthetic_quality.head=FILE"
            )
        tensors = read_tensors(Path(self.head))
        return tensors["weight"].numpy().reshape(-1), float(tensors["bias"])

    def open(self, feature: Feature, prompt: str) -> FeaturePass:
        """Returns a fresh CLIP pass; a missing head is found before any frame is looked at."""
        assert self._linear
        return super().open(feature, prompt)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns a tenth of the mean score of frames start <= i < stop, None if there are none."""
        mean = mean_or_none(series["score"][start:stop])
        return None if mean is None else mean / 10

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        weight, bias = self._linear
        series = {"score": listed(unit(tables[self._feature()]["image"]) @ weight + bias)}
        value = self.window(series, 0, video.num_frames)
        return Score(value, {}, series, "" if value is not None else NO_DIRECTION)
