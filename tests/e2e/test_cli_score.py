"""`score` from the command line, on small videos written here."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from bench.catalog import find_plugins
from bench.cli import main
from bench.errors import StoreError
from bench.ffv1 import VideoWriter
from bench.given import _told_apart
from bench.given_video import score_given
from bench.records import read_record, write_record
from bench.scoreboard import Scorers
from bench.spec import GivenFile
from bench.store import Store
from metrics.decoding import VideoReader, read_frames
from tests.conftest import handed

PLUGIN = """
from dataclasses import dataclass
from metrics.api import Score, mean_or_none, metric

@metric(name="brightness", title="Brightness", unit="0..255", better="higher", version="1")
@dataclass
class Brightness:
    limit: int = 1000

    def begin(self, prompt, fps):
        return State(self, prompt)

    def window(self, series, start, stop):
        return mean_or_none(series["grey"][start:stop])

class State:
    def __init__(self, metric, prompt):
        self.metric, self.prompt, self.grey = metric, prompt, []

    def update(self, frames):
        self.grey += [float(f.mean()) for f in frames]
        if len(self.grey) > self.metric.limit:
            raise OverflowError("too long for me")

    def compute(self, seams=()):
        series = {"grey": self.grey}
        parts = {"prompt": self.prompt, "seams": ",".join(str(s) for s in seams if s < len(self.grey))}
        return Score(self.metric.window(series, 0, len(self.grey)), parts, series)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("plugin.py").write_text(PLUGIN)
    for name, level, count in (("a.mkv", 10, 24), ("b.mkv", 30, 12), ("one.mkv", 5, 1)):
        with VideoWriter(Path(name), 8.0) as video:
            video.write(np.full((count, 32, 32, 3), level, np.uint8))
    Path("text.mp4").write_text("not a video")
    Path("empty.mp4").write_bytes(b"")
    Path("pictures").mkdir()
    for i in range(11):
        Image.new("RGB", (32, 32), (i, i, i)).save(f"pictures/{i}.png")
    return tmp_path


def test_a_video_that_is_gone_for_a_moment_loses_no_score(here: Path) -> None:
    with pytest.raises(SystemExit):
        main(["score", "a.mkv", "--metrics", "scuts", "--out", "out", "--no-cache", "--executor", "serial"])
    (before,) = Store("out").records()
    metrics: dict[str, dict[str, Any]] = {"stillness": {"flow": ""}}
    gone = GivenFile(str(Path("nowhere.mkv").resolve()), before.content)
    after = score_given(before, gone, metrics, Scorers(find_plugins()), None)
    assert (after.status, after.scores["scuts"]) == ("ok", before.scores["scuts"])
    assert after.scores["stillness"].status == "failed"
    assert "there is no" in after.scores["stillness"].reason


def test_a_video_that_changes_while_it_is_scored_is_not_certified(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = VideoReader.frames

    def frames(reader: VideoReader, **options: Any) -> Any:
        yield from real(reader, **options)
        Path("a.mkv").write_bytes(Path("b.mkv").read_bytes())

    monkeypatch.setattr(VideoReader, "frames", frames)
    found = score("a.mkv", "--executor", "serial", code=1)
    assert "changed while the command ran" in str(found)


def test_a_metric_that_is_brought_is_scored_unless_others_are_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("light.toml").write_text('extends = "mini"\nname = "light"\n[run]\nmetrics = ["scuts"]\n')
    for options, scored in (([], True), (["--metrics", "scuts"], False)):
        with pytest.raises(SystemExit):
            main(
                [
                    "score",
                    "a.mkv",
                    "--plugin",
                    "plugin.py",
                    "--profile",
                    "light.toml",
                    "--out",
                    f"out{scored}",
                    *options,
                ]
            )
        said = capsys.readouterr()
        assert ("brightness" in said.out) == scored
        assert ("metric brightness of a --plugin file is not scored" in said.err) != scored


def score(*words: str, code: int = 0, metrics: str = "brightness") -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["score", *words, "--metrics", metrics, "--plugin", "plugin.py", "--json", "all.json", "--no-cache"])
    assert ended.value.code == code
    if code > 1:
        return {}
    content: dict[str, Any] = json.loads(Path("all.json").read_text())
    return content


