"""`from bench import load`: the numbers of a table as a pandas frame."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import load
from bench.errors import ConfigError, StoreError
from bench.records import StoredScore
from bench.report.derive import report_data
from bench.report.published import load_published
from bench.report.sources import gather
from bench.store import Store
from bench.tidy import TYPES, Scores
from tests.stores import PROMPTS, info, record, run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """svd is whole; pan has a failed video, an undefined score and one that a metric has not seen yet."""
    store = run(tmp_path / "a", info("a", ["svd", "pan"]), {"svd": 4.0}, cost={"seconds_per_frame": 0.5})
    undefined = StoredScore(None, {}, {"values": [None, 1.0]}, "1", "nothing moves", {"scale": 1.0})
    failed = record("pan", PROMPTS[0], 0.0, status="failed", reason="out of memory", scores={})
    store.save(replace(failed, num_frames=0, fps=0.0))
    store.save(record("pan", PROMPTS[1], 0.0, scores={"wobble": undefined}, extra={"cfg": "7.5"}))
    store.save(record("pan", PROMPTS[2], 0.0, scores={"old": StoredScore(2.0, version="3")}))
    return store


def test_one_row_per_video_and_metric(store: Store) -> None:
    scores = load(store.path)
    assert isinstance(scores, Scores)
    assert list(scores.columns) == [*TYPES, "extra.cfg"]
    found = scores[["method", "prompt_id", "metric", "status", "reason"]].values.tolist()
    assert found == [
        *(["svd", prompt.id, "wobble", "ok", ""] for prompt in PROMPTS),
        ["pan", "fox", "wobble", "failed", "out of memory"],
        ["pan", "otter", "wobble", "ok", "nothing moves"],
        ["pan", "crane", "wobble", "skipped", "not scored yet"],
        ["pan", "crane", "old", "ok", ""],
    ]
    assert scores["value"].tolist()[:3] == [4.0, 5.0, 6.0]
    assert scores["value"].isna().tolist() == [False, False, False, True, True, True, False]
    assert scores["frames"].fillna(-1).tolist() == [24, 24, 24, -1, 24, 24, 24]
    assert scores["fps"].fillna(-1).tolist() == [8, 8, 8, -1, 8, 8, 8]
    assert scores["seconds_per_frame"].tolist()[:3] == [0.5] * 3
    assert scores[scores["extra.cfg"] == "7.5"]["prompt_id"].tolist() == ["otter"]
    assert scores["settings_hash"].nunique() == 3


def test_means_are_those_of_the_table(store: Store) -> None:
    sources = gather([store])
    table = {row.method: row for row in report_data(sources.info, sources.records, load_published()).rows}
    means = load(store.path).groupby(["method", "metric"])["value"].mean()
    assert means["svd", "wobble"] == table["svd"].scores["wobble"].mean == 5.0


def test_series_of_a_selection(store: Store) -> None:
    scores = load(store.path)
    series = scores[scores["method"] == "pan"].series("wobble")
    assert series.columns.tolist() == ["method", "title", "prompt_id", "seed", "series", "index", "value"]
    assert series[["prompt_id", "series", "index"]].values.tolist() == [["otter", "values", 0], ["otter", "values", 1]]
    assert series["value"].isna().tolist() == [True, False]
    assert len(scores.series("wobble")) == 3 * 24 + 2
    with pytest.raises(KeyError, match="no rows of metric 'wobbel': there are old, wobble"):
        scores.series("wobbel")


def test_several_folders_and_chosen_rows(store: Store, tmp_path: Path) -> None:
    run(tmp_path / "b", info("b", ["seine"]), {"seine": 1.0})
    both = load(store.path, tmp_path / "b", methods="seine,svd")
    assert both.groupby("method")["value"].mean().to_dict() == {"svd": 5.0, "seine": 2.0}


def test_what_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the folder of a run"):
        load()
    with pytest.raises(StoreError, match=r"run\.json: not found"):
        load(tmp_path)


def test_importing_the_package_imports_no_pandas() -> None:
    code = "import bench, bench.cli, sys; print([m for m in ('pandas', 'torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
