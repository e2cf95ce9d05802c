"""Lays out for the terminal what scoring given videos found: every video, then every row, and all of it as one JSON.

Example:
    >>> print(results_table(records, ["mawe"]))   # doctest: +SKIP
    video       prompt      row    frames  mawe  state
    clips/a.mp4 a red ball  clips  240     45.2  ok
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from bench.files import write_json
from bench.listing import text_table
from bench.records import Record
from bench.stats import mean_defined

PROMPT_WIDTH = 40
"""Characters of a prompt in a table: enough to see that it belongs to the video."""


def results_table(records: Sequence[Record], metrics: Sequence[str]) -> str:
    """Returns both tables as text."""
    head = ("video", "prompt", "row", "frames", *metrics, "state")
    videos = [
        (
            _near(record.source),
            shorten(record.prompt.text, PROMPT_WIDTH, placeholder="…") or "-",
            record.title,
            str(record.num_frames or "-"),
            *(_shown(_value(record, name)) for name in metrics),
            "; ".join((record.status, *record.flags)),
        )
        for record in records
    ]
    row_head = ("row", "videos", "scored", "excluded", *metrics)
    rows = [
        (
            row["title"],
            *(str(row[name]) for name in ("videos", "scored", "excluded")),
            *(_shown(row["mean"][name]) for name in metrics),
        )
        for row in row_means(records, metrics)
    ]
    return text_table([head, *videos]) + "\n\n" + text_table([row_head, *rows])


def row_means(records: Sequence[Record], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Returns one entry per row: how many videos, scored and excluded, and the mean and gaps of every metric."""
    entries = []
    for method in dict.fromkeys(record.method for record in records):
        own = [record for record in records if record.method == method]
        ok = [record for record in own if record.status == "ok"]
        means = {name: mean_defined([_value(record, name) for record in ok]) for name in metrics}
        undefined = {name: sum(_value(record, name) is None for record in ok) for name in metrics}
        counts = {"videos": len(own), "scored": len(ok), "excluded": len(own) - len(ok)}
        entries.append({"method": method, "title": own[0].title, **counts, "mean": means, "undefined": undefined})
    return entries


def write_results(path: Path, records: Sequence[Record], metrics: Sequence[str]) -> None:
    """Writes everything as one JSON file: `rows`, as `row_means` gives them, and `videos`, the records."""
    videos = [dataclasses.asdict(record) for record in records]
    write_json(path, {"rows": row_means(records, metrics), "videos": videos})


def without_weights(records: Sequence[Record]) -> list[str]:
    """Returns a hint for each metric that was skipped and has a setting that spares it the missing weights."""
    skipped = {
        name
        for record in records
        for name, score in record.scores.items()
        if score.status == "skipped" and score.settings.get("clip_model") and name != "clip"
    }
    return [f"To score {name} without the CLIP signal: --set metrics.{name}.clip_model=''" for name in sorted(skipped)]


def damage(records: Sequence[Record]) -> list[str]:
    """Returns a sentence per video with damaged frames that was scored all the same."""
    damaged = [record for record in records if record.damaged and record.status == "ok"]
    return [f"{_near(r.source)} is scored with {r.damaged} damaged frames; --max-damaged 0 refuses it" for r in damaged]


def any_score(records: Sequence[Record]) -> bool:
    """Returns whether any metric could look at any of the videos."""
    return any(score.status == "ok" for record in records for score in record.scores.values())


def _value(record: Record, metric: str) -> float | None:
    score = record.scores.get(metric)
    return score.value if score is not None else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _near(path: str) -> str:
    """Returns a path as it is shortest to name from here."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near
