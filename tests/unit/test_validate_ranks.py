"""Verdicts on dose-response curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.validate.ranks import average_ranks, dose_answer, spearman


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=12, unique=True))
def test_spearman_of_any_increasing_function_is_one(values):
    assert spearman(values, np.argsort(np.argsort(values)).tolist()) == pytest.approx(1)
    assert spearman(values, [-v for v in values]) == pytest.approx(-1)


def test_spearman_with_ties_is_pearson_of_average_ranks():
    x, y = [1, 2, 2, 4, 7], [3, 3, 5, 9, 1]
    expected = np.corrcoef(average_ranks(np.array(x, float)), average_ranks(np.array(y, float)))[0, 1]
    assert spearman(x, y) == pytest.approx(expected)
    assert average_ranks(np.array([5.0, 1.0, 5.0, 5.0])).tolist() == [3, 1, 3, 3]


UP = [[0, 1, 2, 3, 4, 5], [3, 4, 6, 8, 9, 11], [5, 6, 7, 9, 12, 14]]


@pytest.mark.parametrize(
    ("curves", "better", "verdict"),
    [
        (UP, "lower", "sees"),
        (UP, "higher", "rewards"),
        ([[-v for v in curve] for curve in UP], "higher", "sees"),
        ([[v, v, v, v, v, v] for v in (0, 3, 5)], "lower", "blind"),
        ([[100 * start + 0.01 * dose for dose in range(6)] for start in range(4)], "lower", "faint"),
        ([[0, 1, 2, None, None, None]] * 3, "lower", "undefined"),
        ([[0, -1, 3, 2, 1, 3]] * 2 + [[0, 1, 2, 3, 4, -1]], "lower", "in part"),
        ([[0, 1, 1, 1, 1, 1]] * 3, "lower", "detects"),
    ],
)
def test_verdicts(curves, better, verdict):
    assert dose_answer(curves, better).verdict == verdict


def test_the_change_keeps_its_sign_and_the_threshold_is_the_first_dose_of_an_unbroken_run():
    curves = [[10, 10, 9, 8, 7, 6], [20, 21, 18, 17, 15, 13]]
    found = dose_answer(curves, "higher")
    assert found.change == pytest.approx(-5.5)
    assert found.threshold == 1
    assert found.worse == 1.0


def test_undefined_scenes_are_counted_and_left_out_of_the_change():
    found = dose_answer([[0, 1, 2, 3], [0, 1, 2, None], [1, 2, 4, 8]], "lower")
    assert found.undefined == pytest.approx(1 / 3)
    assert found.change == pytest.approx(5)


@pytest.mark.parametrize(("better", "verdict"), [("lower", "faint"), ("higher", "blind")])
def test_a_change_too_small_to_matter_is_neither_seen_nor_rewarded(better, verdict):
    assert dose_answer(UP, better, least=100.0).verdict == verdict
