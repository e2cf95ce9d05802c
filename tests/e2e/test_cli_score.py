"""`score` from the command line, on small videos written here."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.ffv1 import VideoWriter

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


def score(*words: str, code: int = 0) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["score", *words, "--metrics", "brightness", "--plugin", "plugin.py", "--json", "all.json", "--no-cache"])
    assert ended.value.code == code
    if code > 1:
        return {}
    content: dict[str, Any] = json.loads(Path("all.json").read_text())
    return content


def values(content: dict[str, Any]) -> list[float | None]:
    return [video["values"].get("brightness") for video in content["videos"]]


def test_files_folders_and_globs_are_scored(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = score("[ab].mkv", "pictures")
    assert values(content) == [10, 30, 5]
    assert [video["num_frames"] for video in content["videos"]] == [24, 12, 11]
    assert content["groups"][0]["mean"] == {"brightness": 15}
    output = capsys.readouterr()
    assert output.out.endswith("3 of 3 videos scored. See all.json\n")
    assert "[3/3 videos] pictures: ok" in output.err


def test_unsound_files_are_quarantined_and_counted(here: Path) -> None:
    content = score("text.mp4", "a.mkv", "empty.mp4", "one.mkv", "gone.mp4", code=1)
    assert [video["status"] for video in content["videos"]] == ["quarantined", "ok", *["quarantined"] * 3]
    assert all(video["reason"] for video in content["videos"] if video["status"] != "ok")
    group = content["groups"][0]
    assert (group["videos"], group["scored"], group["excluded"]) == (5, 1, 4)


def test_a_metric_that_raises_is_not_the_end(here: Path) -> None:
    content = score("a.mkv", "b.mkv", "--set", "metrics.brightness.limit=20", code=1)
    assert [video["status"] for video in content["videos"]] == ["failed", "ok"]
    assert "OverflowError: too long for me" in content["videos"][0]["reason"]


def test_a_second_command_finds_what_the_first_left(here: Path) -> None:
    assert values(score("a.mkv", "b.mkv")) == [10, 30]
    for path in Path("results/scores").glob("*.json"):
        path.write_text(path.read_text().replace('"brightness": 10.0', '"brightness": 11.0'))
    assert values(score("a.mkv", "b.mkv")) == [11, 30]
    assert values(score("a.mkv", "b.mkv", "--frames", "8")) == [10, 30]


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
    assert [(g["method"], g["videos"], g["mean"]["brightness"]) for g in content["groups"]] == [
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


def test_prompts_come_one_per_video_or_one_for_all(here: Path) -> None:
    Path("p.txt").write_text("first\nsecond\n")
    prompts = [video["job"]["prompt"] for video in score("a.mkv", "b.mkv", "--prompts", "p.txt")["videos"]]
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
    ],
)
def test_bad_input_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("broken.jsonl").write_text("{")
    Path("pathless.csv").write_text("path,prompt\n,x\n")
    Path("three.txt").write_text("a\nb\nc\n")
    score(*words, code=2)
    assert message in capsys.readouterr().err


def test_globs_pair_with_prompts_in_the_order_of_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"clip_{i}.mkv" for i in range(1, 13)]
    for name in names:
        shutil.copy("b.mkv", name)
    Path("p.txt").write_text("".join(f"prompt {i}\n" for i in range(1, 13)))
    in_order = [f"prompt {i}" for i in range(1, 13)]
    assert [v["job"]["prompt"] for v in score("clip_*.mkv", "--prompts", "p.txt")["videos"]] == in_order
    assert "out of step" not in capsys.readouterr().err
    main(["score", *sorted(names), "--prompts", "p.txt", "--dry-run"])
    output = capsys.readouterr()
    assert "clip_12.mkv (prompt 4) comes before clip_2.mkv (prompt 5)" in output.err
    assert "clip_10.mkv  prompt 2" in output.out


def test_names_that_cannot_be_printed_are_scored_and_escaped(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.mkv")
    shutil.copy("a.mkv", name)
    content = score(name)
    assert values(content) == [10]
    assert content["videos"][0]["job"]["path"] == name
    output = capsys.readouterr()
    assert output.out.count(r"caf\udce9\n\x1b[31m.mkv") == 1
    assert r"caf\udce9\n\x1b[31m.mkv: ok" in output.err


def test_a_closed_standard_error_does_not_end_a_command(here: Path) -> None:
    options = "--metrics brightness --plugin plugin.py --no-cache"
    command = f"{shlex.quote(sys.executable)} -m bench score a.mkv {options} 2>&-"
    assert subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, check=False).returncode == 0
