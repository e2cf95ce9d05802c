"""The contract of a method, checked on every registered one with the settings and weights of the mini profile."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from bench.catalog import Plugin, find_plugins
from bench.check import checks_of_method, sample_start
from bench.profile import Profile, load_profile
from bench.settings import construct, resolve_settings, run_settings
from generators.api import Frames, Method, MethodInfo, Request

# diffusers 0.42 hands torch tensors to numpy in its schedulers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

METHODS = sorted(find_plugins().methods)

STEPS = {"opensora_plan": 4}
"""Solver steps of those whose solver needs more than two."""


class Built(NamedTuple):
    """A method whose weights for the mini profile are here, complete: it has made a video of seed 0."""

    plugin: Plugin[MethodInfo]
    profile: Profile
    method: Method
    video: Frames


@pytest.fixture(scope="module", params=METHODS)
def built(request: pytest.FixtureRequest) -> Built:
    plugin = find_plugins().methods[request.param]
    profile = quick_profile(plugin)
    method = construct(plugin.cls, settings_of(plugin, profile), plugin.info.name)
    return Built(plugin, profile, method, video_of(method, profile, seed=0))


def settings_of(plugin: Plugin[MethodInfo], profile: Profile) -> dict[str, object]:
    name = plugin.info.name
    return resolve_settings(plugin.cls, profile.methods.get(name, {}), run_settings(profile.run), f"methods.{name}")


def quick_profile(plugin: Plugin[MethodInfo]) -> Profile:
    """Returns the mini profile with as few solver steps as a check of shapes and determinism needs."""
    profile, name = load_profile("mini"), plugin.info.name
    settings = settings_of(plugin, profile)
    arguments = settings.get("arguments")
    if "num_inference_steps" in settings:
        return load_profile("mini", [f"methods.{name}.num_inference_steps={STEPS.get(name, 2)}"])
    if isinstance(arguments, dict) and "num_inference_steps" in arguments:
        return load_profile("mini", [f"methods.{name}.arguments.num_inference_steps=2"])
    return profile


def video_of(method: Method, profile: Profile, seed: int) -> Frames:
    video = profile.video
    request = Request("a red circle bouncing up and down on grass", seed, 20, video.height, video.width, video.fps)
    return np.concatenate(list(method.generate(request, sample_start(video))))


def test_no_registered_method_is_broken() -> None:
    assert find_plugins().broken == {}
    table = {"dynamicrafter_xl", "freenoise", "i2vgen_xl", "opensora", "opensora_plan", "seine", "sparsectrl", "svd"}
    assert table | {"streaming_t2v", "freenoise_animatediff", "naive", "pan", "still"} <= set(METHODS)


def test_contract(built: Built) -> None:
    findings = list(checks_of_method(built.plugin, built.profile))
    assert len(findings) == 6
    assert [finding for finding in findings if not finding.ok] == []


def test_another_seed_gives_another_video(built: Built) -> None:
    other = video_of(built.method, built.profile, seed=1)
    assert (built.video != other).any() == (built.plugin.info.name != "still")
