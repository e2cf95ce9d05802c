"""SCuts: how many scene cuts a detector finds, where a continuous video should have none.

The detector is PySceneDetect's `AdaptiveDetector` with the library's defaults, fed with frames from memory. At a
constant rate it finds what it finds when it reads the file itself. At a variable rate the library measures the shortest
scene in seconds; here it is 15 frames always, as in the version of the paper, so that the same frames have the same
cuts however long each of them is shown.

Example: the detector looks two frames ahead, so a cut counts where its third frame has been seen.
    >>> SceneCuts().window({"cuts": [20, 60]}, 0, 62)
    1.0
    >>> SceneCuts().window({"cuts": [20, 60]}, 0, 63)
    2.0
    >>> SceneCuts().window({"cuts": [20, 60]}, 60, 100)
    1.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metrics.api import Frames, MetricInfo, Part, Score, Series, metric
from metrics.errors import SettingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DETECTOR_PACKAGE = "scenedetect-headless"
"""The distribution of PySceneDetect without windows on the screen."""

LOOK_AROUND = 2
"""Frames the detector averages over on either side (its `window_width`): no cut is found closer to an end."""

MIN_SCENE_LEN = 15
"""Shortest scene in frames. Source: PySceneDetect, `AdaptiveDetector` (API default, all versions)."""

EFFECTIVE_WIDTH = 256
"""Frames are scaled down to about this many pixels. Source: PySceneDetect, `SceneManager` auto-downscale."""


@metric(
    name="scuts",
    title="SCuts",
    unit="cuts",
    better="lower",
    version="1",
    definition="How many scene cuts a detector of hard cuts finds in the video.",
    package=DETECTOR_PACKAGE,
)
@dataclass
class SceneCuts:
    """Number of scene cuts.

    Series: `cuts`, the first frame of every scene but the first, ascending (one entry per cut, not per frame).

    Attributes:
        rule: "installed" is what the installed library does; "0.6.2" is what the version that was current when the
            paper appeared did: no shortest length for the first scene, and an integer scale by width alone.

    Source: StreamingT2V (arXiv:2403.14773 v2), appendix; PySceneDetect 0.6.2 `adaptive_detector.py:160-170` and
        `scene_manager.py:149`.
    """

    info: ClassVar[MetricInfo]
    rule: Literal["installed", "0.6.2"] = "installed"

    def __post_init__(self) -> None:
        if self.rule not in ("installed", "0.6.2"):
            raise SettingError(f"SCuts has the rules 'installed' and '0.6.2', not {self.rule!r}")

    def begin(self, prompt: str, fps: float) -> _Detection:
        """Returns a fresh detector."""
        return _Detection(self, fps)

    def window(self, series: Series, start: int, stop: int) -> float | None:
        """Returns the number of cuts that the detector learns of in frames start <= i < stop, None for fewer than two.

        It learns of a cut `LOOK_AROUND` frames behind it. So a prefix has what the detector finds in the shortened
        video, exactly, and of windows that follow each other every cut is in one: that which it begins, or, where it
        lies in the last two frames of a window, the next one.
        """
        if stop - start < 2:
            return None
        return float(sum(start <= cut + LOOK_AROUND < stop for cut in series["cuts"] if cut is not None))


class _Detection:
    """The detector on one video."""

    def __init__(self, metric: SceneCuts, fps: float) -> None:
        from scenedetect import AdaptiveDetector

        # Rule 0.6.2 takes every frame the detector would cut at and applies its own shortest length afterwards.
        self._detector = AdaptiveDetector(min_scene_len=MIN_SCENE_LEN if metric.rule == "installed" else 0)
        self._metric, self._fps = metric, Fraction(fps).limit_denominator(100_000)
        self._count = 0
        self._cuts: list[int] = []
        self._scaled = (0, 0)

    def update(self, frames: Frames) -> None:
        """Shows the detector the next frames."""
        import cv2
        from scenedetect import FrameTimecode

        for frame in frames:
            bgr = cv2.cvtColor(self._scale(frame), cv2.COLOR_RGB2BGR)
            found = self._detector.process_frame(FrameTimecode(self._count, self._fps), bgr)
            self._cuts += [cut.frame_num for cut in found]
            self._count += 1

    def compute(self, seams: Sequence[int] = ()) -> Score:
        """Returns the number of cuts."""
        from importlib.metadata import version

        cuts = self._cuts if self._metric.rule == "installed" else _apart(self._cuts, MIN_SCENE_LEN)
        series = {"cuts": [float(cut) for cut in cuts]}
        parts: dict[str, Part] = {
            "rule": self._metric.rule,
            "scenedetect": version(DETECTOR_PACKAGE),
            "frames": self._count,
            "detector_height": self._scaled[0],
            "detector_width": self._scaled[1],
            "first_cut": cuts[0] if cuts else None,
        }
        if self._count < 2:
            return Score(None, parts, series, "a cut lies between two frames, and there are not two")
        return Score(self._metric.window(series, 0, self._count), parts, series)

    def _scale(self, frame: NDArray[np.uint8]) -> Any:
        """Returns the frame as the library's scene manager hands it to a detector (channels in our order)."""
        import cv2

        height, width = frame.shape[:2]
        factor = downscale_factor(height, width, self._metric.rule)
        self._scaled = (max(1, round(height / factor)), max(1, round(width / factor)))
        if factor <= 1:
            return frame
        return cv2.resize(frame, (self._scaled[1], self._scaled[0]), interpolation=cv2.INTER_LINEAR)


def downscale_factor(height: int, width: int, rule: Literal["installed", "0.6.2"]) -> float:
    """Returns by what the frames are divided before detection, >= 1.

    Example:
        >>> downscale_factor(720, 1280, "installed"), downscale_factor(720, 1280, "0.6.2")
        (5.0, 5)

    Source: PySceneDetect 0.7.2 `scene_manager.py:123,527`; 0.6.2 `scene_manager.py:149`.
    """
    if rule == "0.6.2":
        return max(1, width // EFFECTIVE_WIDTH)
    longest = max(height, width)
    return 1.0 if longest < EFFECTIVE_WIDTH else longest / EFFECTIVE_WIDTH


def _apart(cuts: Sequence[int], shortest: int) -> list[int]:
    """Returns the cuts without those closer than the shortest length to the last one kept; the first is always kept.

    Example:
        >>> _apart([6, 20, 33, 46], 15)
        [6, 33]
    """
    kept: list[int] = []
    for cut in cuts:
        if not kept or cut - kept[-1] >= shortest:
            kept.append(cut)
    return kept
