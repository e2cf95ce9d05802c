"""`run` from the command line, with methods and metrics in drop-in files and first chunks laid into the store."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import psutil
import pytest

from bench.catalog import find_plugins
from bench.errors import StoreError
from bench.ffv1 import file_digest, read_video
from bench.plan import plan
from bench.profile import load_profile
from bench.store import Store
from bench.tasks import Task
from bench.worker import Worker
from tests.tiny_grid import BRIGHTNESS, WALK, arguments, call, environment, lay_out, lay_starts, videos

PLUGIN = (
    WALK
    + BRIGHTNESS
    + """
import os
from generators.api import UnsupportedRequestError
from generators.weights import MissingWeightsError

@method(name="faulty", title="Faulty", paper="", licence="none", continues_start=False, group="faults")
@dataclass
class Faulty:
    '''Breaks the contract in the way `fault` says, on the prompts that contain a word.'''
    fault: str = "none"
    word: str = ""

    def generate(self, request, start):
        shape = (request.num_frames, request.height, request.width, 3)
        frames = np.zeros(shape, np.uint8)
        if self.word in request.prompt:
            if self.fault == "raises":
                yield frames[:4]
                raise ZeroDivisionError("half way")
            if self.fault == "weights" and not os.path.exists("fetched"):
                raise MissingWeightsError("no weights: run `fetch faulty`")
            if self.fault == "refuses":
                raise UnsupportedRequestError("no such video")
            if self.fault == "dies":
                os._exit(9)
            frames = {
                "float": frames.astype(float),
                "few": frames[:-1],
                "many": np.concatenate([frames, frames]),
                "size": frames[:, :-1],
                "grey": frames[..., 0],
                "empty": frames[:0],
                "list": frames.tolist(),
            }.get(self.fault, frames)
        yield frames

@metric(name="darkness", title="Darkness", unit="0..255", better="lower", version="1")
@dataclass
class Darkness(Brightness):
    '''A metric that breaks where `breaks` says.'''
    breaks: str = "update"

    def begin(self, prompt, fps):
        if self.breaks == "begin":
            raise KeyError("begin")
        if self.breaks == "weights" and not os.path.exists("fetched"):
            raise MissingWeightsError("no weights: run `fetch darkness`")
        return BreakingSum(self)

class BreakingSum(Sum):
    def update(self, frames):
        super().update(frames)
        if self.metric.breaks == "update" and len(self.grey) > 10:
            raise KeyError("update")

    def compute(self, seams=()):
        if self.metric.breaks == "compute":
            raise KeyError("compute")
        return super().compute(seams)
