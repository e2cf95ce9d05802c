"""Scoring frames in memory, and metrics that other packages bring."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.ffv1 import VideoWriter
from generators.weights import resolve_weights
from metrics import Score, SettingError, VideoError, score, score_frames
from metrics.api import AssumedRate, ChangingText
from metrics.dynamic_degree import DynamicDegree
from metrics.mawe import Mawe
from tests.conftest import handed

ELSEWHERE = """
from dataclasses import dataclass
from metrics.api import Score, metric

@metric(name="length", title="Length", unit="frames", better="neither", version="1")
@dataclass
class Length:
    def begin(self, prompt, fps):
        return Count(fps)

    def window(self, series, start, stop):
        return None

class Count:
    def __init__(self, fps):
        self.fps, self.calls, self.count = fps, [], 0

    def update(self, frames):
        self.calls.append(len(frames))
        self.count += len(frames)

    def compute(self, seams=()):
        return Score(float(self.count), {"fps": self.fps, "longest": max(self.calls), "seams": list(seams)})
"""
ANNOUNCED = """[bench.metrics]
length = elsewhere:Length
misnamed = elsewhere:Length
absent = elsewhere:Absent
homeless = no_such_module:Length
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts a package with a metric on the path, as `pip install` would."""
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    info = tmp_path / "elsewhere-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ANNOUNCED)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("elsewhere", None)


def moving(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    texture = np.random.default_rng(3).integers(0, 256, (24, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([texture[:96, i : i + 96] for i in range(count)])


@pytest.mark.usefixtures("installed")
def test_a_metric_of_an_installed_package_is_found_by_name(tmp_path: Path) -> None:
    frames = np.zeros((40, 8, 8, 3), np.uint8)
    found = score_frames(frames, 12, metrics=["length", "scuts"], seams=(16,))
    assert list(found) == ["length", "scuts"]
    assert found["length"] == Score(40.0, {"fps": 12.0, "longest": 16, "seams": [16]})
    path = tmp_path / "a.mkv"
    with VideoWriter(path, 12.0) as video:
        video.write(frames)
    assert score(path, metrics=["length"])["length"].value == 40.0


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misnamed", "not a class stamped"),
        ("absent", "cannot be imported"),
        ("homeless", "cannot be imported"),
        ("lenght", r"no metric is called 'lenght': choose from .*length, mawe, misnamed"),
    ],
)
def test_a_metric_that_cannot_be_had_is_named(name: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        score_frames(np.zeros((2, 8, 8, 3), np.uint8), 8, metrics=[name])


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(SettingError, match="two metrics are called 'mawe'"):
        score_frames(np.zeros((2, 8, 8, 3), np.uint8), 8, metrics=["mawe", Mawe(flow="dis")])


def test_array_and_iterators_and_file_give_one_score(tmp_path: Path) -> None:
    frames = moving(20)
    path = tmp_path / "a.mkv"
    with VideoWriter(path, 8.0) as video:
        video.write(frames)
    chosen = [Mawe(flow="dis", size=0)]
    of_file = score(path, metrics=chosen)["mawe"]
    assert of_file.value is not None
    for form in (frames, iter(frames), (frames[i : i + 7] for i in range(0, 20, 7)), frames[:, :, ::-1][:, :, ::-1]):
        assert score_frames(form, 8, metrics=chosen)["mawe"] == of_file


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), "frame 0 is of float32: give uint8"),
        (np.zeros((4, 8, 8), np.uint8), r"shape \[4, 8, 8\]: give RGB"),
        (np.zeros((4, 8, 8, 4), np.uint8), "give RGB"),
        ([np.zeros((8, 8, 3), np.uint8), "a picture"], "frame 1 is a str"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "frame 1 has 8 x 9 pixels"),
        (np.zeros((1, 8, 8, 3), np.uint8), "1 frames given"),
        ([], "0 frames given"),
    ],
)
def test_what_is_no_video_is_refused(frames: Any, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        score_frames(frames, 8, metrics=["scuts"])


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e-6, "10"])
def test_a_rate_that_is_none_is_refused(fps: Any) -> None:
    with pytest.raises(SettingError, match=r"fps must be a number from 0.01 to 1000"):
        score_frames(np.zeros((2, 8, 8, 3), np.uint8), fps, metrics=["scuts"])


def test_an_assumed_rate_stays_one() -> None:
    frames = moving(20)
    chosen = [DynamicDegree(flow="mini", flow_weights=str(resolve_weights("mini:raft")))]
    assert score_frames(frames, 10, metrics=chosen)["dynamic_degree"].value is not None
    assert "no frame rate" in score_frames(frames, AssumedRate(10), metrics=chosen)["dynamic_degree"].reason


@pytest.mark.parametrize("num_frames", [1, 0, -1])
def test_fewer_than_two_frames_of_a_file_cannot_be_asked_for(tmp_path: Path, num_frames: int) -> None:
    with pytest.raises(SettingError, match="num_frames must be 2 or more"):
        score(tmp_path, metrics=["scuts"], num_frames=num_frames)


def test_a_file_that_is_not_sound_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"dmg_flip_base.mp4: \d damaged frames"):
        score(handed("inputs") / "dmg_flip_base.mp4", metrics=["scuts"])


def test_a_changing_text_can_be_copied_and_sent() -> None:
    text = ChangingText("rain", ((2, "sunshine"),))
    for again in (copy.copy(text), copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert (again, again.changes) == (text, text.changes)
