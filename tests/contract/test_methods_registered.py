"""The contract of a method, checked on every registered one with the settings and weights of the mini profile."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from bench.catalog import Plugin, find_plugins
from bench.check import check_file, sample_start
from bench.profile import Profile, load_profile
from bench.settings import construct, resolve_settings, run_settings
from generators.api import Frames, MethodInfo, Request
from generators.weights import MissingWeightsError

# diffusers 0.42 hands torch tensors to numpy in its schedulers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

METHODS = sorted(find_plugins().methods)


def settings_of(plugin: Plugin[MethodInfo], profile: Profile) -> dict[str, object]:
    name = plugin.info.name
    return resolve_settings(plugin.cls, profile.methods.get(name, {}), run_settings(profile.run), f"methods.{name}")


@pytest.fixture(params=METHODS)
def plugin(request: pytest.FixtureRequest) -> Plugin[MethodInfo]:
    """Every registered method whose weights for the mini profile are here, complete."""
    found = find_plugins().methods[request.param]
    try:
        video_of(found, quick_profile(found), seed=0, num_frames=17)
    except MissingWeightsError as missing:
        pytest.skip(str(missing))
    return found


def quick_profile(plugin: Plugin[MethodInfo]) -> Profile:
    """Returns the mini profile with as few solver steps as a check of shapes and determinism needs."""
    profile, name = load_profile("mini"), plugin.info.name
    steps = "num_inference_steps" in settings_of(plugin, profile)
    return load_profile("mini", [f"methods.{name}.num_inference_steps=4"]) if steps else profile


def video_of(plugin: Plugin[MethodInfo], profile: Profile, seed: int, num_frames: int = 40) -> Frames:
    method = construct(plugin.cls, settings_of(plugin, profile), plugin.info.name)
    video = profile.video
    request = Request(
        "a red circle bouncing up and down on grass", seed, num_frames, video.height, video.width, video.fps
    )
    return np.concatenate(list(method.generate(request, sample_start(video))))


def test_no_registered_method_is_broken() -> None:
    assert find_plugins().broken == {}
    table = {"dynamicrafter_xl", "freenoise", "i2vgen_xl", "opensora", "opensora_plan", "seine", "sparsectrl", "svd"}
    assert table | {"streaming_t2v", "freenoise_animatediff", "naive", "pan", "still"} <= set(METHODS)


def test_contract(plugin: Plugin[MethodInfo]) -> None:
    spec = find_spec(plugin.cls.__module__)
    assert spec is not None
    assert spec.origin is not None
    findings = [
        finding for finding in check_file(spec.origin, quick_profile(plugin)) if finding.plugin == plugin.info.name
    ]
    assert findings
    assert [finding for finding in findings if not finding.ok] == []


def test_another_seed_gives_another_video(plugin: Plugin[MethodInfo]) -> None:
    videos = [video_of(plugin, quick_profile(plugin), seed) for seed in (0, 1)]
    assert (videos[0] != videos[1]).any() == (plugin.info.name != "still")
