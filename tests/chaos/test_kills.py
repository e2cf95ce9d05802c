"""A storm of kills: parent, child and group, by KILL, TERM and INT, at seeded moments; then the same command goes on.

The nine blows are dealt like cards, so that forty-five of them are each of the nine five times. Of the storm must be
left what an undisturbed run gives, byte for byte, no process and no temporary file; a cell that was finished is not
made again.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.chaos.conftest import Extent
from tests.chaos.grid import run, words
from tests.chaos.storm import image, litter, plugin
from tests.tiny_grid import arguments, call, environment, lay_out, lay_starts

pytestmark = pytest.mark.chaos

OPTIONS = ("--executor", "processes", "--workers", "2", "--seeds", "0,1")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
Blow = tuple[str, signal.Signals]
BLOWS: list[Blow] = list(itertools.product(("parent", "child", "group"), SIGNALS))


def test_kill_storm(tmp_path: Path, extent: Extent, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, plugin(0.02))
    for out in ("clean", "out"):
        lay_starts(tmp_path, out)
    with monkeypatch.context() as here:  # for the moment: every process in this folder is one of the storm's
        here.chdir(tmp_path)
        assert call(*arguments("--seeds", "0,1", methods="walk,still,pan", out="clean")) == 0
    rng, deck = random.Random(extent.seed), list[Blow]()
    folder, kills, complete = tmp_path / "out", 0, 0
    while kills < extent.kills:
        if len(list(folder.glob("cells/*/*.json"))) == 12:
            complete += 1
            for path in rng.sample(sorted(folder.glob("cells/*/*.json")), 6):
                path.unlink()  # a record lost is a cell to be made: the storm goes on
        before = _finished(folder)
        kills += _disturbed(tmp_path, rng, deck)
        after = _finished(folder)
        assert before.items() <= after.items(), "a finished cell was made again"
        assert not any(name.endswith(".json") and path.read_bytes() == b"" for name, path in _files(folder))
    ended = run(tmp_path, words(*OPTIONS, "--redo", "failed", methods="walk,still,pan"))  # lost three times is failed
    assert ended.returncode == 0, ended.stderr
    assert image(folder) == image(tmp_path / "clean")
    assert litter(folder) == []
    assert _processes(folder) == []
    print(f"{kills} kills, grid completed {complete} times in between, no difference")


def _disturbed(tmp_path: Path, rng: random.Random, deck: list[Blow]) -> int:
    """Runs the command and kills some of it at a random moment; returns how many kills hit a living process.

    A blow that hits is taken from the deck; an empty deck is dealt anew.
    """
    command = words(*OPTIONS, methods="walk,still,pan")
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as parent:  # fmt: skip
        hits = 0
        _await_work(parent, tmp_path / "out", early=rng.random() < 0.2)
        time.sleep(rng.uniform(0.0, 0.6))
        for _ in range(rng.choice((1, 1, 2, 4))):
            deck[:] = deck or rng.sample(BLOWS, len(BLOWS))
            if _kill(parent, deck[-1], rng):
                deck.pop()
                hits += 1
            time.sleep(rng.uniform(0.0, 0.7))
        if parent.poll() is None and hits:
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(600)  # where no blow hit, the run goes on to its end
    _await_end_of_children(tmp_path / "out")
    return hits


def _await_work(parent: subprocess.Popen[bytes], folder: Path, *, early: bool) -> None:
    """Waits until a cell is under way; if `early`, for a moment only, while the processes still start."""
    deadline = time.monotonic() + (1.0 if early else 120.0)
    before = set(folder.glob("cells/*/.claim-*"))
    while parent.poll() is None and time.monotonic() < deadline and set(folder.glob("cells/*/.claim-*")) <= before:
        time.sleep(0.02)


def _kill(parent: subprocess.Popen[bytes], blow: Blow, rng: random.Random) -> bool:
    """Returns whether the blow hit a living process."""
    if parent.poll() is not None:
        return False
    target, number = blow
    try:
        match target:
            case "parent":
                parent.send_signal(number)
            case "group":
                os.killpg(parent.pid, number)
            case _:
                children = psutil.Process(parent.pid).children()
                if not children:
                    return False
                rng.choice(children).send_signal(number)
    except (psutil.Error, ProcessLookupError):
        return False
    return True


def _await_end_of_children(folder: Path) -> None:
    deadline = time.monotonic() + 300
    while (left := _processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == [], "orphans go on"


def _processes(folder: Path) -> list[int]:
    """Returns processes that work in the folder above a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder.parent) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _finished(folder: Path) -> dict[str, int]:
    """Returns when the video of every finished cell was written."""
    pairs = ((path, path.with_suffix(".mkv")) for path in folder.glob("cells/*/*.json"))
    return {path.stem: video.stat().st_mtime_ns for path, video in pairs if video.exists()}


def _files(folder: Path) -> list[tuple[str, Path]]:
    return [(path.name, path) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
