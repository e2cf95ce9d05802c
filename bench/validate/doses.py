"""The dose-response table: every fault at rising strength in the same scenes, scored by every metric.

All videos of a scene differ in nothing but the fault, so a change of the score is the answer to it.

Example:
    >>> task = DoseTask(Instruments("", ""), scene=0, kinds=("flicker",))
    >>> values = measure_doses(task)["stillness"]["flicker"]
    >>> len(values) == 1 + len(STRENGTHS["flicker"])
    True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bench.validate.cores import Cores
from bench.validate.instruments import MEASUREMENTS, Instruments
from bench.validate.ranks import DoseAnswer, dose_answer
from generators.mini.faults import Fault, FaultyClip
from generators.mini.grammar import caption, random_scene
from generators.mini.world import FPS
from metrics.api import Metric, Score
from metrics.scoring import VideoScorer

DOSE_FRAMES = 64
"""Frames of a video: four chunks of 16."""

DOSE_CHUNK = 16
"""Frames to a chunk; its joins are declared to the seam metric in all videos, faulty there or not."""

SEAMS = tuple(range(DOSE_CHUNK, DOSE_FRAMES, DOSE_CHUNK))

STRENGTHS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "freeze": (3, 6, 12, 24, 48),
        "drift": (4, 8, 16, 32, 64),
        "flicker": (2, 4, 8, 16, 32),
        "blur": (0.5, 1, 1.5, 2.5, 4),
        "seam": (1, 2, 4, 8, 14),
        "loop": (0.125, 0.25, 0.5, 0.65, 0.75),
        "identity": (0.2, 0.4, 0.6, 0.8, 1.0),
        "cut": (0.2, 0.4, 0.6, 0.8, 1.0),
        "exposure": (4, 8, 16, 32, 64),
        "dip": (4, 8, 16, 32, 64),
        "return": (1, 2, 4, 8, 16),
    }
)
"""Doses by kind of fault, in its unit (`generators.mini.faults.UNITS`). The longest seam skips half of the shortest
period of motion: a longer one would bring the object back."""

DoseCurves = dict[str, dict[str, list[float | None]]]
"""Values of one scene by reading and fault; the sound clip first, then the doses in ascending order."""


@dataclass(frozen=True)
class DoseTask:
    """One scene to measure.

    Attributes:
        instruments: with what.
        scene: number of the scene; everything about it follows from it.
        network: whether the slow networks measure, too.
        kinds: which faults.
    """

    instruments: Instruments
    scene: int
    network: bool = False
    kinds: tuple[str, ...] = tuple(STRENGTHS)


@dataclass(frozen=True)
class DoseTable:
    """What all scenes gave.

    Attributes:
        curves: values by reading and fault, one list per scene; the sound clip first, then rising doses.
        answers: by reading and fault.
    """

    curves: Mapping[str, Mapping[str, Sequence[Sequence[float | None]]]]
    answers: Mapping[str, Mapping[str, DoseAnswer]]


def dose_table(
    instruments: Instruments, scenes: int, network_scenes: int, cores: Cores, say: Callable[[str], None]
) -> DoseTable:
    """Returns the table.

    Args:
        instruments: with what.
        scenes: how many, >= 1.
        network_scenes: in how many of them the slow networks measure, too, which takes four times as long.
        cores: where it runs.
        say: is told how far it is.
    """
    # The slow scenes first, so that no core waits for the last of them.
    tasks = [DoseTask(instruments, scene, network=scene < network_scenes) for scene in range(scenes)]
    results = []
    for curves in cores.map(measure_doses, tasks):
        results.append(curves)
        say(f"dose-response: {len(results)} of {scenes} scenes")
    return tabulated(results)


def tabulated(results: Sequence[DoseCurves]) -> DoseTable:
    """Returns the table that the values of single scenes make."""
    merged: dict[str, dict[str, list[list[float | None]]]] = {}
    for curves in results:
        for reading, faults in curves.items():
            for kind, values in faults.items():
                merged.setdefault(reading, {}).setdefault(kind, []).append(values)
    readings = [reading for reading in MEASUREMENTS if reading.name in merged]
    answers = {
        r.name: {kind: dose_answer(lists, r.better, r.least) for kind, lists in merged[r.name].items()}
        for r in readings
    }
    return DoseTable(merged, answers)


def measure_doses(task: DoseTask) -> DoseCurves:
    """Returns the values of one scene."""
    metrics = task.instruments.metrics(task.network)
    sound = _score(metrics, task.scene, Fault("freeze", 0.0))
    scores = {
        kind: [sound] + [_score(metrics, task.scene, dose(kind, strength)) for strength in STRENGTHS[kind]]
        for kind in task.kinds
    }
    readings = [reading for reading in MEASUREMENTS if reading.tool in metrics]
    return {r.name: {kind: [r.of(score) for score in row] for kind, row in scores.items()} for r in readings}


def dose(kind: str, strength: float) -> Fault:
    """Returns the fault of one kind as the table has it: in the second chunk, at all seams, or in the middle."""
    if kind == "seam":
        return Fault(kind, strength, at=DOSE_CHUNK, every=DOSE_CHUNK)
    return Fault(kind, strength, at=DOSE_FRAMES // 2 if kind in ("cut", "return") else DOSE_CHUNK)


def _score(metrics: Mapping[str, Metric], number: int, fault: Fault) -> dict[str, Score]:
    rng = np.random.default_rng([64, number])
    scene, seed = random_scene(rng, two_things=0.4), int(rng.integers(2**31))
    scorer = VideoScorer(metrics, caption(scene), FPS)
    for frames in FaultyClip(scene, seed, fault, DOSE_FRAMES).stream():
        scorer.update(frames)
    return scorer.compute(SEAMS)
