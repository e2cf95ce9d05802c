"""A grid that takes a moment: profile, drop-in method and metric, first chunks laid into the store, and the command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.catalog import find_plugins
from bench.cli import main
from bench.ffv1 import file_digest
from bench.plan import plan
from bench.profile import load_profile
from bench.store import Store
from generators.api import Start
from tests.conftest import REPOSITORY

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

PROMPTS = "a red circle\na blue square\n"

WALK = '''
import time
from dataclasses import dataclass
import numpy as np
from generators.api import method

@method(name="walk", title="Walk", paper="", licence="none", continues_start=True)
@dataclass
class Walk:
    """A random walk of the last frame, chunk by chunk."""
    chunk: int = 5
    pause: float = 0.0

    def generate(self, request, start):
        rng = np.random.default_rng(request.seed)
        last, missing = start.frames[-1].astype(int), request.num_frames - len(start.frames)
        while missing > 0:
            size = min(self.chunk, missing)
            steps = rng.integers(-9, 10, (size, *last.shape)).cumsum(axis=0)
            yield np.clip(last + steps, 0, 255).astype(np.uint8)
            last, missing = last + steps[-1], missing - size
            time.sleep(self.pause)
'''

BRIGHTNESS = """
from dataclasses import dataclass
from metrics.api import Score, mean_or_none, metric

@metric(name="brightness", title="Brightness", unit="0..255", better="higher", version="1")
@dataclass
class Brightness:
    gain: float = 1.0

    def begin(self, prompt, fps):
        return Sum(self)

    def window(self, series, start, stop):
        return mean_or_none(series["grey"][start:stop])

class Sum:
    def __init__(self, metric):
        self.metric, self.grey = metric, []

    def update(self, frames):
        self.grey += [self.metric.gain * float(f.mean()) for f in frames]

    def compute(self, seams=()):
        series = {"grey": self.grey}
        return Score(self.metric.window(series, 0, len(self.grey)), {"seams": len(seams)}, series)
"""


def lay_out(folder: Path, plugin: str, profile: str = PROFILE, prompts: str = PROMPTS) -> None:
    """Writes the profile, the plugin and the prompts."""
    (folder / "tiny.toml").write_text(profile)
    (folder / "plugin.py").write_text(plugin)
    (folder / "p.txt").write_text(prompts)


def lay_starts(folder: Path, out: str = "out", overrides: Sequence[str] = ()) -> None:
    """Stores first chunks, so that no text-to-video model is needed."""
    profile = load_profile(str(folder / "tiny.toml"), ["run.metrics=[]", "metrics={}", *overrides])
    spec = plan(find_plugins(), profile, methods="still", prompts=str(folder / "p.txt"), seeds=[0, 1])
    (folder / out / "starts").mkdir(parents=True, exist_ok=True)
    for cell in spec.cells:
        rng = np.random.default_rng([cell.seed, *cell.prompt.text.encode()])
        frames = rng.integers(0, 256, (8, 16, 24, 3), dtype=np.uint8)
        Store(folder / out).save_start(cell.start_key, Start(frames, frames[:, ::2, ::2]), 8.0)


def arguments(*options: str, methods: str = "walk", out: str = "out") -> list[str]:
    """Returns the words of a run."""
    fixed = ["--profile", "tiny.toml", "--plugin", "plugin.py", "--prompts", "p.txt"]
    if "--metrics" not in options:  # else every metric of the plugin is scored, those that break too
        fixed += ["--metrics", "brightness"]
    return ["run", "--methods", methods, "--out", out, *fixed, *options]


def call(*words: str) -> int:
    """Runs a command in this process and returns its exit code."""
    try:
        main(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def videos(folder: str | Path) -> dict[str, str]:
    """Returns the hash of every video of a run by its name."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in Path(folder).glob("cells/*/*.mkv")}


def environment() -> dict[str, str]:
    """Returns the environment of a command that finds this checkout from another folder."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