def values(content: dict[str, Any]) -> list[float | None]:
    return [video["scores"].get("brightness", {}).get("value") for video in content["videos"]]


def cells() -> list[dict[str, Any]]:
    """Returns the records under results/scores in the order of run.json."""
    folder = Path("results/scores")
    names = json.loads((folder / "run.json").read_text())["cells"]
    return [json.loads((folder / "cells" / f"{name}.json").read_text()) for name in names]


def rewrite(value: float, other: float) -> None:
    """Changes a score in the records, so that a later command shows whether it was computed again."""
    for path in Path("results/scores/cells").glob("*/*.json"):
        record, _ = read_record(path)
        score = record.scores["brightness"]
        if score.value == value:
            write_record(path, replace(record, scores={"brightness": replace(score, value=other)}))


def test_files_folders_and_globs_are_scored(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = score("[ab].mkv", "pictures")
    assert values(content) == [10, 30, 5]
    assert [video["num_frames"] for video in content["videos"]] == [24, 12, 11]
    assert content["rows"][0]["mean"] == {"brightness": 15}
    output = capsys.readouterr()
    assert output.out.endswith("3 videos ok. Next: python -m bench report --out results/scores\n")
    assert f"[3/3 cells] {here}/pictures: ok" in output.err
    assert "frames/s" in output.err
    assert [record["source"] for record in cells()] == [f"{here}/{name}" for name in ("a.mkv", "b.mkv", "pictures")]
    assert all(len(record["content"]) == 64 and record["video_bytes"] > 0 for record in cells())


def test_unsound_files_are_quarantined_and_counted(here: Path) -> None:
    content = score("text.mp4", "a.mkv", "empty.mp4", "one.mkv", "gone.mp4", code=1)
    assert [video["status"] for video in content["videos"]] == ["failed", "ok", *["failed"] * 3]
    assert all(video["reason"] for video in content["videos"] if video["status"] != "ok")
    row = content["rows"][0]
    assert (row["videos"], row["scored"], row["excluded"]) == (5, 1, 4)


def test_a_metric_that_raises_is_not_the_end(here: Path) -> None:
    content = score("a.mkv", "b.mkv", "--set", "metrics.brightness.limit=20", metrics="brightness,scuts", code=1)
    assert values(content) == [None, 30]
    assert [video["scores"]["scuts"]["value"] for video in content["videos"]] == [0, 0]
    assert content["videos"][0]["scores"]["brightness"]["status"] == "failed"
    assert "OverflowError: too long for me" in content["videos"][0]["scores"]["brightness"]["reason"]


def test_a_score_that_is_no_longer_asked_for_fails_no_command(here: Path) -> None:
    score("a.mkv", "--set", "metrics.brightness.limit=20", metrics="brightness,scuts", code=1)
    score("a.mkv", metrics="scuts")


def test_an_edited_metric_scores_anew(here: Path) -> None:
    assert values(score("a.mkv")) == [10]
    Path("plugin.py").write_text(PLUGIN.replace("float(f.mean())", "2 * float(f.mean())"))
    assert values(score("a.mkv")) == [20]


def test_a_second_command_finds_what_the_first_left(here: Path) -> None:
    assert values(score("a.mkv", "b.mkv")) == [10, 30]
    rewrite(10.0, 11.0)
    assert values(score("a.mkv", "b.mkv")) == [11, 30]
    assert values(score("a.mkv", "b.mkv", "--redo", "all")) == [10, 30]
    assert values(score("a.mkv", "b.mkv", "--frames", "8")) == [10, 30]
    assert values(score("a.mkv", "b.mkv", "--set", "metrics.brightness.limit=40")) == [10, 30]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_manifest_gives_prompts_and_groups(here: Path, kind: str) -> None:
    rows = [
        {"path": "a.mkv", "prompt": "a cat, asleep", "method": "x", "seed": "0"},
        {"path": "b.mkv", "prompt": "a dog", "method": "y", "seed": "1"},
        {"path": "one.mkv", "prompt": "", "method": "y", "seed": "2"},
    ]
    folder = Path("lists")
    folder.mkdir()
    for row in rows:
        row["path"] = f"../{row['path']}"
    if kind == "csv":
        lines = ["path,prompt,method,seed", *(",".join(f'"{v}"' for v in row.values()) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    (folder / f"m.{kind}").write_text("\n".join(lines))
    content = score("--manifest", f"lists/m.{kind}", code=1)
    assert [video["scores"].get("brightness", {}).get("parts", {}).get("prompt") for video in content["videos"]] == [
        "a cat, asleep",
        "a dog",
        None,
    ]
    assert [(row["method"], row["videos"], row["mean"]["brightness"]) for row in content["rows"]] == [
        ("x", 1, 10),
        ("y", 2, 30),
    ]


@pytest.mark.parametrize(
    ("options", "seams"),
    [
        (["--seams", "16,8"], "8,16"),
        (["--chunk", "6", "--first", "4"], "4,10,16,22"),
        (["--chunk", "10"], "10,20"),
        ([], ""),
    ],
)
def test_boundaries_reach_the_metrics(here: Path, options: list[str], seams: str) -> None:
    content = score("a.mkv", *options)
    assert content["videos"][0]["scores"]["brightness"]["parts"]["seams"] == seams


def test_even_chunks_are_not_taken_for_a_list_of_two_boundaries(here: Path) -> None:
    assert cells_after("--seams", "8,16") == ["8,16"]
    assert cells_after("--first", "8", "--chunk", "16") == ["8"]


def cells_after(*options: str) -> list[str]:
    score("a.mkv", "--frames", "20", *options)
    return [cell["scores"]["brightness"]["parts"]["seams"] for cell in cells() if cell["num_frames"] == 20]


def test_prompts_come_one_per_video_or_one_for_all(here: Path) -> None:
    Path("p.txt").write_text("first\nsecond\n")
    prompts = [video["prompt"]["text"] for video in score("a.mkv", "b.mkv", "--prompts", "p.txt")["videos"]]
    assert prompts == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no videos to score"),
        (["none*.mp4"], "no videos to score"),
        (["a.mkv", "--manifest", "m.csv"], "names the videos and their prompts itself"),
        (["--manifest", "m.csv"], "manifest m.csv cannot be read"),
        (["--manifest", "broken.jsonl"], "broken.jsonl, line 1: not JSON"),
        (["--manifest", "pathless.csv"], "pathless.csv, row 2: no `path`"),
        (["--manifest", "plugin.py"], "give a .csv or .jsonl file"),
        (["a.mkv", "--prompts", "three.txt"], "three.txt has 3 prompts for 1 videos"),
        (["a.mkv", "--seams", "0"], "give frame numbers from 1 on"),
        (["a.mkv", "--seams", "8", "--chunk", "8"], "not both"),
        (["a.mkv", "--chunk", "0", "--first", "0"], "must be 1 or more"),
        (["a.mkv", "--first", "8"], "--first goes with --chunk"),
        (["a.mkv", "--frames", "1"], "not in the range"),
        (["a.mkv", "--profile", "huge"], "unknown profile"),
        (["a.mkv", "pictures/0.png", "--title", "Both"], "--title names one row, and these videos are 2"),
        (["--manifest", "rows.csv", "--method", "mine"], "names the rows in its column `method`: leave out --method"),
        (["--manifest", "rows.csv"], "'Mine!' and 'mine' differ in nothing but capitals and punctuation"),
        (["--manifest", "twice.csv"], "a.mkv and b.mkv are both of row 'here', prompt 'a cat' and seed 3"),
        (["--manifest", "seeds.csv"], "a.mkv: seed 'two' is no whole number"),
        (
            ["--manifest", "columns.csv"],
            "unknown column 'author': only path, prompt, method, seed are read; --extra keep",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("broken.jsonl").write_text("{")
    Path("pathless.csv").write_text("path,prompt\n,x\n")
    Path("three.txt").write_text("a\nb\nc\n")
    Path("rows.csv").write_text("path,method\na.mkv,Mine!\nb.mkv,mine\n")
    Path("twice.csv").write_text("path,prompt,method,seed\na.mkv,a cat,here,3\nb.mkv,a cat,here,3\n")
    Path("seeds.csv").write_text("path,seed\na.mkv,two\n")
    Path("columns.csv").write_text("path,author\na.mkv,Ada\n")
    score(*words, code=2)
    assert message in capsys.readouterr().err


def test_a_folder_named_as_the_output_is_refused_before_any_work(here: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", "a.mkv", "--json", "pictures", "--metrics", "brightness", "--plugin", "plugin.py", "--no-cache"])
    assert ended.value.code == 2
    assert len(list(Path("pictures").iterdir())) == 11
    assert not Path("results").exists()


def test_results_that_cannot_be_written_as_json_are_printed_all_the_same(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("all.json: cannot be written (No space left on device)")

    monkeypatch.setattr("bench.given_table.write_results", full)
    score("a.mkv", code=4)
    said = capsys.readouterr()
    assert "a.mkv" in said.out
    assert "No space left" in said.err


def test_globs_pair_with_prompts_in_the_order_of_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"clip_{i}.mkv" for i in range(1, 13)]
    for name in names:
        shutil.copy("b.mkv", name)
    Path("p.txt").write_text("".join(f"prompt {i}\n" for i in range(1, 13)))
    in_order = [f"prompt {i}" for i in range(1, 13)]
    assert [v["prompt"]["text"] for v in score("clip_*.mkv", "--prompts", "p.txt")["videos"]] == in_order
    assert "out of step" not in capsys.readouterr().err
    main(["score", *sorted(names), "--prompts", "p.txt", "--dry-run"])
    output = capsys.readouterr()
    assert "clip_12.mkv (prompt 4) comes before clip_2.mkv (prompt 5)" in output.err
    assert "clip_10.mkv  prompt 2" in output.out


def test_a_dry_run_says_what_would_be_scored_and_changes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", "[ab].mkv", "--metrics", "brightness", "--plugin", "plugin.py", "--executor", "serial"]
    before = sorted(Path().rglob("*"))
    main([*words, "--dry-run"])
    said = capsys.readouterr().out
    assert "2 videos to score, 0 to score again, by this process" in said
    assert "results/scores has no finished cell of them yet" in said
    main([*words, "--dry-run", "--shard", "2/2"])
    assert "1 videos to score" in capsys.readouterr().out
    assert sorted(Path().rglob("*")) == before
    score("a.mkv")
    rewrite(10.0, 99.0)
    capsys.readouterr()
    main([*words, "--dry-run", "--set", "metrics.brightness.limit=7"])
    said = capsys.readouterr().out
    assert "1 videos to score, 1 to score again" in said
    assert [line.split()[1:4] for line in said.splitlines() if line.startswith(f"{here.name} ")] == [["2", "1", "1"]]
    assert [record["scores"]["brightness"]["value"] for record in cells()] == [99.0]


def test_shards_of_given_videos_share_none_and_leave_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert values(score("[ab].mkv", "pictures", "--shard", "1/2")) == [10, 5]
    assert "2 videos ok" in capsys.readouterr().out
    rewrite(10.0, 99.0)
    assert values(score("[ab].mkv", "pictures", "--shard", "2/2")) == [30]
    assert [record["scores"]["brightness"]["value"] for record in cells()] == [99, 30, 5]


def test_a_shard_without_videos_has_nothing_to_fail(here: Path) -> None:
    score("a.mkv", "b.mkv", "--shard", "3/3")


def test_the_report_says_what_of_the_videos_was_read_and_shows_no_more(here: Path) -> None:
    with av.open("raw.h264", "w", format="h264") as raw:  # a stream without a container tells no length
        stream = raw.add_stream("libx264", rate=8, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(12):
            raw.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")))
        raw.mux(stream.encode())
    Path("m.csv").write_text("path,method\na.mkv,whole\nraw.h264,raw\n")
    score("--manifest", "m.csv")
    Path("m.csv").write_text("path,method\na.mkv,limited\none.mkv,single\n")
    score("--manifest", "m.csv", "--frames", "8", code=1)
    main(["report", "--out", "results/scores"])
    with Path("results/scores/report/table1.csv").open() as file:
        flags = {row["title"]: row["flags"] for row in csv.DictReader(file)}
    assert flags["whole"] == ""
    assert flags["raw"] == "completeness unknown 1/1; rate assumed 1/1"
    assert flags["limited"] == "first 8 frames"
    page = Path("results/scores/report/index.html").read_text()
    assert "of 1 of its 1 videos no more than the first 8 frames were read" in page
    assert "1 of its 1 videos state no frame rate: 10 frames a second assumed" in page
    lengths = {path.name.count("-8-"): len(decoded(path)) for path in Path("results/scores/report/videos").iterdir()}
    assert lengths[1] == 8


def decoded(path: Path) -> np.ndarray:
    return np.concatenate(list(read_frames(path)))


def test_names_that_cannot_be_printed_are_scored_and_escaped(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.mkv")
    shutil.copy("a.mkv", name)
    content = score(name)
    assert values(content) == [10]
    assert content["videos"][0]["source"] == str(here / name)
    output = capsys.readouterr()
    assert output.out.count(r"caf\udce9\n\x1b[31m.mkv") == 1
    assert r"caf\udce9\n\x1b[31m.mkv: ok" in output.err


def test_a_closed_standard_error_does_not_end_a_command(here: Path) -> None:
    options = "--metrics brightness --plugin plugin.py --no-cache"
    command = f"{shlex.quote(sys.executable)} -m bench score a.mkv {options} 2>&-"
    assert subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, check=False).returncode == 0


def rows() -> dict[str, str]:
    return {record["method"]: record["title"] for record in cells()}


def test_rows_are_called_after_folders_never_after_files(here: Path) -> None:
    for folder in ("My Model", "other/deep", "listed"):
        Path(folder).mkdir(parents=True)
        shutil.copy("a.mkv", f"{folder}/1.mkv")
    score("My Model/1.mkv", "other/*/*.mkv", "listed/1.mkv")
    assert rows() == {"my_model": "My Model", "other": "other", "listed": "listed"}
    Path("listed/m.csv").write_text("path\n1.mkv\n../b.mkv\n")
    score("--manifest", "listed/m.csv", "--out", "results/scores")
    assert [record["source"] for record in cells() if record["method"] == "listed"] == [
        f"{here}/listed/1.mkv",
        f"{here}/b.mkv",
    ]


def test_a_folder_of_videos_stands_for_them_in_the_order_of_their_numbers(here: Path) -> None:
    Path("made").mkdir()
    for number, name in ((2, "a.mkv"), (10, "b.mkv")):
        shutil.copy(name, f"made/{number}.mkv")
    Path("made/notes.txt").write_text("not a video")
    Path("p.txt").write_text("first\nsecond\n")
    content = score("made", "--prompts", "p.txt")
    assert values(content) == [10, 30]
    assert [video["prompt"]["text"] for video in content["videos"]] == ["first", "second"]
    assert rows() == {"made": "made"}


def test_a_folder_that_lost_its_pictures_is_named(here: Path) -> None:
    score("pictures")
    shutil.rmtree("pictures")
    Path("pictures").mkdir()
    main(["report", "--out", "results/scores"])
    assert "pictures: the given video cannot be read any more" in Path("results/scores/report/index.html").read_text()


def test_the_command_names_the_row(here: Path) -> None:
    score("a.mkv", "b.mkv", "--method", "ours_v2", "--title", "Ours (v2)")
    assert rows() == {"ours_v2": "Ours (v2)"}
    score("a.mkv", "b.mkv", "--method", "ours_v2", "--title", "Ours (final)")
    assert rows() == {"ours_v2": "Ours (final)"}


def test_a_name_with_line_breaks_and_controls_stands_on_one_line(here: Path) -> None:
    score("a.mkv", "--method", "ours", "--title", "Ours\n(24\u2029fps)")
    assert rows() == {"ours": "Ours (24 fps)"}
    write(Path("m.jsonl"), json.dumps({"path": "a.mkv", "method": "Ours\r\n\x1b[1m"}) + "\n")
    score("--manifest", "m.jsonl", "--out", "other")
    assert [record.title for record in Store("other").records()] == [r"Ours \x1b[1m"]


def test_videos_without_prompts_can_be_told_apart_in_the_tables(here: Path) -> None:
    with VideoWriter(Path("c.mkv"), 8.0) as video:
        video.write(np.full((6, 32, 32, 3), 50, np.uint8))
    for place, name in (("w/a/0001.mkv", "a.mkv"), ("w/b/0001.mkv", "b.mkv"), ("w/b/c/2.mkv", "c.mkv")):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, place)
    shutil.copy("text.mp4", "w/b/2.mp4")
    score("w/*/*.mkv", "w/b/c/2.mkv", "w/b/2.mp4", "--method", "mine", code=1)
    assert [record["prompt"]["id"] for record in cells()] == ["a/0001", "b/0001", "b/c/2", "b/2"]
    main(["report", "--out", "results/scores"])
    with Path("results/scores/report/videos.csv").open(newline="") as file:
        videos = list(csv.DictReader(file))
    assert [row["key"] for row in videos] == [record["key"] for record in cells()]
    assert [(row["frames"], row["fps"]) for row in videos] == [("24", "8.0"), ("12", "8.0"), ("6", "8.0"), ("", "")]


def test_names_grow_only_as_far_as_they_have_to() -> None:
    assert _told_apart(["x/1.mp4", "x/2.mp4"]) == {"x/1.mp4": "1", "x/2.mp4": "2"}
    assert _told_apart(["x/1.mp4", "x/y/1.mp4"]) == {"x/1.mp4": "1", "x/y/1.mp4": "y/1"}
    assert _told_apart(["x/1.mp4", "x/1.mkv", "x/2.mp4"]) == {"x/1.mp4": "1.mp4", "x/1.mkv": "1.mkv", "x/2.mp4": "2"}
    assert len(set(_told_apart(["x/b.mp4", "x/b.avi", "x/b.mp4.mkv"]).values())) == 3


def test_further_columns_are_kept_on_demand(here: Path) -> None:
    Path("m.csv").write_text("path,author,cfg\na.mkv,Ada,7.5\nb.mkv,,\n")
    score("--manifest", "m.csv", "--extra", "keep")
    assert [record["extra"] for record in cells()] == [{"author": "Ada", "cfg": "7.5"}, {"author": "", "cfg": ""}]
    Path("m.jsonl").write_text('{"path": "a.mkv", "cfg": 7.5, "nested": {}}\n')
    score("--manifest", "m.jsonl", "--extra", "keep", code=2)
    Path("m.jsonl").write_text('{"path": "a.mkv", "cfg": 7.5}\n')
    score("--manifest", "m.jsonl", "--extra", "keep")
    assert [record["extra"] for record in cells()] == [{"cfg": "7.5"}]


def test_seeds_that_are_not_stated_are_counted(here: Path) -> None:
    score("a.mkv", "b.mkv", "--prompts", str(write(here / "p.txt", "a cat\n")))
    assert [(record["prompt"]["id"], record["seed"]) for record in cells()] == [("p001", 0), ("p001", 1)]


def test_a_video_that_moved_keeps_its_scores_and_one_that_changed_does_not(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score("a.mkv", "b.mkv")
    rewrite(10.0, 11.0)
    capsys.readouterr()
    Path("a.mkv").rename("moved.mkv")
    shutil.copy("one.mkv", "b.mkv")
    assert values(score("moved.mkv", "b.mkv", "--method", here.name, code=1)) == [11, None]
    said = capsys.readouterr().err
    assert f"{here}/a.mkv has moved to {here}/moved.mkv; its scores are kept" in said
    assert f"{here}/b.mkv has changed since it was scored; it is scored again" in said


def test_a_torn_record_is_scored_anew_and_keeps_nothing_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score("a.mkv", "b.mkv")
    first, second = sorted(Path("results/scores/cells").glob("*/*.json"))
    first.write_text("")
    second.write_text(second.read_text().replace('"num_frames": ', '"num_frames": "many" '))
    assert values(score("a.mkv", "b.mkv")) == [10, 30]
    assert capsys.readouterr().err.count("torn") >= 1
    Path("results/scores/run.json").write_text("{")
    assert values(score("a.mkv", "b.mkv")) == [10, 30]


def test_the_same_video_twice_counts_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("a.mkv", "copy.mkv")
    assert values(score("a.mkv", "copy.mkv", "b.mkv")) == [10, 30]
    assert f"{here}/copy.mkv is the same video as {here}/a.mkv and counts once" in capsys.readouterr().err


def test_two_processes_score_as_one_does(here: Path) -> None:
    serial = values(score("a.mkv", "b.mkv", "pictures"))
    content = score("a.mkv", "b.mkv", "pictures", "--out", "two", "--executor", "processes", "--workers", "2")
    assert values(content) == serial


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_damaged_frames_are_said_and_refused_on_request(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = handed("inputs", "dmg_flip_base.mp4")
    content = score(str(video))
    assert (content["videos"][0]["status"], content["videos"][0]["damaged"]) == ("ok", 2)
    output = capsys.readouterr()
    assert "ok; 2 damaged frames" in output.out
    assert "is scored with 2 damaged frames; --max-damaged 0 refuses it" in output.err
    assert score(str(video), "--max-damaged", "2")["videos"][0]["status"] == "ok"
    content = score(str(video), "--max-damaged", "1", code=1)
    assert content["videos"][0]["status"] == "failed"
    assert "more damaged frames than the 1 that are allowed" in content["videos"][0]["reason"]


@pytest.mark.parametrize("name", ["2024-05-01T10:20.mkv", "a cat: the movie.mkv", "file:b.mkv", "http:b.mkv"])
def test_a_name_is_never_an_address(here: Path, name: str) -> None:
    shutil.copy("a.mkv", name)
    assert values(score(name)) == [10]


@pytest.mark.parametrize("kind", ["fifo", "playlist", "socket", "ties", "folder of ppm"])
def test_what_is_no_video_is_refused_at_once_and_the_others_scored(here: Path, kind: str) -> None:
    path = Path("no video")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "playlist":
        path.write_text("ffconcat version 1.0\nfile a.mkv\n")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))
    else:
        path.mkdir()
        names = ("frame_1.png", "frame_01.png") if kind == "ties" else ("a.ppm", "b.ppm")
        for name in names:
            shutil.copy("pictures/0.png", path / name)
    content = score(str(path), "a.mkv", code=1)
    assert [video["status"] for video in content["videos"]] == ["failed", "ok"]
    words = {"fifo": "a pipe", "playlist": "playlist", "socket": "socket", "ties": "same number"}
    assert words.get(kind, "It holds .ppm") in content["videos"][0]["reason"]


def test_scores_are_given_where_the_cache_cannot_be(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(here / "file"))
        with pytest.raises(SystemExit) as ended:
            main(["score", "a.mkv", "--metrics", "brightness", "--plugin", "plugin.py"])
    assert ended.value.code == 0
    assert capsys.readouterr().err.count("nothing computed is kept") == 1


@pytest.mark.parametrize("content", ["", "[]", '{"prompt": 3}', "\x00\x01"])
def test_a_foreign_result_file_is_written_anew(here: Path, content: str) -> None:
    score("a.mkv")
    for record in Path("results/scores/cells").rglob("*.json"):
        record.write_text(content)
    assert values(score("a.mkv")) == [10]


def test_a_setting_that_the_flow_option_would_undo_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score("a.mkv", "--flow", "dis", "--set", "metrics.mawe.flow_weights=w.pth", code=2, metrics="mawe")
    assert "give --flow NAME --flow-weights FILE alone" in capsys.readouterr().err


def test_the_flow_option_leaves_a_network_that_its_source_fixes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(here))  # no weights here
    score("a.mkv", "--flow", "dis", metrics="mawe,dynamic_degree")
    scores = cells()[0]["scores"]
    assert "weights" not in scores["mawe"]["reason"]  # nothing moves in that video
    assert "raft_large_C_T_V1" in scores["dynamic_degree"]["reason"]
