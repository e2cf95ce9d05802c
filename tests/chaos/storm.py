"""A method slow enough to be killed in the middle, and what a run must look like whatever happened to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.ffv1 import file_digest

PLUGIN = '''
import time
from dataclasses import dataclass
import numpy as np
from generators.api import method
from metrics.api import Score, mean_or_none, metric

@method(name="walk", title="Walk", paper="", licence="none", continues_start=True)
@dataclass
class Walk:
    """A random walk of the last frame, chunk by chunk."""
    def generate(self, request, start):
        rng = np.random.default_rng(request.seed)
        last, missing = start.frames[-1].astype(int), request.num_frames - len(start.frames)
        while missing > 0:
            size = min(5, missing)
            steps = rng.integers(-9, 10, (size, *last.shape)).cumsum(axis=0)
            yield np.clip(last + steps, 0, 255).astype(np.uint8)
            last, missing = last + steps[-1], missing - size
            time.sleep({pause})

@method(name="falls", title="Falls", paper="", licence="none", continues_start=True, group="faults")
@dataclass
class Falls:
    """Fails after a while."""
    def generate(self, request, start):
        time.sleep({pause} * 3)
        raise ValueError("fell")
        yield

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
        return Score(self.metric.window({{"grey": self.grey}}, 0, len(self.grey)), {{}}, {{"grey": self.grey}})
'''


def plugin(pause: float) -> str:
    """Returns the drop-in file; `pause` seconds between two chunks."""
    return PLUGIN.format(pause=pause)


def image(folder: Path) -> dict[str, Any]:
    """Returns what must be the same of two runs of one grid: bytes of videos, and records without their times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("cells/*/*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".mkv":
            found[name] = file_digest(path)
        elif path.suffix == ".json":
            content = json.loads(path.read_text())
            found[name] = {key: content[key] for key in content if key not in ("cost", "machine", "lost", "checksum")}
    return found


def litter(folder: Path) -> list[str]:
    """Returns names of temporary files and claims: there must be none after a run that ended by itself."""
    return [path.name for pattern in (".tmp-*", ".claim-*") for path in folder.rglob(pattern)]
