"""Measures what the harness itself takes per cell: short videos of `still`, carried out by every executor.

Example:
    $ python -m bench.studies.overhead --cells 500
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.catalog import find_plugins
from bench.executors import open_executor
from bench.listing import text_table
from bench.plan import plan, run_info
from bench.profile import load_profile
from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Task
from generators.api import Start

SETTINGS = ("video.num_frames=16", "video.height=64", "video.width=64", "run.metrics=[]", "run.num_prompts=1")
MEASURED_EXECUTORS = (("serial", 1), ("processes", 2), ("ray", 2))


def measure(executor: str, workers: int, cells: int, folder: Path) -> tuple[str, ...]:
    """Returns a row: executor, workers, seconds to the first finished cell, seconds per further cell, both wall time.

    Args:
        executor: its name.
        workers: how many.
        cells: how many videos, each of another seed.
        folder: where they go; new.
    """
    options = (f"run.executor={executor}", f"run.workers={workers}")
    spec = plan(find_plugins(), load_profile("mini", [*SETTINGS, *options]), methods="still", seeds=range(cells))
    store = Store(folder)
    store.open(run_info(spec, find_plugins(), folder.name))
    _lay_starts(spec, store)
    ends = [time.perf_counter()]
    with open_executor(spec, store, cells) as running:
        for outcome in running.run([Task("video", cell, state=store.state(cell)) for cell in spec.cells], print):
            assert outcome.status == "ok", outcome.reason
            ends.append(time.perf_counter())
    per_cell = (ends[-1] - ends[1]) / (len(ends) - 2)
    return executor, str(workers), f"{ends[1] - ends[0]:.1f}", f"{per_cell:.3f}"


def _lay_starts(spec: RunSpec, store: Store) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    for cell in spec.cells:
        store.save_start(cell.start_key, Start(frames, frames), spec.profile.video.fps)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=measure.__doc__)
    parser.add_argument("--cells", type=int, default=500)
    cells = parser.parse_args().cells
    rows: list[tuple[str, ...]] = [("executor", "workers", "s to first cell", "s per further cell")]
    with tempfile.TemporaryDirectory() as folder:
        for executor, workers in MEASURED_EXECUTORS:
            rows.append(measure(executor, workers, cells, Path(folder) / f"{executor}-{workers}"))
    print(text_table(rows))
    print(f"{cells} cells each; load of the machine in the last minutes: {os.getloadavg()}; cores: {os.cpu_count()}")


if __name__ == "__main__":
    main()
