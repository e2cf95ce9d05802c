"""A run folder grows: rows of several commands, videos made elsewhere among them, in one table."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench import load
from bench.catalog import find_plugins
from bench.ffv1 import VideoWriter
from bench.plan import plan
from bench.profile import load_profile
from bench.store import Store
from generators.api import Start
from tests.tiny_grid import BRIGHTNESS, PROFILE, call, lay_out

SHORT = PROFILE.replace("num_frames = 21", "num_frames = 12") + "[metrics.brightness]\ngain = 2.0\n"

CIRCLE, SQUARE = "a red circle", "a blue square"

READER = """
@metric(name="reader", title="Reader", unit="", better="higher", version="1")
@dataclass
class Reader:
    def begin(self, prompt, fps):
        self.prompt = prompt
        return self

    def update(self, frames):
        pass

    def window(self, series, start, stop):
        return 1.0

    def compute(self, seams=()):
        changes = getattr(self.prompt, "changes", ())
        return Score(1.0, {"text": "; ".join(f"{at} {text}" for at, text in changes)}, {})
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of `still` in `out`, and videos of level 10, 20 and 30 made elsewhere."""
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, BRIGHTNESS, SHORT, f"{CIRCLE}\n{SQUARE}\n")
    spec = plan(
        find_plugins(), load_profile("tiny.toml", ["run.metrics=[]", "metrics={}"]), methods="still", prompts="p.txt"
    )
    (tmp_path / "out" / "starts").mkdir(parents=True)
    for cell in spec.cells:
        frames = np.full((8, 16, 24, 3), len(cell.prompt.text), np.uint8)
        Store("out").save_start(cell.start_key, Start(frames, frames), 8.0)
    assert run("still") == 0
    for level in (10, 20, 30):
        with VideoWriter(Path(f"{level}.mkv"), 8.0) as video:
            video.write(np.full((12, 16, 24, 3), level, np.uint8))
    return tmp_path


def run(methods: str, prompts: str = "p.txt", *more: str) -> int:
    options = ("--profile", "tiny.toml", "--plugin", "plugin.py", "--prompts", prompts)
    return call("run", "--methods", methods, "--out", "out", *options, *more)


def score(*rows: tuple[str, str, str, str], options: tuple[str, ...] = ()) -> int:
    with Path("m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "prompt", "method", "seed"), *rows])
    return call("score", "--manifest", "m.csv", "--out", "out", "--plugin", "plugin.py", "--no-cache", *options)


def means() -> dict[str, float]:
    """Returns the table's means by title."""
    assert call("report", "--out", "out") == 0
    with Path("out/report/table1.csv").open() as file:
        return {row["title"]: float(row["brightness_mean"]) for row in csv.DictReader(file)}


def test_given_videos_read_the_texts_of_a_prompt_that_changes(here: Path) -> None:
    """The video that the run made, given again, scores what it scored."""
    changing = [{"at": 0, "text": CIRCLE}, {"at": 6, "text": SQUARE}]
    later = [changing[0], {"at": 7, "text": SQUARE}]
    Path("p.jsonl").write_text(f"{json.dumps(changing)}\n{json.dumps(later)}\n")
    Path("plugin.py").write_text(Path("plugin.py").read_text() + READER)
    assert run("still", "p.jsonl", "--set", "run.metrics=['reader']") == 0
    (made, *_) = Store("out").records()
    again = (str(Store("out").video_path(made)), made.prompt.id, "Again", "")
    assert score(again, options=("--metrics", "reader")) == 0
    both = [record.scores["reader"].parts["text"] for record in Store("out").records() if record.prompt == made.prompt]
    assert both == [f"{made.prompt.changes[0].at} {SQUARE}"] * 2


