"""What is put to the test: the metrics and flow estimators that this machine has weights for, and what is read of them.

Example:
    >>> tools = Instruments(raft="", clip="")
    >>> sorted(tools.metrics())
    ['collapse', 'exposure', 'flickering', 'mawe', 'repetition', 'scuts', 'seams', 'stillness']
    >>> [reading.name for reading in MEASUREMENTS if reading.metric == "stillness"]
    ['stillness', 'repeated']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.stats import is_defined
from generators.mini.world import FPS
from generators.weights import TABLE, MissingWeightsError, find_weights, resolve_weights
from metrics.api import Metric, Score, mean_or_none
from metrics.clip import ClipScore
from metrics.consistency import BackgroundConsistency, SubjectConsistency
from metrics.drift import DRIFTS
from metrics.dynamic_degree import DynamicDegree
from metrics.exposure import Exposure
from metrics.features.transnet import package_version
from metrics.flickering import Flickering
from metrics.mawe import Mawe
from metrics.repetition import Repetition, SinkCollapse
from metrics.scuts import SceneCuts
from metrics.seams import Seams
from metrics.stillness import Stillness
from metrics.tcuts import TransNetCuts
from metrics.vbench_long import BackgroundConsistencyLong, SubjectConsistencyLong

FLOW_SIZE = 128
"""Side in pixels that frames are resized to for optical flow, as in the mini profile."""

DRIFT_CARD = "drift"
"""The card of the definitions of drift."""


@dataclass(frozen=True)
class Measurement:
    """One number of a score.

    Attributes:
        name: identifier in tables and JSON.
        metric: the metric it is read of.
        title: for people.
        better: which way is good.
        part: entry of `Score.parts`; empty for the value.
        tool: which of `Instruments.metrics` gives the score.
        least: smallest change that matters, in its unit; 0 where only the spread of sound videos can tell.
        drift: name in `metrics.drift.DRIFTS`, whose size is read of the mean luma of the frames; empty for none.
    """

    name: str
    metric: str
    title: str
    better: Literal["lower", "higher"]
    part: str
    tool: str
    least: float = 0.0
    drift: str = ""

    @property
    def card(self) -> str:
        """Name of the page it stands on."""
        return DRIFT_CARD if self.drift else self.metric

    def of(self, scores: Mapping[str, Score]) -> float | None:
        """Returns the number, None where it is undefined."""
        score = scores[self.tool]
        if self.drift:
            return _drift_of_luma(score, self.drift)
        value = score.parts.get(self.part) if self.part else score.value
        number = float(value) if isinstance(value, int | float) else None
        return number if is_defined(number) else None


MEASUREMENTS = (
    Measurement("mawe", "mawe", "MAWE (official, DIS flow)", "lower", "", "mawe"),
    Measurement("mawe_mini", "mawe", "MAWE (official, mini RAFT)", "lower", "", "mawe_mini"),
    Measurement("mawe_paper", "mawe", "MAWE (paper, DIS flow)", "lower", "paper", "mawe"),
    Measurement("warp_error", "mawe", "warp error alone (DIS flow)", "lower", "mean_warp_error", "mawe"),
    Measurement("scuts", "scuts", "SCuts", "lower", "", "scuts", 0.5),
    Measurement("clip", "clip", "CLIP score", "higher", "", "clip", 0.5),
    Measurement("seams", "seams", "seam contrast", "lower", "", "seams", 0.1),
    Measurement("stillness", "stillness", "frozen pairs, %", "lower", "", "stillness", 2.0),
    Measurement("repeated", "stillness", "repeated share", "lower", "repeated_share", "stillness", 0.1),
    Measurement("exposure", "exposure", "exposure drift", "lower", "", "exposure", 1.0),
    Measurement("flickering", "flickering", "flickering (VBench)", "higher", "", "flickering", 0.002),
    Measurement("collapse", "collapse", "sink collapse, %", "lower", "", "collapse", 5.0),
    Measurement("repetition", "repetition", "largest return, %", "lower", "", "repetition", 5.0),
    Measurement("tcuts", "tcuts", "TCuts (TransNetV2)", "lower", "", "tcuts", 0.5),
    Measurement("subject", "subject_consistency", "subject consistency (mini)", "higher", "", "subject", 0.002),
    Measurement("subject_long", "subject_consistency_long", "subject, long (mini)", "higher", "", "subject_long"),
    Measurement("background", "background_consistency", "background consistency (mini)", "higher", "", "background"),
    Measurement(
        "background_long", "background_consistency_long", "background, long (mini)", "higher", "", "background_long"
    ),
    Measurement("dynamic", "dynamic_degree", "dynamic degree (mini RAFT)", "higher", "", "dynamic", 0.02),
    Measurement("aesthetic", "aesthetic_quality", "aesthetic quality", "higher", "", "aesthetic"),
    Measurement("imaging", "imaging_quality", "imaging quality", "higher", "", "imaging"),
    *(
        Measurement(f"luma_{name}", "exposure", f"luma by `{name}`", "lower", "", "exposure", 0.0, name)
        for name in DRIFTS
    ),
)
"""Everything the dose-response table has a row for."""


def _drift_of_luma(score: Score, name: str) -> float | None:
    """Returns the size of a drift of the mean luma, in percent of the range, or relative where the definition is."""
    luma = [100 * (value or 0.0) for value in score.series["luma"]]
    drift = DRIFTS[name].read(lambda start, stop: mean_or_none(luma[start:stop]), len(luma), FPS)
    return None if drift is None else abs(drift)


@dataclass(frozen=True)
class Instruments:
    """Where the weights of the miniature networks lie; small enough to travel to another process.

    Attributes:
        raft: folder of the flow network, empty where there is none.
        clip: folder of the scoring CLIP, likewise; it also stands in for CLIP ViT-B/32.
        encoder: folder of the image encoder that stands in for DINO and DINOv2, likewise.
    """

    raft: str
    clip: str
    encoder: str = ""

    def metrics(self, network: bool = False) -> dict[str, Metric]:
        """Returns metrics by tool name.

        Args:
            network: whether those of a slow network are among them: RAFT, TransNetV2, the encoder between long clips.
        """
        # With CLIP weights, seams read the same CLIP pass as the CLIP score; an empty model leaves it out.
        clip_model = ClipScore.model if self.clip else ""
        seams = Seams(flow="dis", size=FLOW_SIZE, clip_model=clip_model, clip_weights=self.clip)
        found: dict[str, Metric] = {
            "mawe": Mawe(flow="dis", size=FLOW_SIZE),
            "scuts": SceneCuts(),
            "seams": seams,
            "stillness": Stillness(flow="dis", size=FLOW_SIZE),
            "exposure": Exposure(),
            "flickering": Flickering(),
            "collapse": SinkCollapse(),
            "repetition": Repetition(),
        }
        if self.clip:
            found["clip"] = ClipScore(weights=self.clip)
            found["background"] = BackgroundConsistency(weights=self.clip)
            found["background_long"] = BackgroundConsistencyLong(weights=self.clip)
        if self.encoder:
            found["subject"] = SubjectConsistency(weights=self.encoder)
        if network and self.encoder:
            found["subject_long"] = SubjectConsistencyLong(weights=self.encoder, long_weights=self.encoder)
        if network and package_version() != "missing":
            found["tcuts"] = TransNetCuts()
        if network and self.raft:
            found["mawe_mini"] = Mawe(flow="mini", flow_weights=self.raft, size=FLOW_SIZE)
            found["dynamic"] = DynamicDegree(flow="mini", flow_weights=self.raft)
        return found

    def estimators(self) -> dict[str, str]:
        """Returns the flow estimators that can run here, with their weights: those of torchvision only if on disk."""
        found = {"dis": ""} | ({"mini": self.raft} if self.raft else {})
        for entry in TABLE:
            if entry.repository.startswith("Raft_Large") and (file := find_weights(entry)):
                found["raft_large"] = str(file)
        return found

    def absent(self) -> list[str]:
        """Returns a sentence for every instrument whose weights are not here."""
        lines = [] if self.raft else ["flow estimator mini: weights absent (generators/mini/weights/raft)"]
        lines += [] if self.clip else ["CLIP score: weights absent (generators/mini/weights/clip_score)"]
        lines += [] if "raft_large" in self.estimators() else ["flow estimator raft_large: weights absent (hub cache)"]
        return lines


def find_instruments() -> Instruments:
    """Returns what this machine has."""
    return Instruments(
        _folder("mini:raft", "model.safetensors"),
        _folder("mini:clip_score", "open_clip_config.json"),
        _folder("mini:svd/image_encoder", "model.safetensors"),
    )


def _folder(location: str, needed: str) -> str:
    try:
        folder = resolve_weights(location)
    except MissingWeightsError:
        return ""
    return str(folder) if (folder / needed).is_file() else ""
