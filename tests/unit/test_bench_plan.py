from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalog import find_plugins, load_file
from bench.errors import ConfigError, PluginError
from bench.plan import choose_prompts, plan, run_name
from bench.profile import Profile, load_profile
from bench.settings import NOT_INSTALLED, agrees, identity, located, locations, resolve_settings
from bench.spec import RunSpec, content_key
from generators.weights import MissingWeightsError
from generators.weights_table import TABLE
from metrics import GROUPS

METHOD = """
from dataclasses import dataclass
import numpy as np
from generators.api import method

@method(name="grey", title="Grey", paper="", licence="none", continues_start=False, group="{group}")
@dataclass
class Grey:
    level: int = 128
    device: str = "cpu"
    weights_dir: str = ""

    def generate(self, request, start):
        yield np.full((request.num_frames, request.height, request.width, 3), self.level, np.uint8)
"""


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("a red circle\na blue square\n")
    return str(path)


@pytest.fixture
def grey(tmp_path: Path) -> str:
    path = tmp_path / "grey.py"
    path.write_text(METHOD.format(group="table"))
    return str(path)


def profile(*overrides: str) -> Profile:
    return load_profile("mini", ['run.metrics=["scuts"]', *overrides])


def grid(file: str, prompts: str, *overrides: str, **choices: Any) -> RunSpec:
    options = {"methods": "grey", "prompts": prompts, "plugins": [file]} | choices
    return plan(find_plugins([file]), profile(*overrides), **options)


def keys(spec: RunSpec) -> list[str]:
    return [cell.key for cell in spec.cells]


def test_grid_is_method_major_and_counts_flops_once_per_method(grey: str, prompts: str) -> None:
    spec = grid(grey, prompts, methods="grey,still", seeds=[0, 1])
    assert [cell.method for cell in spec.cells] == ["grey"] * 4 + ["still"] * 4
    assert [cell.counts_flops for cell in spec.cells] == [True, False, False, False] * 2
    assert len(set(keys(spec))) == 8


def test_methods_share_first_chunks(grey: str, prompts: str) -> None:
    spec = grid(grey, prompts, methods="grey,still", seeds=[0, 1])
    assert [cell.start_key for cell in spec.cells[:4]] == [cell.start_key for cell in spec.cells[4:]]
    assert len({cell.start_key for cell in spec.cells}) == 4


@pytest.mark.parametrize(
    "override",
    ["methods.grey.level=3", "video.height=32", "video.num_frames=16", "first_chunk.num_frames=8", "run.threads=2"],
)
def test_what_decides_bytes_changes_the_key(grey: str, prompts: str, override: str) -> None:
    assert not set(keys(grid(grey, prompts))) & set(keys(grid(grey, prompts, override)))


@pytest.mark.parametrize(
    "override", ["run.workers=7", "run.executor=serial", "run.weights_dir=/w", "run.prompts=long50"]
)
def test_what_does_not_decide_bytes_keeps_the_key(grey: str, prompts: str, override: str) -> None:
    assert keys(grid(grey, prompts)) == keys(grid(grey, prompts, override))


def test_length_of_the_video_keeps_the_first_chunk(grey: str, prompts: str) -> None:
    long, short = grid(grey, prompts), grid(grey, prompts, "video.num_frames=16")
    assert [cell.start_key for cell in long.cells] == [cell.start_key for cell in short.cells]


def test_an_edited_plugin_makes_its_videos_anew(grey: str, prompts: str) -> None:
    before = grid(grey, prompts)
    Path(grey).write_text(METHOD.format(group="table") + "# edited\n")
    assert not set(keys(before)) & set(keys(grid(grey, prompts)))


def test_the_same_command_has_the_same_name(grey: str, prompts: str) -> None:
    name = run_name(grid(grey, prompts))
    assert (
        name == run_name(grid(grey, prompts, "run.workers=3")) == run_name(grid(grey, prompts, 'run.metrics=["clip"]'))
    )
    assert name.startswith("mini-")
    assert name != run_name(grid(grey, prompts, seeds=[5]))


def test_groups_and_names_are_chosen(tmp_path: Path) -> None:
    file = tmp_path / "ablation.py"
    file.write_text(METHOD.format(group="extras"))
    catalog = find_plugins([str(file)])
    assert "grey" not in catalog.choose_methods("all")
    assert {"still", "pan", "naive"} == set(catalog.choose_methods("floor")) < set(catalog.choose_methods("all"))
    assert "truth" not in catalog.choose_methods("all")
    assert "truth" in catalog.choose_methods("all", load_profile("mini").run.also)
    assert load_profile("paper").run.also == ()
    assert catalog.choose_methods("extras") == ["grey"]
    assert catalog.choose_methods("still,grey, still") == ["still", "grey"]
    with pytest.raises(ConfigError, match=r"unknown method 'stil'; there are all, .*ablations, .*extras, .*still"):
        catalog.choose_methods("stil")
    with pytest.raises(ConfigError, match="nothing selected"):
        catalog.choose_methods(",")
    with pytest.raises(ConfigError, match=r"unknown metric 'mwae'; there are .*mawe"):
        catalog.choose_metrics(["mwae"])


def test_groups_of_metrics_stand_for_their_members() -> None:
    catalog = find_plugins()
    assert catalog.choose_metrics(["table1"]) == ["mawe", "scuts", "clip"]
    assert catalog.choose_metrics(["scuts", "table1", "drift"])[:4] == ["scuts", "mawe", "clip", "exposure"]
    assert catalog.choose_metrics(["all"]) == sorted(catalog.metrics)
    assert set(GROUPS) >= {"table1", "drift", "vbench"}
    for group in GROUPS:
        assert set(catalog.choose_metrics([group])) == set(GROUPS[group])


