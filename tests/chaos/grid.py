"""A tiny grid for the chaos suite: a profile, prompts, first chunks laid into the store, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench.catalog import find_plugins
from bench.ffv1 import file_digest
from bench.plan import plan
from bench.profile import load_profile
from bench.store import Store
from generators.api import Start

ROOT = Path(__file__).resolve().parents[2]

PROFILE = """
name = "tiny"
[video]
num_frames = 21
height = 16
width = 24
fps = 8.0
[run]
executor = "serial"
workers = 2
threads = 1
device = "cpu"
dtype = "float32"
prompts = "long50"
num_prompts = 2
seeds = [0]
metrics = ["brightness"]
"""


def lay_out(folder: Path, plugin: str, prompts: str = "a red circle\na blue square\n") -> None:
    """Writes the profile, the plugin and the prompts."""
    (folder / "tiny.toml").write_text(PROFILE)
    (folder / "plugin.py").write_text(plugin)
    (folder / "p.txt").write_text(prompts)


def lay_starts(folder: Path, out: str) -> None:
    """Stores first chunks, so that no text-to-video model is needed."""
    profile = load_profile(str(folder / "tiny.toml"), ["run.metrics=[]"])
    spec = plan(find_plugins(), profile, methods="still", prompts=str(folder / "p.txt"), seeds=[0, 1])
    (folder / out / "starts").mkdir(parents=True, exist_ok=True)
    for cell in spec.cells:
        rng = np.random.default_rng([cell.seed, *cell.prompt.text.encode()])
        frames = rng.integers(0, 256, (8, 16, 24, 3), dtype=np.uint8)
        Store(folder / out).save_start(cell.start_key, Start(frames, frames[:, ::2, ::2]), 8.0)


def words(*options: str, methods: str, out: str = "out") -> list[str]:
    """Returns the command line of a run."""
    fixed = ["--profile", "tiny.toml", "--plugin", "plugin.py", "--prompts", "p.txt"]
    if "--metrics" not in options:  # else every metric of the plugin is scored, hostile ones too
        fixed += ["--metrics", "brightness"]
    return [sys.executable, "-m", "bench", "run", "--methods", methods, "--out", out, *fixed, *options]


def environment() -> dict[str, str]:
    """Returns the environment of a command that finds this checkout from another folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(folder: Path, command: list[str], timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Returns how a command ended; one that hangs fails the test."""
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def videos(folder: Path) -> dict[str, str]:
    """Returns the hash of every video of a run by its name."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.glob("cells/*/*.mkv")}
