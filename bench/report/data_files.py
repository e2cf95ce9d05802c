"""Lays findings out for other programs: CSV wide and tidy, and every number of every video as Parquet.

Example:
    >>> tidy_csv(findings, curves).splitlines()[0]   # doctest: +SKIP
    'run,profile,prompt_set,method,title,block,group,metric,unit,better,compared,settings,frames,mean,median,std,low,high,n,undefined'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records import Record
from bench.report.csv_text import one_ending, write_csv
from bench.report.curves import Curves
from bench.report.findings import COSTS, ReportData
from bench.report.notes import ways_of
from bench.spec import content_key
from bench.stats import Summary
from metrics.api import MetricInfo

if TYPE_CHECKING:
    from bench.tidy import Scores

SUMMARY_PARTS = ("mean", "median", "std", "low", "high", "n", "undefined")
"""What is kept of a summary, in the order of the columns."""

NO_SUMMARY = Summary(None, None, None, None, None, 0, 0)
"""Stands for a metric whose series cannot be read."""


def table_csv(findings: ReportData, over_time: Curves) -> str:
    """Returns Table 1 as CSV at full precision, one row per method.

    `METRIC_compared` is false where the score may not stand beside those of the other rows; `METRIC_own_mean` are the
    means without the shared first chunk, `METRIC_own_n` the videos behind them.
    """
    own = _own_frames(over_time)
    heads = ["method", "title", "block", "group", "own_start", "planned", "ok", "failed", "skipped", "pending"]
    heads += ["ranked", "flags"]
    for column in findings.columns:
        heads += [f"{column.name}_{part}" for part in SUMMARY_PARTS]
        heads += [f"{column.name}_{part}" for part in ("own_mean", "own_n", "mark", "tied", "compared", "published")]
    rows = []
    for row in findings.rows:
        cells: list[object] = [row.method, row.title, row.block, row.group, row.own_start, row.planned, row.ok]
        cells += [row.failed, row.skipped, row.pending, row.ranked, "; ".join(flag.word for flag in row.flags)]
        for column in findings.columns:
            summary = row.scores[column.name]
            cells += [getattr(summary, part) for part in SUMMARY_PARTS]
            without = own.get((column.name, row.method), NO_SUMMARY)
            cells += [without.mean, without.n, row.marks.get(column.name, "")]
            cells += [column.name in row.tied, row.stands_beside(column.name), row.published.get(column.name)]
        rows.append([*cells, *(row.cost[key] for key in COSTS)])
    return write_csv([*heads, *COSTS], rows)


def tidy_csv(findings: ReportData, over_time: Curves) -> str:
    """Returns every summary as CSV in tidy form: one row per method, metric and stretch of frames.

    `frames` is "all", or "own" for the video without the shared first chunk; `compared` is false where the score may
    not stand beside those of the other rows; `settings` are those the row's scores were computed with.
    """
    info, own = findings.info, _own_frames(over_time)
    heads = [
        "run",
        "profile",
        "prompt_set",
        "method",
        "title",
        "block",
        "group",
        "metric",
        "unit",
        "better",
        "compared",
    ]
    heads += ["settings", "frames"]
    rows: list[list[object]] = []
    for row in findings.rows:
        made = [record for record in findings.records if record.method == row.method]
        for column in findings.columns:
            ways = " | ".join(sorted(ways_of(made, column.name)))
            stretches = {"all": row.scores[column.name]}
            if (column.name, row.method) in own:
                stretches["own"] = own[column.name, row.method]
            for frames, summary in stretches.items():
                of = [info.name, info.profile, info.prompt_set, row.method, row.title, row.block, row.group]
                what = [column.name, column.unit, column.better, row.stands_beside(column.name), ways, frames]
                rows.append([*of, *what, *(getattr(summary, part) for part in SUMMARY_PARTS)])
    return write_csv([*heads, *SUMMARY_PARTS], rows)


def drift_ends_csv(over_time: Curves) -> str:
    """Returns first and last seconds, change and slope as CSV, one row per metric, method and quantity."""
    rows: list[list[object]] = []
    for drift in over_time.drifts:
        quantities = {"first": drift.first, "last": drift.last, "change": drift.change, "slope": drift.slope}
        for quantity, summary in quantities.items():
            parts = [getattr(summary, part) for part in SUMMARY_PARTS]
            rows.append([drift.metric, drift.method, quantity, *parts])
    return write_csv(["metric", "method", "quantity", *SUMMARY_PARTS], rows)


def comparisons_csv(findings: ReportData) -> str:
    """Returns the paired tests as CSV, one row per metric and pair of methods."""
    heads = ["metric", "first", "second", "prompts", "difference", "low", "high", "std", "p", "p_holm", "exact"]
    rows = []
    for comparison in findings.comparisons:
        test = comparison.test
        found = [test.n, test.difference, test.low, test.high, test.std, test.p, comparison.p_holm, test.exact]
        rows.append([comparison.metric, comparison.first, comparison.second, *found])
    return write_csv(heads, rows)


def videos_csv(scores: Scores) -> str:
    """Returns one row per video and metric as CSV, with its costs and the further columns of a manifest.

    `key` names the record of a video (`cells/METHOD/KEY.json`), whatever its prompt and seed are called.
    """
    told = scores.assign(record=[Path(path).stem for path in scores["record"]]).rename(columns={"record": "key"})
    told = told.drop(columns="video").map(one_ending)
    text: str = told.to_csv(index=False, lineterminator="\n")
    return text


def write_parquet(findings: ReportData, videos: Mapping[str, str], path: Path) -> None:
    """Writes every number of every video in long form: one row per video, metric and named value.

    The score itself has the name "value"; numeric parts have their own names; costs have the metric "cost".
    `settings_hash` is equal where version and settings are, so that scores may be joined.

    Args:
        findings: records and columns.
        videos: where each video is, by key of its record.
        path: the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = findings.by_name
    rows = [row for record in findings.records for row in _long_rows(record, columns, videos.get(record.key, ""))]
    schema = pa.schema(
        [(name, pa.string()) for name in ("method", "title", "prompt_id", "prompt")]
        + [("tags", pa.list_(pa.string())), ("seed", pa.int64()), ("status", pa.string())]
        + [("num_frames", pa.int64()), ("fps", pa.float64())]
        + [(name, pa.string()) for name in ("start", "video", "video_sha256", "metric", "unit", "better", "name")]
        + [("value", pa.float64())]
        + [(name, pa.string()) for name in ("version", "settings", "settings_hash", "reason")]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _own_frames(over_time: Curves) -> dict[tuple[str, str], Summary]:
    return {(own.metric, own.method): own.score for own in over_time.own_frames}


def _long_rows(record: Record, columns: Mapping[str, MetricInfo], where: str) -> list[dict[str, object]]:
    video: dict[str, object] = {
        "method": record.method,
        "title": record.title,
        "prompt_id": record.prompt.id,
        "prompt": record.prompt.text,
        "tags": list(record.prompt.tags),
        "seed": record.seed,
        "status": record.status,
        "num_frames": record.num_frames or None,
        "fps": record.fps or None,
        "start": record.start,
        "video": where,
        "video_sha256": record.video_sha256,
    }
    if record.status != "ok":
        return [{**video, "reason": record.reason}]
    rows: list[dict[str, object]] = []
    for metric, score in record.scores.items():
        column = columns.get(metric)
        made = {
            **video,
            "metric": metric,
            "unit": column.unit if column else None,
            "better": column.better if column else None,
            "version": score.version,
            "settings": json.dumps(score.settings, sort_keys=True, ensure_ascii=False),
            "settings_hash": content_key({"version": score.version, "settings": score.settings}),
            "reason": score.reason,
        }
        rows.append({**made, "name": "value", "value": score.value})
        rows += [{**made, "name": name, "value": part} for name, part in _numbers(score.parts)]
    rows += [{**video, "metric": "cost", "name": name, "value": value} for name, value in record.cost.items()]
    return rows


def _numbers(parts: Mapping[str, object]) -> list[tuple[str, float]]:
    return [(name, float(part)) for name, part in parts.items() if isinstance(part, int | float)]
