"""`run --executor ray` on a real cluster on this machine, and what becomes of a run when parts of it die."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.catalog import find_plugins
from bench.errors import ConfigError, StoreError
from bench.executors.ray import RayWorkers, _Hand
from bench.executors.ray_nodes import Hello, Need, connect
from bench.executors.schedule import Loss
from bench.ffv1 import file_digest
from bench.plan import plan
from bench.profile import load_profile
from bench.provenance import installed
from bench.run import RunSummary, execute
from bench.spec import RunSpec
from bench.store import Store
from generators.api import Start

pytest.importorskip("ray", reason="the extra `ray` is not installed")

ROOT = Path(__file__).resolve().parents[2]

PROFILE = """
name = "tiny"
[video]
num_frames = 12
height = 16
width = 16
fps = 8.0
[run]
executor = "ray"
workers = 2
threads = 1
device = "cpu"
dtype = "float32"
prompts = "p.txt"
num_prompts = 0
seeds = [0]
metrics = []
"""

PLUGIN = """
import os, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from generators.api import method

@method(name="walk", title="Walk", paper="", licence="none", continues_start=True)
@dataclass
class Walk:
    '''Frames of noise. From `waits_from` on, a cell says that it is under way and waits until a file `go` is there.'''
    folder: str = ""
    waits_from: int = 1000
    dies_of: str = ""

    def generate(self, request, start):
        if self.dies_of and self.dies_of in request.prompt:
            os._exit(9)
        if request.seed >= self.waits_from:
            Path(self.folder, f"at-{os.getpid()}").touch()
            deadline = time.monotonic() + 240
            while not Path(self.folder, "go").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        rng = np.random.default_rng(request.seed)
        yield rng.integers(0, 256, (request.num_frames - len(start.frames), 16, 16, 3), np.uint8)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Yields a cluster with a head node of one core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_worker_niceness", "0")  # else workers give way to all others, for ever
        from ray.cluster_utils import Cluster

        one = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield one
        one.shutdown()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(PROFILE)
    Path("plugin.py").write_text(PLUGIN)
    Path("p.txt").write_text("a red circle\na blue square\n")
    return tmp_path


def ran(out: str, *overrides: str, seeds: int = 1) -> RunSummary:
    """Runs the grid in this process, as the command does."""
    return execute(lay_starts(out, *overrides, seeds=seeds), find_plugins(plugins()), Store(out), out)


def plugins() -> list[str]:
    return [str(Path("plugin.py").resolve())]


def lay_starts(out: str, *overrides: str, seeds: int) -> RunSpec:
    """Stores first chunks, so that no text-to-video model is needed; returns the grid."""
    profile = load_profile("tiny.toml", [f"methods.walk.folder={Path().resolve()}", *overrides])
    spec = plan(find_plugins(plugins()), profile, methods="walk", seeds=range(seeds), plugins=plugins())
    (Path(out) / "starts").mkdir(parents=True, exist_ok=True)
    for cell in spec.cells:
        frames = np.full((4, 16, 16, 3), len(cell.prompt.text), np.uint8)
        if not Store(out).start_paths(cell.start_key)[0].exists():
            Store(out).save_start(cell.start_key, Start(frames, frames), 8.0)
    return spec


