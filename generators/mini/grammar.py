"""Scenes in words: the vocabulary of the miniature world and the grammar that turns a scene into a caption and back.

A caption says everything a viewer can name and nothing a viewer cannot see; what it leaves open (sizes, phases, the
pattern of the ground) is drawn from a seed when the scene is rendered.

Example:
    >>> scene = parse("a striped red square spinning on sand, the camera pans left")
    >>> scene.things[0].colour, scene.background, scene.camera
    ('red', 'sand', 'pans left')
    >>> caption(scene)
    'a striped red square spinning on sand, the camera pans left'
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
SHAPES = ("circle", "square", "triangle", "cross")
TEXTURES = ("plain", "striped")
MOTIONS = (
    "bouncing up and down",
    "sliding left and right",
    "circling around",
    "spinning",
    "growing and shrinking",
    "standing still",
)
BACKGROUNDS = ("grass", "sea", "sand", "night sky", "snow")
WHERE = {"grass": "on grass", "sea": "at sea", "sand": "on sand", "night sky": "in the night sky", "snow": "on snow"}
CAMERAS = ("stays", "pans left", "pans right", "zooms in and out")

CAMOUFLAGE = frozenset(
    {("green", "grass"), ("blue", "sea"), ("yellow", "sand"), ("white", "snow"), ("blue", "night sky")}
)
"""(colour, background) pairs that the grammar leaves out because even a person would miss the object."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene; every attribute is one of this module's words."""

    colour: str
    shape: str
    texture: str
    motion: str


@dataclass(frozen=True)
class Scene:
    """What a clip shows: one or two things, a background and a camera move."""

    things: tuple[Thing, ...]
    background: str
    camera: str


_THING = (
    rf"an? (?:(?P<texture>striped) )?(?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)}) "
    rf"(?P<motion>{'|'.join(MOTIONS)})"
)
_CAPTION = re.compile(
    rf"(?P<things>.+?) (?P<where>{'|'.join(WHERE.values())})"
    rf"(?:, the camera (?P<camera>{'|'.join(CAMERAS[1:])}))?"
)


def caption(scene: Scene) -> str:
    """Returns the sentence that describes a scene."""
    things = " and ".join(_describe(thing) for thing in scene.things)
    camera = "" if scene.camera == "stays" else f", the camera {scene.camera}"
    return f"{things} {WHERE[scene.background]}{camera}"


def _describe(thing: Thing) -> str:
    texture = "" if thing.texture == "plain" else f"{thing.texture} "
    return f"a {texture}{thing.colour} {thing.shape} {thing.motion}"


def parse(text: str) -> Scene:
    """Returns the scene that a caption describes; the inverse of `caption`.

    Raises:
        ValueError: the text is not a sentence of this grammar.
    """
    whole = _CAPTION.fullmatch(text.strip())
    things = [re.fullmatch(_THING, part) for part in _split_things(whole["things"])] if whole else []
    if whole is None or not things or any(thing is None for thing in things):
        raise ValueError(
            f"not a caption of the miniature world: {text!r}; write it like "
            "'a striped red square spinning on sand, the camera pans left'"
        )
    return Scene(
        tuple(Thing(t["colour"], t["shape"], t["texture"] or "plain", t["motion"]) for t in things if t),
        next(background for background, where in WHERE.items() if where == whole["where"]),
        whole["camera"] or "stays",
    )


def _split_things(text: str) -> list[str]:
    # "and" also occurs inside motions ("up and down"), so only an "and" that opens a new noun phrase splits.
    return re.split(r" and (?=an? )", text)


def random_scene(rng: np.random.Generator, two_things: float = 0.2) -> Scene:
    """Returns a random scene; with probability `two_things` it holds two things of different colour and shape.

    Something always moves: where every thing stands still the camera does not. Circles spin only when striped, since
    a plain one would spin unseen.
    """
    background = str(rng.choice(BACKGROUNDS))
    visible = [colour for colour in COLOURS if (colour, background) not in CAMOUFLAGE]
    count = 2 if rng.random() < two_things else 1
    colours = rng.choice(visible, size=count, replace=False)
    shapes = rng.choice(SHAPES, size=count, replace=False)
    things = tuple(_random_thing(rng, str(colour), str(shape)) for colour, shape in zip(colours, shapes, strict=True))
    still = all(thing.motion == "standing still" for thing in things)
    cameras = CAMERAS[1:] if still else CAMERAS
    weights = np.array([3.0 if camera == "stays" else 1.0 for camera in cameras])
    camera = str(rng.choice(cameras, p=weights / weights.sum()))
    return Scene(things, background, camera)


def _random_thing(rng: np.random.Generator, colour: str, shape: str) -> Thing:
    motion = str(rng.choice(MOTIONS))
    striped = rng.random() < 0.3 or (shape == "circle" and motion == "spinning")
    return Thing(colour, shape, "striped" if striped else "plain", motion)
