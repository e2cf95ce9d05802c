"""Hostile methods and metrics, serial and in processes: each loses its own cell or score, nobody else anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.store import Store
from tests.chaos.grid import run, words
from tests.chaos.hostile import METHODS, METRICS, plugin
from tests.tiny_grid import arguments, call, lay_out, lay_starts, videos

pytestmark = pytest.mark.chaos

EXECUTORS = {
    "serial": ("--executor", "serial"),
    "processes": ("--executor", "processes", "--workers", "2", "--set", "run.max_retries=0"),
}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_hostile_methods(tmp_path: Path, executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, plugin(), prompts="a red circle\n")
    chosen = [name for name, hostile in METHODS.items() if executor == "processes" or not hostile.kills]
    for out in ("clean", "out"):
        lay_starts(tmp_path, out)
    assert call(*arguments(methods="still,pan", out="clean")) == 0
    ended = run(tmp_path, words(*EXECUTORS[executor], methods=",".join(["still", *chosen, "pan"])))
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.startswith("out: "), ended.stdout
    assert "PRINTED" not in ended.stdout
    records = {record.method: record for record in Store(tmp_path / "out").records()}
    clean = {record.method: record for record in Store(tmp_path / "clean").records()}
    for name in ("still", "pan"):
        assert records[name].scores == clean[name].scores
        assert records[name].video_sha256 == clean[name].video_sha256
    for name in chosen:
        hostile = METHODS[name]
        assert records[name].status == hostile.status, (name, records[name].reason)
        assert hostile.words in records[name].reason, (name, records[name].reason)
        assert hostile.warned in ended.stderr, name
        if hostile.status == "ok" and name != "writes_into_the_start":
            assert records[name].video_sha256 == records["still"].video_sha256, name
            assert records[name].scores == records["still"].scores, name
    print(f"{executor}: {len(chosen)} hostile methods, 2 others beside them")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_hostile_metrics(tmp_path: Path, executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, plugin())
    for out in ("clean", "out"):
        lay_starts(tmp_path, out)
    assert call(*arguments(methods="still,pan", out="clean")) == 0
    metrics = ",".join([*METRICS, "brightness"])
    ended = run(tmp_path, words(*EXECUTORS[executor], "--metrics", metrics, methods="still,pan"))
    assert ended.returncode == 1, ended.stderr
    assert "PRINTED" not in ended.stdout
    assert videos(tmp_path / "out") == videos(tmp_path / "clean")
    clean = {record.key: record for record in Store(tmp_path / "clean").records()}
    for record in Store(tmp_path / "out").records():
        assert record.status == "ok"
        assert record.scores["brightness"] == clean[record.key].scores["brightness"]
        for name, hostile in METRICS.items():
            score = record.scores[name]
            assert score.status == hostile.status, (name, score.reason)
            assert hostile.words in score.reason, (name, score.reason)
            assert hostile.status == "ok" or name in score.reason, (name, score.reason)
            assert hostile.warned in ended.stderr, name
    print(f"{executor}: {len(METRICS)} hostile metrics on 4 videos")
