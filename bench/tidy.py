"""The scores of run folders as one tidy pandas table: one row per video and metric.

Example:
    >>> from bench import load
    >>> scores = load("results/table1")                                          # doctest: +SKIP
    >>> scores.groupby(["metric", "title"]).value.mean()                         # doctest: +SKIP
    >>> scores[scores.method == "streaming_t2v"].series("mawe")                  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from bench.locations import open_store
from bench.records import Record, read_record
from bench.report.findings import COSTS
from bench.report.sources import Sources, gather
from bench.spec import content_key
from bench.store import Store
from bench.terminal import printable

NOT_SCORED = "not scored yet"
"""Reason where a metric of the table has no score of a finished video."""

EXTRA = "extra."
"""Before the name of a column that a manifest carried along."""

TYPES = {
    **dict.fromkeys(("method", "title", "prompt_id", "prompt"), "str"),
    "seed": "int64",
    **dict.fromkeys(("metric",), "str"),
    "value": "float64",
    **dict.fromkeys(("status", "reason"), "str"),
    "frames": "Int64",
    "fps": "float64",
    **dict.fromkeys(COSTS, "float64"),
    **dict.fromkeys(("settings_hash", "video", "record"), "str"),
}
"""Type of every column, in order; numbers that are undefined are NaN, unknown frames <NA>."""


class Scores(pd.DataFrame):  # type: ignore[misc]
    """One row per video and metric: who made it, of which prompt and seed, and the score.

    Columns: method, title, prompt_id, prompt, seed, metric, value (NaN where undefined), status and reason (why there
    is no value), frames and fps (none of a video that failed), the cost columns (`bench.report.findings.COSTS`),
    settings_hash (equal where a metric's version and settings are), video (path) and record (path of its JSON), and
    `extra.NAME` for further columns of a manifest.
    """

    _metadata: ClassVar[list[str]] = ["_stores"]
    """Names what goes from a table to a selection of its rows: the stores, whose local copies end with them."""

    @property
    def _constructor(self) -> type[Scores]:
        """Keeps selections of rows of this class."""
        return Scores

    def series(self, metric: str) -> pd.DataFrame:
        """Returns the per-frame values of a metric for the videos in this table, in long form.

        Columns: method, title, prompt_id, seed, series (its name), index (frame, pair or event, as the metric's
        docstring says), value (NaN where undefined).

        Args:
            metric: name of the metric.

        Raises:
            KeyError: the table has no rows of that metric.
            StoreError: a record has been damaged since.
        """
        own = self[self["metric"] == metric]
        if own.empty:
            raise KeyError(f"no rows of metric {metric!r}: there are {', '.join(sorted(set(self['metric'])))}")
        rows = [
            (*names, series, index, value)
            for path, *names in own[["record", "method", "title", "prompt_id", "seed"]].itertuples(index=False)
            for series, values in _series_of(Path(path), metric)
            for index, value in enumerate(values)
        ]
        columns = ["method", "title", "prompt_id", "seed", "series", "index", "value"]
        return pd.DataFrame(rows, columns=columns).astype({"value": "float64", "seed": "int64", "index": "int64"})


def load_scores(folders: Sequence[str | Path], methods: str = "") -> Scores:
    """Returns the scores of one run folder or several, of the same videos that their report shows.

    Args:
        folders: of runs, with a run.json each; or addresses in object storage.
        methods: names of the rows to take, separated by commas; empty for all.

    Raises:
        ConfigError: no folder has a row of that name.
        StoreError: a folder holds no run.
    """
    return tidy(gather([open_store(str(folder)) for folder in folders], methods))


def tidy(sources: Sources) -> Scores:
    """Returns the tidy table of what a report shows."""
    metrics = [metric.name for metric in sources.info.metrics]
    rows = [row for record in sources.records for row in _rows(sources, record, metrics)]
    extra = dict.fromkeys(EXTRA + name for record in sources.records for name in record.extra)
    table = Scores(rows, columns=[*TYPES, *extra])
    typed = Scores(table.astype({**TYPES, **dict.fromkeys(extra, "str")}))
    typed._stores = tuple({store.location: store for store, _ in sources.places.values()}.values())
    return typed


def _rows(sources: Sources, record: Record, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    store, there = sources.places[record.key]
    about = {
        "method": record.method,
        "title": record.title,
        "prompt_id": record.prompt.id,
        "prompt": record.prompt.text,
        "seed": record.seed,
        "frames": record.num_frames or None,
        "fps": record.fps or None,
        **{name: record.cost.get(name) for name in COSTS},
        "video": _where(store, there) if record.status == "ok" else "",
        "record": str(store.record_path(there).absolute()),
        **{EXTRA + name: text for name, text in record.extra.items()},
    }
    for metric in dict.fromkeys((*metrics, *record.scores)):
        score = record.scores.get(metric)
        if score is None:
            reason = record.reason or NOT_SCORED
            status = record.status if record.status != "ok" else "skipped"
            yield {**about, "metric": metric, "value": None, "status": status, "reason": reason, "settings_hash": ""}
        else:
            settings = content_key({"version": score.version, "settings": score.settings})
            found = {"value": score.value, "status": score.status, "reason": score.reason, "settings_hash": settings}
            yield {**about, "metric": metric, **found}


def _where(store: Store, record: Record) -> str:
    """Returns the path or address of a video."""
    path = store.video_path(record)
    if record.source or "://" not in store.location:
        return printable(str(path))
    return f"{store.location.rstrip('/')}/{path.relative_to(store.path).as_posix()}"


def _series_of(path: Path, metric: str) -> list[tuple[str, Sequence[float | None]]]:
    record, _ = read_record(path)
    return list(record.scores[metric].series.items()) if metric in record.scores else []
