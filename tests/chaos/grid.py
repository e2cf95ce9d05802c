"""The tiny grid as commands of their own, which may be killed, starved or run at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tiny_grid import arguments, environment


def words(*options: str, methods: str, out: str = "out") -> list[str]:
    """Returns the command line of a run."""
    return [sys.executable, "-m", "bench", *arguments(*options, methods=methods, out=out)]


def run(folder: Path, command: list[str], timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Returns how a command ended; one that hangs fails the test."""
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