def driver(out: str, address: str, *options: str) -> subprocess.Popen[str]:
    """Returns the running command, in which cells of the second seed on wait for the file `go`."""
    words = ["run", "--methods", "walk", "--profile", "tiny.toml", "--plugin", "plugin.py", "--out", out]
    words += ["--address", address, "--set", "methods.walk.waits_from=1", *options]
    words += ["--set", f"methods.walk.folder={Path().resolve()}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def videos(out: str) -> dict[str, str]:
    """Returns the hash of every video; what a killed worker left under a temporary name is none."""
    return {path.name: file_digest(path) for path in Path(out).glob("cells/*/[!.]*.mkv")}


def until(true: Callable[[], Any], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def actors() -> list[int]:
    """Returns the processes of this cluster's living workers; one that ends while it is looked at is none."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie has no command line, and is one of these
            if "".join(process.cmdline()[:1]).startswith("ray::RayWorker"):
                found.append(process.pid)
    return found


def at_work() -> list[Path]:
    return list(Path().glob("at-*"))


def test_the_same_bytes_whatever_carries_it_out_and_when_nodes_come_and_go(here: Path, cluster: Any) -> None:
    address = f"run.address={cluster.address}"
    lay_starts("two", seeds=3)
    assert ran("serial", "run.executor=serial", seeds=3).exit_code == 0
    assert ran("processes", "run.executor=processes", seeds=3).exit_code == 0
    assert ran("one", address, "run.workers=0", seeds=3).exit_code == 0
    with driver("two", cluster.address, "--workers", "0", "--seeds", "0,1,2") as run:
        until(lambda: list(Path("two").glob("cells/walk/*.json")))
        until(lambda: len(at_work()) == 1)
        (first,) = at_work()
        node = cluster.add_node(num_cpus=1)
        until(lambda: len(at_work()) == 2)  # a cell is under way on the node that has joined
        (second,) = {*at_work()} - {first}
        cluster.remove_node(node, allow_graceful=False)
        with contextlib.suppress(ProcessLookupError):  # a worker outlives its raylet, and would finish the cell
            os.kill(int(second.name.removeprefix("at-")), signal.SIGKILL)
        Path("go").touch()
        out, said = run.communicate(timeout=240)
    assert (run.returncode, out) == (0, "two: 6 videos ok. Next: python -m bench report --out two\n")
    assert said.count("tried again on another one") == 1
    assert [line for line in said.splitlines() if not line.startswith(("[", "note: walk"))] == []
    records = Store("two").records()
    assert len(records) == len({record.key for record in records}) == 6
    assert sum(bool(record.lost) for record in records) == 1
    assert {record.machine["node"] for record in records} == {socket.gethostname()}
    assert set(videos("serial").values()) == set(videos("two").values())
    assert videos("serial") == videos("processes") == videos("one")
    assert len(videos("serial")) == 6
    assert not list(Path().glob("*/.token-*"))


def test_a_cell_that_kills_its_worker_three_times_says_so(here: Path, cluster: Any) -> None:
    summary = ran("out", f"run.address={cluster.address}", "methods.walk.dies_of=blue", "run.workers=1")
    assert (summary.ok, summary.failed) == (1, 1)
    (failed,) = (record for record in Store("out").records() if record.status == "failed")
    clause = f"died on node {socket.gethostname()}"
    assert failed.reason == f"its worker was lost 3 times: {clause}"
    assert failed.lost == (clause,) * 3


def test_a_worker_that_is_asked_to_end_puts_nothing_down_as_the_methods_fault(here: Path, cluster: Any) -> None:
    lay_starts("out", seeds=2)
    with driver("out", cluster.address, "--workers", "1", "--seeds", "0,1") as run:
        until(at_work)
        (worker,) = actors()
        os.kill(worker, signal.SIGTERM)
        Path("go").touch()
        _, said = run.communicate(timeout=240)
    assert (run.returncode, said.count("tried again on another one")) == (0, 1)
    assert {record.status for record in Store("out").records()} == {"ok"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_driver_that_ends_leaves_no_worker_and_run_goes_on(
    here: Path, cluster: Any, number: signal.Signals, code: int
) -> None:
    lay_starts("out", seeds=2)
    with driver("out", cluster.address, "--workers", "1", "--seeds", "0,1") as run:
        until(at_work)
        assert len(actors()) == 1
        run.send_signal(number)
        _, said = run.communicate(timeout=240)
    assert run.returncode == code
    assert "Traceback" not in said
    until(lambda: not actors())
    assert len(videos("out")) == 1
    Path("go").touch()
    assert ran("out", "run.executor=serial", "methods.walk.waits_from=1", seeds=2).ok == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["run.gpus_per_worker=3"], "a worker needs 1 CPUs, 3 GPUs, and no node of the cluster has that"),
        (["run.device=cuda"], "a worker needs 1 CPUs, 1 GPUs, and no node of the cluster has that"),
        (["run.cpus_per_worker=64"], "the most on one node are 1 CPUs"),
        (["run.address=127.0.0.1:1"], "--address 127.0.0.1:1: nobody answers there"),
        (["run.address=nowhere"], "--address 'nowhere': give local, auto, or HOST:PORT"),
    ],
)
def test_what_a_cluster_cannot_do_is_said_before_work_starts(
    here: Path, cluster: Any, overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        ran("out", f"run.address={cluster.address}", *overrides)
    assert words in str(caught.value)
    assert not list(Path("out").glob("cells/walk/*"))


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (Exception("The current node timed out"), "a cluster, raised Exception: The current node timed out"),
        (ConnectionError("no\nand a paragraph"), r"--address local: no connection to a Ray cluster \(no\)"),
    ],
)
def test_a_cluster_that_does_not_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, words: str
) -> None:
    def init(**settings: object) -> None:
        raise raised

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ConfigError, match=words), connect("local", 1, Need(1, 0, 0)):
        pass


def test_a_node_that_does_not_see_the_folder_or_has_another_version_is_named() -> None:
    version = installed("longvideo-bench")
    Hello("n1", "/data/run", "", version).check()
    with pytest.raises(StoreError, match=r"node n2 does not see /data/run .* give --out a folder that all nodes share"):
        Hello("n2", "/data/run", "a file written by the driver is not there", version).check()
    with pytest.raises(ConfigError, match=r"node n3 has longvideo-bench 0\.0\.1"):
        Hello("n3", "/data/run", "", "0.0.1").check()


@pytest.mark.parametrize(
    ("need", "resources", "count"),
    [
        (Need(1, 0, 0), {"CPU": 8.0}, 8),
        (Need(1, 0.5, 0), {"CPU": 8.0, "GPU": 2.0}, 4),
        (Need(1, 0.1, 0), {"CPU": 80.0, "GPU": 1.0}, 10),
        (Need(2, 2, 0), {"CPU": 8.0, "GPU": 3.0}, 1),
        (Need(1, 1, 0), {"CPU": 8.0}, 0),
        (Need(1, 0, 4_000_000_000), {"CPU": 8.0, "memory": 9e9}, 2),
    ],
)
def test_workers_that_fit_on_a_node_are_counted(need: Need, resources: dict[str, float], count: int) -> None:
    assert need.fits(resources) == count


def test_a_lost_node_takes_its_idle_workers_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the lost task one after the other, they would use up its tries."""
    ended: list[str] = []
    monkeypatch.setattr(RayWorkers, "_end", lambda self, hand: ended.append(hand.actor))
    workers = object.__new__(RayWorkers)
    workers._hands = {
        number: _Hand(name, None, node, busy)
        for number, (name, node, busy) in enumerate(
            [("lost", "n1", True), ("idle", "n1", False), ("elsewhere", "n2", False), ("working", "n1", True)]
        )
    }
    assert isinstance(workers._lost(0, RuntimeError("gone")), Loss)
    assert ended == ["lost", "idle"]
    assert [hand.actor for hand in workers._hands.values()] == ["elsewhere", "working"]
