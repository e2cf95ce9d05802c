"""How scores move over time: growing prefixes, sliding windows, slopes, first against last seconds, worst moments.

Nothing is scored again: a metric's `window` reads any stretch of a video out of the series kept in the store.

Example:
    >>> windows_for(240)
    (120, 140, 160, 180, 200, 220, 240)
    >>> windows_for(48)
    (24, 28, 32, 36, 40, 44, 48)
    >>> windows_for(1440)[6:]
    (240, 440, 640, 840, 1040, 1240, 1440)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import PluginError, foreign
from bench.given_file import stated_rate
from bench.records import Record, StoredScore
from bench.report.answer import in_words
from bench.report.coded import in_sentence
from bench.report.csv_text import write_csv
from bench.report.findings import ReportData
from bench.stats import Summary, is_defined, mean_defined, summarise, summarise_curves
from metrics.api import Metric, MetricInfo, Series
from metrics.curves import PREFIXES, Point, first_against_last, sliding, trend, window_value

LOCAL_FRAMES = 16
"""Length of the sliding window in frames: one chunk of most methods."""

LOCAL_STEP = 4
"""Step of the sliding window in frames."""


@dataclass(frozen=True)
class Scored:
    """One video as one metric sees it: `metric.window` reads any stretch of `series`."""

    record: Record
    metric: Metric
    series: Series


@dataclass(frozen=True)
class Curve:
    """One metric of one method on growing prefixes.

    Attributes:
        metric: name of the metric.
        method: name of the method.
        frames: prefix lengths.
        points: summary over videos at each; `undefined` also counts videos shorter than the prefix.
    """

    metric: str
    method: str
    frames: tuple[int, ...]
    points: tuple[Summary, ...]


@dataclass(frozen=True)
class Drift:
    """How one metric of one method changes from the beginning to the end of its videos.

    Attributes:
        metric: name of the metric.
        method: name of the method.
        slope: Theil-Sen slope per 100 frames through the sliding windows of each video.
        first: value on the first seconds of each video, see `metrics.curves.LONGEST_END`; like `last`, over the videos
            with a value at both ends, so that the difference of their means is the mean change.
        last: value on the last seconds; both undefined where the two would overlap.
        change: last minus first of each video.
    """

    metric: str
    method: str
    slope: Summary
    first: Summary
    last: Summary
    change: Summary


@dataclass(frozen=True)
class Timeline:
    """One metric of one method in sliding windows, averaged over videos.

    Attributes:
        metric: name of the metric.
        method: name of the method.
        starts: first frame of each window of `LOCAL_FRAMES` frames.
        values: mean over videos, None where no video has a value.
        counts: videos with a value in each window.
        videos: videos scored; those that end before a window, too.
    """

    metric: str
    method: str
    starts: tuple[int, ...]
    values: tuple[float | None, ...]
    counts: tuple[int, ...]
    videos: int


@dataclass(frozen=True)
class Line:
    """One metric of one video in sliding windows.

    Attributes:
        metric: name of the metric.
        record: the video.
        points: windows of `LOCAL_FRAMES` frames, every `LOCAL_STEP` frames.
    """

    metric: str
    record: Record
    points: tuple[Point, ...]


@dataclass(frozen=True)
class OwnFrames:
    """One metric of one method without the shared first chunk: what the method itself has made.

    Attributes:
        metric: name of the metric.
        method: name of the method.
        score: summary over videos; that of the whole videos where nothing is shared.
    """

    metric: str
    method: str
    score: Summary


@dataclass(frozen=True)
class WorstMoment:
    """The sliding window in which one video of a method scores worst of all its videos, the shared frames left out.

    Attributes:
        metric: name of the metric.
        record: the video.
        start: first frame of the window of `LOCAL_FRAMES` frames.
        value: what it scores there.
    """

    metric: str
    record: Record
    start: int
    value: float


@dataclass(frozen=True)
class Curves:
    """Everything over time, by metric and method in table order, with notes on metrics that could not be read."""

    prefixes: tuple[Curve, ...] = ()
    drifts: tuple[Drift, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    worst: tuple[WorstMoment, ...] = ()
    lines: tuple[Line, ...] = ()
    own_frames: tuple[OwnFrames, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Curves) -> Curves:
        """Returns both, this one's first."""
        return Curves(
            self.prefixes + other.prefixes,
            self.drifts + other.drifts,
            self.timelines + other.timelines,
            self.worst + other.worst,
            self.lines + other.lines,
            self.own_frames + other.own_frames,
            self.notes + other.notes,
        )


