"""The miniature world: a procedural renderer of captioned clips with exact optical flow and occlusion.

A clip is a stack of layers, the ground and one or two things, each a texture carried by a similarity transform that is
an analytic function of time. Pixels are looked up in texture coordinates, so any frame of any length of video is
rendered on its own, sub-pixel exact, and the motion between two frames is known in closed form rather than estimated.

Example:
    >>> from generators.mini.grammar import parse
    >>> clip = Clip(parse("a red circle bouncing up and down on grass"), seed=3)
    >>> clip.render(0, 16).shape
    (16, 64, 64, 3)
    >>> flow, occluded = clip.flow(0)
    >>> flow.shape, occluded.dtype
    ((2, 64, 64), dtype('bool'))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators.api import Frames
from generators.mini.grammar import Scene, Thing

Float = NDArray[np.float32]

SIZE = 64
"""Height and width of a frame in pixels; all lengths below are in these pixels, all times in frames."""

FPS = 10.0
"""Frames per second at which clips are shown (the paper's display rate)."""

PAINT: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.14, 0.12),
    "yellow": (0.97, 0.82, 0.12),
    "green": (0.12, 0.66, 0.24),
    "blue": (0.14, 0.30, 0.88),
    "purple": (0.58, 0.20, 0.72),
    "white": (0.96, 0.96, 0.96),
}
GROUND: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "grass": ((0.24, 0.44, 0.14), (0.46, 0.64, 0.28)),
    "sea": ((0.04, 0.36, 0.50), (0.26, 0.62, 0.70)),
    "sand": ((0.72, 0.58, 0.38), (0.90, 0.78, 0.56)),
    "night sky": ((0.03, 0.03, 0.10), (0.14, 0.12, 0.26)),
    "snow": ((0.70, 0.77, 0.86), (0.92, 0.95, 0.98)),
}
"""Dark and light tone of each background, RGB in 0..1."""


@dataclass(frozen=True)
class Pose:
    """Similarity transform of a layer at each of T times: screen = centre + scale * rotation(angle) @ texture.

    Attributes:
        x, y: centre on the screen in pixels from the frame's middle, [T].
        angle: radians, counter-clockwise on a screen whose y points down is negative, [T].
        scale: screen pixels per texture pixel, [T].
    """

    x: Float
    y: Float
    angle: Float
    scale: Float

    def to_texture(self, sx: Float, sy: Float) -> tuple[Float, Float]:
        """Returns the texture coordinates shown at screen positions [T, H, W] (pixels from the middle)."""
        c, s = (f(self.angle)[:, None, None] / self.scale[:, None, None] for f in (np.cos, np.sin))
        dx, dy = sx - self.x[:, None, None], sy - self.y[:, None, None]
        return c * dx + s * dy, c * dy - s * dx

    def to_screen(self, u: Float, v: Float) -> tuple[Float, Float]:
        """Returns the screen positions at which texture coordinates [T, H, W] are shown."""
        c, s = (f(self.angle)[:, None, None] * self.scale[:, None, None] for f in (np.cos, np.sin))
        return c * u - s * v + self.x[:, None, None], s * u + c * v + self.y[:, None, None]


