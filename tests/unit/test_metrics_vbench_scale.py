"""VBench's final scale: its constants and the columns they belong to."""

import pytest

from metrics.named import BUILT_IN, GROUPS
from metrics.vbench_scale import RANGES, WEIGHTS, final_scale


def test_every_dimension_of_the_group_has_a_range_and_a_weight():
    assert set(RANGES) == set(WEIGHTS) == set(GROUPS["vbench"]) <= set(BUILT_IN)
    assert WEIGHTS["dynamic_degree"] == 0.5


@pytest.mark.parametrize(
    ("column", "mean", "scaled"), [("flickering", 0.6293, 0), ("flickering", 1, 1), ("imaging_quality", 50, 0.5)]
)
def test_ends_of_the_scale(column, mean, scaled):
    assert final_scale(column, mean) == pytest.approx(scaled)


def test_values_outside_are_not_clamped():
    assert final_scale("subject_consistency", 0.0) < 0
