"""Says whether a file of the user's hides one of our packages from `python -m bench`, which looks in its folder first.

Example:
    >>> hidden_by()
    ''
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

OUR_PACKAGES = ("baselines", "generators", "metrics", "prompts")
"""Our packages beside `bench`, which itself has been found when this is asked."""


def hidden_by() -> str:
    """Returns a sentence about the first of our packages that Python finds elsewhere; empty if all are ours."""
    home = Path(__file__).resolve().parents[1]
    for name in OUR_PACKAGES:
        place = _place(name)
        if place is not None and home / name not in (place, *place.parents):
            return (
                f"{place} hides the benchmark's own package {name!r}, because `python -m` searches the current folder "
                "first: run `longvideo-bench` instead, which works in every folder, or rename that file"
            )
    return ""


def _place(name: str) -> Path | None:
    """Returns the file or folder that `import` would take a package from, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    place = (
        spec.origin if spec.has_location and spec.origin else next(iter(spec.submodule_search_locations or ()), None)
    )
    return None if place is None else Path(place).resolve()
