"""Exposure, flickering, collapse and repetition: what they see, what they reward, and where they have no value."""

import numpy as np
import pytest
import torch

from metrics.drift import DRIFTS
from metrics.errors import SettingError
from metrics.exposure import Exposure
from metrics.flickering import Flickering
from metrics.flow.api import FlowPairs
from metrics.repetition import Repetition, SinkCollapse, norepeat
from metrics.scoring import VideoScorer

METRICS = {"exposure": Exposure(), "flickering": Flickering(), "collapse": SinkCollapse(), "repetition": Repetition()}


def scores(frames, chunk=64):
    scorer = VideoScorer(METRICS, "", fps=10.0)
    for start in range(0, len(frames), chunk):
        scorer.update(frames[start : start + chunk])
    return scorer.compute()


def walk(num_frames, step=2, side=48):
    """A window that moves over a smooth texture."""
    coarse = np.random.default_rng(0).integers(40, 215, (30, 200, 3)).astype(np.uint8)
    texture = coarse.repeat(4, 0).repeat(4, 1)
    return np.stack([texture[10 : 10 + side, step * i : step * i + side] for i in range(num_frames)])


MOVING = walk(100)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_change_no_bit(chunk):
    assert scores(MOVING, chunk) == scores(MOVING, 33)


def test_brightening_is_exposure_drift_and_a_return_is_not_seen():
    ramp = np.linspace(0, 60, 100)[:, None, None, None]
    bright = np.clip(MOVING + ramp, 0, 255).astype(np.uint8)
    dip = np.clip(MOVING + 60 * np.sin(np.linspace(0, np.pi, 100))[:, None, None, None] ** 8, 0, 255).astype(np.uint8)
    sound, brightened, dipped = (scores(frames)["exposure"] for frames in (MOVING, bright, dip))
    assert brightened.value > sound.value + 15
    assert brightened.parts["luma_change"] > 0.15
    assert dipped.value == pytest.approx(sound.value, abs=1)


def test_a_frozen_video_wins_flickering_and_never_comes_back():
    frozen = scores(np.repeat(MOVING[:1], 100, axis=0))
    assert frozen["flickering"].value == 1
    assert frozen["collapse"].value == 0
    assert frozen["repetition"].value == 0
    assert frozen["exposure"].value == pytest.approx(0, abs=1e-9)


def test_return_to_the_first_frames_is_a_collapse_at_that_frame():
    fallen = MOVING.copy()
    fallen[60:70] = MOVING[:10]
    found = scores(fallen)["collapse"]
    assert found.value == pytest.approx(100)
    assert found.parts["frame"] == 60
    assert scores(MOVING)["collapse"].value < 60


def test_a_loop_is_found_at_its_period():
    loop = np.concatenate([MOVING[:25]] * 4)
    found = scores(loop)["repetition"]
    assert found.value == pytest.approx(100)
    assert found.parts["lag"] == 25
    assert found.parts["distance"] == 0
    assert found.parts["farthest"] > 5


def test_a_loop_longer_than_a_minute_is_found():
    noise = np.random.default_rng(1).integers(0, 256, (650, 16, 16, 3), dtype=np.uint8)
    found = scores(np.concatenate([noise, noise]))["repetition"]
    assert found.value > 99
    assert found.parts["lag"] == 650


def test_what_only_goes_on_repeats_nowhere_however_slowly():
    fade = np.arange(240, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    assert scores(fade)["repetition"].value == 0
    assert scores(fade)["collapse"].value == 0


def test_one_flickering_pixel_of_a_frozen_video_is_no_return():
    frozen = np.full((40, 16, 16, 3), 90, np.uint8)
    frozen[20, 3, 4, 1] += 1
    found = scores(frozen)
    assert found["collapse"].value < 5
    assert found["repetition"].value < 5


@pytest.mark.parametrize("num_frames", [1, 2, 8])
def test_short_videos_have_no_value_and_a_reason_each(num_frames):
    found = scores(MOVING[:num_frames])
    for name, score in found.items():
        assert (score.value is None) == bool(score.reason), name
    if num_frames == 1:
        assert all(score.value is None for score in found.values())


def test_black_frames_are_no_error():
    black = scores(np.zeros((40, 32, 32, 3), np.uint8))
    assert black["exposure"].value == pytest.approx(0, abs=1e-9)
    assert black["collapse"].value == 0


def test_windows_read_prefixes_exactly():
    whole, prefix = scores(MOVING), scores(MOVING[:50])
    for name in ("exposure", "flickering", "collapse"):
        assert METRICS[name].window(whole[name].series, 0, 50) == pytest.approx(prefix[name].value, rel=1e-6), name
        assert METRICS[name].window(whole[name].series, 0, 100) == whole[name].value
    assert METRICS["repetition"].window(whole["repetition"].series, 0, 50) is None


def test_sink_frames_are_one_to_three():
    with pytest.raises(SettingError, match="1 to 3"):
        SinkCollapse(sink_frames=4)


def test_norepeat_of_a_video_shorter_than_its_period():
    assert norepeat(MOVING[:20], expected=40, radius=4) is None


def test_black_frames_have_a_value_or_a_reason():
    found = scores(np.zeros((40, 32, 32, 3), np.uint8))
    for name, score in found.items():
        assert (score.value is None) == bool(score.reason), name
        assert score.value is None or np.isfinite(score.value), name
    assert found["flickering"].value == 1
    assert found["exposure"].value == 0


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.parametrize(("num_frames", "fps"), [(1, 10.0), (40, 0.0), (40, 0.01)])
def test_no_drift_stumbles_over_one_frame_or_a_missing_rate(name, num_frames, fps):
    drift = DRIFTS[name].read(lambda start, stop: float(stop - start) if stop > start else None, num_frames, fps)
    assert drift is None or np.isfinite(drift)


class GivenFlow:
    """Stands for the flow network: a stream whose flow is so many pixels everywhere."""

    smallest_side = 16

    def __init__(self, length):
        self.length = length

    def stream(self):
        return self

    def push(self, frames):
        return self._pairs(frames)

    def _pairs(self, frames):
        flow = torch.zeros(len(frames), 2, *frames.shape[-2:])
        flow[:, 0] = self.length
        yield FlowPairs(frames, frames, flow)

    def flush(self):
        return iter(())


def filtered(monkeypatch, frames, length):
    monkeypatch.setattr("metrics.flow.estimators.load_vbench_raft", lambda *settings: GivenFlow(length))
    accumulator = Flickering(static_filter="mini").begin("", 10.0)
    accumulator.update(frames)
    return accumulator.compute()


def test_the_static_filter_lets_only_still_videos_in(monkeypatch):
    side = 64  # 3 pixels at 256 are 0.75 here
    still, moving = (filtered(monkeypatch, walk(20, side=side), length) for length in (0.7, 0.8))
    assert still.value == still.parts["unfiltered"] == Flickering().window(still.series, 0, 20)
    assert still.parts["static"] is True
    assert moving.value is None
    assert moving.parts["static"] is False
    assert "static filter" in moving.reason
    assert Flickering().window(moving.series, 0, 20) is None


def test_the_static_filter_has_no_say_about_small_frames(monkeypatch):
    score = filtered(monkeypatch, np.zeros((4, 8, 8, 3), np.uint8), 0.0)
    assert score.value is None
    assert "too small" in score.reason
