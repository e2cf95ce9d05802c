"""Where the data lies that tests compare with: the one place that knows.

Golden data (outputs of the reference implementations) is looked for in the folder that `LONGVIDEO_GOLDEN` names, then
in `tests/golden`, then beside the repository. Files of others (real clips, inputs that broke things) never enter the
repository and are looked for beside it only.

A test that lacks its data is skipped with the reason. Where the environment says `CI=true`, golden data that is missing
although it travels with the repository, or although there is a folder of golden data, fails the test instead.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
BESIDE = REPOSITORY.parent / "shared"


def pytest_configure() -> None:
    """Takes interrupts again where a shell started the tests in the background and let them ignore these.

    Commands that a test starts would ignore them too, and some tests interrupt commands.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def golden(*parts: str, travels: bool = True) -> Path:
    """Returns the path of golden data, such as `golden("metrics", "mawe")`.

    Args:
        *parts: its path inside a folder of golden data.
        travels: False for what is too large for the repository.
    """
    roots = golden_roots()
    for root in roots:
        if (path := root.joinpath(*parts)).exists():
            return path
    missing = f"golden data {'/'.join(parts)} is not here: set LONGVIDEO_GOLDEN to the folder that holds it"
    if os.environ.get("CI") == "true" and (travels or len(roots) > 1):
        pytest.fail(missing)
    return pytest.skip(missing, allow_module_level=True)


def golden_folders(pattern: str, *, travels: bool = True) -> list[Path]:
    """Returns the folders that hold a file of this pattern, such as "streamingt2v*/unet.safetensors".

    They are those of the first folder of golden data that has any. Raises or skips like `golden`.
    """
    for root in golden_roots():
        if found := sorted(path.parent for path in root.glob(pattern)):
            return found
    return [golden(pattern, travels=travels)]


def golden_roots() -> list[Path]:
    """Returns the folders of golden data that there are, the first one to be asked first."""
    named = os.environ.get("LONGVIDEO_GOLDEN", "")
    folders = [Path(named)] if named else []
    return [folder for folder in [*folders, TESTS / "golden", BESIDE / "golden"] if folder.is_dir()]


def handed(*parts: str) -> Path:
    """Returns the path of files of others, such as `handed("clips")`; skips the test where they are not here."""
    path = BESIDE.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not beside the repository", allow_module_level=True)
    return path
