"""What moves in a clip of the miniature world, and how: read off colours and optical flow, not off single frames.

A CLIP score sees single frames, in which motion and camera cannot be seen. Here the thing is where its paint is, its
path is that of its middle, and the ground's flow tells the camera. The rules are few, and how often they name rendered
clips rightly is measured beside what they say of generated ones (`bench.studies.mini_networks`).

Example:
    >>> from generators.mini.grammar import parse
    >>> from generators.mini.world import Clip
    >>> scene = parse("a red circle bouncing up and down on grass")
    >>> name_motion(MovingThing.of(Clip(scene, 3).render(0, 16), scene.things[0].colour, scene.background, still()))
    'bouncing up and down'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from generators.api import Frames
from generators.mini.world import GROUND, PAINT, SIZE
from metrics.flow.api import FlowEstimator
from metrics.flow.warping import resize_frames

Doubles = NDArray[np.float64]

FLOW_SIDE = 128
"""Side of the frames that flow is estimated on."""

PAN = 0.35
"""Pixels a frame that the ground moves in a pan, at least: half of the slowest pan's."""

ZOOM = 0.008
"""Spread of the ground's growth per frame in a zoom, at least: half of that of 18 % in a swing of 36 to 52 frames."""

TRAVEL = 5.0
"""Pixels between the ends of a path along one axis that count as motion; the shortest swing spans twice as many."""

ROUND = 0.35
"""Shorter over longer axis of a path that circles, at least."""

TURN = 0.06
"""Radians a frame of a spinning thing, at least: a third of the slowest's."""

GROWTH = 1.25
"""Largest over smallest area of a thing that grows and shrinks, at least."""


@dataclass(frozen=True)
class CameraPath:
    """The ground's motion between neighbouring frames.

    Attributes:
        pan: pixels to the right, [T - 1].
        growth: growth of lengths, as a fraction, [T - 1].
    """

    pan: Doubles
    growth: Doubles


@dataclass(frozen=True)
class MovingThing:
    """Where a thing is.

    Attributes:
        x, y: its middle in pixels, [T]; NaN where it cannot be seen.
        area: in pixels, with the camera's zoom taken out, [T].
        turn: radians between neighbouring frames, [T - 1].
    """

    x: Doubles
    y: Doubles
    area: Doubles
    turn: Doubles

    @classmethod
    def of(
        cls, frames: Frames, colour: str, background: str, camera: CameraPath, flow: Doubles | None = None
    ) -> MovingThing:
        """Returns the path of the thing of a colour in frames [T, 64, 64, 3]; without flow it never turns."""
        covers = [covered(frame, colour, background) for frame in frames]
        rows, columns = np.mgrid[:SIZE, :SIZE]
        area = np.array([float(cover.sum()) for cover in covers])
        with np.errstate(invalid="ignore"):
            x = np.array([(columns * cover).sum() for cover in covers]) / area
            y = np.array([(rows * cover).sum() for cover in covers]) / area
        zoom = np.exp(np.concatenate([[0.0], np.cumsum(camera.growth)]))
        turn = np.zeros(len(frames) - 1)
        for step, cover in enumerate(covers[:-1] if flow is not None else []):
            if cover.any():
                assert flow is not None
                turn[step] = _turn(flow[step], cover, x[step], y[step])
        return cls(x, y, area / zoom**2, turn)


def still() -> CameraPath:
    """Returns the path of a camera that stays, for 16 frames."""
    return CameraPath(np.zeros(15), np.zeros(15))


def estimate(estimator: FlowEstimator, frames: Frames) -> Doubles:
    """Returns the flow [T - 1, 2, 64, 64] of frames [T, 64, 64, 3], in their pixels."""
    stream = estimator.stream()
    found = [*stream.push(resize_frames(frames, FLOW_SIDE)), *stream.flush()]
    flow = torch.cat([pair.flow for pair in found])
    shrunk = torch.nn.functional.avg_pool2d(flow, FLOW_SIDE // SIZE) * (SIZE / FLOW_SIDE)
    return shrunk.numpy().astype(np.float64)


def covered(frame: Frames, colour: str, background: str, others: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Returns which pixels [64, 64] of a frame [64, 64, 3] are nearer to a colour's shades than to anything else.

    Anything else is the ground's tones and the shades of other colours.
    """
    pixels = frame.reshape(-1, 3) / 255
    to_thing, *to_others = (_distance(pixels, 0.35 * paint, 1.1 * paint) for paint in map(_paint, (colour, *others)))
    to_ground = _distance(pixels, *(np.array(tone) for tone in GROUND[background]))
    nearest: NDArray[np.bool_] = np.all([to_thing < distance for distance in (to_ground, *to_others)], axis=0)
    return nearest.reshape(frame.shape[:2])


def camera_path(flow: Doubles, things: NDArray[np.bool_]) -> CameraPath:
    """Returns the ground's motion, by the flow [T - 1, 2, 64, 64] outside of the things [T - 1, 64, 64]."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    pans, growths = [], []
    for (dx, dy), hidden in zip(flow, things, strict=True):
        ground = ~hidden
        pan = float(np.median(dx[ground]))
        x, y = columns[ground], rows[ground]
        pans.append(pan)
        growths.append(float((x * (dx[ground] - pan) + y * dy[ground]).sum() / (x * x + y * y).sum()))
    return CameraPath(np.array(pans), np.array(growths))


def name_camera(path: CameraPath) -> str:
    """Returns the grammar's word for a camera move; a pan to the left moves the ground to the right."""
    pan = float(path.pan.mean())
    if abs(pan) > PAN:
        return "pans left" if pan > 0 else "pans right"
    return "zooms in and out" if float(np.sqrt(np.square(path.growth).mean())) > ZOOM else "stays"


def name_motion(path: MovingThing) -> str:
    """Returns the grammar's word for a thing's motion; "nothing" where it cannot be seen in half of the frames."""
    seen = path.area > 0
    if seen.mean() < 0.5:
        return "nothing"
    across, along = (float(np.ptp(axis[seen])) for axis in (path.x, path.y))
    if max(across, along) > TRAVEL:
        if min(across, along) > ROUND * max(across, along):
            return "circling around"
        return "bouncing up and down" if along > across else "sliding left and right"
    if float(np.abs(path.turn).mean()) > TURN:
        return "spinning"
    return (
        "growing and shrinking" if float(path.area[seen].max() / path.area[seen].min()) > GROWTH else "standing still"
    )


def _paint(colour: str) -> Doubles:
    return np.array(PAINT[colour])


def _distance(pixels: Doubles, start: Doubles, end: Doubles) -> Doubles:
    """Returns the distance of colours [N, 3] from the line between two colours [3]."""
    line = end - start
    share = np.clip((pixels - start) @ line / (line @ line), 0, 1)
    distance: Doubles = np.linalg.norm(pixels - start - share[:, None] * line, axis=1)
    return distance


def _turn(flow: Doubles, cover: NDArray[np.bool_], x: float, y: float) -> float:
    """Returns the angle by which a thing turns: least squares over its flow [2, 64, 64] about its middle."""
    rows, columns = np.nonzero(cover)
    dx, dy = flow[:, rows, columns]
    u, v = columns - x, rows - y
    return float((u * (dy - dy.mean()) - v * (dx - dx.mean())).sum() / max((u * u + v * v).sum(), 1e-9))