class Clip:
    """A scene with everything its caption leaves open drawn from a seed; frames of any time can be asked for.

    Args:
        scene: what is shown.
        seed: fixes sizes, places, phases, speeds and the pattern of the ground; >= 0.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.scene = scene
        self._ground = _Ground(scene.background, rng)
        self._things = [
            _Body(thing, place, rng) for thing, place in zip(scene.things, _places(scene, rng), strict=True)
        ]
        self._camera = _Camera(scene.camera, rng)

    def render(self, start: int, stop: int, size: int = SIZE) -> Frames:
        """Returns frames start <= t < stop, uint8 [stop - start, size, size, 3]."""
        return self.render_at(np.arange(start, stop, dtype=np.float32), size)

    def render_at(self, times: NDArray[np.floating], size: int = SIZE) -> Frames:
        """Returns the frames at the given times (in frames, fractions allowed), uint8 [T, size, size, 3].

        Args:
            times: when.
            size: side of the frames in pixels; they show the same, and outlines are one pixel of this grid soft.
        """
        times = np.asarray(times, dtype=np.float32)
        sx, sy = _screen(size)
        image = self._ground.paint(*self._camera.ground(times).to_texture(sx, sy))
        for body in self._things:
            pose = self._camera.carry(body.pose(times), times)
            u, v = pose.to_texture(sx, sy)
            pixels = pose.scale[:, None, None] * np.float32(size / SIZE)  # of this grid per texture pixel
            cover = np.clip(0.5 - body.distance(u, v) * pixels, 0, 1)[..., None]
            image += cover * (body.paint(u, v) - image)
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)

    def stream(self, num_frames: int, chunk: int = 64, size: int = SIZE) -> Iterator[Frames]:
        """Yields frames 0 <= t < num_frames in order, in chunks of at most `chunk`."""
        for start in range(0, num_frames, chunk):
            yield self.render(start, min(start + chunk, num_frames), size)

    def flow(self, t: float, step: float = 1.0, size: int = SIZE) -> tuple[Float, NDArray[np.bool_]]:
        """Returns exact optical flow and occlusion from time t to time t + step.

        Args:
            t: time of the first frame.
            step: frames from it to the second one.
            size: side of the pixel grid; other than SIZE, the field of the frames resized to size x size
                (bilinear, pixel centres at half integers).

        Returns:
            flow: [2, size, size], channel 0 = x, 1 = y, pixels of the grid, defined on the first frame.
            occluded: bool [size, size], True where the point seen in the first frame is covered or out of the frame
                in the second one.
        """
        now, then = (np.array([time], dtype=np.float32) for time in (t, t + step))
        sx, sy = _screen(size)
        tx, ty = self._camera.ground(then).to_screen(*self._camera.ground(now).to_texture(sx, sy))
        layer = np.zeros(sx.shape, dtype=np.int8)
        for index, body in enumerate(self._things, start=1):
            here, there = (self._camera.carry(body.pose(time), time) for time in (now, then))
            u, v = here.to_texture(sx, sy)
            seen = body.distance(u, v) < 0
            bx, by = there.to_screen(u, v)
            tx, ty, layer = np.where(seen, bx, tx), np.where(seen, by, ty), np.where(seen, np.int8(index), layer)
        limit = SIZE / 2 - 0.5
        occluded = (np.abs(tx) > limit) | (np.abs(ty) > limit) | (self._top(tx, ty, then) != layer)
        scale = np.float32(size / SIZE)
        return (np.stack([tx - sx, ty - sy], axis=1)[0] * scale).astype(np.float32), occluded[0]

    def layers(self, t: float, size: int = SIZE) -> NDArray[np.int8]:
        """Returns which layer each pixel shows at time t, int8 [size, size]: 0 = ground, 1 and 2 = things."""
        layers: NDArray[np.int8] = self._top(*_screen(size), np.array([t], dtype=np.float32))[0]
        return layers

    def _top(self, sx: Float, sy: Float, times: Float) -> NDArray[np.int8]:
        layer = np.zeros(sx.shape, dtype=np.int8)
        for index, body in enumerate(self._things, start=1):
            inside = body.distance(*self._camera.carry(body.pose(times), times).to_texture(sx, sy)) < 0
            layer = np.where(inside, np.int8(index), layer)
        return layer


def _screen(size: int) -> tuple[Float, Float]:
    """Returns x and y of the pixel centres of a size x size grid over the frame, [1, size, size], in SIZE's pixels."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (SIZE / size) - SIZE / 2).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x[None], y[None]


