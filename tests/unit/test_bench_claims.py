"""Two commands in one folder: who holds a cell, until when, and whose temporary files may be swept."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from bench import owner
from bench.claims import REFRESH, SILENT, claimed, is_claimed
from bench.files import DAY, remove_leftovers
from bench.owner import is_alive, is_gone, machine, this_process

PATIENCE = 120.0
"""Seconds after which processes that wait for each other give up."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".claim-k1"


def dead() -> str:
    """Returns a process of this machine that has ended."""
    code = "from bench.owner import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_one_of_two_holds_a_claim(path: Path) -> None:
    with claimed(path) as mine:
        assert mine
        assert is_claimed(path)
        with claimed(path) as other:
            assert not other
        assert is_claimed(path)
    assert not is_claimed(path)
    assert list(path.parent.iterdir()) == []


def test_a_claim_of_a_dead_process_is_taken_over(path: Path) -> None:
    path.write_text(dead())
    assert not is_claimed(path)
    with claimed(path) as mine:
        assert mine
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(("seconds", "counts"), [(0, True), (SILENT - 20, True), (SILENT + 1, False)])
def test_a_claim_of_another_machine_counts_while_it_is_touched(path: Path, seconds: float, counts: bool) -> None:
    path.write_text("0123456789ab-7-1")
    age(path, seconds)
    assert is_claimed(path) == counts
    with claimed(path) as mine:
        assert mine != counts
    assert REFRESH * 3 < SILENT


def test_a_claim_of_a_living_process_of_this_machine_counts_however_silent(path: Path) -> None:
    path.write_text(this_process())
    age(path, 2 * SILENT)
    assert is_claimed(path)


def test_a_claim_that_is_lost_is_not_removed_from_who_has_it_now(path: Path) -> None:
    with claimed(path):
        path.write_text("0123456789ab-7-1")
    assert path.read_text() == "0123456789ab-7-1"


def _try(path: Path, together: Barrier, results: multiprocessing.Queue[bool]) -> None:
    together.wait(PATIENCE)
    with claimed(path) as mine:
        results.put(mine)
        together.wait(PATIENCE)  # it is held until all have tried


@pytest.mark.parametrize("stale", [True, False])
def test_of_many_that_try_at_once_one_succeeds(path: Path, stale: bool) -> None:
    if stale:
        path.write_text(dead())
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    together = context.Barrier(6)
    processes = [context.Process(target=_try, args=(path, together, results)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(results.get(timeout=PATIENCE) for _ in processes) == [False] * 5 + [True]
    assert list(path.parent.iterdir()) == []


def test_another_space_of_process_numbers_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()
    gone = dead()
    assert is_gone(gone)
    assert not is_gone(this_process())
    assert is_gone(this_process().rpartition("-")[0] + "-1")  # the number is taken again by a later process
    monkeypatch.setattr(owner, "_link", lambda path: "pid:[1]")
    assert machine() != here
    assert not is_gone(gone)
    monkeypatch.undo()
    monkeypatch.setattr(socket, "gethostname", lambda: "other")
    assert machine() != here


@pytest.mark.parametrize("text", ["", "x", "a-b-c", "-7-1", "0123456789ab-7", "é"])
def test_what_names_no_process_is_never_gone(text: str) -> None:
    assert not is_gone(text)
    assert not is_alive(text)


def test_only_what_is_left_over_is_swept(tmp_path: Path) -> None:
    kept = [f".tmp-{this_process()}~a", ".tmp-0123456789ab-7-1~b", ".tmp-oldhost-7~c", "k1.json"]
    swept = [f".tmp-{dead()}~d", ".tmp-0123456789ab-7-1~e"]
    for name in (*kept, *swept):
        (tmp_path / name).write_text("")
    (tmp_path / ".claim-k1").write_text(dead())
    (tmp_path / ".claim-k2").write_text(this_process())
    age(tmp_path / swept[1], DAY + 1)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, ".claim-k2"])
