"""The ablations' study: what its tables say of made-up scores, what it names, and a grid that goes on."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.records import Record, StoredScore
from bench.spec import Prompt
from bench.store import Store
from bench.studies import ablations, identity
from bench.studies.ablation_scores import ablation_table, clip_at_end, paired_table, ratio, value
from bench.studies.ablations import STUDIES, Study, finished, finished_with_variants, main, transformer_goals
from bench.studies.identity import identities, named_rightly
from bench.studies.mini_networks import Namer
from generators.mini.grammar import parse
from generators.mini.world import Clip
from generators.weights import resolve_weights
from tests.stores import record as stored_record

RED = "a red circle bouncing up and down on grass"

SEAMS = {"seam contrast ↓": value("seams")}


def videos(method: str, seams: Sequence[float]) -> list[Record]:
    """Finished videos of one prompt each, with these seam contrasts and a CLIP score that falls from 1 to 0."""
    falling = StoredScore(0.5, series={"cosine": [1 - i / 100 for i in range(100)]})
    return [
        replace(
            stored_record(method, Prompt(f"p{number}", f"prompt {number}"), contrast, frames=100),
            fps=10.0,
            scores={"seams": StoredScore(contrast), "clip": falling},
        )
        for number, contrast in enumerate(seams)
    ]


def test_means_and_paired_differences() -> None:
    """Each prompt's seam is weaker by one: certain to six prompts, which no interval of the means alone shows."""
    base = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    records = {"a": videos("a", base), "b": videos("b", [x - 1 for x in base]), "c": videos("c", base[::-1])}
    table = ablation_table(records, SEAMS).splitlines()
    assert table[0] == "| method | videos | seam contrast ↓ |"
    assert table[2].startswith("| `a` | 6 | 7 ± ")
    paired = paired_table(records, "a", SEAMS).splitlines()
    assert paired[2] == "| `b` | -1 [-1, -1], p 0.062 |"  # 2 of 64 patterns, twice by Holm
    assert paired[3].startswith("| `c` | +0 [")
    assert "*" not in paired[2] + paired[3]
    alone = paired_table({"a": records["a"], "b": records["b"]}, "a", SEAMS).splitlines()
    assert alone[2].endswith("p 0.031* |")
    assert ratio(records, "b", "a", value("seams")) == pytest.approx(6 / 7)


def test_a_method_without_common_prompts_is_not_compared() -> None:
    assert paired_table({"a": videos("a", [1.0]), "b": []}, "a", SEAMS).splitlines()[2] == "| `b` | – |"


def test_clip_of_the_end() -> None:
    (video,) = videos("a", [1.0])
    assert clip_at_end(2.0)(video) == pytest.approx(100 * (0.01 + 0.2) / 2, rel=0.01)


def test_the_goal_of_the_transformer() -> None:
    records = {"opensora": videos("opensora", [4.0, 4.0]), "streaming_opensora": videos("s", [2.0, 3.0])}
    assert transformer_goals(records) == "seam contrast: 0.62 of OpenSora's, goal at most 0.7: reached"


def test_things_are_named_second_by_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A red circle for two seconds, then a blue square for as long."""
    namer = Namer()
    frames = Clip(parse(RED), 1).render(0, 20)
    assert named_rightly(namer, frames, RED, fps=10.0) == {"colour": 100.0, "shape": 100.0}
    other = named_rightly(namer, frames, "a blue square bouncing up and down on grass", fps=10.0)
    assert other == {"colour": 0.0, "shape": 0.0}
    kept = tmp_path / "identity.json"
    video = replace(stored_record("a", Prompt("red", RED), 1.0), fps=10.0)
    monkeypatch.setattr(identity, "read_whole_video", lambda path: frames)
    monkeypatch.setattr(Store, "whole_video", lambda self, record: Path())
    first = identities(Store(tmp_path), [video], kept)
    assert first == {f"a/{video.key}": {"colour": 100.0, "shape": 100.0}}
    monkeypatch.setattr(identity, "Namer", None)  # the second time nothing is named
    assert identities(Store(tmp_path), [video], kept) == first


def test_the_studies_are_what_the_document_says() -> None:
    assert (STUDIES["memories"].prompts, STUDIES["memories"].seeds) == (16, (0, 1))
    assert STUDIES["memories"].first == "streaming_t2v"
    assert STUDIES["forgetting"].settings[-1] == "video.num_frames=1200"


def test_a_grid_goes_on_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("run.metrics=['mawe','scuts','clip','seams','stillness']", "video.num_frames=80")
    study = Study("still,truth", 2, (0,), short, lambda records: "goals: " + ", ".join(records))
    monkeypatch.setitem(ablations.STUDIES, "memories", study)
    serial = ["run.executor=serial"]
    run, figures = tmp_path / "run", tmp_path / "figures"
    first = finished(study, run, Namespace(set=serial, prompts=1, seeds=[0]))
    assert {method: len(found) for method, found in first.items()} == {"still": 1, "truth": 1}
    made = {path: path.stat().st_mtime_ns for path in run.rglob("*.mkv")}
    main(["memories", str(run), "--set", serial[0], "--figures", str(figures)])
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())
    printed = capsys.readouterr().out
    assert "| `still` | 2 | " in printed
    assert "| minus `still` | MAWE ↓ | " in printed
    assert printed.rstrip().endswith("goals: still, truth")
    assert {path.name for path in figures.iterdir()} == {"memories.png", "memories-still.png", "memories-truth.png"}


def test_a_variant_is_a_row_of_its_own(tmp_path: Path) -> None:
    weights = shutil.copytree(resolve_weights("mini:streaming_t2v"), tmp_path / "weights")
    sizes = weights / "network" / "config.json"
    sizes.write_text(json.dumps(json.loads(sizes.read_text()) | {"cam_positions": True}))
    settings = ("run.metrics=['clip']", "video.num_frames=17")
    study = Study("streaming_t2v", 1, (0,), settings, lambda records: "")
    given = {"set": ["run.executor=serial"], "prompts": 0, "seeds": None, "run": tmp_path / "run"}
    grids = finished_with_variants(study, Namespace(**given, variant=[f"other={weights}"]))
    (plain,), (other,) = (found for grid in grids.values() for found in grid.values())
    assert [list(grid) for grid in grids.values()] == [["streaming_t2v"], ["other"]]
    assert [folder.name for folder in grids] == ["run", "run-other"]
    assert plain.scores["clip"].value != other.scores["clip"].value
    with pytest.raises(ConfigError, match=r"--variant other: give NAME=WEIGHTS"):
        finished_with_variants(study, Namespace(**given, variant=["other"]))
