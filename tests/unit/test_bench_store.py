from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import pytest

from bench.errors import ConfigError, StoreError
from bench.files import check_output, replacing
from bench.owner import machine, this_process
from bench.plan import Todo, settle
from bench.profile import load_profile
from bench.records import Record, RunInfo, StoredScore
from bench.remote import SCRATCH, RemoteStore
from bench.spec import SCHEMA, Cell, GivenFile, Prompt, RunSpec
from bench.store import Store, latest
from metrics.api import MetricInfo

PROMPT = Prompt("p001", "a red circle", ("colour",))
CELL = Cell("k1", "still", PROMPT, 0, "s1")
SCORE = StoredScore(1.5, {"pairs": 3}, {"w": [1.0, None]}, "1", "", {"size": 128})
RECORD = Record(
    "k1", "still", "Still", PROMPT, 0, "ok", "", "ab", 24, 8, 8, 10.0, (8, 16), "cd", 3, {"s": 0.5}, {"m": SCORE}
)


def info(*cells: str) -> RunInfo:
    metrics = (MetricInfo("m", "M", "u", "lower", "1"),)
    return RunInfo(
        SCHEMA,
        "run",
        "2030-01-01T00:00:00+00:00",
        "mini",
        ("still",),
        metrics,
        (PROMPT,),
        (0,),
        "mini",
        {},
        {},
        (),
        cells,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    store.open(info("still/k1", "still/k2"))
    store.cell_video(CELL).write_bytes(b"abc")
    store.save(RECORD)
    return store


def test_what_is_saved_is_read_back(store: Store) -> None:
    assert store.records() == [RECORD]
    assert store.find(CELL) == RECORD
    assert store.info() == info("still/k1", "still/k2")


def test_records_outside_the_grid_are_left_alone(store: Store) -> None:
    store.open(info("still/k2"))
    assert store.records() == []
    assert store.find(CELL) == RECORD


def test_the_first_command_gives_the_time(store: Store) -> None:
    store.open(RunInfo(**{**vars(info()), "created": "2031-01-01T00:00:00+00:00"}))
    assert store.info().created == "2030-01-01T00:00:00+00:00"


def test_numbers_that_are_not_finite_become_null(store: Store) -> None:
    scores = {"m": StoredScore(float("nan"), {"x": float("inf")}, {"w": [float("nan")]})}
    store.save(Record(**{**vars(RECORD), "scores": scores}))
    read = store.records()[0].scores["m"]
    assert (read.value, read.parts["x"], read.series["w"]) == (None, None, [None])


@pytest.mark.parametrize("text", ['{"key": "k1", "met', "[1]", '{"key": "k1"}', "", "\udcff"])
def test_a_torn_record_is_named(store: Store, text: str) -> None:
    path = store.cell_video(CELL).with_suffix(".json")
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(StoreError, match=r"k1\.json.*anew"):
        store.records()


@pytest.mark.parametrize("content", [b"ab", None])
def test_a_torn_video_is_named(store: Store, content: bytes | None) -> None:
    video = store.cell_video(CELL)
    video.unlink()
    if content is not None:
        video.write_bytes(content)
    with pytest.raises(StoreError, match=r"k1\.mkv: the video .*anew"):
        store.find(CELL)


@pytest.mark.parametrize("content", ["", '{"schema": 1, "na', "[]", '{"schema": 1}', "FOLDER", "LOOP", "PIPE"])
def test_a_torn_run_json_is_written_anew_and_named(store: Store, content: str) -> None:
    path = store.path / "run.json"
    path.unlink()
    match content:
        case "FOLDER":
            path.mkdir()
            (path / "mine").write_text("")
        case "LOOP":
            path.symlink_to(path)
        case "PIPE":
            os.mkfifo(path)
        case _:
            path.write_text(content)
    (said,) = store.open(info("still/k1"))
    assert str(path) in said
    assert store.info() == info("still/k1")
    assert store.open(info("still/k1")) == ()
    if content == "FOLDER":
        assert (store.path / "run.json.aside-1" / "mine").exists()


@pytest.mark.parametrize("what", ["FOLDER", "LOOP", "PIPE"])
@pytest.mark.parametrize("suffix", [".json", ".mkv"])
def test_what_is_no_file_is_named_and_made_anew(store: Store, what: str, suffix: str) -> None:
    path = store.cell_video(CELL).with_suffix(suffix)
    path.unlink()
    if what == "FOLDER":
        path.mkdir()
    elif what == "LOOP":
        path.symlink_to(path)
    else:
        os.mkfifo(path)
    with pytest.raises(StoreError, match=rf"k1\{suffix}: .*anew"):
        store.find(CELL)
    store.discard(CELL)
    with replacing(store.cell_video(CELL), make_way=True) as temporary:
        temporary.write_bytes(b"abc")
    store.save(RECORD)
    assert store.find(CELL) == RECORD


def test_damaged_records_are_surveyed_and_the_others_read(store: Store) -> None:
    other = dataclasses.replace(RECORD, key="k2")
    store.save(other)
    store.cell_video(CELL).with_suffix(".json").write_text("{")
    records, (said,) = store.survey()
    assert records == [other]
    assert "k1.json" in said


def test_other_schemas_and_missing_runs_are_refused(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match="not found; make it with"):
        Store(tmp_path / "none").info()
    path = store.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": SCHEMA + 1}))
    with pytest.raises(StoreError, match="schema"):
        store.info()
    with pytest.raises(StoreError, match="schema"):
        store.open(info())


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write results there .*--out"):
        Store(tmp_path / "file" / "run").open(info())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_under_a_name_that_the_store_did_not_give_stays(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(StoreError, match="videos: cannot be written"), replacing(tmp_path / "videos") as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("videos", "a folder lies there"),
        (".", "a folder lies there"),
        ("/", "a folder lies there"),
        ("pipe.json", "a pipe or a device"),
        ("none/a.json", "No such file or directory"),
        ("file.json/a.json", "Not a directory"),
        ("a" * 300 + ".json", "File name too long"),
        ("a.mp4", "name it FILE.json"),
    ],
)
def test_a_name_that_cannot_be_a_file_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("videos").mkdir()
    Path("file.json").write_text("mine")
    os.mkfifo("pipe.json")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=f"--json {name}: .*{words}"):
        check_output(Path(name), "--json", ".json", made=Path("results/mine"))
    for name in ("file.json", "new.json", "results/mine/all.json", "results/all.json"):
        check_output(Path(name), "--json", ".json", made=Path("results/mine"))
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("file.json").read_text() == "mine"


