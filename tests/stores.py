"""Run folders as commands leave them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.ffv1 import VideoWriter
from bench.growth import grown
from bench.records import Record, RunInfo, StoredScore
from bench.spec import SCHEMA, Prompt
from bench.store import Store
from generators.api import MethodInfo
from metrics.api import MetricInfo

PROMPTS = (Prompt("fox", "A fox"), Prompt("otter", "An otter"), Prompt("crane", "A crane"))
WOBBLE = MetricInfo("wobble", "Wobble", "px", "lower", "1")


def info(name: str, methods: Sequence[str], *, prompts: Sequence[Prompt] = PROMPTS, frames: int = 24) -> RunInfo:
    return RunInfo(
        schema=SCHEMA,
        name=name,
        created=f"of {name}",
        prompt_set=f"set of {name}",
        methods=tuple(methods),
        metrics=(WOBBLE,),
        prompts=tuple(prompts),
        seeds=(0,),
        profile="mini",
        settings={"video": {"num_frames": frames}, "methods": {method: {"steps": 1} for method in methods}},
        provenance={},
        cells=tuple(f"{method}/{method}-{prompt.id}-{frames}" for method in methods for prompt in prompts),
        stamps={method: MethodInfo(method, method.title(), "", "", continues_start=True) for method in methods},
    )


def record(method: str, prompt: Prompt, value: float, frames: int = 24, **changes: object) -> Record:
    score = StoredScore(value, {}, {"values": [value] * frames}, "1", "", {"scale": 1.0})
    made = Record(
        key=f"{method}-{prompt.id}-{frames}",
        method=method,
        title=method.title(),
        prompt=prompt,
        seed=0,
        status="ok",
        start=f"start of {prompt.id}",
        num_frames=frames,
        height=16,
        width=16,
        fps=8.0,
        video_sha256="0" * 64,
        video_bytes=1,
        scores={"wobble": score},
    )
    return replace(made, **changes)


def run(folder: Path, about: RunInfo, values: dict[str, float], frames: int = 24, **changes: object) -> Store:
    """Returns a store as a command leaves it: run.json grown by `about`, and a record per method and prompt."""
    store = Store(folder)
    earlier = store.known()
    store.open(about if earlier is None else grown(earlier, about))
    for method, value in values.items():
        for index, prompt in enumerate(about.prompts):
            store.save(record(method, prompt, value + index, frames, **changes))
    return store


def film(path: Path, level: int, count: int = 24) -> Path:
    with VideoWriter(path, 8.0) as video:
        video.write(np.full((count, 16, 16, 3), level, np.uint8))
    return path
