"""Rendered clips and stills that the miniature networks learn from, drawn once by all cores and kept on disk.

Every clip has a seed of its own, its number, so any of them can be rendered again, also at times before it begins.

Example:
    >>> clip, caption, begin = scene_of(7)
    >>> clip.render_at(begin + np.arange(2)).shape
    (2, 64, 64, 3)
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from generators.mini.data import random_clip
from generators.mini.training import StepRandom
from generators.mini.world import SIZE, Clip

S = TypeVar("S")
T = TypeVar("T")

CLIPS, CLIP_FRAMES, STILLS = 8000, 51, 40000
"""Whole clips, frames in each (as long as the longest chunk of any network), and further single frames."""

LATEST_BEGIN = 200.0
"""Clips begin at a random time before this one, in frames of their scene's time."""

_AT_ONCE = 100
"""Clips in a run that one process renders at a time."""

_AHEAD = 8
"""Runs per core that are made before their reader asks for them."""


@dataclass(frozen=True)
class Rendered:
    """Frames of the world with their captions, on the default device.

    Attributes:
        clips: [CLIPS, CLIP_FRAMES, 64, 64, 3] uint8.
        clip_captions: one per clip.
        stills: [STILLS, 64, 64, 3] uint8, single frames of other clips.
        still_captions: one per still.
    """

    clips: Tensor
    clip_captions: list[str]
    stills: Tensor
    still_captions: list[str]


def scene_of(number: int, kind: str = "clip") -> tuple[Clip, str, float]:
    """Returns clip `number` (or the clip of still `number`), its caption and the time of its first frame."""
    rng = StepRandom.of(f"rendered-{kind}", number).scenes
    clip, caption = random_clip(rng)
    return clip, caption, rng.uniform(0, LATEST_BEGIN)


def load_rendered(cache: Path) -> Rendered:
    """Returns the frames, rendered if not in `cache` (5.5 GB; a few minutes on two cores)."""
    return Rendered(
        _load(cache, "clip", CLIPS, CLIP_FRAMES),
        load_captions(cache, "clip", CLIPS),
        _load(cache, "still", STILLS, 1)[:, 0],
        load_captions(cache, "still", STILLS),
    )


def load_captions(cache: Path, kind: str, count: int) -> list[str]:
    """Returns the captions of `count` clips or stills, made if not in `cache`."""
    path = cache / f"rendered_{kind}_captions.json"
    if not path.exists():
        texts = [scene_of(number, kind)[1] for number in range(count)]
        path.with_suffix(".tmp").write_text(json.dumps(texts), encoding="utf-8")
        path.with_suffix(".tmp").replace(path)
    captions: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return captions


def by_all_cores(work: Callable[[Sequence[int]], T], count: int) -> list[T]:
    """Returns, in order, what `work` makes of runs of the numbers 0 to count - 1, in as many processes as cores."""
    runs = [range(begin, min(begin + _AT_ONCE, count)) for begin in range(0, count, _AT_ONCE)]
    return list(map_by_all_cores(work, runs))


def map_by_all_cores(work: Callable[[S], T], given: Iterable[S]) -> Iterator[T]:
    """Yields, in order, what `work` makes of each of `given`, in as many processes as cores and a few ahead."""
    cores = len(os.sched_getaffinity(0))
    waiting: deque[Future[T]] = deque()
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:  # fork breaks under a GPU's runtime
        for one in given:
            waiting.append(pool.submit(work, one))
            if len(waiting) > _AHEAD * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _load(cache: Path, kind: str, count: int, frames: int) -> Tensor:
    path = cache / f"rendered_{kind}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        np.lib.format.open_memmap(part, "w+", np.uint8, (count, frames, SIZE, SIZE, 3)).flush()
        by_all_cores(partial(_render, part, kind, frames), count)
        part.replace(path)
    return torch.from_numpy(np.load(path, mmap_mode="c")).to(torch.get_default_device())


def _render(path: Path, kind: str, frames: int, numbers: Sequence[int]) -> None:
    held = np.lib.format.open_memmap(path, "r+")
    for number in numbers:
        clip, _, begin = scene_of(number, kind)
        held[number] = clip.render_at(begin + np.arange(frames))
    held.flush()
