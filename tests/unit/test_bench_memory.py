"""Out of memory: one more try with the next stronger option, the same frames, and a record that says so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.catalog import find_plugins
from bench.errors import ConfigError
from bench.files import read_json
from bench.memory import ran_out, stronger
from bench.plan import plan
from bench.profile import load_profile
from bench.records import Record
from bench.settings import identity
from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Task
from bench.worker import Worker
from generators.api import Start
from generators.first_chunk import FirstChunk
from generators.streaming_t2v.method import StreamingT2V

PLUGIN = """
import weakref
from dataclasses import dataclass
import numpy as np
import torch
from generators.api import method

TRIES = []
HELD = []

class Tensor:
    '''Stands for what a network holds while it runs.'''

class Hungry:
    def generate(self, request, start):
        TRIES.append(self.offload)
        assert all(held() is None for held in HELD), "the first try still holds its memory"
        tensor = Tensor()
        HELD.append(weakref.ref(tensor))
        if self.offload in self.too_much.split():
            if self.error == "torch":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB. GPU 0 has a long story.")
            raise {"python": MemoryError, "other": RuntimeError}[self.error]("no room")
        yield np.full((request.num_frames, request.height, request.width, 3), request.seed, np.uint8)

@method(name="hungry", title="Hungry", paper="", licence="none", continues_start=False)
@dataclass
class Offloads(Hungry):
    offload: str = "none"
    too_much: str = "none"
    error: str = "torch"

@method(name="bare", title="Bare", paper="", licence="none", continues_start=False)
@dataclass
class Bare(Hungry):
    offload = "none"
    too_much: str = "none"
    error: str = "torch"

@method(name="stubborn", title="Stubborn", paper="", licence="none", continues_start=False)
@dataclass
class Stubborn(Offloads):
    def __post_init__(self):
        if self.offload != "none":
            raise ValueError("it keeps its networks on the device")
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "hungry.py"
    path.write_text(PLUGIN)
    return str(path)


def worker(file: str, tmp_path: Path, method: str, *overrides: str) -> tuple[Worker, RunSpec]:
    """A worker over three prompts whose first chunks are there already."""
    small = ["video.num_frames=12", "video.height=16", "video.width=16", "run.metrics=[]"]
    spec = plan(
        find_plugins([file]), load_profile("mini", [*small, *overrides]), methods=method, prompts="3", plugins=[file]
    )
    store = Store(tmp_path / "results")
    (store.path / "starts").mkdir(parents=True, exist_ok=True)
    (store.path / "cells" / method).mkdir(parents=True, exist_ok=True)
    frames = np.zeros((8, 16, 16, 3), np.uint8)
    for cell in spec.cells:
        store.save_start(cell.start_key, Start(frames, frames), 10.0)
    return Worker(spec, store), spec


def records(worker: Worker, spec: RunSpec) -> list[Record]:
    made = [worker.run(Task("video", cell)).record for cell in spec.cells]
    return [record for record in made if record is not None]


def tries(worker: Worker, method: str = "hungry") -> list[str]:
    module = sys.modules[worker._catalog.methods[method].cls.__module__]
    return list(module.TRIES)


@pytest.mark.parametrize("error", ["torch", "python"])
def test_a_video_that_does_not_fit_is_tried_with_the_next_option(file: str, tmp_path: Path, error: str) -> None:
    run, spec = worker(file, tmp_path, "hungry", f"methods.hungry.error={error}")
    first, *later = records(run, spec)
    assert first.status == "ok"
    assert first.memory.startswith('offload = "model", because with "none" hungry raised ')
    assert ("Tried to allocate" in first.memory, "long story" in first.memory) == (False, False)
    assert tries(run) == ["none", "model", "model", "model"]  # later videos do not run into the same wall
    assert [record.memory for record in later] == [first.memory] * 2
    stored = run.store.find(spec.cells[0])
    assert stored is not None
    assert stored.memory == first.memory


def test_offload_names_the_same_video(file: str, tmp_path: Path) -> None:
    keys = []
    for option in ("none", "sequential"):
        _, spec = worker(file, tmp_path, "hungry", f"methods.hungry.offload={option}")
        keys.append([cell.key for cell in spec.cells])
    assert keys[0] == keys[1]
    assert identity({"offload": "model", "steps": 4}) == {"steps": 4}


def test_one_more_try_and_no_further(file: str, tmp_path: Path) -> None:
    run, spec = worker(file, tmp_path, "hungry", 'methods.hungry.too_much="none model sequential"')
    made = records(run, spec)
    assert [record.status for record in made] == ["failed"] * 3
    assert tries(run) == ["none", "model", "model", "sequential", "sequential"]
    assert "hungry raised OutOfMemoryError" in made[0].reason
    assert 'no second try: offload = "sequential" saves the most memory there is' in made[2].reason


@pytest.mark.parametrize(
    ("method", "why"),
    [("bare", "bare has no setting `offload`"), ("stubborn", "it keeps its networks on the device")],
)
def test_methods_that_cannot_save_memory_say_so(file: str, tmp_path: Path, method: str, why: str) -> None:
    run, spec = worker(file, tmp_path, method)
    made = records(run, spec)[0]
    assert made.status == "failed"
    assert f"{method} raised OutOfMemoryError: CUDA out of memory" in made.reason
    assert why in made.reason
    assert made.memory == ""
    assert tries(run, method) == ["none"] * 3


def test_streaming_t2v_refuses_to_offload() -> None:
    settings = stronger({"offload": StreamingT2V(device="cuda").offload}, "streaming_t2v")
    with pytest.raises(ValueError, match="StreamingT2V keeps its networks on the device"):
        StreamingT2V(device="cuda", **settings)


def test_other_errors_are_not_tried_again(file: str, tmp_path: Path) -> None:
    run, spec = worker(file, tmp_path, "hungry", "methods.hungry.error=other")
    assert records(run, spec)[0].reason.startswith("hungry raised RuntimeError: no room (")
    assert tries(run) == ["none"] * 3


def test_the_first_chunk_is_tried_again_too(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: FirstChunk, request: object) -> Start:
        if self.offload == "none":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        frames = np.ones((16, 16, 16, 3), np.uint8)
        return Start(frames, frames)

    monkeypatch.setattr(FirstChunk, "draw", draw)
    run, spec = worker(file, tmp_path, "hungry", "first_chunk.device=cuda")
    state = run.store.state(spec.cells[0], start=True)
    assert run.run(Task("start", spec.cells[0], state=state)).status == "ok"
    path, _ = run.store.start_paths(spec.cells[0].start_key)
    stored = read_json(path.with_suffix(".json"))
    assert stored["cost"]["generation_seconds"] > 0
    because = 'offload = "model", because with "none" first chunk raised OutOfMemoryError: CUDA out of memory'
    assert stored["memory"] == because


def test_errors_of_memory() -> None:
    assert ran_out(torch.cuda.OutOfMemoryError())
    assert ran_out(MemoryError())
    assert not ran_out(RuntimeError("CUDA out of luck"))
    assert not ran_out(None)
    assert stronger({"offload": "model"}, "x") == {"offload": "sequential"}
    with pytest.raises(ConfigError, match="x has no setting `offload`"):
        stronger({"offload": "a little"}, "x")
