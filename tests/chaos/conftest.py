"""How far the chaos suite goes: short within the whole suite, long by `CHAOS=long` (`tox -e chaos`)."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest


class Extent(NamedTuple):
    """Numbers of blows.

    Attributes:
        seed: of the moments and places.
        kills: that hit a living process.
        damages: files damaged.
    """

    seed: int
    kills: int
    damages: int


SHORT = Extent(seed=1, kills=45, damages=51)
LONG = Extent(seed=2, kills=300, damages=200)


@pytest.fixture(scope="session")
def extent() -> Extent:
    """Returns how far to go."""
    return LONG if os.environ.get("CHAOS") == "long" else SHORT
