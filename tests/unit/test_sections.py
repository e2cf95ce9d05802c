"""A section of a profile that is a method of its own: found, refused, planned, listed; and texts that change."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.autoregressive import continue_video
from bench.catalog import find_plugins, own_settings
from bench.check import checks_of
from bench.errors import ConfigError, PluginError
from bench.plan import plan, run_info, run_name
from bench.profile import Profile, load_profile
from bench.prompts import load_prompts
from bench.records import Record
from bench.report.rows import _note_flag, _text_flag
from bench.settings import identity, locations
from bench.spec import Prompt, RunSpec
from generators.api import MethodInfo, Request, TextChange
from metrics.api import ChangingText
from metrics.clip import ClipScore
from metrics.features.base import VideoFacts

WAN = 'class = "diffusers_video"\npipeline = "WanImageToVideoPipeline"\nweights = "w"\n'


def profile(tmp_path: Path, section: str, *overrides: str) -> Profile:
    file = tmp_path / "own.toml"
    file.write_text(f'extends = "mini"\nname = "own"\n[methods.mine]\n{section}')
    return load_profile(str(file), overrides)


def planned(tmp_path: Path, section: str, *overrides: str, **options: Any) -> RunSpec:
    return plan(find_plugins(), profile(tmp_path, section, *overrides), **{"methods": "mine", "prompts": "1"} | options)


def test_a_section_is_a_row_with_settings_and_a_key(tmp_path: Path) -> None:
    told = 'title = "Mine"\npaper = "p"\nlicence = "l"\ngroup = "g"\n'
    spec = planned(tmp_path, WAN + told, "methods.mine.arguments.guidance_scale=3.5", "methods.mine.num_frames=17")
    assert spec.titles == {"mine": "Mine"}
    assert spec.methods["mine"]["arguments"] == {"guidance_scale": 3.5}
    assert spec.methods["mine"]["num_frames"] == 17
    assert "title" not in spec.methods["mine"]
    info = run_info(spec, find_plugins(), "x").stamps["mine"]
    assert (info.title, info.paper, info.licence, info.group, info.continues_start) == ("Mine", "p", "l", "g", True)
    assert "mine" in [cell.method for cell in planned(tmp_path, WAN + told, methods="g").cells]


def test_what_describes_a_method_is_no_part_of_its_key_and_what_sets_it_is(tmp_path: Path) -> None:
    def key(section: str) -> str:
        return planned(tmp_path, section).cells[0].key

    plain = key(WAN)
    assert key(WAN + 'title = "Another"\nlicence = "x"\n') == plain
    assert key(WAN + "num_frames = 17\n") != plain
    assert key(WAN + "arguments.guidance_scale = 2.0\n") != plain


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('class = "nobody"\n', "unknown method class 'nobody'; there are .*diffusers_video"),
        ("class = 3\n", "class must be a text"),
        (WAN + "title = 3\n", "methods.mine.title must be a text"),
        (WAN + "guidance_scale = 5.0\n", "unknown setting 'guidance_scale'"),
        (WAN + "num_frames = 80\n", "give 77 or 81"),
        ('class = "diffusers_video"\n', "pipeline is missing"),
        ('class = "command"\n', "argv is missing"),
    ],
)
def test_a_wrong_section_is_refused_before_the_run(tmp_path: Path, section: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        planned(tmp_path, section)


@pytest.mark.parametrize(("name", "error"), [("still", ConfigError), ("Mine", PluginError), ("modern", PluginError)])
def test_names_that_are_taken_or_no_names_are_refused(name: str, error: type[Exception]) -> None:
    other = {"class": "command", "argv": ["x"], "group": "modern"}
    with pytest.raises(error, match=name):
        find_plugins().with_sections({name: other})


def test_a_text_only_pipeline_says_that_it_does_not_continue() -> None:
    sections: dict[str, dict[str, Any]] = {
        "a": {"pipeline": "WanPipeline"}, "b": {"pipeline": "HeliosPipeline", "takes": "nothing"},
        "c": {"pipeline": "HeliosPipeline"},
    }  # fmt: skip
    found = find_plugins().with_sections({n: s | {"class": "diffusers_video"} for n, s in sections.items()}).methods
    assert [found[name].info.continues_start for name in "abc"] == [False, False, True]


def test_a_first_chunk_of_another_class(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'extends = "mini"\nname = "own"\n[first_chunk]\nclass = "diffusers_video"\npipeline = "WanPipeline"\n'
        'weights = "mini:svd"\nnum_frames = 21\n'
    )
    spec = plan(find_plugins(), load_profile(str(own)), methods="still", prompts="1")
    assert spec.first_chunk["pipeline"] == "WanPipeline"
    other = plan(find_plugins(), load_profile(str(own), ["first_chunk.num_frames=17"]), methods="still", prompts="1")
    assert spec.cells[0].start_key != other.cells[0].start_key
    with pytest.raises(ConfigError, match="cannot draw first chunks"):
        plan(find_plugins(), load_profile(str(own), ["first_chunk.class=command"]), methods="still", prompts="1")


def test_the_guide_s_first_chunk_runs_in_the_precision_of_its_siblings(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "modern-systems.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "mine.toml").write_text(example)
    spec = plan(find_plugins(), load_profile(str(tmp_path / "mine.toml")), methods="still", prompts="1")
    sibling = load_profile("modern").methods["wan21_i2v_14b"]
    for name in ("dtype", "part_dtypes"):
        assert spec.first_chunk[name] == sibling[name]


def test_check_tries_the_sections_of_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'extends = "mini"\nname = "own"\n[methods.mine]\n{WAN}')
    checks = {check.check: check for check in checks_of(str(file), load_profile(str(file)))}
    assert checks["it is a dataclass whose settings have defaults or stand in the profile"].ok
    assert 'no weights at "w"' in checks["it leaves the shared first chunk as it is"].detail
    file.write_text('extends = "mini"\nname = "own"\n')
    with pytest.raises(PluginError, match="nothing to check"):
        list(checks_of(str(file), load_profile(str(file))))


def test_weights_inside_tables_are_named_and_hashed() -> None:
    settings = {"parts": {"vae": "mini:text_to_video/vae"}, "weights": "hub:a/b"}
    assert locations({"methods.svd": settings}) == {
        "methods.svd.parts.vae": "mini:text_to_video/vae",
        "methods.svd.weights": "hub:a/b",
    }
    assert identity(settings)["parts"]["vae"].startswith("mini:text_to_video/vae#")
    assert own_settings({"weights": "w"}) == {"weights": "w"}


# -- texts that change -------------------------------------------------------------------------------------------------


def prompts(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "p.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_prompt_file_may_change_its_text(tmp_path: Path) -> None:
    texts = [{"at": 0, "text": " rain "}, {"at": 40, "text": "sun"}]
    longer = [*texts, {"at": 50, "text": "night"}]
    first, second = load_prompts(str(prompts(tmp_path, texts, {"id": "b", "text": longer}))).prompts
    assert (first.text, first.changes) == ("rain", (TextChange(40, "sun"),))
    assert second.id == "b"
    assert first.text_hash != second.text_hash
    assert first.text_hash != load_prompts(str(prompts(tmp_path, {"text": "rain"}))).prompts[0].text_hash


@pytest.mark.parametrize(
    "texts",
    [
        [], [{"at": 1, "text": "a"}], [{"at": 0, "text": "a"}, {"at": 0, "text": "b"}], [{"at": 0, "text": " "}],
        [{"at": 0}], ["a"], [{"at": True, "text": "a"}], [{"at": 0, "text": "a", "x": 1}],
        [{"at": 0, "text": "a"}, {"at": 30, "text": "b"}, {"at": 20, "text": "c"}],
    ],
)  # fmt: skip
def test_a_malformed_change_is_refused(tmp_path: Path, texts: object) -> None:
    with pytest.raises(ConfigError, match=r"line 1: (a changing text|`at` counts)"):
        load_prompts(str(prompts(tmp_path, texts)))


def test_changes_enter_the_key_of_a_video_but_not_of_its_first_chunk(tmp_path: Path) -> None:
    def spec(*lines: object) -> RunSpec:
        return plan(find_plugins(), load_profile("mini"), methods="still", prompts=str(prompts(tmp_path, *lines)))

    plain, changing = spec({"text": "rain"}), spec([{"at": 0, "text": "rain"}, {"at": 40, "text": "sun"}])
    assert plain.cells[0].start_key == changing.cells[0].start_key
    assert plain.cells[0].key != changing.cells[0].key
    assert run_name(plain) != run_name(changing)
    assert changing.cells[0].prompt.scored_text == "rain"


def test_a_chunk_ends_where_the_text_changes() -> None:
    told: list[tuple[str, int]] = []

    def make(text: str, history: np.ndarray, seed: int, wanted: int) -> np.ndarray:
        told.append((text, wanted))
        return np.repeat(history[-1:], 8, axis=0)

    request = Request("a", 0, 40, 8, 8, 8.0, (TextChange(4, "b"), TextChange(20, "c"), TextChange(99, "d")))
    start = np.zeros((16, 8, 8, 3), np.uint8)
    chunks = continue_video(make, request, start, (8, 8), keep=1, pad="once", unpad=True)
    assert [len(chunk) for chunk in chunks] == [4, 8, 8, 4]
    assert told == [("b", 4), ("c", 20), ("c", 12), ("c", 4)]


def test_clip_compares_every_frame_with_the_text_in_force() -> None:
    metric = ClipScore()
    eye = np.eye(2, dtype=np.float32)
    arrays = {"image": eye[[0, 0, 1, 1]], "activation": np.array(["x"]), "truncated": np.array([False])}
    (feature,) = metric.features()

    def series(text: np.ndarray, prompt: str) -> list[float | None]:
        return list(metric.read({feature: arrays | {"text": text}}, VideoFacts(prompt, 8.0, 4)).series["cosine"])

    assert series(eye[0], "rain") == [1.0, 1.0, 0.0, 0.0]
    assert series(eye, ChangingText("rain", ((2, "sun"),))) == [1.0, 1.0, 1.0, 1.0]
    assert series(eye, ChangingText("rain", ((3, "sun"),))) == [1.0, 1.0, 0.0, 1.0]
    assert repr(ChangingText("rain", ((3, "sun"),))) != repr("rain")  # kept features are named by it


def test_a_row_says_that_its_system_cannot_switch_and_that_it_was_not_run_here() -> None:
    texts = Prompt("p", "rain", changes=(TextChange(40, "sun"),))
    record = Record("k", "m", "M", texts, 0, "ok")
    stamp = MethodInfo("m", "M", "", "", continues_start=True, note="not run here")
    assert (flag := _text_flag(stamp, [record])) is not None
    assert flag.word == "first text only"
    assert (flag := _note_flag(stamp)) is not None
    assert flag.word == "not run here"
    assert _text_flag(replace(stamp, follows_prompts=True), [record]) is None
    assert _text_flag(stamp, [replace(record, prompt=Prompt("p", "rain"))]) is None
    assert _text_flag(replace(stamp, group="floor"), [record]) is None
    assert _note_flag(replace(stamp, note="")) is None
