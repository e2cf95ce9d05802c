"""Seams, stillness and curves: what they see on videos whose faults are known."""

import numpy as np
import pytest

from metrics.clip import ClipScore
from metrics.curves import first_against_last, prefixes, sliding, theil_sen, trend
from metrics.features.cache import FeatureCache
from metrics.files import score_file
from metrics.scoring import VideoScorer
from metrics.seam_search import guess_boundaries
from metrics.seams import Seams
from metrics.stillness import Stillness, repetition
from tests.conftest import handed

WITHOUT_CLIP = Seams(flow="dis", size=128, clip_model="")


def pan(num_frames, jump_every=0, jump=24, side=96):
    """A texture panning two pixels a frame, which jumps at every multiple of `jump_every`."""
    draw = np.random.default_rng(1)
    texture = draw.integers(0, 256, (40, 400, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    x = 2 * np.arange(num_frames)
    if jump_every:
        x += jump * (np.arange(num_frames) // jump_every)
    return np.stack([texture[20 : 20 + side, i : i + side] for i in x])


def score(metric, frames, seams=()):
    scorer = VideoScorer({"it": metric}, "", fps=8.0)
    scorer.update(frames)
    return scorer.compute(seams)["it"]


def test_a_jump_at_a_boundary_shows_and_its_absence_too():
    jumping = score(WITHOUT_CLIP, pan(48, jump_every=16), seams=(16, 32))
    smooth = score(WITHOUT_CLIP, pan(48), seams=(16, 32))
    assert jumping.value > 3
    assert smooth.value == pytest.approx(1, abs=0.25)
    assert set(jumping.series) >= {"seam", "contrast", "warp_error", "flow_change", "luminance", "colour"}
    assert jumping.parts["worst_frame"] in (16, 32)


def test_boundaries_outside_the_video_or_without_an_inside_are_not_invented():
    assert score(WITHOUT_CLIP, pan(12), seams=(0, 12, 40)).value is None
    single = score(WITHOUT_CLIP, pan(2), seams=(1,))
    assert single.value is None
    assert single.series["contrast"] == [None]


def test_undeclared_boundaries_are_suggested_as_a_guess():
    found = score(WITHOUT_CLIP, pan(48, jump_every=12))
    assert found.value is None
    assert found.reason.startswith("no chunk boundaries are declared")
    assert (found.parts["guess"], found.parts["guess_period"]) == ("boundaries 12,24,36", 12)
    assert score(WITHOUT_CLIP, pan(48)).parts["guess"] == "none found"


def test_a_rhythm_is_found_in_an_hour():
    signal = np.exp(np.random.default_rng(3).normal(0, 0.3, 36_000))
    signal[99::240] *= 30
    found = guess_boundaries({"warp_error": signal}, {"warp_error": 0.5})
    assert found.period == 240
    assert found.boundaries[:2] == (100, 340)


def test_noise_has_no_rhythm():
    draw = np.random.default_rng(0)
    guesses = [guess_boundaries({"warp_error": draw.gamma(4.0, size=239)}, {"warp_error": 1.0}) for _ in range(20)]
    assert sum(guess is not None for guess in guesses) <= 1


@pytest.mark.parametrize(
    ("file", "seams", "control"),
    [
        ("seine_long_panda_swing_100f.mp4", (30, 44, 58, 72, 86), (24, 37, 51, 65, 79)),
        ("genlvideo_car_isolated_32f.gif", (16,), (8, 24)),
    ],
)
def test_known_seams_of_real_videos_show_clearly(file, seams, control, tmp_path):
    cache = FeatureCache(tmp_path)  # one flow pass for all three readings
    at_seams, elsewhere, undeclared = (
        score_file(handed("clips") / file, {"seams": WITHOUT_CLIP}, seams=s, cache=cache).scores["seams"]
        for s in (seams, control, ())
    )
    assert min(at_seams.series["contrast"]) > 1.8
    assert at_seams.value > 2 * elsewhere.value
    assert undeclared.parts["guess"] == "boundaries " + ",".join(map(str, seams))


def test_a_frozen_a_looping_and_a_moving_video():
    still = Stillness(flow="dis", size=96)
    frozen = score(still, pan(1).repeat(24, axis=0))
    assert (frozen.value, frozen.parts["flag"], frozen.parts["longest_frozen_span"]) == (100.0, "frozen", 23)
    assert (frozen.parts["motion_floor"], frozen.parts["period"]) == (0.0, None)
    looping = score(still, np.tile(pan(12), (4, 1, 1, 1)))
    assert (looping.value, looping.parts["flag"], looping.parts["period"]) == (0.0, "loop", 12)
    moving = score(still, pan(48))
    assert (moving.value, moving.parts["flag"]) == (0.0, "")
    assert moving.parts["motion_floor"] == pytest.approx(2, abs=0.3)


def test_a_freeze_in_the_second_half_is_half():
    frames = np.concatenate([pan(25), pan(25)[-1:].repeat(24, axis=0)])
    half = score(Stillness(flow=""), frames)
    assert half.value == 50.0
    assert "motion_floor" not in half.parts
    assert Stillness(flow="").window(half.series, 24, 49) == 100.0


def test_repetition_needs_two_periods():
    thumbnails = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)
    assert repetition(thumbnails)[1] is None
    assert repetition(np.concatenate([thumbnails, thumbnails])) == (1.0, 10)
    assert repetition(thumbnails[:1]) == (0.0, None)


def test_curves_read_prefixes_windows_and_ends():
    cosine = [0.3] * 60 + [0.1] * 60
    metric = ClipScore()
    series = {"cosine": cosine}
    assert [round(p.value, 6) for p in prefixes(metric, series, 120, [30, 60, 120, 140])] == [30, 30, 20]
    assert [p.start for p in sliding(metric, series, 120, 40, 40)] == [0, 40, 80]
    assert sliding(metric, series, 30, 40, 10) == []
    ends = first_against_last(metric, series, 120, fps=8.0)
    assert (ends.first.stop, ends.last.start) == (40, 80)
    assert ends.change == pytest.approx(-20)
    assert first_against_last(metric, series, 60, fps=8.0) is None
    assert trend(sliding(metric, {"cosine": [0.3] * 40}, 40, 10, 10)) == pytest.approx(0)


def test_theil_sen_ignores_an_outlier_and_undefined_points():
    x = np.arange(20)
    y = 0.5 * x
    y[7] = 1e6
    assert theil_sen(x, y) == pytest.approx(0.5)
    assert theil_sen([1, 1], [0, 5]) is None
    assert theil_sen([], []) is None


def test_the_slope_of_very_many_points_is_that_of_some_of_them():
    x = np.arange(50_000)
    assert theil_sen(x.tolist(), (3.0 * x).tolist()) == pytest.approx(3)
