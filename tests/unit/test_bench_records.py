"""Records and run.json: checked field by field when read and written; means come from the right videos."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import StoreError
from bench.records import Record, RunInfo, StoredScore, read_record, write_record
from bench.report.curves import curves_csv, trace
from bench.report.data_files import comparisons_csv, table_csv
from bench.report.derive import report_data
from bench.report.published import load_published
from bench.spec import SCHEMA, Prompt
from bench.store import Store
from metrics.api import MetricInfo, mean_or_none

OLD = Path(__file__).with_name("record_of_d6e5b39.json")
"""A record as an earlier version wrote it, every byte of it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "cells" / "still" / "dec4b32ad1af297e.json"
    path.parent.mkdir(parents=True)
    shutil.copyfile(OLD, path)
    return path


def test_records_of_an_earlier_version_are_read(path: Path) -> None:
    record, troubles = read_record(path)
    assert troubles == ()
    assert (record.method, record.status, record.num_frames, record.seams) == ("still", "ok", 64, (16, 32, 48))
    assert list(record.scores) == ["mawe", "scuts", "clip", "seams", "stillness"]
    assert record.scores["clip"].value == json.loads(OLD.read_text())["scores"]["clip"]["value"]
    assert record.lost == ()


def test_what_is_read_is_written_back_without_a_change(path: Path) -> None:
    record, _ = read_record(path)
    write_record(path, record)
    before, after = json.loads(OLD.read_text()), json.loads(path.read_text())
    before["prompt"]["changes"] = []  # added since, like the traceback of a failed score
    for score in before["scores"].values():
        score["traceback"] = ""
    scuts = before["scores"]["scuts"]  # the detector's version stands among the settings, too
    scuts["settings"]["scenedetect-headless"] = scuts["parts"]["scenedetect"]
    assert {name: after[name] for name in before} == before


def test_a_digit_that_flipped_is_found(path: Path) -> None:
    record, _ = read_record(path)
    write_record(path, record)
    text = path.read_text()
    path.write_text(text.replace('"num_frames": 64', '"num_frames": 65'))
    with pytest.raises(StoreError, match="its checksum is another one"):
        read_record(path)


def change(path: Path, field: str, value: Any) -> None:
    content = json.loads(path.read_text())
    inner = content
    *steps, last = field.split(".")
    for step in steps:
        inner = inner[step]
    inner[last] = value
    path.write_text(json.dumps(content))


WRONG = [
    ("key", 3),
    ("key", "another"),
    ("method", "../../evil"),
    ("method", "pan"),
    ("title", None),
    ("prompt", "a red circle"),
    ("prompt.text", ["a"]),
    ("prompt.tags", "camera"),
    ("seed", -1),
    ("seed", 0.5),
    ("seed", 2**63),
    ("status", "great"),
    ("reason", 0),
    ("num_frames", "64"),
    ("num_frames", 0),
    ("height", True),
    ("fps", "fast"),
    ("fps", -8.0),
    ("seams", [16, 16]),
    ("seams", [16, 64]),
    ("seams", ["16"]),
    ("video_sha256", None),
    ("video_bytes", 10**400),
    ("cost", []),
    ("cost.generation_seconds", "long"),
    ("scores", []),
    ("memory", {}),
    ("lost", "9"),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_named_and_the_cell_made_anew(path: Path, field: str, value: Any) -> None:
    change(path, field, value)
    with pytest.raises(StoreError) as refused:
        read_record(path)
    said = str(refused.value)
    assert str(path) in said
    assert "anew" in said
    assert field.split(".")[0] in said or "it is the record of" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", "abc"),
        ("value", True),
        ("value", 10**400),
        ("parts", {"a": [1]}),
        ("parts", {"a": 10**400}),
        ("series", {"w": [1, "b"]}),
        ("series", {"w": 3}),
        ("version", 1),
        ("settings", []),
        ("status", "great"),
        ("reason", None),
    ],
)
def test_a_wrong_score_is_left_out_and_the_rest_stays(path: Path, field: str, value: Any) -> None:
    change(path, f"scores.mawe.{field}", value)
    record, (trouble,) = read_record(path)
    assert list(record.scores) == ["scuts", "clip", "seams", "stillness"]
    assert str(path) in trouble
    assert "score of mawe" in trouble
    assert field in trouble


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"m": StoredScore("abc")}},  # type: ignore[arg-type]
        {"scores": {"m": StoredScore(None, {"a": 10**400})}},
        {"scores": {"m": StoredScore(None, {}, {"w": [1j]})}},  # type: ignore[list-item]
        {"status": "great"},
        {"seed": -1},
        {"num_frames": 0},
        {"reason": None},
    ],
)
def test_nothing_wrong_is_written(path: Path, change: dict[str, Any]) -> None:
    record, _ = read_record(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"dec4b32ad1af297e\.json"):
        write_record(path, replace(record, **change))
    assert path.read_bytes() == before


@pytest.mark.parametrize("cell", ["../../evil/k", "still/../../evil", "still", "still/", "/etc/passwd", "a/b/c"])
def test_a_grid_names_no_paths(tmp_path: Path, cell: str) -> None:
    with pytest.raises(StoreError, match="cells"):
        Store(tmp_path).open(info([Prompt("p001", "a")], (cell,)))


