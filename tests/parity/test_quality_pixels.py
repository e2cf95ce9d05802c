"""Exposure, flickering, repetition and collapse against the golden numbers, frames streamed in odd chunks."""

import json

import av
import numpy as np
import pytest

from metrics.exposure import Exposure
from metrics.flickering import Flickering
from metrics.repetition import SinkCollapse, lag_distances, norepeat
from metrics.scoring import VideoScorer
from tests.conftest import golden

EXPOSURE = json.loads(golden("quality", "exposure.json", travels=False).read_text(encoding="utf-8"))
FLICKER = json.loads(golden("quality", "flicker.json", travels=False).read_text(encoding="utf-8"))
REPETITION = json.loads(golden("quality", "repetition.json", travels=False).read_text(encoding="utf-8"))


def clip_path(name):
    folder = "quality" if name.startswith(("long_", "big")) else "metrics"
    return golden(folder, "clips", f"{name}.mkv")


def read_clip(name):
    with av.open(str(clip_path(name))) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        return frames, float(container.streams.video[0].average_rate)


def scores(name, **metrics):
    frames, fps = read_clip(name)
    scorer = VideoScorer(metrics, "", fps)
    for start in range(0, len(frames), 7):
        scorer.update(frames[start : start + 7])
    return scorer.compute()


@pytest.mark.parametrize("clip", EXPOSURE)
def test_exposure(clip):
    expected = EXPOSURE[clip]
    found = scores(clip, exposure=Exposure())["exposure"]
    assert found.value == pytest.approx(expected["value"], abs=1e-4)  # 100 times a share: 1e-6 of it
    assert found.parts["frames_per_end"] == expected["portion_frames"]
    for name, change in expected["delta"].items():
        assert found.parts[f"{name}_change"] == pytest.approx(change, abs=1e-6), name
    for name, slope in expected["slope_per_10s"].items():
        assert found.parts[f"{name}_per_10s"] == pytest.approx(slope, abs=1e-6), name
    for name, series in expected["series"].items():
        np.testing.assert_allclose(found.series[name], series, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("clip", FLICKER)
def test_flickering(clip):
    found = scores(clip, flickering=Flickering())["flickering"]
    np.testing.assert_allclose(found.series["difference"], FLICKER[clip]["pair_mae"], atol=1e-5)
    assert found.value == pytest.approx(FLICKER[clip]["score"], abs=1e-7)


@pytest.mark.parametrize("clip", REPETITION)
def test_collapse_towards_the_first_frames(clip):
    frames, _ = read_clip(clip)
    unit_scale = np.sqrt(frames[0].size) / 255
    for sinks in (1, 3):
        expected = REPETITION[clip][f"sink_{sinks}"]
        found = scores(clip, it=SinkCollapse(sink_frames=sinks))["it"]
        np.testing.assert_allclose(np.array(found.series["distance"]) * unit_scale, expected["distance"], atol=1e-6)
        assert found.value == pytest.approx(expected["drop_percent"], abs=1e-6)
        assert found.parts["frame"] == expected["drop_frame"]


@pytest.mark.parametrize("clip", REPETITION)
def test_repetition_by_lag(clip):
    expected = REPETITION[clip]["lags"]
    frames, _ = read_clip(clip)
    found = lag_distances(frames)
    np.testing.assert_allclose(found, expected["rms_levels_by_lag"], atol=1e-6)
    shortest = min(16, len(frames) // 3)
    assert shortest + int(found[shortest:].argmin()) == expected["best_lag"]


@pytest.mark.parametrize("clip", REPETITION)
def test_norepeat_at_given_periods(clip):
    frames, _ = read_clip(clip)
    for expected in REPETITION[clip]["norepeat"]:
        found = norepeat(frames, expected["expected"], expected["radius"])
        assert (found.start, found.length) == (expected["start"], expected["length"])
        assert found.l2 == pytest.approx(expected["mean_l2_unit_scale"], abs=1e-6)
        assert found.rms_levels == pytest.approx(expected["mean_rms_levels"], abs=1e-6)
        assert (found.l2 > 100) == expected["non_repetitive_at_100"]
