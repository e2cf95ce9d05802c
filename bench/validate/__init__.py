"""Puts the metrics to the test against ground truth, and writes one page about each.

The miniature world knows its own motion and takes faults at known strength, so one can say of every metric what it
sees, how small a fault it sees, and what it is blind to. A blind spot is an answer here, not a failure.

Example:
    $ python -m bench validate --quick --out /tmp/cards
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bench.errors import StoreError
from bench.provenance import installed
from bench.validate.cores import Cores
from bench.validate.cuts import measure_cuts
from bench.validate.doses import dose_table
from bench.validate.flow_error import measure_flow
from bench.validate.instruments import find_instruments
from bench.validate.invariances import measure_invariances
from bench.validate.pages import summary, write_pages
from bench.validate.results import FULL, QUICK, Counts, ValidationResults

MEASURED_WITH = ("numpy", "opencv-python-headless", "scenedetect-headless", "torch", "open_clip_torch", "av")
"""What the numbers depend on beside this project."""


def run_validation(out: Path, counts: Counts, say: Callable[[str], None], workers: int = 0) -> ValidationResults:
    """Returns all results, having written them as pages, figures and JSON.

    Args:
        out: folder of the pages; made if it is not there.
        counts: `FULL` or `QUICK`.
        say: is told how far it is, a line at a time.
        workers: processes; 0 for one per core.

    Raises:
        StoreError: the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise StoreError(f"{out}: cannot write pages there ({cause.strerror}); choose another --out") from cause
    tools = find_instruments()
    for line in tools.absent():
        say(line)
    with Cores(workers or os.cpu_count() or 1) as cores:
        validation = ValidationResults(
            counts,
            tools.absent(),
            measure_flow(tools, counts.flow_clips, counts.floor_clips, cores, say),
            measure_cuts(counts.cut_videos, counts.pan_videos, cores, say),
            dose_table(tools, counts.scenes, counts.network_scenes, cores, say),
            measure_invariances(tools, counts.invariance_videos, cores, say),
            {name: installed(name) or "missing" for name in MEASURED_WITH},
        )
    write_pages(validation, out)
    return validation


__all__ = ["FULL", "QUICK", "Counts", "ValidationResults", "run_validation", "summary"]
