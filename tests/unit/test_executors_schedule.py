from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalog import find_plugins
from bench.errors import ConfigError
from bench.executors import slots
from bench.executors.deaths import ending, memory_kills
from bench.executors.gpus import VISIBLE, seeing, shares
from bench.executors.schedule import Answer, GivenUp, Loss, Schedule, carry_out, record_given_up
from bench.locations import open_store
from bench.plan import plan, run_info, wanted_scores
from bench.profile import Run, load_profile
from bench.provenance import machine_facts
from bench.records import StoredScore
from bench.spec import Cell, Prompt
from bench.store import Store
from bench.tasks import Outcome, Task, blank
from bench.worker import Worker


def task(method: str, key: str = "key") -> Task:
    return Task("video", Cell(key, method, Prompt("p", "x"), 0, "s"))


def taken(schedule: Schedule, worker: int) -> str:
    found = schedule.next(worker)
    return found.cell.method if found else ""


def test_workers_stay_with_their_method_then_take_an_untouched_one_then_help_the_longest_queue() -> None:
    schedule = Schedule([task(name) for name in "aabccc"], retries=2)
    assert taken(schedule, 0) == "c"
    assert taken(schedule, 1) == "a"
    schedule.finished(1)
    assert taken(schedule, 1) == "a"
    schedule.finished(1)
    assert taken(schedule, 1) == "b"
    schedule.finished(1)
    assert taken(schedule, 1) == "c"
    assert schedule.unfinished == 3
    schedule.finished(0)
    schedule.finished(1)
    assert [taken(schedule, 1), taken(schedule, 0)] == ["c", ""]


class Fake:
    """A pool whose workers die of the cells that `deadly` names, as often as it says."""

    def __init__(self, size: int, deadly: dict[str, int]) -> None:
        self.size, self.deadly = size, dict(deadly)
        self.tasks: dict[int, Task | None] = {}
        self.started = 0
        self.done: list[str] = []

    def idle(self, tasks: int) -> Sequence[int]:
        while len(self.tasks) < min(self.size, tasks):
            self.tasks[self.started] = None
            self.started += 1
        return [number for number, task in self.tasks.items() if task is None]

    def give(self, worker: int, task: Task) -> None:
        assert self.tasks[worker] is None
        self.tasks[worker] = task

    def wait(self) -> list[Answer | Loss]:
        number, task = next((number, task) for number, task in self.tasks.items() if task is not None)
        if self.deadly.get(task.cell.key, 0):
            self.deadly[task.cell.key] -= 1
            del self.tasks[number]
            return [Loss(number, "killed by SIGKILL (signal 9)")]
        self.tasks[number] = None
        self.done.append(task.cell.key)
        return [Answer(number, Outcome(task, "ok", "", 0.0))]


