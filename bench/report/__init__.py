"""Writes a run's report: tables, curves, contact sheets and one page that shows them all.

Everything is derived from the store, nothing is run, and the folder may be deleted at any time: the same store gives
the same files.

Example:
    >>> write_report(Store("results/mini-1a2b3c"))   # doctest: +SKIP
    PosixPath('results/mini-1a2b3c/report/index.html')
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import ConfigError, StoreError
from bench.store import Store


def write_report(
    *stores: Store,
    folder: Path | None = None,
    methods: str = "",
    drift: str = "",
    scale: str = "",
    sort: str = "",
    bundle: Path | None = None,
) -> Path:
    """Returns the path of the page it wrote, `index.html` in a folder.

    Args:
        stores: one run folder or several, with at least their run.json, shown in one table; unfinished runs are
            reported as far as they are.
        folder: where everything is written; None for `report` in the first run folder.
        methods: names of the rows to show, separated by commas; empty for all that the folders hold.
        drift: a name of `metrics.drift.DRIFTS` whose drifts take the place of the scores in Table 1; empty for scores.
        scale: "vbench" for Table 1 on VBench's final scale; empty for the metrics' own.
        bundle: a ZIP file that takes page, pictures, previews, tables and records; None for none.
        sort: metric by whose mean the rows of each block stand; empty for the order of the published table.

    Raises:
        ConfigError: there is no such row or drift, the run has no metric of the name `sort` or none of the scale,
            both drift and scale are asked for, or the bundle cannot be written there.
        StoreError: the store cannot be read, or the report cannot be written.
    """
    from bench.files import check_output
    from bench.report.sources import gather
    from bench.report.write import TableChoice, write

    if drift and scale:
        raise ConfigError("--drift and --scale both choose the columns of Table 1: give one of them")
    folder = folder or stores[0].path / "report"
    if bundle is not None:
        check_output(bundle, "--bundle", ".zip", made=folder)
    try:
        return write(gather(stores, methods), folder, TableChoice(drift, scale, sort), bundle)
    except OSError as cause:
        raise StoreError(
            f"{folder}: the report cannot be written ({cause.strerror or cause}); make room, or choose another --out"
        ) from cause