def trace(findings: ReportData, classes: Mapping[str, type[Any]]) -> Curves:
    """Returns the curves of every ranking metric whose class is known.

    Args:
        findings: rows, columns and records.
        classes: metric classes by name; the metrics that are not in it get no curves.
    """
    curves = Curves()
    for column in findings.columns:
        if column.better == "neither" or column.name not in classes:
            continue
        try:
            with foreign(PluginError, f"metric {column.name} on its own series"):
                curves += _trace_metric(findings, column, classes[column.name])
        except PluginError as error:
            curves += Curves(notes=(f"No curves for {in_sentence(column.title)}: {error}.",))
    return curves + Curves(notes=_short_notes(findings, curves))


def _short_notes(findings: ReportData, curves: Curves) -> tuple[str, ...]:
    """Returns a note on the rows that the figures over time list without a line, if there are some."""
    shortest = windows_for(_longest(findings))[0]
    traced = {curve.method for curve in curves.prefixes}
    lengths = {
        row.method: max(r.num_frames for r in findings.records if r.method == row.method and r.status == "ok")
        for row in findings.rows
        if row.method in traced
    }
    short = [in_sentence(row.title) for row in findings.rows if lengths.get(row.method, shortest) < shortest]
    if not short:
        return ()
    lack = "has no line: its" if len(short) == 1 else "have no line: their"
    return (f"Over time, {in_words(short)} {lack} videos end before the first point of the curves, {shortest} frames.",)


def _longest(findings: ReportData) -> int:
    return max((record.num_frames for record in findings.records if record.status == "ok"), default=0)


def _trace_metric(findings: ReportData, column: MetricInfo, cls: type[Any]) -> Curves:
    """Returns the curves of one metric for every method with a video."""
    curves = Curves()
    longest = _longest(findings)
    for row in findings.rows:
        videos = scored_videos(findings.records, row.method, column.name, cls)
        if not videos:
            continue
        local = [sliding(v.metric, v.series, v.record.num_frames, LOCAL_FRAMES, LOCAL_STEP) for v in videos]
        shared = [findings.shared_frames(v.record) for v in videos]
        curves += Curves(
            (_prefixes(column.name, row.method, videos, windows_for(longest)),),
            (_drift(column.name, row.method, videos, local),),
            (_timeline(column.name, row.method, local),),
            tuple(_worst(column, videos, local, shared)),
            tuple(Line(column.name, v.record, tuple(points)) for v, points in zip(videos, local, strict=True)),
            (_own_frames(column.name, row.method, videos, shared),),
        )
    return curves


def windows_for(num_frames: int) -> tuple[int, ...]:
    """Returns the paper's prefix lengths that fit into a video, in proportion if it is short, and beyond if it is long.

    Fewer than two of the paper's windows make no curve; the same fractions of the video's length (1/2 to 1) then do.
    Behind the paper's longest window as many even steps as the paper's lead to the end of the video.
    """
    longest, steps = PREFIXES[-1], len(PREFIXES) - 1
    if num_frames > longest:
        beyond = {round(longest + (num_frames - longest) * step / steps) for step in range(1, steps + 1)}
        return (*PREFIXES, *sorted(beyond - {longest}))
    fitting = tuple(n for n in PREFIXES if n <= num_frames)
    if len(fitting) >= 2:
        return fitting
    return tuple(sorted({max(2, round(n * num_frames / longest)) for n in PREFIXES}))


def curves_csv(curves: Curves) -> str:
    """Returns the prefix curves as CSV, one row per metric, method and prefix length."""
    heads = ["metric", "method", "frames", "mean", "median", "std", "low", "high", "n", "undefined"]
    return write_csv(
        heads,
        (
            [curve.metric, curve.method, frames, *dataclasses.astuple(point)]
            for curve in curves.prefixes
            for frames, point in zip(curve.frames, curve.points, strict=True)
        ),
    )


