"""What the drift definitions see and miss, and where they have no value."""

import numpy as np
import pytest

from metrics.clip import ClipScore
from metrics.drift import DRIFTS, segment_values, vde, vde_even, window_of
from metrics.scuts import SceneCuts
from metrics.seams import Seams
from metrics.tcuts import TransNetCuts


def drift(name, series, fps=10.0):
    window = lambda start, stop: float(np.mean(series[start:stop])) if stop > start else None  # noqa: E731
    return DRIFTS[name].read(window, len(series), fps)


STEADY = np.full(200, 50.0)
FALL = STEADY - np.arange(200) / 10
DIP = np.where((np.arange(200) >= 80) & (np.arange(200) < 120), 20.0, 50.0)


@pytest.mark.parametrize("name", DRIFTS)
def test_a_steady_series_does_not_drift(name):
    assert drift(name, STEADY) == pytest.approx(0.0)


@pytest.mark.parametrize("name", DRIFTS)
def test_a_steady_fall_is_seen(name):
    assert abs(drift(name, FALL)) > 0.1


@pytest.mark.parametrize("fps", [0.3, 1.25, 2.3, 7.3, 10.0])
def test_the_slope_counts_the_whole_frames_of_a_window(fps):
    falling = DRIFTS["slope_10s"].read(lambda start, stop: -(start + stop - 1) / 2, 200, fps)
    assert falling == pytest.approx(-10 * fps)


def test_ends_miss_a_dip_and_the_spread_sees_it():
    assert drift("start_end_15", DIP) == drift("first_last_5s", DIP) == drift("helios_8_frames", DIP) == 0
    assert drift("std_2s", DIP) > 10
    assert drift("vde_even", DIP) > 0.1


def test_the_spread_does_not_know_the_order():
    shuffled = np.random.default_rng(0).permutation(FALL.reshape(-1, 20)).ravel()
    assert drift("std_2s", shuffled) == pytest.approx(drift("std_2s", FALL))
    assert abs(drift("slope_10s", shuffled)) < abs(drift("slope_10s", FALL))


def test_the_published_error_punishes_early_damage_and_the_even_one_any():
    early, late = [0.6, 0.3, *[0.6] * 8], [*[0.6] * 9, 0.3]
    assert vde(early) == pytest.approx(9 * vde(late))
    assert vde(late, "log") == 0
    assert vde_even(early) == pytest.approx(vde_even(late))


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.parametrize("frames", [0, 1])
def test_too_few_frames_have_no_drift(name, frames):
    assert drift(name, STEADY[:frames]) is None


def test_an_undefined_window_makes_the_drift_undefined():
    window = lambda start, stop: None if start <= 100 < stop else 1.0  # noqa: E731
    assert DRIFTS["std_2s"].read(window, 200, 10.0) is None
    assert DRIFTS["vde"].read(window, 200, 10.0) is None
    assert DRIFTS["start_end_15"].read(window, 200, 10.0) == 0


def test_short_videos_have_no_windows_of_seconds():
    assert drift("first_last_5s", STEADY[:49]) is None
    assert drift("first_last_5s", STEADY[:50]) == 0
    assert drift("std_2s", STEADY[:39]) is None


def test_a_metric_reads_its_own_series():
    series = {"cosine": [0.5] * 100 + [0.25] * 100}
    found = DRIFTS["start_end_15"].read(window_of(ClipScore(), series), 200, 10.0)
    assert found == pytest.approx(25.0)


@pytest.mark.parametrize("metric", [SceneCuts(), TransNetCuts()])
@pytest.mark.parametrize("cut", [97, 98, 99, 100, 101, 102])
def test_a_cut_near_an_edge_counts_in_one_segment(metric, cut):
    window = window_of(metric, {"cuts": [40.0, float(cut), 160.0]})
    found = segment_values(window, 240, [0, 100, 200])
    assert sum(found) == window(0, 240) == 3
    if cut >= 100:
        assert found == [1, 2, 0]  # it belongs to what it begins


@pytest.mark.parametrize("metric", [SceneCuts(), TransNetCuts()])
def test_the_first_cut_behind_the_shared_frames_is_the_methods_own(metric):
    assert window_of(metric, {"cuts": [16.0, 120.0]})(16, 240) == 2


@pytest.mark.parametrize("metric", [SceneCuts(), TransNetCuts()])
def test_single_frames_hold_no_cut_and_so_have_no_drift_of_cuts(metric):
    window = window_of(metric, {"cuts": [float(i) for i in range(2, 60)]})
    assert window(20, 21) is None
    assert DRIFTS["helios_8_frames"].read(window, 240, 10.0) is None


def test_a_boundary_counts_in_the_window_that_it_begins():
    window = window_of(Seams(), {"seam": [16.0, 100.0], "contrast": [3.0, 5.0]})
    assert segment_values(window, 240, [0, 100, 200]) == [3, 5, None]
    assert window(16, 240) == 4
