"""Optical flow against the exact one: end-point error of every estimator, and what MAWE's warp makes of a true flow.

Example:
    >>> result = measure_pairs(PairTask("dis", "", clip=0))
    >>> result.visible < 4.0 and len(result.warp_error) == 3
    True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.stats import mean_defined
from bench.validate.cores import Cores
from bench.validate.instruments import FLOW_SIZE, Instruments
from generators.mini.grammar import BACKGROUNDS, random_scene
from generators.mini.world import Clip, Float

if TYPE_CHECKING:
    from torch import Tensor

PAIRS = 4
"""Consecutive frame pairs per clip."""

FLOOR_SIZES = (64, 128, 256, 512)
"""Sides in pixels at which a true flow is warped along."""


@dataclass(frozen=True)
class PairTask:
    """A clip and an estimator.

    Attributes:
        estimator: name.
        weights: its file or folder.
        clip: number of the clip; everything about it follows from it.
    """

    estimator: str
    weights: str
    clip: int


@dataclass(frozen=True)
class ClipError:
    """Means over the pairs of one clip, pixels at `FLOW_SIZE`.

    Attributes:
        background: of the scene.
        everywhere: end-point error over all pixels.
        visible: over pixels whose point is seen in both frames.
        occluded: over the others; None where there are none.
        motion: length of the true flow, which is the end-point error of saying that nothing moves.
        warp_error: of the estimated, the true and no flow, grey levels squared.
    """

    background: str
    everywhere: float
    visible: float
    occluded: float | None
    motion: float
    warp_error: tuple[float, float, float]


@dataclass(frozen=True)
class EstimatorError:
    """End-point error of one estimator, pixels at `FLOW_SIZE`: means over clips.

    Attributes:
        clips: how many.
        everywhere: over all pixels.
        visible: over pixels seen in both frames.
        occluded: over the others.
        motion: length of the true flow.
        median: over clips, of the error over all pixels.
        worst: clip's error over all pixels.
        by_background: error over all pixels by background.
        warp_error: of the estimated, the true and no flow.
    """

    clips: int
    everywhere: float
    visible: float
    occluded: float | None
    motion: float
    median: float
    worst: float
    by_background: Mapping[str, float]
    warp_error: tuple[float, float, float]


@dataclass(frozen=True)
class Floor:
    """Warp error of a true flow at one size, grey levels squared: means over clips.

    Attributes:
        size: side of the frames in pixels.
        inner: true flow of pixels seen in both frames and not at an outline; what is left is rounding to whole pixels.
        visible: true flow of pixels seen in both frames; pixels at an outline mix two layers that move apart.
        everywhere: true flow of all pixels, hidden ones included.
        still: no flow at all.
    """

    size: int
    inner: float
    visible: float
    everywhere: float
    still: float


@dataclass(frozen=True)
class FlowErrors:
    """Both halves of this module's validation."""

    estimators: Mapping[str, EstimatorError]
    floor: Sequence[Floor]


def measure_flow(
    instruments: Instruments, clips: int, floor_clips: int, cores: Cores, say: Callable[[str], None]
) -> FlowErrors:
    """Returns the errors.

    Args:
        instruments: which estimators there are.
        clips: per estimator.
        floor_clips: for the warp of the true flow.
        cores: where it runs.
        say: is told how far it is.
    """
    found = {}
    for name, weights in instruments.estimators().items():
        tasks = [PairTask(name, weights, clip) for clip in range(clips)]
        found[name] = summarised(list(cores.map(measure_pairs, tasks)))
        say(f"flow: {name} on {clips} clips")
    floors = []
    for size in FLOOR_SIZES:
        errors = list(cores.map(floor_of, [(clip, size) for clip in range(floor_clips)]))
        floors.append(Floor(size, *(float(mean) for mean in np.mean(errors, axis=0))))
    return FlowErrors(found, floors)


