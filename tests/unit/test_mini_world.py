"""The miniature world: captions and scenes are one thing, frames are reproducible, flow and occlusion are exact."""

import json
import time
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.mini.grammar import CAMOUFLAGE, MOTIONS, Scene, Thing, caption, parse, random_scene
from generators.mini.world import SIZE, Clip


def random_clip(seed: int, two_things: float = 0.5) -> Clip:
    return Clip(random_scene(np.random.default_rng(seed), two_things), seed)


@given(st.integers(0, 10_000))
def test_a_caption_is_read_back_as_its_scene(seed):
    scene = random_scene(np.random.default_rng(seed), two_things=0.5)
    assert parse(caption(scene)) == scene


@given(st.integers(0, 10_000))
def test_scenes_can_be_seen_and_move(seed):
    scene = random_scene(np.random.default_rng(seed), two_things=0.5)
    assert all((thing.colour, scene.background) not in CAMOUFLAGE for thing in scene.things)
    assert scene.camera != "stays" or any(thing.motion != "standing still" for thing in scene.things)


@pytest.mark.parametrize(
    "text", ["", "a panda on a swing", "a red circle", "a red circle bouncing up and down on mars"]
)
def test_other_text_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write it like"):
        parse(text)


def test_every_prompt_of_the_suite_is_a_caption():
    lines = files("prompts").joinpath("mini.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["text"] for line in lines]
    assert len(set(prompts)) == 50
    assert all(caption(parse(text)) == text for text in prompts)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1200), st.integers(1, 7))
def test_frames_do_not_depend_on_how_they_are_asked_for(seed, start, length):
    clip = random_clip(seed)
    whole = clip.render(start, start + length)
    assert whole.dtype == np.uint8
    assert whole.shape == (length, SIZE, SIZE, 3)
    assert np.array_equal(whole[-1:], random_clip(seed).render(start + length - 1, start + length))


def test_a_stream_is_the_same_video():
    clip = random_clip(3)
    assert np.array_equal(np.concatenate(list(clip.stream(50, chunk=16))), clip.render(0, 50))


@pytest.mark.parametrize("motion", MOTIONS)
def test_flow_carries_each_frame_into_the_next(motion):
    clip = Clip(Scene((Thing("red", "square", "striped", motion),), "snow", "pans left"), seed=5)
    frames = clip.render(20, 22).astype(np.float64)
    flow, occluded = clip.flow(20)
    error = bilinear(frames[1], flow) - frames[0]
    still = frames[1] - frames[0]
    inside = ~occluded & ~edge(clip.layers(20))  # anti-aliased edges mix two layers that move apart
    # Sampling a frame between its pixels blurs it a little; without the flow the error is many times larger.
    assert np.sqrt(np.mean(error[inside] ** 2)) < 3.0
    assert np.mean(error[inside] ** 2) < 0.35 * np.mean(still[inside] ** 2)


def test_occlusion_is_what_the_square_covers_next():
    clip = Clip(Scene((Thing("red", "square", "plain", "sliding left and right"),), "sand", "stays"), seed=1)
    flow, occluded = clip.flow(4)
    before, after = clip.layers(4), clip.layers(5)
    ground = before == 0
    assert np.array_equal(occluded & ground, ground & (after == 1))
    assert not flow[:, ground].any()
    assert not occluded[before == 1].any()


def test_flow_on_a_finer_grid_is_the_flow_of_enlarged_frames():
    clip = random_clip(8)
    coarse, _ = clip.flow(3)
    fine, _ = clip.flow(3, size=2 * SIZE)
    inner = ~edge(clip.layers(3)) & ~edge(clip.layers(4))
    mean = fine.reshape(2, SIZE, 2, SIZE, 2).mean((2, 4)) / 2
    assert np.abs(mean - coarse)[:, inner].max() < 0.05


def test_flow_back_undoes_flow_forth_where_nothing_is_hidden():
    clip = random_clip(11, two_things=0)
    forth, occluded = clip.flow(7, 1.0)
    back, _ = clip.flow(8, -1.0)
    there = bilinear(np.moveaxis(back, 0, -1), forth)
    inside = ~occluded & ~edge(clip.layers(7)) & ~edge(clip.layers(8))
    inside[:3], inside[-3:], inside[:, :3], inside[:, -3:] = False, False, False, False
    assert np.abs(there + np.moveaxis(forth, 0, -1))[inside].max() < 0.2


@pytest.mark.by_hand  # a rate depends on the core
def test_a_core_renders_300_frames_a_second():
    clip = random_clip(2)
    clip.render(0, 64)
    best = min(_seconds(lambda: clip.render(0, 256)) for _ in range(3))
    assert 256 / best > 300


def _seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def edge(layers: np.ndarray) -> np.ndarray:
    """True within two pixels of a border between layers."""
    near = np.zeros(layers.shape, bool)
    padded = np.pad(layers, 2, mode="edge")
    for dy in range(5):
        for dx in range(5):
            near |= padded[dy : dy + SIZE, dx : dx + SIZE] != layers
    return near


def bilinear(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The image [H, W, C] sampled at x + flow(x)."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    x, y = np.clip(x + flow[0], 0, SIZE - 1.001), np.clip(y + flow[1], 0, SIZE - 1.001)
    left, top = x.astype(int), y.astype(int)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - fx) + image[top, left + 1] * fx
    lower = image[top + 1, left] * (1 - fx) + image[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy
