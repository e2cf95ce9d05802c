"""TCuts: how many shot boundaries TransNetV2 finds, a second opinion beside the detector of SCuts.

Example: a boundary between the frames 2 and 3; the probability is high on the last frame of the old shot.
    >>> cut_boundaries([0.0, 0.1, 0.9, 0.2, 0.0])
    [3]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.api import Part, Score, Series, metric
from metrics.errors import SettingError
from metrics.features.base import Arrays, Feature, FeatureReader, VideoFacts, listed
from metrics.features.transnet import PACKAGE, ShotBoundaries, package_version


@metric(
    name="tcuts",
    title="TCuts",
    unit="cuts",
    better="lower",
    version="1",
    definition="How many shot boundaries TransNetV2, trained on real cuts, finds in the video.",
    package=PACKAGE,
)
@dataclass
class TransNetCuts(FeatureReader):
    """Number of shot boundaries by TransNetV2 with its released weights.

    Very short videos (32 frames) may show false ones at their ends: the network was trained on long ones.

    Series: `cuts`, the first frame of every shot but the first, ascending (one entry per cut); `probability`, one value
    per frame, high on the last frame of a shot.

    Attributes:
        threshold: probability above which a frame ends a shot.
        device: a torch device.

    Source: Souček and Lokoč, TransNet V2 (arXiv:2008.04838); weights and convention of soCzech/TransNetV2.
    """

    threshold: float = 0.5
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise SettingError(f"`threshold` is a probability between 0 and 1, not {self.threshold}")

    def features(self) -> tuple[Feature, ...]:
        """Returns the pass of the network."""
        return (ShotBoundaries(self.device),)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the number of shots that begin in frames start <= i < stop, None for fewer than two frames.

        Of windows that follow each other every cut is in one, that of the shot behind it.
        """
        if stop - start < 2:
            return None
        return float(sum(start <= cut < stop for cut in series["cuts"] if cut is not None))

    def read(self, tables: Mapping[Feature, Arrays], video: VideoFacts) -> Score:
        """Returns the score of the video."""
        single = tables[ShotBoundaries(self.device)]["single"]
        cuts = cut_boundaries(single.tolist(), self.threshold)
        series: dict[str, list[float | None]] = {"cuts": [float(cut) for cut in cuts], "probability": listed(single)}
        parts: dict[str, Part] = {
            "threshold": self.threshold,
            "package": package_version(),
            "frames": len(single),
            "first_cut": cuts[0] if cuts else None,
            "highest": float(single.max()) if len(single) else None,
        }
        if len(single) < 2:
            return Score(None, parts, series, "a cut lies between two frames, and there are not two")
        return Score(self.window(series, 0, video.num_frames), parts, series)


def cut_boundaries(probabilities: Sequence[float], threshold: float = 0.5) -> list[int]:
    """Returns the first frame of every shot but the first.

    A run of frames above the threshold is one boundary, behind its first frame. A run that begins with the video has no
    shot before it, and one that begins with the last frame none behind it: neither is a cut.
    """
    high = np.asarray(probabilities) > threshold
    rises = np.flatnonzero(high[1:] & ~high[:-1]) + 1
    return [int(i) + 1 for i in rises if i + 1 < len(high)]


def shots(probabilities: Sequence[float], threshold: float = 0.5) -> list[tuple[int, int]]:
    """Returns first and last frame of every shot exactly as the released code lists them.

    Frames inside of a transition belong to no shot; a shot that the video ends inside of a transition is not listed.

    Example:
        >>> shots([0, 1, 0, 0])
        [(0, 1), (2, 3)]

    Source: soCzech/TransNetV2, `inference/transnetv2.py` (`predictions_to_scenes`).
    """
    high = np.asarray(probabilities) > threshold
    rises = [int(i) + 1 for i in np.flatnonzero(high[1:] & ~high[:-1])]
    falls = [int(i) + 1 for i in np.flatnonzero(~high[1:] & high[:-1])]
    starts = falls if high[0] else [0, *falls]
    ends = rises if high[-1] else [*rises, len(high) - 1]
    listed_shots = list(zip(starts, ends, strict=False))
    return listed_shots or [(0, len(high) - 1)]
