from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest

from baselines.pan import Pan, mirrored, window
from baselines.still import Still
from baselines.truth import Truth
from generators.api import Request, Start, UnsupportedRequestError
from generators.mini.grammar import parse
from generators.mini.world import Clip


def smooth(height: int = 40, width: int = 56) -> Start:
    y, x = np.mgrid[:height, :width] / 6.0
    frame = (127 + 100 * np.sin(x)[..., None] * np.cos(y)[..., None] * np.ones(3)).astype(np.uint8)
    frames = np.repeat(frame[None], 16, axis=0)
    return Start(frames, frames)


def ask(num_frames: int = 240, seed: int = 0, prompt: str = "a") -> Request:
    return Request(prompt, seed, num_frames, 40, 56, 8.0)


@pytest.mark.parametrize("method", [Still(), Pan()], ids=["still", "pan"])
@pytest.mark.parametrize("num_frames", [16, 17, 240])
def test_exact_totals(method: Still | Pan, num_frames: int) -> None:
    chunks = list(method.generate(ask(num_frames), smooth()))
    assert sum(len(chunk) for chunk in chunks) == num_frames - 16
    assert all(chunk.dtype == np.uint8 and chunk.shape[1:] == (40, 56, 3) for chunk in chunks)


def test_still_is_the_last_frame() -> None:
    begin = smooth()
    begin.frames[-1] = 7
    assert all((chunk == 7).all() for chunk in Still().generate(ask(), begin))


def test_pan_moves_evenly_and_never_jumps() -> None:
    begin = smooth()
    video = np.concatenate([begin.frames[-1:], *Pan().generate(ask(), begin)]).astype(float)
    steps = np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 1
    assert steps.max() < 3 * np.median(steps)


def test_pan_direction_is_drawn_from_seed_and_prompt() -> None:
    def last(request: Request) -> np.ndarray:
        return list(Pan().generate(request, smooth()))[-1][-1]

    assert (last(ask()) == last(ask())).all()
    assert (last(ask()) != last(ask(seed=1))).any()
    assert (last(ask()) != last(ask(prompt="b"))).any()


def test_pan_does_not_depend_on_how_it_is_cut() -> None:
    whole, cut = (np.concatenate(list(Pan(chunk=chunk).generate(ask(100), smooth()))) for chunk in (84, 5))
    np.testing.assert_array_equal(whole, cut)


def test_window_shifts_exactly_by_whole_pixels_and_mirrors_at_edges() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(window(plane, 0, 0), plane)
    np.testing.assert_array_equal(window(plane, 2, 3)[:4, :6], plane[2:, 3:])
    np.testing.assert_array_equal(window(plane, 6, 0), plane[::-1])
    np.testing.assert_array_equal(window(plane, 12, -18), plane)
    halfway = window(plane, 0, 0.5)[:, :-1]
    assert np.abs(halfway - (plane[:, :-1] + plane[:, 1:]) / 2).max() <= 0.5
    assert mirrored(np.arange(-3, 6), 2).tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 1]


def test_stamped_modules_import_without_torch() -> None:
    modules = sorted({entry.module for entry in entry_points(group="bench.methods")})
    heavy = ["torch", "diffusers", "transformers", "cv2", "huggingface_hub", "PIL"]
    code = f"import sys, {', '.join(modules)}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_truth_is_the_scene_of_the_prompt_and_makes_its_own_start() -> None:
    prompt = "a red circle bouncing up and down on grass"
    for size in (64, 128):
        frames = np.concatenate(list(Truth().generate(Request(prompt, 3, 20, size, size, 10.0), None)))
        assert (frames == Clip(parse(prompt), 3).render(0, 20, size)).all()


@pytest.mark.parametrize(
    ("prompt", "width", "words"),
    [
        ("An otter dreams", 64, "not a caption of the miniature world"),
        ("a red circle spinning on sand", 96, "square frames only, not 96 × 64"),
    ],
)
def test_truth_refuses_what_it_cannot_render(prompt: str, width: int, words: str) -> None:
    with pytest.raises(UnsupportedRequestError, match=words):
        next(Truth().generate(Request(prompt, 0, 8, 64, width, 10.0), None))
