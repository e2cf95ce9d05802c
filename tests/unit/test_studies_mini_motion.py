"""Motion and camera are named rightly where they are known: in rendered clips."""

from __future__ import annotations

import numpy as np
import pytest

from bench.studies.mini_motion import MovingThing, camera_path, covered, name_camera, name_motion
from generators.mini.grammar import CAMERAS, MOTIONS, parse
from generators.mini.world import Clip

FRAMES = 16


def looked_at(text: str, seed: int) -> tuple[str, str]:
    """Returns what a clip's motion and camera are called, by its exact flow."""
    scene = parse(text)
    clip, thing = Clip(scene, seed), scene.things[0]
    frames = clip.render(0, FRAMES)
    flow = np.stack([clip.flow(t)[0] for t in range(FRAMES - 1)]).astype(float)
    things = np.stack([covered(frame, thing.colour, scene.background) for frame in frames[:-1]])
    camera = camera_path(flow, things)
    return name_motion(MovingThing.of(frames, thing.colour, scene.background, camera, flow)), name_camera(camera)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motions_have_their_names(motion: str) -> None:
    names = [looked_at(f"a striped red square {motion} on grass", seed)[0] for seed in range(8)]
    assert names.count(motion) >= 7


@pytest.mark.parametrize("camera", CAMERAS)
def test_cameras_have_their_names(camera: str) -> None:
    tail = "" if camera == "stays" else f", the camera {camera}"
    names = [looked_at(f"a purple circle bouncing up and down on sand{tail}", seed)[1] for seed in range(8)]
    assert names.count(camera) >= 7


def test_what_cannot_be_seen_has_no_motion() -> None:
    ground = Clip(parse("a red circle standing still on snow"), 0).render(0, 2)[:, :4, :4]
    frames = np.tile(ground, (1, 16, 16, 1))
    nothing = camera_path(np.zeros((1, 2, 64, 64)), np.zeros((1, 64, 64), bool))
    assert name_motion(MovingThing.of(frames, "green", "snow", nothing)) == "nothing"


def test_a_colour_covers_its_thing_and_not_another() -> None:
    scene = parse("a red circle standing still and a striped white cross standing still at sea")
    clip = Clip(scene, 5)
    frame, layers = clip.render(0, 1)[0], clip.layers(0.0)
    for number, thing in enumerate(scene.things, start=1):
        other = scene.things[2 - number].colour
        cover = covered(frame, thing.colour, scene.background, [other])
        assert (cover & (layers == number)).sum() > 0.9 * (layers == number).sum()
        mistaken = (cover & (layers == 3 - number)).sum()  # edges, where it mixes with the ground
        assert mistaken < 0.1 * (layers == 3 - number).sum()