"""
)


BARS = '''
from dataclasses import dataclass
from generators.api import method

@method(name="bars", title="Bars", paper="", licence="none", continues_start=True)
@dataclass
class Bars:
    """The last frame again and again, under a progress bar, as the pipelines of diffusers have one."""

    def generate(self, request, start):
        from tqdm.auto import tqdm

        for _ in tqdm(range(request.num_frames - len(start.frames)), disable=True):
            yield start.frames[-1:]
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path, PLUGIN)
    return tmp_path


def command(*options: str, out: str = "out", methods: str = "walk") -> int:
    lay_starts(Path(), out)
    return call(*arguments(*options, out=out, methods=methods))


def scores(out: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [(r.method, r.prompt.id, {n: s.value for n, s in r.scores.items()}) for r in Store(out).records()]


def test_a_run_leaves_videos_scores_and_costs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--seeds", "0,1") == 0
    output = capsys.readouterr()
    assert output.out == "out: 4 videos ok. Next: python -m bench report --out out\n"
    assert "[4/4 cells] walk · p002 · seed 1: ok" in output.err
    records = Store("out").records()
    assert [(r.prompt.id, r.seed) for r in records] == [("p001", 0), ("p001", 1), ("p002", 0), ("p002", 1)]
    for record in records:
        frames = np.concatenate(list(read_video(Store("out").video_path(record))))
        assert frames.shape == (21, 16, 24, 3)
        assert record.seams == (8, 13, 18)
        assert record.scores["brightness"].value == pytest.approx(frames.mean())
        assert record.scores["brightness"].parts == {"seams": 3}
        assert len(record.scores["brightness"].series["grey"]) == 21
        assert record.video_sha256 == file_digest(Store("out").video_path(record))
        assert record.cost["seconds_per_frame"] is not None
    assert len({record.start for record in records}) == 4
    assert [record.cost["gflops_per_frame"] for record in records] == [0.0, None, None, None]
    assert [record.cost["cold"] for record in records] == [1.0, 0.0, 0.0, 0.0]
    info = Store("out").info()
    assert (info.prompt_set, info.profile, info.seeds, info.methods) == ("p.txt", "tiny", (0, 1), ("walk",))
    assert info.settings["methods"]["walk"] == {"chunk": 5, "pause": 0.0}


def test_the_same_command_again_does_nothing_and_loads_nothing(here: Path) -> None:
    assert command() == 0
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("cells/*/*")}
    script = (
        f"import sys; from bench.cli import main\ntry: main({arguments()!r})\nfinally: print('torch' in sys.modules)"
    )
    began = processor_seconds()
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    assert processor_seconds() - began < 3
    assert answer.stdout == "out: 2 videos ok. Next: python -m bench report --out out\nFalse\n"
    assert before == {path: path.stat().st_mtime_ns for path in Path("out").glob("cells/*/*")}


def processor_seconds() -> float:
    """Returns what children that have ended took of the processor, which does not depend on what else runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_default_folder_is_found_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [w for w in arguments() if w not in ("--out", "out")]
    call(*words)
    (folder,) = Path("results").iterdir()
    assert folder.name.startswith("tiny-")
    call(*words, "--workers", "1")
    assert list(Path("results").iterdir()) == [folder]


def test_processes_give_the_bytes_of_serial(here: Path) -> None:
    assert command("--seeds", "0,1", methods="walk,still", out="a") == 0
    assert command("--seeds", "0,1", "--executor", "processes", "--workers", "2", methods="walk,still", out="b") == 0
    assert len(videos("a")) == 8
    assert videos("a") == videos("b")
    assert scores("a") == scores("b")


def test_a_progress_bar_in_a_worker_leaves_nothing_behind(here: Path) -> None:
    Path("bars.py").write_text(BARS)
    words = [*arguments("--executor", "processes", methods="bars"), "--plugin", "bars.py"]
    lay_starts(Path(), "out")
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], env=environment(), capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, len(videos("out"))) == (0, 2)
    assert "leaked" not in done.stderr


def test_killed_at_any_moment_it_ends_with_the_same_bytes(here: Path) -> None:
    assert command("--seeds", "0,1", out="whole") == 0
    lay_starts(Path(), "killed")
    slow = [*arguments("--seeds", "0,1", out="killed"), "--set", "methods.walk.pause=0.2"]
    words = [sys.executable, "-m", "bench", *slow]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not _stands_in_the_middle(psutil.Process(process.pid), Path("killed")):
            assert process.poll() is None, "it came to its end before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finished = len(list(Path("killed").glob("cells/walk/*.json")))
    assert 1 <= finished < 4
    assert list(Path("killed").rglob(".tmp-*")), "the kill came between two cells: nothing was tested"
    assert call(*slow) == 0
    assert sorted(videos("killed").values()) == sorted(videos("whole").values())
    assert scores("killed") == scores("whole")
    assert not list(Path("killed").rglob(".tmp-*"))


def _stands_in_the_middle(process: psutil.Process, out: Path) -> bool:
    """Returns whether a cell is finished and another half written; the process is then left stopped."""

    def in_the_middle() -> bool:
        return bool([*out.glob("cells/walk/*.json")] and [*out.rglob(".tmp-*")])

    if not in_the_middle():
        return False
    process.suspend()
    while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        time.sleep(0.01)
    if in_the_middle():
        return True
    process.resume()
    return False


def test_another_metric_is_scored_on_the_finished_videos(here: Path) -> None:
    assert command() == 0
    before = videos("out")
    changed = {path: path.stat().st_mtime_ns for path in Path("out").glob("cells/*/*.mkv")}
    assert command("--metrics", "brightness,scuts") == 0
    assert all(set(score) == {"brightness", "scuts"} for _, _, score in scores("out"))
    assert before == videos("out")
    assert changed == {path: path.stat().st_mtime_ns for path in Path("out").glob("cells/*/*.mkv")}