# -- means -------------------------------------------------------------------------------------------------------------

METHODS = ("first", "second")
TEXTS = "ABCDEF"


def info(prompts: Sequence[Prompt], cells: Sequence[str], seeds: Sequence[int] = (0,)) -> RunInfo:
    metrics = (MetricInfo("m", "M", "u", "lower", "1"),)
    return RunInfo(
        SCHEMA, "run", "", "s", METHODS, metrics, tuple(prompts), tuple(seeds), "mini", {}, {}, (), tuple(cells)
    )


@dataclass
class Mean:
    def begin(self, prompt: str, fps: float) -> Any:
        raise NotImplementedError

    def window(self, series: Any, start: int, stop: int) -> float | None:
        return mean_or_none(series["v"][start:stop])


@st.composite
def commands(draw: st.DrawFn) -> list[tuple[list[str], list[int]]]:
    """Returns prompts and seeds of several commands in one folder."""
    texts = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6, unique=True)
    seeds = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=2, unique=True)
    return draw(st.lists(st.tuples(texts, seeds), min_size=1, max_size=3))


def carry_out(store: Store, commands: list[tuple[list[str], list[int]]], values: Any) -> None:
    """Does what `run` does with a folder: opens it with a grid and makes the cells that are not there."""
    for texts, seeds in commands:
        prompts = [Prompt(f"p{number:03d}", text) for number, text in enumerate(texts, 1)]
        grid = [(m, p, s) for m in METHODS for p in prompts for s in seeds]
        store.open(info(prompts, [f"{m}/{p.text}-{s}" for m, p, s in grid], seeds))
        for method, prompt, seed in grid:
            key = f"{prompt.text}-{seed}"
            if not (store.path / "cells" / method / f"{key}.json").exists():
                value = values(method, prompt.text, seed)
                series = [value, value, value, value]
                scores = {"m": StoredScore(value, {}, {"v": series}, "1")}
                made = Record(key, method, method, prompt, seed, "ok", "", "", 4, 8, 8, 2.0, (), "ab", 3, {}, scores)
                store.save(made)


def from_json_alone(folder: Path) -> dict[str, dict[tuple[str, int], float | None]]:
    """Returns value by (text, seed) of each method, from nothing but the JSON files that the latest grid names."""
    found: dict[str, dict[tuple[str, int], float | None]] = {method: {} for method in METHODS}
    for cell in json.loads((folder / "run.json").read_text())["cells"]:
        content = json.loads((folder / "cells" / f"{cell}.json").read_text())
        found[content["method"]][content["prompt"]["text"], content["seed"]] = content["scores"]["m"]["value"]
    return found


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def number(text: str) -> float | None:
    return float(text) if text else None


def close(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(commands(), st.randoms(use_true_random=False))
def test_every_mean_is_that_of_the_files(
    tmp_path_factory: pytest.TempPathFactory, commands: list[tuple[list[str], list[int]]], random: Any
) -> None:
    store = Store(tmp_path_factory.mktemp("run"))
    carry_out(store, commands, lambda *_: random.choice([None, random.random(), random.random(), random.random()]))
    found = from_json_alone(store.path)
    data = report_data(store.info(), store.records(), load_published())
    over_time = trace(data, {"m": Mean})
    for row in csv.DictReader(io.StringIO(table_csv(data, over_time))):
        values = found[row["method"]]
        assert close(number(row["m_mean"]), mean(list(values.values())))
        assert int(row["m_n"]) + int(row["m_undefined"]) == len(values) == int(row["ok"]) == int(row["planned"])
    for line in csv.DictReader(io.StringIO(curves_csv(over_time))):
        assert close(number(line["mean"]), mean(list(found[line["method"]].values())))
    tests = list(csv.DictReader(io.StringIO(comparisons_csv(data))))
    assert len(tests) == len(data.comparisons)
    for line, comparison in zip(tests, data.comparisons, strict=True):
        test = comparison.test
        told = [test.low, test.high, test.std, test.p, comparison.p_holm]
        assert [number(line[name]) for name in ("low", "high", "std", "p", "p_holm")] == told
        assert (int(line["prompts"]), line["exact"]) == (test.n, str(test.exact))
        pairs: dict[str, list[float]] = {}
        for (text, seed), value in found[line["first"]].items():
            other = found[line["second"]][text, seed]
            if value is not None and other is not None:
                pairs.setdefault(text, []).append(value - other)
        assert close(number(line["difference"]), mean([fmean(differences) for differences in pairs.values()]))


def test_a_moved_list_of_prompts_keeps_every_video_in_the_mean(tmp_path: Path) -> None:
    store = Store(tmp_path)
    carry_out(store, [(list("ABCD"), [0]), (list("BCDE"), [0])], lambda _, text, __: float(ord(text)))
    row = report_data(store.info(), store.records(), load_published()).rows[0]
    assert (row.scores["m"].n, row.scores["m"].mean) == (4, fmean(map(ord, "BCDE")))
    assert [record.prompt.id for record in store.records()[:4]] == ["p001", "p002", "p003", "p004"]


def test_a_grid_that_lists_a_cell_twice_counts_it_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    carry_out(store, [(list("AB"), [0])], lambda *_: 1.0)
    path = tmp_path / "run.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "cells": content["cells"] * 2}))
    assert len(store.records()) == 4
