"""Where the data lies that tests compare with: the one place that knows.

Golden data (outputs of the reference implementations) is looked for in the folder that `LONGVIDEO_GOLDEN` names, then
in `tests/golden`, then beside the repository. Files of others (real clips, inputs that broke things) never enter the
repository and are looked for beside it only.

A test that lacks its data is skipped with the reason; where the environment says `CI=true`, missing golden data fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
BESIDE = REPOSITORY.parent / "shared"


def golden(*parts: str) -> Path:
    """Returns the path of golden data such as `golden("metrics", "mawe")`; skips the test (in CI: fails it) without."""
    named = os.environ.get("LONGVIDEO_GOLDEN", "")
    for root in ([Path(named)] if named else []) + [TESTS / "golden", BESIDE / "golden"]:
        if (path := root.joinpath(*parts)).exists():
            return path
    missing = f"golden data {'/'.join(parts)} is not here: set LONGVIDEO_GOLDEN to the folder that holds it"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    return pytest.skip(missing, allow_module_level=True)


def handed(*parts: str) -> Path:
    """Returns the path of files of others, such as `handed("clips")`; skips the test where they are not here."""
    path = BESIDE.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not beside the repository", allow_module_level=True)
    return path