def test_changed_settings_of_a_metric_are_scored_again(here: Path) -> None:
    assert command() == 0
    old = scores("out")
    assert command("--set", "metrics.brightness.gain=2.0") == 0
    for (_, _, before), (_, _, after) in zip(old, scores("out"), strict=True):
        assert after["brightness"] == pytest.approx(2 * before["brightness"])


def test_a_drop_in_file_that_changes_while_the_command_runs_is_not_made_under_its_old_name(here: Path) -> None:
    plugin = Path("plugin.py")
    catalog = find_plugins([str(plugin)])
    spec = plan(catalog, load_profile("tiny.toml"), methods="walk", prompts="", seeds=None, plugins=[str(plugin)])
    plugin.write_text(plugin.read_text() + "\n# edited\n")
    with pytest.raises(StoreError, match=r"plugin plugin\.py changed while the command ran"):
        Worker(spec, Store("out")).run(Task("video", spec.cells[0]))


KEPT = """
from dataclasses import dataclass
import weakref
import numpy as np
from generators.api import method

@method(name="watcher", title="Watcher", paper="", licence="none", continues_start=False)
@dataclass
class Watcher:
    '''Fails if anybody still holds the chunk before the last one.'''

    def generate(self, request, start):
        chunks = []
        for _ in range(request.num_frames):
            assert len(chunks) < 2 or chunks[-2]() is None, "an earlier chunk is still held"
            chunk = np.zeros((1, request.height, request.width, 3), np.uint8)
            chunks.append(weakref.ref(chunk))
            yield chunk
            del chunk
"""


def test_frames_flow_once_and_are_forgotten(here: Path) -> None:
    Path("watcher.py").write_text(KEPT)
    assert command("--plugin", "watcher.py", methods="watcher") == 0
    assert {record.reason for record in Store("out").records()} == {""}