def test_leftovers_of_dead_processes_are_swept(store: Store) -> None:
    with replacing(store.cell_video(CELL)) as temporary:
        mine = temporary
        mine.write_bytes(b"x")
        name = mine.name.replace(this_process(), f"{machine()}-999999999-1")
        dead = mine.with_name(name)
        dead.write_bytes(b"x")
        store.open(info())
        assert mine.exists()
        assert not dead.exists()


def test_latest_is_the_run_started_last(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run there"):
        latest(tmp_path)
    for age, name in enumerate(("a", "b")):
        Store(tmp_path / name).open(info())
        os.utime(tmp_path / name / "run.json", (1000 - age, 1000 - age))
    assert latest(tmp_path) == tmp_path / "a"


def given(store: Store, path: str) -> tuple[Cell, RunSpec]:
    """A given video of the row "mine" with a record, as a command sees it that finds the video at `path`."""
    cell = Cell("g1", "mine", PROMPT, 0, "", given=GivenFile(path, "hash"))
    profile = load_profile("mini")
    return cell, RunSpec(profile, "set", (PROMPT,), (0,), {}, {"mine": "Mine"}, {}, {}, (), (cell,))


def test_a_torn_record_goes_but_not_one_that_was_made_anew_since_or_that_another_command_is_at(store: Store) -> None:
    _, spec = given(store, "")
    left = Todo((CELL,), (), (), torn=(CELL,))
    settle(spec, left, store)  # made anew between the plan and now
    assert store.find(CELL) == RECORD
    store.record_path(RECORD).write_text("{")
    store.claim_path(CELL).write_text(this_process())
    settle(spec, left, store)
    assert store.record_path(RECORD).read_text() == "{"
    store.claim_path(CELL).unlink()
    settle(spec, left, store)
    assert store.find(CELL) is None


def test_a_given_video_that_moved_keeps_the_scores_that_were_written_since(store: Store) -> None:
    cell, spec = given(store, "/new/a.mp4")
    (store.path / "cells/mine").mkdir()
    old = dataclasses.replace(RECORD, key="g1", method="mine", title="Mine", source="/old/a.mp4", scores={})
    store.save(old)
    left = Todo((), (), (), renamed=(cell,))
    store.save(dataclasses.replace(old, scores={"m": SCORE}))  # by another command, after the plan
    settle(spec, left, store)
    assert store.find(cell) == dataclasses.replace(old, source="/new/a.mp4", scores={"m": SCORE})


def test_local_copies_of_a_bucket_are_swept_once_their_process_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / f"{SCRATCH}{machine()}-999999999-1~abc"
    alive = tmp_path / f"{SCRATCH}{this_process()}~abc"
    elsewhere = tmp_path / f"{SCRATCH}0123456789ab-7-1~abc"
    for folder in (dead, alive, elsewhere):
        (folder / "cells").mkdir(parents=True)
    RemoteStore(f"file://{tmp_path}/run").close()
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere])


def test_a_bucket_does_not_take_its_own_writes_for_another_commands(tmp_path: Path) -> None:
    store = RemoteStore(f"file://{tmp_path}/run")
    store.open(info("still/k1"))
    before = store.state(CELL)
    store.cell_video(CELL).write_bytes(b"abc")
    store.save(RECORD)
    saved = store.state(CELL)
    assert saved != before
    assert not store.written_since(CELL, saved)
    store.discard(CELL)
    assert store.state(CELL) == ""
    assert not store.written_since(CELL, "")
