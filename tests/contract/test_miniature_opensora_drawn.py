"""OpenSora, also with memories, and OpenSoraPlan with miniature weights: what frames depend on, where they join."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.opensora.method import OpenSora
from baselines.opensora_plan.method import OpenSoraPlan
from baselines.streaming_opensora.method import StreamingOpenSora
from bench.profile import load_profile
from bench.settings import construct, resolve_settings, run_settings
from generators.api import Frames, Request, Start

METHODS = {"opensora": OpenSora, "opensora_plan": OpenSoraPlan, "streaming_opensora": StreamingOpenSora}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def method(name: str, **settings: object) -> Any:
    """Returns a method as the mini profile sets it, with few solver steps."""
    profile = load_profile("mini")
    written = {**profile.methods[name], "num_inference_steps": 4, **settings}
    section = f"methods.{name}"
    return construct(
        METHODS[name], resolve_settings(METHODS[name], written, run_settings(profile.run), section), section
    )


def start(colour: tuple[int, int, int] = (200, 40, 40)) -> Start:
    frames = np.full((16, 64, 64, 3), (80, 140, 60), np.uint8)
    frames[:, 20:40, 20:40] = colour
    return Start(frames, frames)


def chunks(
    model: Any, prompt: str = "a red square on grass", seed: int = 0, begin: Start | None = None, num_frames: int = 70
) -> list[Frames]:
    return list(model.generate(Request(prompt, seed, num_frames, 64, 64, 10.0), begin or start()))


@pytest.mark.parametrize(
    ("name", "lengths"), [("opensora", [34, 20]), ("opensora_plan", [48, 6]), ("streaming_opensora", [42, 12])]
)
def test_new_frames_a_chunk(name: str, lengths: list[int]) -> None:
    assert [len(chunk) for chunk in chunks(method(name))] == lengths


@pytest.mark.parametrize("name", METHODS)
def test_frames_depend_on_seed_prompt_and_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # so that only the text can make a difference
    monkeypatch.setattr("baselines.autoregressive.chunk_seed", lambda seed, prompt, chunk: 10 * seed + chunk)
    model = method(name)
    video = np.concatenate(chunks(model))
    np.testing.assert_array_equal(video, np.concatenate(chunks(method(name))))
    for other in (
        chunks(model, seed=1),
        chunks(model, "a blue cross at sea"),
        chunks(model, begin=start((40, 40, 200))),
    ):
        assert (video != np.concatenate(other)).any()


@pytest.mark.parametrize("name", METHODS)
def test_the_first_new_frame_follows_the_given_ones(name: str) -> None:
    """Nearer to its own start than to one of another colour."""
    red, blue = start(), start((40, 40, 200))
    first = chunks(method(name), begin=red, num_frames=20)[0][0].astype(float)
    apart = [np.abs(first - begin.frames[-1]).mean() for begin in (red, blue)]
    assert apart[0] < apart[1]


def test_opensora_gives_whole_stretches_back_and_redraws_a_single_frame() -> None:
    given = start().frames[:1].repeat(17, axis=0)
    chunk = method("opensora").begin("a red square")(given, 0)
    np.testing.assert_array_equal(chunk[:17], given)
    redrawn = method("opensora", conditioning_frames=1).begin("a red square")(given[:1], 0)[:1]
    assert 0 < np.abs(redrawn.astype(float) - given[:1]).mean() < 40
