"""Scores segment by segment: how every metric stands while each text of a changing prompt is shown.

A prompt with one text is cut into segments of ten seconds, as papers with changing prompts cut theirs. Nothing is
scored again: a metric's `window` reads the series in the store.

Example:
    >>> segment_starts_of(record)   # doctest: +SKIP
    [0, 80, 160]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import PluginError, foreign
from bench.given_file import stated_rate
from bench.records import Record
from bench.report.csv_text import write_csv
from bench.report.curves import scored_videos
from bench.report.drift import HOW_TO_READ, shown_mean
from bench.report.findings import ReportData, TableRow
from bench.report.tables import markdown_rows, markdown_text
from bench.stats import summarise
from metrics.api import MetricInfo
from metrics.drift import SEGMENT_SECONDS, segment_starts, segment_values, window_of


@dataclass(frozen=True)
class Segment:
    """One metric on one segment of one video.

    Attributes:
        metric: the metric.
        record: the video.
        number: of the segment, from 1.
        start: its first frame.
        stop: the frame behind its last one.
        text: what it shows.
        value: None where it is undefined.
    """

    metric: MetricInfo
    record: Record
    number: int
    start: int
    stop: int
    text: str
    value: float | None


def segments(findings: ReportData, classes: Mapping[str, type[Any]]) -> tuple[Segment, ...]:
    """Returns every ranking metric of a run on every segment; a metric that cannot read its series has none.

    Args:
        findings: rows, columns and records.
        classes: metric classes by name; the metrics that are not in it have no segments.
    """
    found: list[Segment] = []
    for column in findings.columns:
        if column.better == "neither" or column.name not in classes:
            continue
        try:
            with foreign(PluginError, f"metric {column.name} on its own series"):
                found += _of_metric(findings, column, classes[column.name])
        except PluginError:  # the drift table has a note about it
            continue
    return tuple(found)


def segment_starts_of(record: Record) -> list[int]:
    """Returns the first frames of the segments of a video: where its text changes, else every ten seconds."""
    if record.prompt.changes:
        return [0, *(change.at for change in record.prompt.changes if change.at < record.num_frames)]
    return segment_starts(record.num_frames, stated_rate(record))


def segments_csv(found: tuple[Segment, ...]) -> str:
    """Returns all segments as CSV, one row per metric, video and segment."""
    heads = ["metric", "method", "prompt", "seed", "segment", "start", "stop", "text", "value"]
    return write_csv(
        heads,
        ([s.metric.name, *_video(s.record), s.number, s.start, s.stop, s.text, s.value] for s in found),
    )


def segments_markdown(findings: ReportData, found: tuple[Segment, ...]) -> str:
    """Returns one table a metric, methods by segments: mean over videos with its interval."""
    if not found:
        return ""
    changing = any(record.prompt.changes for record in findings.records)
    what = (
        "while each text of the changing prompts is shown"
        if changing
        else f"on segments of {SEGMENT_SECONDS:g} s, the last of which may be shorter"
    )
    lines = ["## Segments", "", f"The same scores {what}. {HOW_TO_READ}.", ""]
    numbers = range(1, 1 + max(segment.number for segment in found))
    for metric in dict.fromkeys(segment.metric for segment in found):
        by: dict[tuple[str, int], dict[tuple[str, int], float | None]] = {}
        for s in found:
            if s.metric == metric:
                by.setdefault((s.record.method, s.number), {})[s.record.prompt_key, s.record.seed] = s.value
        rows = [
            [
                markdown_text(row.title),
                *(_shown(by.get((row.method, number), {}), row, metric.unit) for number in numbers),
            ]
            for row in findings.rows
        ]
        heads = ["Method", *(f"segment {number}" for number in numbers)]
        lines += [f"### {markdown_text(metric.title)}", "", *markdown_rows(heads, rows), ""]
    return "\n".join(lines)


def _of_metric(findings: ReportData, column: MetricInfo, cls: type[Any]) -> list[Segment]:
    found = []
    for row in findings.rows:
        for video in scored_videos(findings.records, row.method, column.name, cls):
            record = video.record
            starts = segment_starts_of(record)
            texts = [record.prompt.text, *(change.text for change in record.prompt.changes)]
            values = segment_values(window_of(video.metric, video.series), record.num_frames, starts)
            stops = [*starts[1:], record.num_frames]
            for i, (start, stop, value) in enumerate(zip(starts, stops, values, strict=True)):
                text = texts[min(i, len(texts) - 1)]
                found.append(Segment(column, record, i + 1, start, stop, text, value))
    return found


def _video(record: Record) -> tuple[str, str, int]:
    return record.method, record.prompt.id, record.seed


def _shown(values: Mapping[tuple[str, int], float | None], row: TableRow, unit: str) -> str:
    return shown_mean(summarise(list(values.values()), [prompt for prompt, _ in values]), row, unit)