def timelines_csv(curves: Curves) -> str:
    """Returns the sliding windows as CSV, one row per metric, method and window.

    `undefined` also counts videos that end before the window does.
    """
    return write_csv(
        ["metric", "method", "start", "stop", "mean", "n", "undefined"],
        (
            [line.metric, line.method, start, start + LOCAL_FRAMES, value, n, line.videos - n]
            for line in curves.timelines
            for start, value, n in zip(line.starts, line.values, line.counts, strict=True)
        ),
    )


def scored_videos(records: Sequence[Record], method: str, metric: str, cls: type[Any]) -> list[Scored]:
    """Returns the finished videos of a method that this version of the metric has a series of.

    An earlier version may have meant something else by the same series; what a drop-in file's hash adds does not count.
    """
    return [
        Scored(record, _reader(cls, score), score.series)
        for record in records
        if record.method == method and record.status == "ok"
        for score in [record.scores.get(metric)]
        if score is not None and score.series and score.version.split("+")[0] == cls.info.version
    ]


def _reader(cls: type[Any], score: StoredScore) -> Metric:
    """Returns the metric with the settings a score was computed with; nothing is loaded.

    Stored settings may say more than the class has fields for (fingerprints); the rest keeps its default.
    """
    names = {field.name for field in dataclasses.fields(cls) if field.init}
    reader: Metric = cls(**{name: value for name, value in score.settings.items() if name in names})
    return reader


def _prefixes(metric: str, method: str, videos: Sequence[Scored], frames: tuple[int, ...]) -> Curve:
    lines = [
        [window_value(v.metric, v.series, 0, n) if n <= v.record.num_frames else None for n in frames] for v in videos
    ]
    return Curve(metric, method, frames, tuple(summarise_curves(lines, [v.record.prompt_key for v in videos])))


def _drift(metric: str, method: str, videos: Sequence[Scored], local: Sequence[Sequence[Point]]) -> Drift:
    prompts = [v.record.prompt_key for v in videos]
    ends = [first_against_last(v.metric, v.series, v.record.num_frames, stated_rate(v.record)) for v in videos]
    # A video with a value at one end only would move one mean and not the other, and look like a change.
    ends = [end if end is not None and end.change is not None else None for end in ends]
    slopes = [trend(points) for points in local]
    return Drift(
        metric,
        method,
        slope=summarise([None if slope is None else 100.0 * slope for slope in slopes], prompts),
        first=summarise([None if end is None else end.first.value for end in ends], prompts),
        last=summarise([None if end is None else end.last.value for end in ends], prompts),
        change=summarise([None if end is None else end.change for end in ends], prompts),
    )


def _timeline(metric: str, method: str, local: Sequence[Sequence[Point]]) -> Timeline:
    at: dict[int, list[float | None]] = {}
    for point in (point for points in local for point in points):
        at.setdefault(point.start, []).append(point.value)
    starts = tuple(sorted(at))
    return Timeline(
        metric,
        method,
        starts,
        values=tuple(mean_defined(at[start]) for start in starts),
        counts=tuple(sum(map(is_defined, at[start])) for start in starts),
        videos=len(local),
    )


def _own_frames(metric: str, method: str, videos: Sequence[Scored], shared: Sequence[int]) -> OwnFrames:
    values = [window_value(v.metric, v.series, s, v.record.num_frames) for v, s in zip(videos, shared, strict=True)]
    return OwnFrames(metric, method, summarise(values, [v.record.prompt_key for v in videos]))


def _worst(
    column: MetricInfo, videos: Sequence[Scored], local: Sequence[Sequence[Point]], shared: Sequence[int]
) -> list[WorstMoment]:
    """Returns the worst window over all videos of a method: at most one.

    The shared frames are nobody's fault. A window may reach one step back into them, to see the first seam.
    """
    moments = [
        WorstMoment(column.name, video.record, point.start, point.value)
        for video, points, given in zip(videos, local, shared, strict=True)
        for point in points
        if is_defined(point.value) and point.start >= given - LOCAL_STEP
    ]
    sign = 1.0 if column.better == "lower" else -1.0
    return [max(moments, key=lambda moment: sign * moment.value)] if moments else []
