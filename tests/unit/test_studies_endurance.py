"""What `bench.studies.endurance` compares, on the miniature weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.studies import endurance

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_one_call_in_half_precision(guidance: float) -> None:
    """One prediction is comparable between precisions, with guidance or without."""
    start = endurance.start_of(endurance.PROMPT)
    plain = replace(endurance.method_of(), guidance_scale=guidance)
    exact = endurance.one_call(plain, start)
    half = endurance.one_call(replace(plain, dtype="bfloat16"), start)
    assert exact.shape == half.shape == (1, 4, 16, 8, 8)
    error = float((half - exact).norm() / exact.norm())
    assert torch.equal(endurance.one_call(plain, start), exact)
    assert 0 < error < 0.05
