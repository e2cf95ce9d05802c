"""Measures what the harness itself takes per cell, and what a second Ray worker brings on methods that compute.

Example:
    $ python -m bench.studies.overhead --cells 500
    $ python -m bench.studies.overhead --second-worker seine,svd
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
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

COMPUTING = ("video.num_frames=40", "run.metrics=[]", "run.num_prompts=4")
"""Two or three chunks of most methods: seconds a cell, so that the harness hardly counts."""


def harness_row(executor: str, workers: int, cells: int, folder: Path) -> tuple[str, ...]:
    """Returns a row: executor, workers, seconds to the first finished cell, seconds per further cell, both wall time.

    Args:
        executor: its name.
        workers: how many.
        cells: how many videos of `still`, each of another seed.
        folder: where they go; new.
    """
    options = (*SETTINGS, f"run.executor={executor}", f"run.workers={workers}")
    ends = finishing_times(
        plan(find_plugins(), load_profile("mini", options), methods="still", seeds=range(cells)), folder
    )
    per_cell = (ends[-1] - ends[0]) / (len(ends) - 1)
    return executor, str(workers), f"{ends[0]:.1f}", f"{per_cell:.3f}"


def second_worker_rows(methods: str, folder: Path) -> list[tuple[str, ...]]:
    """Returns a row for one Ray worker and one for two: cells, seconds per cell, and how many times as fast that is.

    Counted is the wall time after every worker has finished its first cell: what starting takes is told apart above.

    Args:
        methods: names: a,b.
        folder: where videos go; new.
    """
    rows: list[tuple[str, ...]] = []
    seconds: list[float] = []
    for workers in (1, 2):
        options = (*COMPUTING, "run.executor=ray", f"run.workers={workers}")
        ends = finishing_times(
            plan(find_plugins(), load_profile("mini", options), methods=methods), folder / str(workers)
        )
        seconds.append((ends[-1] - ends[workers - 1]) / (len(ends) - workers))
        rows.append((str(workers), str(len(ends)), f"{seconds[-1]:.2f}", f"{seconds[0] / seconds[-1]:.2f}"))
    return rows


def finishing_times(spec: RunSpec, folder: Path) -> Sequence[float]:
    """Returns when each cell of a grid was finished, in seconds after its executor was opened, ascending."""
    store = Store(folder)
    store.open(run_info(spec, find_plugins(), folder.name))
    _lay_starts(spec, store)
    began, ends = time.perf_counter(), []
    with open_executor(spec, store, len(spec.cells)) as running:
        for outcome in running.run([Task("video", cell, state=store.state(cell)) for cell in spec.cells], print):
            assert outcome.status == "ok", outcome.reason
            ends.append(time.perf_counter() - began)
    return ends


def _lay_starts(spec: RunSpec, store: Store) -> None:
    video = spec.profile.video
    shape = (min(16, video.num_frames // 2), video.height, video.width, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for cell in spec.cells:
        store.save_start(cell.start_key, Start(frames, frames), video.fps)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--second-worker", metavar="METHODS", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, rows = Path(scratch), list[tuple[str, ...]]()
        if given.second_worker:
            rows += [("Ray workers", "cells", "s per cell", "times as fast")]
            rows += second_worker_rows(given.second_worker, folder)
        else:
            rows += [("executor", "workers", "s to first cell", "s per further cell")]
            rows += [harness_row(name, n, given.cells, folder / f"{name}-{n}") for name, n in MEASURED_EXECUTORS]
    print(text_table(rows))
    print(f"load of the machine in the last minutes: {os.getloadavg()}; cores: {os.cpu_count()}")


if __name__ == "__main__":
    main()