def test_given_videos_join_a_run_by_text_or_id(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Store("out").info()
    capsys.readouterr()
    rows = [
        ("10.mkv", "a  red circle ", "Ours", ""),
        ("20.mkv", "p002", "Ours", "0"),
        ("30.mkv", "a green star", "Ours", ""),
        ("30.mkv", CIRCLE, "Ours", "7"),
        ("30.mkv", "", "Ours", ""),
    ]
    assert score(*rows) == 0
    said = capsys.readouterr().err
    assert "3 videos have no prompt and seed of out and are left out: " in said
    for words in ("30.mkv (prompt 'a green star')", "30.mkv (seed 7)", "30.mkv (no prompt)"):
        assert words in said
    after = Store("out").info()
    assert (after.prompts, after.seeds, after.profile) == (before.prompts, before.seeds, before.profile)
    assert after.methods == ("still", "ours")
    # scored with the settings of the run, so that the rows can be compared: the gain is 2
    assert means() == {"Still": 2.0 * (len(CIRCLE) + len(SQUARE)) / 2, "Ours": 30.0}
    scores = load("out")
    assert scores["settings_hash"].nunique() == 1
    assert set(scores["prompt"]) == {CIRCLE, SQUARE}


def test_rows_of_earlier_commands_stay(here: Path) -> None:
    score(("10.mkv", CIRCLE, "Ours", ""))
    assert run("pan") == 0
    assert list(means()) == ["Ours", "Pan", "Still"]  # systems first, then floors
    methods = json.loads(Path("out/run.json").read_text())["methods"]
    assert methods == ["pan", "still", "ours"]
    assert call("report", "--out", "out", "--methods", "pan,ours") == 0
    assert run("still") == 0
    assert json.loads(Path("out/run.json").read_text())["methods"] == methods


def test_a_row_replaces_the_one_of_its_name_only(here: Path) -> None:
    score(("10.mkv", CIRCLE, "Ours", ""), ("20.mkv", SQUARE, "Ours", ""))
    score(("30.mkv", CIRCLE, "Theirs", ""))
    score(("20.mkv", CIRCLE, "Ours", ""))
    assert means() == {"Still": 25.0, "Ours": 40.0, "Theirs": 60.0}


def test_a_given_row_of_another_length_is_not_ranked(here: Path) -> None:
    with VideoWriter(Path("long.mkv"), 8.0) as video:
        video.write(np.full((15, 16, 24, 3), 90, np.uint8))
    score(("long.mkv", CIRCLE, "Long", ""), ("20.mkv", CIRCLE, "Ours", ""))
    assert call("report", "--out", "out") == 0
    with Path("out/report/table1.csv").open() as file:
        flags = {row["title"]: (row["flags"], row["ranked"]) for row in csv.DictReader(file)}
    assert flags["Long"] == ("other length", "False")
    assert flags["Ours"] == ("", "True")
    score(("long.mkv", CIRCLE, "Long", ""), options=("--frames", "12"))
    assert call("report", "--out", "out") == 0
    assert "other length" not in Path("out/report/table1.csv").read_text()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            ("10.mkv", "a green star", "Ours", ""),
            "none of these videos has a prompt and seed of out (p.txt, seeds 0): ",
        ),
        (("10.mkv", "", "Ours", ""), "10.mkv (no prompt)"),
        (("10.mkv", CIRCLE, "Still", ""), "out has a row 'still' that was made by a method"),
    ],
)
def test_what_cannot_join_is_said_before_work_starts(
    here: Path, capsys: pytest.CaptureFixture[str], row: tuple[str, str, str, str], sentence: str
) -> None:
    before = Path("out/run.json").read_bytes()
    assert score(row) == 2
    assert sentence in capsys.readouterr().err
    assert Path("out/run.json").read_bytes() == before


def test_a_method_cannot_take_the_name_of_a_given_row(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(("10.mkv", CIRCLE, "pan", ""))
    assert run("pan") == 2
    assert "out has a row 'pan' that is of videos made elsewhere" in capsys.readouterr().err


def test_several_folders_need_a_place_for_their_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call("score", "10.mkv", "20.mkv", "30.mkv", "--out", "more", "--metrics", "brightness", "--plugin", "plugin.py")
        == 0
    )
    assert call("report", "out", "more") == 2
    assert "say with --out where the report of several runs" in capsys.readouterr().err
    assert call("report", "out", "more", "--out", "both") == 0
    assert Path("both/index.html").is_file()
    assert not Path("out/report").exists()
    text = Path("both/table1.md").read_text()
    assert "out and more do not have the same prompts" in text
    assert "was computed in 2 different ways" in text


def test_verify_names_a_given_video_that_changed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(("10.mkv", CIRCLE, "Ours", ""), ("20.mkv", SQUARE, "Ours", ""))
    assert call("verify", "out") == 0
    shutil.copy("30.mkv", "10.mkv")
    capsys.readouterr()
    assert call("verify", "out") != 0
    output = capsys.readouterr()
    assert "10.mkv: the given video has changed since it was scored" in output.out + output.err


def test_a_row_that_another_command_overwrote_in_run_json_is_put_back(here: Path) -> None:
    """Two commands read run.json, then both write it: the one that ends last sees that its row is gone."""
    shutil.copy("out/run.json", "before.json")
    Path("plugin.py").write_text(
        BRIGHTNESS.replace(
            "return Sum(self)", "import shutil; shutil.copy('before.json', 'out/run.json'); return Sum(self)"
        )
    )
    assert score(("10.mkv", CIRCLE, "Ours", "")) == 0
    assert Store("out").info().methods == ("still", "ours")
