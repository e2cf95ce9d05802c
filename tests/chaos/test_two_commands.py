"""Two commands at once in one folder, and a disk that is full."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import Store
from tests.chaos.grid import run, words
from tests.chaos.storm import image, litter, plugin
from tests.tiny_grid import arguments, call, environment, lay_out, lay_starts

pytestmark = pytest.mark.chaos


def start(folder: Path, command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_one_grid_twice_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, plugin(0.3))
    for out in ("clean", "out"):
        lay_starts(tmp_path, out)
    command = words("--seeds", "0,1", methods="walk,still")
    both = [start(tmp_path, command) for _ in range(2)]
    ended = [(process.communicate(timeout=600), process.returncode) for process in both]
    made = 0
    for (stdout, stderr), code in ended:
        assert code == 0, stderr
        assert stdout.startswith("out: 8 videos ok."), stdout
        times = re.findall(r"cells\] walk .*: ok, ([0-9.]+) s", stderr)  # a `still` takes no time where it is made, too
        made += sum(float(seconds) > 0 for seconds in times)
    assert made == 4, [stderr for (_, stderr), _ in ended]
    assert call(*arguments("--seeds", "0,1", methods="walk,still", out="clean")) == 0
    assert image(tmp_path / "out") == image(tmp_path / "clean")
    assert litter(tmp_path / "out") == []


def test_two_grids_in_one_folder_have_their_own_summaries(tmp_path: Path) -> None:
    lay_out(tmp_path, plugin(0.5))
    lay_starts(tmp_path, "out")
    failing = start(tmp_path, words(methods="falls"))
    other = start(tmp_path, words(methods="still"))
    (stdout, stderr), (other_stdout, other_stderr) = failing.communicate(timeout=600), other.communicate(timeout=600)
    assert (failing.returncode, other.returncode) == (1, 0), stderr + other_stderr
    assert stdout.startswith("out: 0 videos ok, 2 failed.")
    assert other_stdout.startswith("out: 2 videos ok.")


@pytest.mark.parametrize("limit", [400, 4000, 20000])
def test_a_full_disk_is_one_sentence(tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may not grow beyond a limit: writing fails as on a full disk, at run.json, at a video or in the report."""
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, plugin(0.0))
    for out in ("clean", "out"):
        lay_starts(tmp_path, out)
    limited = f"""
import resource, sys
from bench.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
main(sys.argv[1:])
"""
    here = [sys.executable, "-c", limited]
    command = arguments(methods="walk,still")
    ended = run(tmp_path, here + command)
    assert ended.returncode == 4, ended.stderr
    assert re.search(r"error: .*cannot be written", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert litter(tmp_path / "out") == []
    assert call(*command) == 0
    assert call(*arguments(methods="walk,still", out="clean")) == 0
    assert image(tmp_path / "out") == image(tmp_path / "clean")
    ended = run(tmp_path, [*here, "report", "--out", "out"])
    assert ended.returncode == 4, ended.stderr
    assert "Traceback" not in ended.stderr
    assert call("report", "--out", "out") == 0


def test_standard_error_may_be_closed(tmp_path: Path) -> None:
    lay_out(tmp_path, plugin(0.0))
    lay_starts(tmp_path, "out")
    command = " ".join(words(methods="walk"))
    ended = subprocess.run(["bash", "-c", f"exec 2>&-; {command}"], cwd=tmp_path, env=environment(), check=False)
    assert ended.returncode == 0
    assert [record.status for record in Store(tmp_path / "out").records()] == ["ok", "ok"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["methods"] == ["walk"]
