"""The harness: plans, runs, stores and reports the long text-to-video benchmark.

Example:
    >>> from bench import load
    >>> load("results/table1").groupby(["metric", "title"]).value.mean()   # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.tidy import Scores


def load(*folders: str | Path, methods: str = "") -> Scores:
    """Returns the scores of run folders as a tidy pandas table; see `bench.tidy.Scores`.

    Args:
        folders: of runs, or addresses such as s3://bucket/run; rows of several stand in one table as in a report.
        methods: names of the rows to take, separated by commas; empty for all.

    Raises:
        ConfigError: no folder is named, or none has a row of that name.
        StoreError: a folder holds no run.
    """
    from bench.errors import ConfigError
    from bench.tidy import load_scores

    if not folders:
        raise ConfigError('name the folder of a run, such as load("results/table1")')
    return load_scores(folders, methods)


__all__ = ["load"]