def test_a_video_is_on_disk_before_its_record_and_each_before_its_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def replace(source: Any, target: Any, **options: Any) -> None:
        done.append(("replace", Path(target).name))
        real_replace(source, target, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    assert command() == 0
    for record in Store("out").records():
        video, written = done.index(("replace", f"{record.key}.mkv")), done.index(("replace", f"{record.key}.json"))
        assert video < written
        for at in (video, written):
            assert done[at - 1][0] == "fsync"  # the content
            assert done[at - 1][1].startswith(".tmp-")
            assert done[at + 1] == ("fsync", "walk")  # the folder, so that the name is there, too


def test_a_new_version_of_a_metric_is_scored_again_on_the_same_videos(here: Path) -> None:
    shine = BRIGHTNESS.replace("brightness", "shine")
    for version in ("1", "2"):
        Path("metric.py").write_text(shine.replace('version="1"', f'version="{version}"'))
        before = videos("out")
        assert command("--plugin", "metric.py", "--metrics", "shine") == 0
        (scored,) = {record.scores["shine"].version for record in Store("out").records()}
        assert re.fullmatch(rf"{version}\+[0-9a-f]{{8}}", scored)  # the version and the file's hash
    assert videos("out") == before


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raises", "faulty raised ZeroDivisionError: half way"),
        ("float", "faulty yielded float64 frames; yield uint8 [t, 16, 24, 3]"),
        ("few", "faulty stopped 1 frames short: 21 new frames were asked for; yield exactly those"),
        ("many", "faulty yielded at least 21 frames too many"),
        ("size", "faulty yielded frames of shape [21, 15, 24, 3]"),
        ("grey", "faulty yielded frames of shape [21, 16, 24]"),
        ("empty", "faulty yielded frames of shape [0, 16, 24, 3]"),
        ("list", "faulty yielded list; yield NumPy arrays"),
    ],
)
def test_a_faulty_method_loses_its_own_cell_only(
    here: Path, capsys: pytest.CaptureFixture[str], fault: str, words: str
) -> None:
    options = ["--set", f"methods.faulty.fault={fault}", "--set", "methods.faulty.word=blue"]
    assert command(*options, methods="faulty,still") == 1
    output = capsys.readouterr()
    assert "out: 3 videos ok, 1 failed." in output.out
    assert f"1 x {words}" in output.err
    status = {(r.method, r.prompt.text): (r.status, r.reason) for r in Store("out").records()}
    assert status["faulty", "a blue square"] == ("failed", status["faulty", "a blue square"][1])
    assert words in status["faulty", "a blue square"][1]
    assert status["faulty", "a red circle"] == ("ok", "")
    assert len(videos("out")) == 3


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_once_weights_are_fetched_the_same_command_makes_what_lacked_them(
    here: Path, capsys: pytest.CaptureFixture[str], executor: str
) -> None:
    options = ["--set", "methods.faulty.fault=weights", "--seeds", "0,1", "--executor", executor]
    assert command(*options, methods="faulty,still") == 0
    assert "4 videos ok, 4 skipped" in capsys.readouterr().out
    before = written("faulty")
    assert command(*options, methods="faulty,still") == 0
    said = capsys.readouterr()
    assert "4 videos ok, 4 skipped" in said.out
    assert "[1/1 cells] faulty" in said.err  # one try says that they are missing still
    assert len(before.items() & written("faulty").items()) == 3
    assert call(*arguments(*options, "--dry-run", methods="faulty,still")) == 0
    assert "4 videos to make" in capsys.readouterr().out
    Path("fetched").touch()
    assert command(*options, methods="faulty,still") == 0
    assert "out: 8 videos ok. " in capsys.readouterr().out
    assert command(*options, methods="faulty,still") == 0
    assert "cells]" not in capsys.readouterr().err


def test_once_weights_are_fetched_the_same_command_computes_the_scores_that_lacked_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--metrics", "darkness,brightness", "--set", "metrics.darkness.breaks=weights", "--seeds", "0,1"]
    assert command(*options) == 0
    before = written("walk")
    assert command(*options) == 0
    said = capsys.readouterr()
    assert "4 videos ok, 4 scores skipped" in said.out
    assert "[1/1 cells] walk" in said.err
    assert len(before.items() & written("walk").items()) == 3
    Path("fetched").touch()
    made = videos("out")
    assert command(*options) == 0
    assert "out: 4 videos ok. " in capsys.readouterr().out
    assert videos("out") == made
    assert command(*options) == 0
    assert "cells]" not in capsys.readouterr().err


