"""Writes a run's report: tables, curves, contact sheets and one page that shows them all.

Everything is derived from the store, nothing is run, and the folder may be deleted at any time: the same store gives
the same files.

Example:
    >>> write_report(Store("results/mini-1a2b3c"))   # doctest: +SKIP
    PosixPath('results/mini-1a2b3c/report/index.html')
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import StoreError
from bench.store import Store


def write_report(
    *stores: Store,
    folder: Path | None = None,
    methods: str = "",
    drift: str = "",
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
        bundle: a ZIP file that takes page, pictures, previews, tables and records; None for none.
        sort: metric by whose mean the rows of each block stand; empty for the order of the published table.

    Raises:
        ConfigError: there is no such row or drift, or the run has no metric of the name `sort`.
        StoreError: the store cannot be read, or the report cannot be written.
    """
    from bench.report.sources import gather
    from bench.report.write import write

    folder = folder or stores[0].path / "report"
    try:
        return write(gather(stores, methods), folder, drift, sort, bundle)
    except OSError as cause:
        raise StoreError(
            f"{folder}: the report cannot be written ({cause.strerror or cause}); make room, or choose another --out"
        ) from cause