def test_the_group_of_vbench_long_reads_clips_and_names_no_other_weights() -> None:
    members = {*GROUPS["vbench-long"]}
    assert members == {"subject_consistency_long", "background_consistency_long"}
    assert all(members & {*weights.methods} for weights in TABLE if "vbench-long" in weights.methods)


def test_settings_come_from_section_then_run_then_default(grey: str) -> None:
    (plugin,), _ = load_file(grey)
    offered = {"device": "cuda", "weights_dir": "", "dtype": "float16"}
    assert resolve_settings(plugin.cls, {"level": 7}, offered, "m") == {"level": 7, "device": "cuda", "weights_dir": ""}
    assert resolve_settings(plugin.cls, {"device": "cpu"}, offered, "m")["device"] == "cpu"
    with pytest.raises(ConfigError, match="unknown setting 'lvl'; there are device, level, weights_dir"):
        resolve_settings(plugin.cls, {"lvl": 7}, {}, "m")
    with pytest.raises(ConfigError, match="must be a whole number"):
        resolve_settings(plugin.cls, {"level": "high"}, {}, "m")


def test_classes_that_are_no_dataclass_or_lack_defaults_are_refused() -> None:
    class Plain:
        pass

    @dataclasses.dataclass
    class Bare:
        level: int

    with pytest.raises(PluginError, match="not a dataclass"):
        resolve_settings(Plain, {}, {}, "methods.plain")
    with pytest.raises(PluginError, match="has no default"):
        resolve_settings(Bare, {}, {}, "methods.bare")


def test_wrong_sections_and_settings_stop_before_the_run(grey: str, prompts: str) -> None:
    with pytest.raises(ConfigError, match=r"\[methods\.gray\] is no method"):
        grid(grey, prompts, "methods.gray.level=3")
    with pytest.raises(ConfigError, match=r"\[metrics\.mwae\] is no metric"):
        grid(grey, prompts, "metrics.mwae.size=3")
    with pytest.raises(ConfigError, match="scuts: its settings raised SettingError"):
        grid(grey, prompts, "metrics.scuts.rule=newest")
    with pytest.raises(ConfigError, match="first_chunk: unknown setting 'steps'"):
        grid(grey, prompts, "first_chunk.steps=3")


@pytest.mark.parametrize("selection", ["0", "-1", "51"])
def test_impossible_numbers_of_prompts_are_refused(selection: str) -> None:
    with pytest.raises(ConfigError, match="has 1 to 50 prompts"):
        choose_prompts(selection, profile("run.prompts=long50"))


def test_prompts_are_chosen_by_number_all_or_file(prompts: str) -> None:
    long50 = profile("run.prompts=long50", "run.num_prompts=3")
    assert len(choose_prompts("", long50).prompts) == 3
    assert len(choose_prompts("2", long50).prompts) == 2
    assert len(choose_prompts("all", long50).prompts) == 50
    assert [p.text for p in choose_prompts(prompts, long50).prompts] == ["a red circle", "a blue square"]
    labels = [choose_prompts(selection, long50).label for selection in ("", "2", "50", "all", prompts)]
    assert labels == ["first 3 of long50", "first 2 of long50", "long50", "long50", "prompts.txt"]


def test_identity_forgets_what_does_not_decide_numbers() -> None:
    assert identity({"device": "cuda:3", "weights_dir": "/w", "steps": 4}) == {"device": "cuda", "steps": 4}
    assert identity({"weights": "mini:none_such"}) == {"weights": "mini:none_such#missing"}


def test_weights_of_metrics_become_paths_or_say_how_to_get_them() -> None:
    assert located("mawe", {"flow": "dis", "size": 3}, "") == {"flow": "dis", "size": 3}
    with pytest.raises(MissingWeightsError, match="none_such"):
        located("mawe", {"weights": "mini:none_such"}, "")
    assert locations({"a": {"weights": "mini:x", "n": 3}, "b": {"w": "hub:y"}}) == {
        "a.weights": "mini:x",
        "b.w": "hub:y",
    }


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats(allow_nan=False))))
def test_content_key_depends_on_content_alone(parts: dict[str, Any]) -> None:
    key = content_key(parts)
    assert len(key) == 16
    assert key == content_key(dict(reversed(parts.items())))
    assert key != content_key({**parts, "one more": 1})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('out of cheese')", "import raised RuntimeError: out of cheese"),
        ("def f(:", "import raised SyntaxError"),
        ("x = 1", "holds no class stamped"),
        (METHOD.format(group="table").replace("grey", "still"), "the name 'still' is taken by baselines.still"),
    ],
)
def test_broken_plugins_say_what_is_wrong(tmp_path: Path, source: str, words: str) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(source)
    with pytest.raises(PluginError) as error:
        find_plugins([str(file)])
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_plugin_files_must_be_python_files(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="cannot be read"):
        find_plugins([str(tmp_path / "missing.py")])
    (tmp_path / "plugin.txt").write_text("")
    with pytest.raises(PluginError, match=r"ends in \.py"):
        find_plugins([str(tmp_path / "plugin.txt")])


def test_a_score_stays_where_the_package_behind_it_is_missing_here() -> None:
    wanted = {"rule": "installed", "detector": NOT_INSTALLED}
    assert agrees({"rule": "installed", "detector": "1.0"}, wanted)
    assert not agrees({"rule": "other", "detector": "1.0"}, wanted)
    assert not agrees({"rule": "installed"}, wanted | {"detector": "1.0"})
    assert not agrees({"rule": "installed", "detector": NOT_INSTALLED}, wanted | {"detector": "1.0"})
