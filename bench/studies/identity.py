"""Whether a thing is still what the prompt says: colour and shape that the scorer names, second by second.

Example:
    >>> named_rightly(Namer(), frames, "a red circle bouncing up and down on grass", fps=10.0)   # doctest: +SKIP
    {'colour': 90.0, 'shape': 80.0}
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.ffv1 import read_whole_video
from bench.records import Record
from bench.store import Store
from bench.studies.mini_networks import Namer, truth
from generators.api import Frames
from generators.mini.grammar import parse

IDENTITY = ("colour", "shape")
"""Words of the scene's first thing that make it the same thing."""

LAST_SECONDS = 10.0
"""Length of the video's end that is named."""


def named_rightly(namer: Namer, frames: Frames, prompt: str, fps: float) -> dict[str, float]:
    """Returns for each word of `IDENTITY` in how many percent of the seconds the scorer names the prompt's own.

    Args:
        namer: the scorer.
        frames: [T, H, W, 3].
        prompt: a sentence of the grammar.
        fps: frames per second; frames that fill no whole second are left out.
    """
    scene, length = parse(prompt), round(fps)
    seconds = [frames[begin : begin + length] for begin in range(0, len(frames) - length + 1, length)]
    looks = [namer.look(second) for second in seconds]
    return {
        word: 100 * float(np.mean([namer.name(look, scene, word) == truth(scene, word) for look in looks]))
        for word in IDENTITY
    }


def identities(store: Store, records: list[Record], kept: Path) -> dict[str, dict[str, float]]:
    """Returns what `named_rightly` says of the last seconds of each video, by method and key; kept in a file.

    Args:
        store: where the videos are.
        records: of finished videos.
        kept: JSON file of those that were named before.
    """
    known: dict[str, dict[str, float]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    namer = None
    for record in records:
        name = f"{record.method}/{record.key}"
        if name in known:
            continue
        namer = namer or Namer()
        frames = read_whole_video(store.whole_video(record))[-round(LAST_SECONDS * record.fps) :]
        known[name] = named_rightly(namer, frames, record.prompt.text, record.fps)
        kept.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return known