def give_up(lost: GivenUp) -> Outcome:
    return Outcome(lost.task, "failed", lost.reason, lost.seconds)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_lost_task_is_done_by_another_worker_and_given_up_after_three(size: int) -> None:
    tasks = [task(method, f"{method}{i}") for method in "ab" for i in range(4)]
    pool, notes = Fake(size, {"a1": 2, "b2": 3}), []
    outcomes = list(carry_out(tasks, pool, 2, give_up, notes.append))
    assert Counter(outcome.task.cell.key for outcome in outcomes) == Counter(task.cell.key for task in tasks)
    status = {outcome.task.cell.key: outcome.status for outcome in outcomes}
    assert {key for key, said in status.items() if said == "failed"} == {"b2"}
    (failed,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert failed.reason == "its worker was lost 3 times: killed by SIGKILL (signal 9)"
    (survivor,) = (outcome for outcome in outcomes if outcome.task.cell.key == "a1")
    assert survivor.task.lost == ("killed by SIGKILL (signal 9)",) * 2
    assert len(notes) == 4
    assert "a · p: worker killed by SIGKILL (signal 9); tried again on another one" in notes
    assert len(pool.done) == 7


def test_a_task_that_is_given_up_says_every_end() -> None:
    lost = GivenUp(replace(task("a"), lost=("killed by SIGKILL (signal 9)", "ended with exit code 1")), 1.0)
    assert lost.reason == ("its worker was lost 2 times: killed by SIGKILL (signal 9); then ended with exit code 1")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_cell_that_was_finished_before_its_worker_was_lost_stays_finished(tmp_path: Path, scheme: str) -> None:
    spec = plan(find_plugins(), load_profile("mini", ["run.metrics=[]"]), methods="still", prompts="1")
    (cell,) = spec.cells
    store = open_store(f"{scheme}{tmp_path}")
    store.open(run_info(spec, find_plugins(), "run"))
    lost = GivenUp(Task("video", cell, state=store.state(cell), lost=("ended with exit code 1",)), 1.0)
    other = open_store(store.location)
    other.open(run_info(spec, find_plugins(), "run"))
    other.save(blank(spec, cell, "skipped", "written by another command"))
    outcome = record_given_up(spec, store, lost)
    assert (outcome.status, outcome.reason) == ("skipped", "written by another command")
    store.refresh()
    lost = replace(lost, task=replace(lost.task, state=store.state(cell)))
    assert record_given_up(spec, store, lost).status == "failed"
    assert "ended with exit code 1" in store.find(cell).reason  # type: ignore[union-attr]


def test_a_score_that_another_command_left_skipped_is_still_computed(tmp_path: Path) -> None:
    """It was planned because its weights have come, or by --redo; another command has scored something else since."""
    catalog = find_plugins()
    spec = plan(catalog, load_profile("mini", ["run.metrics=['scuts']"]), methods="still", prompts="1")
    (cell,) = spec.cells
    store = Store(tmp_path)
    store.open(run_info(spec, catalog, "run"))
    version, settings = wanted_scores(catalog, spec.metrics)["scuts"]
    skipped = StoredScore(None, version=version, reason="no weights", settings=settings, status="skipped")
    made = replace(
        blank(spec, cell, "ok", ""),
        num_frames=240,
        height=64,
        width=64,
        fps=10.0,
        video_bytes=3,
        scores={"scuts": skipped},
    )
    store.cell_video(cell).write_bytes(b"abc")
    store.save(made)
    left = Worker(spec, store)._left(Task("scores", cell, ("scuts",), state="older"))
    assert (left.kind, left.metrics) == ("scores", ("scuts",))


@pytest.mark.parametrize(
    ("gpus", "per_worker", "workers", "expected"),
    [
        ("01", 0, 0, ["0", "1"]),
        ("01", 1, 1, ["0"]),
        ("01234", 2, 0, ["0,1", "2,3"]),
        ("01", 0.5, 0, ["0", "1", "0", "1"]),
        ("01", 0.5, 3, ["0", "1", "0"]),
        ("0", 1 / 3, 0, ["0", "0", "0"]),
    ],
)
def test_every_worker_sees_its_own_gpus(gpus: str, per_worker: float, workers: int, expected: list[str]) -> None:
    assert shares(tuple(gpus), per_worker, workers) == expected


@pytest.mark.parametrize(
    ("gpus", "per_worker", "workers", "words"),
    [
        ("", 0, 0, "this machine has no CUDA GPU"),
        ("01", 4, 0, "--gpus-per-worker 4: this machine has 2 GPUs"),
        ("0", 1, 2, "give --workers 1 or fewer"),
        ("01", 0.5, 5, "give --workers 4 or fewer"),
    ],
)
def test_workers_that_do_not_fit_are_refused(gpus: str, per_worker: float, workers: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        shares(tuple(gpus), per_worker, workers)


def run_of(*overrides: str) -> Run:
    return load_profile("mini", [f"run.{text}" for text in overrides]).run


def test_gpus_are_asked_for_only_where_the_run_uses_them() -> None:
    def none() -> tuple[str, ...]:
        raise AssertionError("asked")

    assert slots(run_of("workers=3"), none) == [None] * 3
    assert slots(run_of("device=cuda:1"), none) == [None]
    assert slots(run_of("device=cuda"), lambda: ("0", "GPU-5")) == ["0", "GPU-5"]


@pytest.mark.parametrize(
    ("gpus", "per_worker", "seen"),
    [("01234567", "1", list("01234567")), ("01234567", "2", ["0,1", "2,3", "4,5", "6,7"]), ("0", "0.25", ["0"] * 4)],
)
@pytest.mark.parametrize("profile", ["paper", "modern"])
def test_gpus_fill_as_the_document_on_scaling_says(profile: str, gpus: str, per_worker: str, seen: list[str]) -> None:
    run = load_profile(profile, ["run.executor=processes", f"run.gpus_per_worker={per_worker}"]).run
    assert slots(run, lambda: tuple(gpus)) == seen


@pytest.mark.parametrize("before", [None, "3"])
def test_what_a_worker_sees_is_set_while_it_starts_only(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    import os

    monkeypatch.delenv(VISIBLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    with seeing("1"):
        assert os.environ[VISIBLE] == "1"
    assert os.environ.get(VISIBLE) == before
    with seeing(None):
        assert os.environ.get(VISIBLE) == before


@pytest.mark.parametrize("value", ["-1", "1.5", "nan", "inf"])
def test_a_senseless_share_of_gpus_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="gpus_per_worker"):
        run_of(f"gpus_per_worker={value}")


def test_memory_is_named_only_with_the_kernels_evidence(tmp_path: Path) -> None:
    assert "memory" not in ending(-9, memory=False)
    assert ending(-9, memory=True).startswith("killed by SIGKILL (signal 9) by the kernel, because memory ran out")
    assert ending(3, memory=False) == "ended with exit code 3"
    (tmp_path / "proc/self").mkdir(parents=True)
    assert memory_kills(tmp_path) == 0
    (tmp_path / "proc/vmstat").write_text("pgfault 7\noom_kill 4\n")
    assert memory_kills(tmp_path) == 4
    (tmp_path / "proc/self/cgroup").write_text("1:name=systemd:/x\n0::/job/7\n")
    (tmp_path / "sys/fs/cgroup/job/7").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/job/7/memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    assert memory_kills(tmp_path) == 1


def test_the_record_names_the_machine(tmp_path: Path) -> None:
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    said = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"
    (tmp_path / "driver/nvidia/version").write_text(said)
    assert set(machine_facts("cpu", tmp_path)) == {"node", "device"}
    assert machine_facts("cuda", tmp_path)["driver"] == "570.86.15"
