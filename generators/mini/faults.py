"""Known faults at known strength: clips of the miniature world, spoilt where and by how much one asks for.

A metric can be trusted only as far as it answers to faults one put in oneself. Every fault here is a change of what
each frame shows (another time, another object, another colour, less sharpness), so the frames it touches, the places
where it breaks continuity and the exact flow across it are all known.

Example: a picture that stands still for three frames, and the same frames of the sound clip.
    >>> from generators.mini.grammar import parse
    >>> scene = parse("a red circle bouncing up and down on grass")
    >>> frozen = FaultyClip(scene, seed=3, fault=Fault("freeze", strength=3, at=2), num_frames=8)
    >>> frozen.times.tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0]
    >>> frozen.affected.tolist()
    [False, False, True, True, True, True, True, True]
    >>> frozen.render(0, 8).shape, frozen.jumps
    ((8, 64, 64, 3), ())
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.api import Frames
from generators.mini import grammar
from generators.mini.grammar import Scene
from generators.mini.world import Clip, Float

UNITS = {
    "cut": "share of the new scene in the picture",
    "freeze": "frames",
    "loop": "share of the frames that repeat earlier ones",
    "drift": "grey levels at the end",
    "blur": "pixels (sigma) at the end",
    "flicker": "grey levels (standard deviation)",
    "seam": "frames of time skipped at every seam",
    "identity": "share of the other object at the end",
    "exposure": "grey levels at the end",
    "dip": "grey levels in the middle",
    "return": "frames",
}
"""Unit of the strength of every kind of fault; see `Fault`."""

DRIFT = np.array([1.0, 0.0, -1.0], dtype=np.float32)
"""Direction of the colour drift in RGB: towards red, as in the over-exposed ends of long videos made chunk by chunk."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: a key of `UNITS`:
            "cut": from `at` on, a scene in another place covers the picture; 1 is a hard cut, less is translucent;
            "freeze": the picture of frame `at - 1` stands still, then motion goes on where it stopped;
            "loop": the video starts over and over; where it does follows from the strength, `at` is not read;
            "drift": colour shifts from `at` on, linearly, up to the last frame;
            "blur": sharpness goes likewise;
            "flicker": brightness jumps at random in every frame from `at` on;
            "seam": time skips, in all layers at once, at `at` and every `every` frames after it;
            "identity": from `at` to the last frame one object turns into another one, in colour and shape;
            "exposure": all channels grow brighter from `at` on, linearly, up to the last frame;
            "dip": all channels grow darker from `at` on and are sound again `at` frames before the end, as a half wave;
            "return": for so many frames from `at` on, the video shows its first frames again.
        strength: how bad, >= 0, in the kind's unit; 0 is the sound clip.
        at: first frame it may touch, >= 1.
        every: for "seam", frames from one seam to the next; 0 for a single one.
    """

    kind: str
    strength: float
    at: int = 1
    every: int = 0

    def __post_init__(self) -> None:
        if self.kind not in UNITS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(UNITS)}")
        if self.strength < 0 or self.at < 1 or self.every < 0:
            raise ValueError(f"a fault needs strength >= 0, at >= 1 and every >= 0, not {self}")
        if self.kind in ("cut", "identity") and self.strength > 1:
            raise ValueError(f"the strength of {self.kind!r} is a share of 0..1, not {self.strength}")
        if self.kind == "loop" and self.strength >= 1:
            raise ValueError(f"a loop repeats less than all of its frames: a share below 1, not {self.strength}")


class FaultyClip:
    """A clip with one fault in it; deterministic, any part of it can be asked for.

    Args:
        scene: what is shown.
        seed: as for `generators.mini.world.Clip`; it also fixes the flicker and what takes the object's or the scene's
            place.
        fault: the fault.
        num_frames: length, which some faults grow towards; > fault.at.

    Attributes:
        times: float32 [num_frames], which time of the sound clip every frame shows.
        affected: bool [num_frames], True where a frame is not the sound clip's.
        jumps: frames that do not follow from the one before: after a cut, a seam, or where a loop starts over.
    """

    def __init__(self, scene: Scene, seed: int, fault: Fault, num_frames: int) -> None:
        if num_frames <= fault.at and fault.kind != "loop":
            raise ValueError(f"a fault at frame {fault.at} needs a longer clip than {num_frames} frames")
        self.num_frames, self.fault = num_frames, fault
        self._clip = Clip(scene, seed)
        self._other = _other(scene, seed, fault.kind)
        self.times = _times(fault, num_frames)
        self._opacity = _opacity(fault, num_frames)
        self._shift = _shift(fault, num_frames, seed)
        self._sigma = _growing(fault, num_frames) if fault.kind == "blur" else np.zeros(num_frames, np.float32)
        spoilt = (self._opacity > 0) | (self._shift != 0).any(axis=1) | (self._sigma > 0)
        self.affected: NDArray[np.bool_] = spoilt | (self.times != np.arange(num_frames))
        self.jumps = _jumps(fault, self.times)

    def render(self, start: int, stop: int) -> Frames:
        """Returns frames start <= t < stop, uint8 [stop - start, 64, 64, 3]."""
        part = slice(start, stop)
        frames: Frames = self._clip.render_at(self.times[part])
        opacity = self._opacity[part, None, None, None]
        if self._other is not None and opacity.any():
            other = self._other.render_at(self.times[part])
            frames = _rounded(frames + opacity * (other.astype(np.float32) - frames))
        if self._shift[part].any():
            frames = _rounded(frames + self._shift[part, None, None, :])
        return _blurred(frames, self._sigma[part]) if self._sigma[part].any() else frames

    def stream(self, chunk: int = 64) -> Iterator[Frames]:
        """Yields all frames in order, in chunks of at most `chunk`."""
        for start in range(0, self.num_frames, chunk):
            yield self.render(start, min(start + chunk, self.num_frames))

    def flow(self, index: int, size: int = 64) -> tuple[Float, NDArray[np.bool_]]:
        """Returns exact flow and occlusion from frame `index` to the next; see `Clip.flow`.

        Raises:
            ValueError: the next frame shows another scene, to which there is no flow.
        """
        if self.fault.kind == "cut" and index + 1 in self.jumps:
            raise ValueError(f"frame {index + 1} shows another scene: there is no flow across a cut")
        step = float(self.times[index + 1] - self.times[index])
        return self._clip.flow(float(self.times[index]), step, size)


def spliced(clips: Sequence[Clip], cuts: Sequence[int], num_frames: int, chunk: int = 64) -> Iterator[Frames]:
    """Yields frames that show one clip after the other, in order, in chunks.

    Args:
        clips: one more than cuts; each runs on its own time, so the second starts in the middle of its motion.
        cuts: first frame of every clip but the first, ascending, 0 < cut < num_frames.
        num_frames: length of the whole.
        chunk: most frames at a time.
    """
    edges = [0, *cuts, num_frames]
    for clip, (first, last) in zip(clips, pairwise(edges), strict=True):
        for start in range(first, last, chunk):
            yield clip.render(start, min(start + chunk, last))


def elsewhere(scene: Scene, rng: np.random.Generator) -> Scene:
    """Returns a random scene with another background."""
    while (other := grammar.random_scene(rng)).background == scene.background:
        pass
    return other


def other_object(scene: Scene, rng: np.random.Generator) -> Scene:
    """Returns the scene with its first object in another colour and shape that can be told from the background."""
    thing = scene.things[0]
    taken = {t.colour for t in scene.things} | {c for c, ground in grammar.CAMOUFLAGE if ground == scene.background}
    colour = str(rng.choice([c for c in grammar.COLOURS if c not in taken]))
    shape = str(rng.choice([s for s in grammar.SHAPES if s != thing.shape]))
    return replace(scene, things=(replace(thing, colour=colour, shape=shape), *scene.things[1:]))


def _other(scene: Scene, seed: int, kind: str) -> Clip | None:
    rng = np.random.default_rng([seed, 1])
    if kind == "identity":
        return Clip(other_object(scene, rng), seed)  # the same seed: the same path, size and ground
    return Clip(elsewhere(scene, rng), seed + 1) if kind == "cut" else None


def _times(fault: Fault, num_frames: int) -> Float:
    """Returns the time of the sound clip that every frame shows, [num_frames]."""
    frame = np.arange(num_frames)
    if fault.kind == "freeze":
        held = round(fault.strength)
        frame = np.where(frame < fault.at, frame, np.maximum(fault.at - 1, frame - held))
    elif fault.kind == "loop":
        frame = frame % max(1, round((1 - fault.strength) * num_frames))
    elif fault.kind == "seam":
        seams = np.arange(fault.at, num_frames, fault.every) if fault.every else np.array([fault.at])
        return (frame + fault.strength * np.searchsorted(seams, frame, side="right")).astype(np.float32)
    elif fault.kind == "return":
        back = (frame >= fault.at) & (frame < fault.at + round(fault.strength))
        frame = np.where(back, frame - fault.at, frame)
    return frame.astype(np.float32)


def _growing(fault: Fault, num_frames: int) -> Float:
    """Returns 0 before `at`, then a straight line up to the strength at the last frame, [num_frames]."""
    frame = np.arange(num_frames)
    share = np.clip((frame - fault.at + 1) / (num_frames - fault.at), 0, 1)
    return (fault.strength * share).astype(np.float32)


def _opacity(fault: Fault, num_frames: int) -> Float:
    """Returns the share of the other clip in every frame, [num_frames]."""
    if fault.kind == "identity":
        return _growing(fault, num_frames)
    shown = fault.strength if fault.kind == "cut" else 0.0
    return np.where(np.arange(num_frames) < fault.at, 0, shown).astype(np.float32)


def _shift(fault: Fault, num_frames: int, seed: int) -> Float:
    """Returns what is added to every frame's colour in grey levels, [num_frames, 3]."""
    if fault.kind == "drift":
        return _growing(fault, num_frames)[:, None] * DRIFT
    if fault.kind == "exposure":
        return np.repeat(_growing(fault, num_frames)[:, None], 3, axis=1)
    if fault.kind == "dip":
        share = (np.arange(num_frames) - fault.at) / max(1, num_frames - 2 * fault.at)
        wave = np.where((share > 0) & (share < 1), np.sin(np.pi * np.clip(share, 0, 1)), 0)
        return np.repeat(-fault.strength * wave[:, None], 3, axis=1).astype(np.float32)
    shift = np.zeros((num_frames, 3), np.float32)
    if fault.kind == "flicker":
        levels = np.random.default_rng([seed, 2]).standard_normal(num_frames)
        shift[fault.at :] = fault.strength * levels[fault.at :, None]
    return shift


def _jumps(fault: Fault, times: Float) -> tuple[int, ...]:
    if fault.kind == "cut":
        return (fault.at,) if fault.strength > 0 else ()
    step = np.diff(times)
    return tuple(int(i) + 1 for i in np.flatnonzero((step < 0) | (step > 1)))


def _blurred(frames: Frames, sigma: Float) -> Frames:
    """Returns frames [T, H, W, 3] blurred by a Gaussian of sigma [T] pixels each; the border is reflected."""
    import cv2

    pairs = zip(frames, sigma, strict=True)
    blurred = [np.asarray(cv2.GaussianBlur(f, (0, 0), float(s)), np.uint8) if s > 0 else f for f, s in pairs]
    return np.stack(blurred)


def _rounded(image: NDArray[Any]) -> Frames:
    rounded: Frames = (np.clip(image, 0, 255) + 0.5).astype(np.uint8)
    return rounded