def written(method: str) -> dict[str, int]:
    """Returns when each record of a method was written, nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in Path("out/cells", method).glob("*.json")}


@pytest.mark.parametrize(("fault", "counted"), [("refuses", "skipped"), ("raises", "failed")])
def test_what_no_fetch_can_mend_waits_for_redo(
    here: Path, capsys: pytest.CaptureFixture[str], fault: str, counted: str
) -> None:
    options = ["--set", f"methods.faulty.fault={fault}", "--set", "methods.faulty.word=blue"]
    code = int(counted == "failed")
    assert command(*options, methods="faulty") == code
    assert f"1 videos ok, 1 {counted}" in capsys.readouterr().out
    assert command(*options, methods="faulty") == code
    assert "cells]" not in capsys.readouterr().err
    assert command(*options, "--redo", "failed", methods="faulty") == code
    assert "[1/1 cells] faulty · p002" in capsys.readouterr().err
    assert command(*options, "--redo", "all", methods="faulty") == code
    assert "[2/2 cells]" in capsys.readouterr().err


def test_a_process_that_dies_loses_its_own_cell_only(here: Path) -> None:
    options = ["--set", "methods.faulty.fault=dies", "--set", "methods.faulty.word=red", "--executor", "processes"]
    assert command(*options, methods="faulty,still") == 1
    status = {(r.method, r.prompt.text): (r.status, r.reason) for r in Store("out").records()}
    assert status.pop(("faulty", "a red circle")) == (
        "failed",
        "its worker was lost 3 times: ended with exit code 9",
    )
    assert set(status.values()) == {("ok", "")}


@pytest.mark.parametrize("breaks", ["begin", "update", "compute"])
def test_a_faulty_metric_loses_its_own_score_only(here: Path, capsys: pytest.CaptureFixture[str], breaks: str) -> None:
    options = ["--metrics", "darkness,brightness", "--set", f"metrics.darkness.breaks={breaks}"]
    assert command(*options) == 1
    assert "2 videos ok, 2 scores failed" in capsys.readouterr().out
    for record in Store("out").records():
        assert list(record.scores) == ["darkness", "brightness"]
        assert record.scores["brightness"].value is not None
        lost = record.scores["darkness"]
        assert (lost.value, lost.status) == (None, "failed")
        assert re.fullmatch(rf"darkness raised KeyError: '{breaks}' \(plugin\.py, line \d+\)", lost.reason)
    assert command(*options) == 1
    assert "cells]" not in capsys.readouterr().err
    assert command(*options, "--redo", "failed", "--set", "metrics.darkness.breaks=never") == 0


def test_without_weights_for_the_first_chunk_every_cell_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--set", "first_chunk.weights=mini:none_such"]
    assert call(*arguments(*options)) == 1
    assert "out: 0 videos ok, 2 skipped" in capsys.readouterr().out
    assert all("first chunk: no miniature weights" in record.reason for record in Store("out").records())


def test_torn_files_are_made_anew_and_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    before = videos("out")
    first, second = sorted(Path("out").glob("cells/walk/*.json"))
    first.write_text(first.read_text()[:100])
    second.with_suffix(".mkv").write_bytes(second.with_suffix(".mkv").read_bytes()[:500])
    capsys.readouterr()
    assert call("report", "--out", "out") == 4
    assert f"error: {first}: torn or unreadable" in capsys.readouterr().err
    assert command() == 0
    notes = capsys.readouterr().err
    assert f"{first}: torn or unreadable" in notes
    assert f"{second.with_suffix('.mkv')}: the video has 500 bytes" in notes
    assert videos("out") == before


def test_another_list_of_prompts_in_the_same_folder_keeps_the_means(here: Path) -> None:
    for texts in ("A\nB\nC\nD\n", "B\nC\nD\nE\n"):
        Path("p.txt").write_text(texts)
        lay_starts(Path())
        assert call(*arguments()) == 0
    assert call("report", "--out", "out") == 0
    (row,) = csv.DictReader(Path("out/report/table1.csv").read_text().splitlines())
    grid = json.loads(Path("out/run.json").read_text())["cells"]
    files = [json.loads(Path(f"out/cells/{cell}.json").read_text()) for cell in grid]
    assert sorted(file["prompt"]["text"] for file in files) == list("BCDE")
    assert (row["brightness_n"], row["brightness_undefined"]) == ("4", "0")
    assert float(row["brightness_mean"]) == pytest.approx(fmean(f["scores"]["brightness"]["value"] for f in files))


def test_a_prompt_twice_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.txt").write_text("A\nB\nA\n")
    assert call(*arguments()) == 2
    assert "p.txt, line 3: the same prompt as on line 1" in capsys.readouterr().err


def test_a_damaged_score_is_computed_anew_on_the_same_video(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    before, of_videos = scores("out"), {p: p.stat().st_mtime_ns for p in Path("out").glob("cells/walk/*.mkv")}
    (path, _) = sorted(Path("out").glob("cells/walk/*.json"))
    content = json.loads(path.read_text())
    content["scores"]["brightness"]["value"] = "abc"
    path.write_text(json.dumps(content))
    assert call("report", "--out", "out") == 4
    assert f"{path}: the score of brightness is damaged" in capsys.readouterr().err
    assert command() == 0
    assert f"note: {path}: the score of brightness is damaged" in capsys.readouterr().err
    assert scores("out") == before
    assert of_videos == {p: p.stat().st_mtime_ns for p in Path("out").glob("cells/walk/*.mkv")}


def test_a_torn_run_json_is_written_anew(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    before = json.loads(Path("out/run.json").read_text())
    Path("out/run.json").write_text("")
    assert call("report", "--out", "out") == 4
    assert "the same `run` command makes it anew" in capsys.readouterr().err
    assert command() == 0
    assert "note: out/run.json: torn or unreadable" in capsys.readouterr().err
    assert {**json.loads(Path("out/run.json").read_text()), "created": ""} == {**before, "created": ""}


def flip_a_bit(path: Path) -> None:
    """Changes one bit in the middle of a file: of a video, within the pictures."""
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x10
    path.write_bytes(content)


def zero_the_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(len(content) - 200))


@pytest.mark.parametrize("damage", [flip_a_bit, zero_the_end])
def test_a_damaged_video_is_made_anew_when_it_is_read_again(
    here: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    again = ("--set", "metrics.brightness.gain=2.0")
    assert command(*again, out="clean") == 0
    assert command() == 0
    before = videos("out")
    (video, _) = sorted(Path("out").glob("cells/walk/*.mkv"))
    damage(video)
    capsys.readouterr()
    assert call("verify", "out") == 4
    assert capsys.readouterr().out.splitlines() == [
        f"{video}: damaged, its SHA-256 is not the one in its record; it is made anew",
        "out: 2 records, 1 videos, 4 first chunks: 1 damaged",
    ]
    assert command(*again) == 0
    output = capsys.readouterr()
    assert "out: 2 videos ok, 1 damaged files made anew." in output.out
    assert f"{video}: damaged" in output.err
    assert videos("out") == before
    assert scores("out") == scores("clean")
    assert call("verify", "out") == 0
    assert capsys.readouterr().out == "out: 2 records, 2 videos, 4 first chunks: all whole\n"


def test_sheets_show_no_damaged_video(here: Path) -> None:
    assert command() == 0
    (video, _) = sorted(Path("out").glob("cells/walk/*.mkv"))
    flip_a_bit(video)
    assert call("report", "--out", "out") == 0
    assert f"{video.name}: damaged" in Path("out/report/index.html").read_text()


def test_verify_says_where_no_run_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("g.zip").write_bytes(b"PK")
    for name, words in ((".", "no run there"), ("g.zip", "a file, not the folder of a run"), ("x", "no such folder")):
        assert call("verify", name) == 4
        assert words in capsys.readouterr().err


def test_verify_reads_everything_and_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    record, start = min(Path("out").glob("cells/walk/*.json")), min(Path("out").glob("starts/*.json"))
    record.write_text(record.read_text().replace('"ok"', '"great"', 1))
    start.with_suffix(".mkv").write_bytes(start.with_suffix(".mkv").read_bytes()[:600])
    Path("out/run.json").write_text("{")
    os.mkfifo("out/cells/walk/pipe.json")
    before = {p: (p.lstat().st_mtime_ns, p.lstat().st_size) for p in Path("out").rglob("*")}
    capsys.readouterr()
    assert call("verify", "out") == 4
    said = capsys.readouterr().out
    for path in ("out/run.json", str(record), "out/cells/walk/pipe.json", str(start.with_suffix(".mkv"))):
        assert f"{path}: " in said
    assert said.endswith("out: 1 records, 1 videos, 3 first chunks: 4 damaged\n")
    assert before == {p: (p.lstat().st_mtime_ns, p.lstat().st_size) for p in Path("out").rglob("*")}


@pytest.mark.parametrize("damage", ["torn", "header", "flip", "pipe", "folder"])
def test_a_damaged_first_chunk_is_not_handed_to_a_method(
    here: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is drawn again, for which there are no weights here."""
    without_weights = "first_chunk.weights=mini:none_such"
    lay_starts(Path(), overrides=[without_weights])
    for path in Path("out/starts").glob("*.base.mkv"):
        content = path.read_bytes()
        path.unlink()
        match damage:
            case "torn":
                path.write_bytes(b"torn")
            case "header":
                path.write_bytes(content[:600])
            case "flip":
                path.write_bytes(content)
                flip_a_bit(path)
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
    assert call(*arguments("--set", without_weights)) == 1
    assert {record.status for record in Store("out").records()} == {"skipped"}
    assert "first chunks]" not in (said := capsys.readouterr().err)
    assert "out/starts/" in said


