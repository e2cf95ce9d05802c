from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.profile import load_profile, packaged_profiles


def test_packaged_profiles_say_what_the_paper_says() -> None:
    assert packaged_profiles() == ["mini", "mini-refined", "modern", "modern-1min", "paper"]
    assert load_profile("mini").video == dataclasses.replace(load_profile("paper").video, height=64, width=64)
    assert load_profile("paper").video.num_frames == 240
    assert load_profile("mini").run.metrics[:3] == ("mawe", "scuts", "clip")


@pytest.mark.parametrize("name", ["mini", "mini-refined", "paper"])
def test_naive_is_the_first_chunk_model_and_nothing_else(name: str) -> None:
    profile = load_profile(name)
    naive = dict(profile.methods["naive"])
    naive.pop("batch", None)  # speed alone: frames stay the same
    assert naive == profile.first_chunk


@pytest.mark.parametrize("name", ["mini", "mini-refined", "paper"])
def test_every_value_states_its_source(name: str) -> None:
    path = Path(__file__).parents[2] / "bench" / "profiles" / f"{name}.toml"
    copies = {"[methods.naive]", "[metrics.seams]", "[metrics.stillness]"}  # their head says of what
    section = head = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section, _, head = line.partition(" #")
        elif line and not line.startswith("#") and "=" in line and section not in copies and "otherwise" not in head:
            assert " #" in line or line.startswith(("name =", "dtype =")), line


@pytest.mark.parametrize("change", ["no_apm", "no_cam", "concat", "sparse"])
def test_ablations_differ_from_the_method_in_their_weights_only(change: str) -> None:
    methods = load_profile("mini").methods
    name = f"streaming_t2v_{change}"
    assert methods[name] == {**methods["streaming_t2v"], "weights": f"mini:{name}"}


def test_the_enhanced_method_differs_from_the_method_in_its_enhancement_only() -> None:
    methods = load_profile("mini").methods
    changed = methods["streaming_t2v_refined"].items() - methods["streaming_t2v"].items()
    assert {name.partition("_")[0] for name, _ in changed} == {"refiner", "refined", "canvas"}


def test_the_refined_profile_refines_every_start_as_the_method_refines() -> None:
    profile, wanted = load_profile("mini-refined"), load_profile("mini").methods["streaming_t2v_refined"]
    assert (profile.video.height, profile.video.width) == (wanted["refined_height"], wanted["refined_width"])
    assert profile.first_chunk["refiner"] == wanted["refiner_weights"]
    for name in ("refiner_start", "refiner_steps", "refiner_guidance_scale", "canvas_height", "canvas_width"):
        assert profile.first_chunk[name] == wanted[name]
    assert "streaming_t2v_refined" in profile.run.also


@pytest.mark.parametrize("name", ["mini", "paper"])
def test_opensora_with_memories_differs_in_them_only(name: str) -> None:
    methods = load_profile(name).methods
    ours, own = methods["streaming_opensora"], {"memories", "image_weights"}
    assert {setting: value for setting, value in ours.items() if setting not in own} == methods["opensora"]


def test_overrides_reach_every_level() -> None:
    overrides = ["video.num_frames=32", "methods.svd.num_frames=4", "run.prompts=long50", "run.seeds=[1, 2]"]
    profile = load_profile("mini", overrides)
    assert profile.video.num_frames == 32
    assert profile.methods["svd"]["num_frames"] == 4
    assert profile.run.prompts == "long50"
    assert profile.run.seeds == (1, 2)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("video.num_frames=0", "video.num_frames must be positive"),
        ("video.num_frames=-5", "video.num_frames must be positive"),
        ("video.num_frames=many", "must be a whole number"),
        ("video.num_frames=1.5", "must be a whole number"),
        ("video.fps=nan", "video.fps must be positive"),
        ("video.height=true", "must be a whole number"),
        ("run.executor=threads", "one of serial, processes, ray"),
        ("run.dtype=int8", "one of float32"),
        ("run.threads=0", "threads must be 1 or more"),
        ("run.workers=-1", "0 (all) or more"),
        ("run.seeds=[-1]", "whole numbers from 0 on"),
        ("run.seeds=[]", "whole numbers from 0 on"),
        ("run.metrics=mawe", "must be a list"),
        ("video.colour=3", "unknown key 'colour'"),
        ("colour.x=3", "unknown key 'colour'"),
        ("methods=3", "must be a section"),
        ("methods.svd=3", "must be a section"),
        ("name.x=3", "is a value, not a section"),
        ("name=../x", "name must be"),
        ("no equals sign", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
    ],
)
def test_senseless_settings_are_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_profile("mini", [override])
    assert words in str(error.value)


def test_profile_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are mini, mini-refined, modern, modern-1min, paper"):
        load_profile("huge")
    with pytest.raises(ConfigError, match="no profile at"):
        load_profile(str(tmp_path / "missing.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("[video\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load_profile(str(broken))
    broken.write_text('name = "x"\n[video]\nnum_frames = 8\nheight = 8\nwidth = 8\n')
    with pytest.raises(ConfigError, match=r"video\.fps is missing"):
        load_profile(str(broken))
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile(str(broken))


def test_a_profile_extends_another(tmp_path: Path) -> None:
    (tmp_path / "below.toml").write_text('extends = "mini"\nname = "below"\n[methods.svd]\nnum_frames = 9\n')
    (tmp_path / "above.toml").write_text(
        'extends = "below.toml"\nname = "above"\n[video]\nfps = 24.0\n[methods.svd]\narguments.motion_bucket_id = 5\n'
    )
    mini, above = load_profile("mini"), load_profile(str(tmp_path / "above.toml"))
    assert (above.name, above.video.fps, above.video.num_frames) == ("above", 24.0, mini.video.num_frames)
    assert above.methods["svd"]["num_frames"] == 9
    assert above.methods["svd"]["weights"] == mini.methods["svd"]["weights"]
    assert above.methods["svd"]["arguments"] == {**mini.methods["svd"]["arguments"], "motion_bucket_id": 5}
    (tmp_path / "below.toml").write_text('extends = "above.toml"\nname = "below"\n')
    with pytest.raises(ConfigError, match="leads back to itself"):
        load_profile(str(tmp_path / "above.toml"))
