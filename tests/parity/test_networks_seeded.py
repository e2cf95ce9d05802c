"""Every network computes what it did when it agreed with its original; see `tests/parity/seeded.py`."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from tests.conftest import golden
from tests.parity.goldens import assert_near
from tests.parity.seeded import NETWORKS, compute

LIMIT = 3e-5
"""The originals' goldens allow 1e-5 to 5e-5, by their float32 errors."""


@pytest.mark.parametrize("name", NETWORKS)
def test_output_of_the_proven_network(name: str) -> None:
    recorded = load_file(golden("seeded", "outputs.safetensors"))
    assert recorded[name].std() > 0.05, "an output without variance proves nothing"
    assert_near(compute(name), recorded[name], LIMIT, name)
