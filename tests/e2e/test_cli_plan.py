"""`run --dry-run` and `run --shard`: what would be done, and parts of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.catalog import find_plugins
from bench.cli import main
from bench.errors import ConfigError
from bench.options import shard_of
from bench.plan import part_of, plan
from bench.profile import load_profile
from bench.spec import RunSpec
from bench.store import Store
from generators.api import Start

SETTINGS = ["video.num_frames=20", "video.height=32", "video.width=32", "run.metrics=['scuts']"]
GRID = ["run", "--methods", "still,pan", "--prompts", "3", "--out", "out", "--executor", "serial"]
GRID += [word for setting in SETTINGS for word in ("--set", setting)]


def call(*words: str) -> int:
    try:
        main([*GRID, *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def grid() -> RunSpec:
    return plan(find_plugins(), load_profile("mini", SETTINGS), methods="still,pan", prompts="3")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a folder with the first chunks of the grid, so that no text-to-video model is needed."""
    monkeypatch.chdir(tmp_path)
    Path("out/starts").mkdir(parents=True)
    for cell in grid().cells:
        frames = np.full((8, 32, 32, 3), len(cell.prompt.text), np.uint8)
        Store("out").save_start(cell.start_key, Start(frames, frames), 10.0)
    return tmp_path


def test_shards_share_no_cell_and_leave_none() -> None:
    spec = grid()
    for shards in (1, 2, 4, 7):
        cells = [cell for i in range(shards) for cell in part_of(spec, (i + 1, shards)).cells]
        assert sorted(cell.key for cell in cells) == sorted(cell.key for cell in spec.cells)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 2/8"):
        shard_of(text)


def test_shards_fill_one_folder_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--shard", "1/2") == 0
    assert capsys.readouterr().out.startswith("out: 3 videos ok.")
    assert len(Store("out").info().cells) == 6
    first = {path: path.stat().st_mtime_ns for path in Path("out").glob("cells/*/*")}
    assert call("--shard", "2/2") == 0
    assert capsys.readouterr().out.startswith("out: 3 videos ok.")
    assert first == {path: path.stat().st_mtime_ns for path in first}
    assert len(Store("out").records()) == 6


def test_a_shard_without_cells_has_nothing_to_fail(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--shard", "7/8") == 0
    assert capsys.readouterr().out.startswith("out: 0 videos ok.")


@pytest.mark.parametrize("prompts", ["²", "--3", "00"])
def test_what_is_no_number_of_prompts_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], prompts: str
) -> None:
    assert call(f"--prompts={prompts}") == ConfigError.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_says_what_is_left_and_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    assert call("--dry-run") == 0
    said = capsys.readouterr().out
    assert "6 videos to make, 0 to score again, by this process" in said
    assert "no finished cell of them yet: pan, still" in said
    assert sorted(Path().rglob("*")) == before
    assert call("--methods", "still") == 0
    torn = next(iter(Path("out").glob("cells/still/*.json")))
    torn.write_text("{")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    capsys.readouterr()
    assert call("--dry-run", "--executor", "processes", "--workers", "2") == 0
    said = capsys.readouterr().out
    assert "torn" in said
    assert "4 videos to make, 0 to score again, by 2 processes of this machine" in said
    assert [line.split()[:4] for line in said.splitlines() if line.startswith(("still", "pan "))] == [
        ["still", "3", "1", "0"],
        ["pan", "3", "3", "0"],
    ]
    assert "no finished cell of them yet: pan" in said
    assert before == {path: path.stat().st_mtime_ns for path in Path().rglob("*")}


def test_a_dry_run_in_a_new_folder_makes_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--dry-run", "--out", "other", "--shard", "1/3") == 0
    assert "2 videos to make" in capsys.readouterr().out
    assert not Path("other").exists()


@pytest.mark.parametrize(("gpus", "options"), [(8, []), (1, []), (8, ["--executor", "processes"])])
def test_gpus_that_one_process_leaves_unused_are_counted(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gpus: int, options: list[str]
) -> None:
    monkeypatch.setattr("bench.executors.visible_gpus", lambda: tuple(map(str, range(gpus))))
    said = ["note: one of 8 GPUs is used: --executor processes uses all of them"] if (gpus, options) == (8, []) else []
    assert call("--dry-run", "--set", "run.device=cuda", *options) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "GPUs is used" in line] == said
    if not options:
        call("--set", "run.device=cuda")
        assert [line for line in capsys.readouterr().err.splitlines() if "GPUs is used" in line] == said