def measure_pairs(task: PairTask) -> ClipError:
    """Returns the error of an estimator on consecutive pairs of a clip."""
    import torch

    from metrics.flow.estimators import load_estimator
    from metrics.flow.warping import pair_numbers, resize_frames

    clip, start = _clip(task.clip)
    frames = resize_frames(clip.render(start, start + PAIRS + 1), FLOW_SIZE)
    truth = [clip.flow(start + i, size=FLOW_SIZE) for i in range(PAIRS)]
    true = torch.from_numpy(np.stack([flow for flow, _ in truth]))
    stream = load_estimator(task.estimator, task.weights).stream()
    pairs = [*stream.push(frames), *stream.flush()]
    estimated = torch.cat([pair.flow for pair in pairs])
    error = np.linalg.norm((estimated - true).numpy(), axis=1)
    hidden = np.stack([occluded for _, occluded in truth])
    warp_errors = tuple(
        float(pair_numbers(frames[:-1], frames[1:], flow).warp_error.mean())
        for flow in (estimated, _nowhere(true, hidden), torch.zeros_like(true))
    )
    return ClipError(
        clip.scene.background,
        float(error.mean()),
        float(error[~hidden].mean()),
        float(error[hidden].mean()) if hidden.any() else None,
        float(np.linalg.norm(true.numpy(), axis=1).mean()),
        (warp_errors[0], warp_errors[1], warp_errors[2]),
    )


def summarised(errors: Sequence[ClipError]) -> EstimatorError:
    """Returns the means over clips."""
    everywhere = [e.everywhere for e in errors]
    by_background = {b: mean_defined([e.everywhere for e in errors if e.background == b]) for b in BACKGROUNDS}
    own, true, none = (float(np.mean([e.warp_error[i] for e in errors])) for i in range(3))
    return EstimatorError(
        len(errors),
        float(np.mean(everywhere)),
        float(np.mean([e.visible for e in errors])),
        mean_defined([e.occluded for e in errors]),
        float(np.mean([e.motion for e in errors])),
        float(np.median(everywhere)),
        max(everywhere),
        {background: value for background, value in by_background.items() if value is not None},
        (own, true, none),
    )


def floor_of(task: tuple[int, int]) -> tuple[float, float, float, float]:
    """Returns the warp error of the true flow of inner, of visible and of all pixels, and of no flow, on one pair.

    Args:
        task: number of the clip, and side of the frames in pixels, a multiple of the world's.
    """
    import torch

    from metrics.flow.warping import pair_numbers, resize_frames

    number, size = task
    clip, start = _clip(number)
    frames = resize_frames(clip.render(start, start + 2), size)
    flow, hidden = clip.flow(start, size=size)
    true = torch.from_numpy(flow)[None]
    mixed = hidden | _mixed(clip, start, flow)
    flows = (_nowhere(true, mixed[None]), _nowhere(true, hidden[None]), true, torch.zeros_like(true))
    inner, visible, everywhere, still = (float(pair_numbers(frames[:1], frames[1:], f).warp_error[0]) for f in flows)
    return inner, visible, everywhere, still


def _mixed(clip: Clip, start: int, flow: Float) -> NDArray[np.bool_]:
    """Returns where a pixel, here or where the flow takes it, is within one of the world's pixels of an outline."""
    size = flow.shape[-1]
    here, there = (_outlines(clip.layers(time), size) for time in (start, start + 1))
    row, column = np.mgrid[:size, :size]
    to_column, to_row = (
        np.clip(np.rint(place), 0, size - 1).astype(int) for place in (column + flow[0], row + flow[1])
    )
    mixed: NDArray[np.bool_] = here | there[to_row, to_column]
    return mixed


def _outlines(layers: NDArray[np.int8], size: int) -> NDArray[np.bool_]:
    """Returns where the 3 x 3 neighbourhood shows more than one layer, [size, size]."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(layers, 1, mode="edge"), (3, 3))
    outline = around.max(axis=(2, 3)) != around.min(axis=(2, 3))
    scale = size // len(layers)
    enlarged: NDArray[np.bool_] = outline.repeat(scale, axis=0).repeat(scale, axis=1)
    return enlarged


def _nowhere(flow: Tensor, hidden: NDArray[np.bool_]) -> Tensor:
    """Returns the flow [N, 2, H, W] with hidden pixels [N, H, W] sent nowhere, so that they claim no cell."""
    import torch

    return torch.where(torch.from_numpy(hidden)[:, None], torch.nan, flow)


def _clip(number: int) -> tuple[Clip, int]:
    rng = np.random.default_rng([128, number])
    scene = random_scene(rng, two_things=0.4)
    return Clip(scene, int(rng.integers(2**31))), int(rng.integers(0, 200))
