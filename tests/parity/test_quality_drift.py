"""Drift definitions and HeliosBench's arithmetic against what upstream code gave for the same numbers."""

import json
import math

import numpy as np
import pytest

from metrics.drift import DRIFTS, segment_starts, segment_values, vde
from metrics.helios import eight_frames_at_both_ends, rating, total
from tests.conftest import golden

DRIFT = json.loads(golden("quality", "drift.json", travels=False).read_text(encoding="utf-8"))


def mean_window(series):
    return lambda start, stop: float(np.mean(series[start:stop])) if stop > start else None


@pytest.mark.parametrize("name", DRIFT["derived_series"])
def test_definitions_on_given_series(name):
    case = DRIFT["derived_series"][name]
    window, frames, fps = mean_window(case["series"]), len(case["series"]), float(case["fps"])
    expected = {
        "start_end_15": case["framepack_15pct"],
        "first_last_5s": case["first5s_last5s_abs"],
        "std_2s": case["reward_forcing_std_population"],
        "std_2s_sample": case["reward_forcing_std_sample"],
    }
    for definition, value in expected.items():
        assert DRIFTS[definition].read(window, frames, fps) == pytest.approx(value, abs=1e-6), definition
    segments = segment_values(window, frames, segment_starts(frames, fps))
    assert segments == pytest.approx(case["segments_10s_means"], abs=1e-6)


@pytest.mark.parametrize("case", DRIFT["vde"], ids=lambda case: f"{case['kind']}-{case['weights']}")
def test_video_drift_error(case):
    found = vde(case["chunk_scores"], case["weights"])
    assert found == pytest.approx(float(case["vde"]), rel=1e-6, abs=1e-6)  # "inf" is a text in the file


def test_an_infinite_drift_error_is_no_value():
    series = [0.0] * 10 + [0.5] * 90
    assert math.isinf(vde([0.0, 0.5]))
    assert DRIFTS["vde"].read(mean_window(series), 100, 10.0) is None


@pytest.mark.parametrize("case", DRIFT["helios_semantic_frames"], ids=lambda case: str(case["frames"]))
def test_helios_frames(case):
    assert eight_frames_at_both_ends(case["frames"]) == (case["first"], case["last"])


@pytest.mark.parametrize("clip", ["hard_cut", "long_drift", "long_sink"])
def test_helios_aesthetic_drift_of_the_golden_scores(clip):
    case = DRIFT["helios_aesthetic"][clip]
    with np.load(golden("quality", "aesthetic.npz", travels=False)) as file:
        scores = file[f"{clip}__per_frame"].astype(np.float64) / 10
    assert len(scores) == case["frames"]
    found = DRIFTS["start_end_15"].read(mean_window(scores), len(scores), 10.0)
    assert found == pytest.approx(case["drift"], abs=1e-5)  # the golden scores are recomputed ones, within 2e-7


@pytest.mark.parametrize("dimension", DRIFT["helios_ratings_long"])
def test_helios_ratings(dimension):
    for mean, expected in DRIFT["helios_ratings_long"][dimension]:
        assert rating(dimension, mean) == expected, mean


def test_helios_total():
    case = DRIFT["helios_total"]
    assert total(case["ratings"]) == pytest.approx(case["total"], abs=1e-9)
    assert total(dict.fromkeys(case["ratings"], 10)) == pytest.approx(case["total_if_all_ten"], abs=1e-9)
