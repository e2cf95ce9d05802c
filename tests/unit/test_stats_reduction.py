"""`bench.stats`: means that lose nothing, intervals that cover, tests that count exactly."""

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.stats import (
    EXACT_UP_TO,
    MIN_CLUSTERS,
    bootstrap_interval,
    holm,
    largest_defined,
    mean_defined,
    median_defined,
    paired_test,
    sign_flip_p,
    summarise,
    summarise_curves,
)

finite = st.floats(-1e6, 1e6)


def test_undefined_values_are_left_out_and_counted() -> None:
    summary = summarise([1.0, None, 3.0, float("nan"), float("inf")], list("abcde"))
    assert (summary.mean, summary.median, summary.n, summary.undefined) == (2.0, 2.0, 2, 3)


def test_no_defined_value_gives_no_mean() -> None:
    summary = summarise([None, None], ["a", "b"])
    assert (summary.mean, summary.low, summary.n, summary.undefined) == (None, None, 0, 2)
    assert mean_defined([None]) is None
    assert median_defined([]) is None
    assert largest_defined([None, float("nan")]) is None


def test_values_and_clusters_must_pair_up() -> None:
    with pytest.raises(ValueError, match="zip"):
        summarise([1.0, 2.0], ["a"])


@example([0.0, 0.0, 1.3146280467501637e-110])
@given(st.lists(finite, min_size=1, max_size=20))
def test_mean_is_plain_and_interval_stays_inside_the_data(values: list[float]) -> None:
    summary = summarise(values, range(len(values)))
    assert summary.mean == pytest.approx(np.mean(values), rel=1e-12, abs=1e-9)
    if len(values) < MIN_CLUSTERS:
        assert summary.low is None
        assert summary.high is None
    else:
        slack = 1e-9 * max(map(abs, values)) + 1e-12
        assert min(values) - slack <= summary.low <= summary.high <= max(values) + slack


def test_interval_is_the_same_every_time_and_moves_with_the_seed() -> None:
    values = np.random.default_rng(1).normal(size=12)
    first = bootstrap_interval(values, range(12), seed=3)
    assert first == bootstrap_interval(values, range(12), seed=3)
    assert first != bootstrap_interval(values, range(12), seed=4)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(150):
        low, high = bootstrap_interval(rng.exponential(size=40), range(40), seed=trial)
        covered += low <= 1.0 <= high
    assert 0.87 <= covered / 150 <= 0.99


def test_interval_agrees_with_an_independent_implementation() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(5).gamma(1.5, size=25)
    theirs = scipy_stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20000, random_state=0)
    low, high = bootstrap_interval(values, range(25))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


def test_seeds_of_one_prompt_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(2).normal(size=8)
    low, high = bootstrap_interval(values, range(8))
    copied = bootstrap_interval(np.repeat(values, 5), np.repeat(np.arange(8), 5).tolist())
    assert copied == pytest.approx((low, high))


@given(st.lists(finite, min_size=1, max_size=9))
def test_sign_flips_count_every_pattern(differences: list[float]) -> None:
    d = np.array(differences)
    p, exact = sign_flip_p(d)
    observed, slack = abs(d.sum()), 1e-9 * np.abs(d).sum()
    extreme = [abs(np.dot(signs, d)) >= observed - slack for signs in product((-1, 1), repeat=len(d))]
    assert exact
    assert p == pytest.approx(np.mean(extreme))


def test_sign_flips_cannot_go_below_two_over_all_patterns() -> None:
    p, _ = sign_flip_p(np.ones(4))
    assert p == 2 / 2**4


def test_random_sign_flips_approach_the_exact_value_and_never_reach_zero() -> None:
    rng = np.random.default_rng(0)
    exact, _ = sign_flip_p(rng.normal(0.4, 1.0, size=EXACT_UP_TO))
    many, is_exact = sign_flip_p(np.full(60, 1.0))
    assert not is_exact
    assert 0 < many < 1e-3
    assert 0 < exact < 1


def test_paired_test_uses_shared_videos_and_averages_seeds() -> None:
    first = {("a", 0): 3.0, ("a", 1): 5.0, ("b", 0): 2.0, ("c", 0): None, ("d", 0): 1.0}
    second = {("a", 0): 1.0, ("a", 1): 1.0, ("b", 0): 1.0, ("c", 0): 9.0, ("e", 0): 1.0}
    test = paired_test(first, second)
    assert test.n == 2  # prompts a (mean of 2 and 4) and b (1)
    assert test.difference == 2.0
    assert test.p == 0.5


def test_paired_test_is_antisymmetric() -> None:
    rng = np.random.default_rng(7)
    first, second = ({(str(i), 0): float(v) for i, v in enumerate(rng.normal(size=6))} for _ in range(2))
    there, back = paired_test(first, second), paired_test(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p == back.p


def test_paired_test_without_shared_videos_has_no_p() -> None:
    assert paired_test({("a", 0): 1.0}, {("b", 0): 1.0}).p is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    assert [a for _, a in sorted(zip(p_values, adjusted, strict=True))] == sorted(adjusted)


def test_curves_are_summarised_point_by_point() -> None:
    points = summarise_curves([[1.0, 2.0], [3.0, None]], ["a", "b"])
    assert [(p.mean, p.n, p.undefined) for p in points] == [(2.0, 2, 0), (2.0, 1, 1)]
    with pytest.raises(ValueError, match="zip"):
        summarise_curves([[1.0], [1.0, 2.0]], ["a", "b"])
