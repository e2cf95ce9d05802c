"""SCuts against cuts one knows of: precision and recall on rendered videos, false alarms on fast pans.

Example:
    >>> detection = detections([CutVideo((20.0,), (20.0,)), CutVideo((30.0,), (30.0, 50.0))])
    >>> detection.recall, round(detection.precision, 2)
    (1.0, 0.67)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.validate.cores import Cores
from generators.api import Frames
from generators.mini.faults import elsewhere, spliced
from generators.mini.grammar import Scene, random_scene
from generators.mini.world import FPS, Clip
from metrics.scuts import LOOK_AROUND, MIN_SCENE_LEN, SceneCuts

CUT_FRAMES = 96
"""Frames of a video: room for five scenes of the detector's shortest length."""

MOST_CUTS = 4

PAN_SPEEDS = (2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""How many times faster than the world's own pans (0.7 to 1.3 px a frame) the fast pans are."""


@dataclass(frozen=True)
class CutVideo:
    """Cuts of one video.

    Attributes:
        true: where they are.
        found: where the detector says they are.
    """

    true: tuple[float, ...]
    found: tuple[float, ...]


@dataclass(frozen=True)
class Detection:
    """How well cuts are found; a found cut counts only on exactly the right frame.

    Attributes:
        videos: how many.
        cuts: true ones in all of them.
        found: found ones.
        hits: found ones that are true.
        precision: hits / found, 1 where nothing is found.
        recall: hits / cuts, 1 where there are none.
        f1: harmonic mean of both.
        by_count: pairs [true, found] of every video.
    """

    videos: int
    cuts: int
    found: int
    hits: int
    precision: float
    recall: float
    f1: float
    by_count: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Cuts:
    """All that is known of the detector.

    Attributes:
        other_place: cuts to a scene with another background.
        any_scene: cuts to any other scene, which may have the same background.
        pans: false alarms by speed: (factor, videos, false alarms).
        whips: the same for pans that start and stop at once: a burst of motion of a few frames.
    """

    other_place: Detection
    any_scene: Detection
    pans: tuple[tuple[float, int, int], ...]
    whips: tuple[tuple[float, int, int], ...]


def measure_cuts(videos: int, pans: int, cores: Cores, say: Callable[[str], None]) -> Cuts:
    """Returns how well cuts are found.

    Args:
        videos: of cuts to another place; a quarter as many to any scene.
        pans: videos per speed.
        cores: where it runs.
        say: is told how far it is.
    """
    tasks = [("place", i, 1.0) for i in range(videos)] + [("any", i, 1.0) for i in range(max(1, videos // 4))]
    tasks += [(kind, i, speed) for kind in ("pan", "whip") for speed in PAN_SPEEDS for i in range(pans)]
    results = dict(zip(tasks, cores.map(detect, tasks), strict=True))
    say(f"cuts: {len(tasks)} videos")
    alarms = {
        kind: tuple((speed, pans, sum(len(results[kind, i, speed].found) for i in range(pans))) for speed in PAN_SPEEDS)
        for kind in ("pan", "whip")
    }
    place, anything = ([v for (k, _, _), v in results.items() if k == kind] for kind in ("place", "any"))
    return Cuts(detections(place), detections(anything), alarms["pan"], alarms["whip"])


def detect(task: tuple[str, int, float]) -> CutVideo:
    """Returns true and found cuts of a video.

    Args:
        task: kind ("place", "any", "pan" or "whip"), number, and factor of speed.
    """
    kind, number, speed = task
    rng = np.random.default_rng([96, ("place", "any", "pan", "whip").index(kind), number])
    accumulator = SceneCuts().begin("", FPS)
    true: tuple[int, ...] = ()
    if kind in ("place", "any"):
        true = random_cuts(rng, number % (MOST_CUTS + 1))
        for frames in spliced(_scenes(rng, len(true) + 1, kind == "place"), true, CUT_FRAMES):
            accumulator.update(frames)
    else:
        accumulator.update(_pan(rng, speed, whip=kind == "whip"))
    found = accumulator.compute().series["cuts"]
    return CutVideo(tuple(float(cut) for cut in true), tuple(cut for cut in found if cut is not None))


def random_cuts(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Returns cuts in random places, no scene shorter than the detector's documented minimum, ascending."""
    spare = CUT_FRAMES - (count + 1) * MIN_SCENE_LEN - LOOK_AROUND
    extra = np.sort(rng.integers(0, spare + 1, count))
    return tuple(int(cut) for cut in extra + MIN_SCENE_LEN * np.arange(1, count + 1))


def detections(videos: Sequence[CutVideo]) -> Detection:
    """Returns precision and recall over all cuts of all videos."""
    cuts, found = sum(len(v.true) for v in videos), sum(len(v.found) for v in videos)
    hits = sum(len(set(v.true) & set(v.found)) for v in videos)
    precision, recall = hits / found if found else 1.0, hits / cuts if cuts else 1.0
    f1 = 2 * precision * recall / (precision + recall) if hits else float(not cuts and not found)
    counts = tuple((len(v.true), len(v.found)) for v in videos)
    return Detection(len(videos), cuts, found, hits, precision, recall, f1, counts)


def _scenes(rng: np.random.Generator, count: int, other_place: bool) -> list[Clip]:
    scenes: list[Scene] = [random_scene(rng, two_things=0.4)]
    while len(scenes) < count:
        scenes.append(elsewhere(scenes[-1], rng) if other_place else random_scene(rng, two_things=0.4))
    return [Clip(scene, int(rng.integers(2**31))) for scene in scenes]


def _pan(rng: np.random.Generator, speed: float, whip: bool) -> Frames:
    """Returns a video of a still object over a panning ground."""
    scene = random_scene(rng)
    things = tuple(replace(thing, motion="standing still") for thing in scene.things)
    camera = str(rng.choice(["pans left", "pans right"]))
    clip = Clip(replace(scene, things=things, camera=camera), int(rng.integers(2**31)))
    step = np.full(CUT_FRAMES, speed)
    if whip:
        first = int(rng.integers(20, 60))
        step[:first], step[first + 6 :] = 0, 0
    return clip.render_at(np.cumsum(step))