def _places(scene: Scene, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    # (x, y, radius): one thing is large and near the middle, two share the frame side by side without touching.
    def near(x: float) -> tuple[float, float]:
        return x + rng.uniform(-3, 3), rng.uniform(-4, 4)

    if len(scene.things) == 1:
        return [(*near(0), rng.uniform(12.5, 15.5))]
    side = 16 if rng.random() < 0.5 else -16
    return [(*near(-side), rng.uniform(9, 10.5)), (*near(side), rng.uniform(9, 10.5))]


class _Camera:
    """Camera move: pans shift the ground only (the camera follows the things), zooms scale everything."""

    def __init__(self, move: str, rng: np.random.Generator) -> None:
        speed = rng.uniform(0.7, 1.3)
        self.drift = {"pans left": speed, "pans right": -speed}.get(move, 0.0)
        self.zoom = 0.18 if move == "zooms in and out" else 0.0
        self.period, self.phase = rng.uniform(36, 52), rng.uniform(0, 2 * np.pi)

    def _zoom(self, times: Float) -> Float:
        swing = np.sin(2 * np.pi * times / self.period + self.phase)
        return np.asarray(1 + self.zoom * swing, np.float32)

    def ground(self, times: Float) -> Pose:
        zoom, zero = self._zoom(times), np.zeros_like(times)
        return Pose((self.drift * times * zoom).astype(np.float32), zero, zero, zoom)

    def carry(self, pose: Pose, times: Float) -> Pose:
        zoom = self._zoom(times)
        return Pose(pose.x * zoom, pose.y * zoom, pose.angle, pose.scale * zoom)


class _Ground:
    """Background: a smooth periodic pattern of a few plane waves, blended between the two tones of its kind."""

    # (wavelength range in pixels, how far wave directions spread around the horizontal or vertical, waves)
    _WAVES = {  # noqa: RUF012
        "grass": ((11, 22), 0.5, 4),
        "sea": ((10, 18), 0.25, 3),
        "sand": ((16, 32), 1.6, 4),
        "night sky": ((24, 44), 1.6, 3),
        "snow": ((22, 40), 1.6, 3),
    }

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        (short, long), spread, count = self._WAVES[kind]
        upright = 0.0 if kind == "grass" else np.pi / 2  # grass blades stand, waves lie
        direction = upright + rng.uniform(-spread, spread, count)
        number = 2 * np.pi / rng.uniform(short, long, count)
        self.kx, self.ky = number * np.cos(direction), number * np.sin(direction)
        self.phase = rng.uniform(0, 2 * np.pi, count)
        self.dark, self.light = (np.array(tone, np.float32) for tone in GROUND[kind])
        self.stars = _Stars(rng) if kind == "night sky" else None

    def paint(self, u: Float, v: Float) -> Float:
        """Returns the colour at texture coordinates, float32 [T, H, W, 3] in 0..1."""
        wave = sum(
            np.sin(np.float32(kx) * u + np.float32(ky) * v + np.float32(phase))
            for kx, ky, phase in zip(self.kx, self.ky, self.phase, strict=True)
        )
        height = (0.5 + 0.5 * np.asarray(wave) / len(self.phase) ** 0.5)[..., None]
        image = self.dark + np.clip(height, 0, 1) * (self.light - self.dark)
        if self.stars is not None:
            image = image + self.stars.paint(u, v)[..., None]
        return np.asarray(image, np.float32)


class _Stars:
    """Soft stars, one per cell of a lattice that repeats after `_CELLS` cells."""

    _CELL, _CELLS = 16, 8

    def __init__(self, rng: np.random.Generator) -> None:
        self.offset = rng.uniform(4, self._CELL - 4, (self._CELLS, self._CELLS, 2)).astype(np.float32)
        self.glow = rng.uniform(0.3, 0.8, (self._CELLS, self._CELLS)).astype(np.float32)

    def paint(self, u: Float, v: Float) -> Float:
        """Returns the brightness to add at texture coordinates, [T, H, W]."""
        column, row = np.floor(u / self._CELL), np.floor(v / self._CELL)
        i, j = row.astype(np.int64) % self._CELLS, column.astype(np.int64) % self._CELLS
        du = u - column * self._CELL - self.offset[i, j, 0]
        dv = v - row * self._CELL - self.offset[i, j, 1]
        return np.asarray(self.glow[i, j] * np.exp(-(du * du + dv * dv) / np.float32(2 * 1.3**2)), np.float32)


class _Body:
    """One thing: a signed distance for its outline, a texture, and its path."""

    def __init__(self, thing: Thing, place: tuple[float, float, float], rng: np.random.Generator) -> None:
        self.thing = thing
        self.x, self.y, self.radius = place
        self.colour = np.array(PAINT[thing.colour], np.float32)
        self.period, self.phase = rng.uniform(28, 40), rng.uniform(0, 2 * np.pi)
        self.turn = float(rng.choice([-1.0, 1.0]))
        self.tilt = rng.uniform(-0.2, 0.2)
        self.reach = min(12.0, 27.0 - self.radius) if abs(self.x) < 8 else 8.0

    def pose(self, times: Float) -> Pose:
        swing = 2 * np.pi * times / self.period * self.turn + self.phase
        sin, cos = np.sin(swing), np.cos(swing)
        dx, dy, angle, grow = (np.zeros_like(times) for _ in range(4))
        match self.thing.motion:
            case "bouncing up and down":
                dy = self.reach * 1.3 * sin
            case "sliding left and right":
                dx = self.reach * sin
            case "circling around":
                dx, dy = 0.8 * self.reach * cos, 0.8 * self.reach * sin
            case "spinning":
                angle = swing
            case "growing and shrinking":
                grow = 0.25 * sin
        pose = (self.x + dx, self.y + dy, self.tilt + angle, 1 + grow)
        return Pose(*(np.asarray(part, np.float32) for part in pose))

    def distance(self, u: Float, v: Float) -> Float:
        """Returns the signed distance to the outline in texture pixels (negative inside), [T, H, W]."""
        r = np.float32(self.radius)
        match self.thing.shape:
            case "circle":
                return np.sqrt(u * u + v * v) - r
            case "square":
                return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.88) * r
            case "triangle":  # equilateral, tip up: the outermost of its three edges
                slanted = np.float32(np.sqrt(3) / 2) * np.abs(u) - np.float32(0.5) * v
                return np.maximum(slanted, v) - np.float32(0.62) * r
            case "cross":
                arm, width = np.float32(1.05) * r, np.float32(0.36) * r
                au, av = np.abs(u), np.abs(v)
                upright = np.maximum(au - width, av - arm)
                return np.minimum(upright, np.maximum(au - arm, av - width))
        raise ValueError(f"unknown shape {self.thing.shape!r}")

    def paint(self, u: Float, v: Float) -> Float:
        """Returns the colour at texture coordinates: lit from above, rim darker, stripes dark, [T, H, W, 3]."""
        shade = 1 - np.float32(0.14) * v / np.float32(self.radius)
        rim = np.clip(self.distance(u, v) + np.float32(2.5), 0, 1)
        shade = shade * (1 - np.float32(0.3) * rim)
        if self.thing.texture == "striped":
            stripe = np.clip(np.float32(0.5) + np.float32(1.6) * np.sin(u * np.float32(2 * np.pi / 9.0)), 0, 1)
            shade = shade * (1 - np.float32(0.55) * stripe)
        return np.asarray(shade[..., None] * self.colour, np.float32)