def test_a_start_longer_than_the_video_is_cut(here: Path) -> None:
    lay_starts(Path(), overrides=["video.num_frames=5"])
    assert call(*arguments("--frames", "5")) == 0
    assert [(record.num_frames, record.seams) for record in Store("out").records()] == [(5, ())] * 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--methods", "stil"], 2, "unknown method 'stil'"),
        (["--metrics", "mwae"], 2, "unknown metric 'mwae'"),
        (["--profile", "huge"], 2, "unknown profile 'huge'"),
        (["--prompts", "none.txt"], 2, "no prompt file at none.txt"),
        (["--prompts", "empty.txt"], 2, "empty.txt holds no prompts"),
        (["--prompts", "0"], 2, "--prompts 0"),
        (["--frames", "0"], 2, "video.num_frames must be positive, not 0"),
        (["--frames", "-4"], 2, "video.num_frames must be positive, not -4"),
        (["--frames", "many"], 2, "is not a valid integer"),
        (["--seeds", str(2**63)], 2, "seeds are stored in 64 bits"),
        (["--seeds", "-1"], 2, "--seeds '-1': give whole numbers"),
        (["--executor", "threads"], 2, "run.executor must be one of serial, processes, ray"),
        (["--set", "x"], 2, "write it as section.key=value"),
        (["--nonsense"], 2, "No such option"),
        (["--plugin", "raises.py"], 3, "plugin raises.py: import raised RuntimeError: no cheese"),
        (["--plugin", "none.py"], 3, "cannot be read"),
        (["--out", "p.txt/out"], 4, "p.txt/out: cannot write results there (Not a directory)"),
    ],
)
def test_bad_input_is_one_sentence_and_the_right_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, words: str
) -> None:
    Path("empty.txt").write_text("\n \n")
    Path("raises.py").write_text("raise RuntimeError('no cheese')")
    assert call(*arguments(), *options) == code
    error = capsys.readouterr().err
    assert words in error.replace(str(here) + "/", "")
    assert "Traceback" not in error


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list", "methods"], ["list", "metrics"]])
def test_help_and_lists_load_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; from bench.cli import main\n"
        f"try: main({words!r})\n"
        "finally: print(sorted({'torch', 'diffusers', 'cv2', 'av', 'matplotlib', 'open_clip'} & sys.modules.keys()))"
    )
    options: dict[str, Any] = {"env": environment(), "capture_output": True, "text": True, "check": True}
    answer = subprocess.run([sys.executable, "-c", script], **options)
    assert answer.stdout.endswith("[]\n")


def test_run_json_is_written_before_the_first_cell(here: Path) -> None:
    options = ["--set", "methods.faulty.fault=raises"]
    assert command(*options, methods="faulty") == 1
    content = json.loads(Path("out/run.json").read_text())
    assert content["schema"] == 1
    assert len(content["cells"]) == 2
    assert content["plugins"] == [str(here / "plugin.py")]
