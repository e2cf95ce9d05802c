"""I2VGen-XL, FreeNoise and DynamiCrafter with their miniature weights: what their frames depend on, where they join."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.dynamicrafter_xl.method import DynamiCrafterXl
from baselines.freenoise.method import FreeNoise
from baselines.i2vgen_xl.method import I2vgenXl
from bench.errors import ConfigError
from bench.profile import load_profile
from bench.settings import construct, resolve_settings, run_settings
from generators.api import Frames, Request, Start

METHODS = {"i2vgen_xl": I2vgenXl, "freenoise": FreeNoise, "dynamicrafter_xl": DynamiCrafterXl}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def method(name: str, **settings: object) -> Any:
    """Returns a method as the mini profile sets it, with two solver steps."""
    profile = load_profile("mini")
    written = {**profile.methods[name], "num_inference_steps": 2, **settings}
    section = f"methods.{name}"
    return construct(
        METHODS[name], resolve_settings(METHODS[name], written, run_settings(profile.run), section), section
    )


def start(colour: tuple[int, int, int] = (200, 40, 40)) -> Start:
    frames = np.full((16, 64, 64, 3), (80, 140, 60), np.uint8)
    frames[:, 20:40, 20:40] = colour
    return Start(frames, frames)


def chunks(
    model: Any, prompt: str = "a red circle on grass", seed: int = 0, begin: Start | None = None
) -> list[Frames]:
    return list(model.generate(Request(prompt, seed, 48, 64, 64, 10.0), begin or start()))


@pytest.mark.parametrize(("name", "lengths"), [("i2vgen_xl", [15, 15, 2]), ("dynamicrafter_xl", [15, 15, 2])])
def test_fifteen_new_frames_a_chunk(name: str, lengths: list[int]) -> None:
    assert [len(chunk) for chunk in chunks(method(name))] == lengths


def test_freenoise_has_no_seams() -> None:
    assert [len(chunk) for chunk in chunks(method("freenoise"))] == [48]


@pytest.mark.parametrize("name", METHODS)
def test_frames_depend_on_seed_prompt_and_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("autoregressive", "freenoise.method"):  # so that only the text can make a difference
        monkeypatch.setattr(f"baselines.{module}.chunk_seed", lambda seed, prompt, chunk: 10 * seed + chunk)
    model = method(name)
    video = np.concatenate(chunks(model))
    np.testing.assert_array_equal(video, np.concatenate(chunks(method(name))))
    assert (video != np.concatenate(chunks(model, seed=1))).any()
    assert (video != np.concatenate(chunks(model, "a blue square on sand"))).any()
    other = np.concatenate(chunks(model, begin=start((40, 40, 200))))
    assert (video != other).any() == model.info.continues_start


def test_freenoise_refuses_a_start_of_which_nothing_would_be_left() -> None:
    with pytest.raises(ConfigError, match="begins without signal"):
        method("freenoise", shared_start="noised")
