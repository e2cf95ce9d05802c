"""Draws curves over time, where every system breaks, and the contrast at seams.

matplotlib's object interface only: no pyplot, no state left behind. The same data gives the same bytes (no dates, a
fixed salt for the ids in SVG).

Example:
    >>> draw_figures(findings, curves, profiles, Path("report"))   # doctest: +SKIP
    Figures(curves={'mawe': Drawn(file='curve-mawe.svg', …)}, …)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.curves import LOCAL_FRAMES, LOCAL_STEP, Curve, Curves, Timeline
from bench.report.findings import TABLE_1, ReportData, TableRow
from bench.report.seams import SeamProfile
from bench.report.tables import head
from bench.stats import Summary
from bench.terminal import one_line
from metrics.api import MetricInfo
from metrics.curves import PREFIXES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    *("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d"),
    *("#475569", "#92400e", "#f472b6", "#000000", "#14b8a6", "#eab308", "#a78bfa", "#7f1d1d"),
)
"""One per method, in row order; the marker differs where a colour comes again."""

MARKERS = "osD^vPX*<>p"

SHORT_TITLE = 22
"""Characters of a title up to which a phone's legend has two columns."""

BANDS = 8
"""Methods up to which intervals are drawn as bands: more of them cover each other, and the lines."""

LOG_FROM = 20.0
"""Ratio of largest to smallest value from which an axis is logarithmic."""

HOLLOW = "hollow: over fewer videos, the fewest in brackets"
"""Says below a figure of lines that not every mean is over all videos of its method."""

STYLE = {
    "svg.hashsalt": "longvideo-bench",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.axisbelow": True,
    "axes.labelcolor": "#334155",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "grid.color": "#e2e8f0",
    "text.color": "#0f172a",
    "xtick.color": "#475569",
    "ytick.color": "#475569",
}


WIDE, NARROW = 11.2, 4.4
"""Widths in inches: of a desk's page, and of a phone's, whose figures have their legend below."""


@dataclass(frozen=True)
class Drawn:
    """One figure, drawn twice: for a desk, with a PNG of the same stem beside it, and for a phone.

    Attributes:
        file: SVG for a desk.
        size: its width and height in pixels.
        narrow: SVG for a phone.
        narrow_size: likewise.
    """

    file: str
    size: tuple[int, int]
    narrow: str
    narrow_size: tuple[int, int]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its pictures."""
        return self.file, str(Path(self.file).with_suffix(".png")), self.narrow


@dataclass(frozen=True)
class Figures:
    """The figures of the page.

    Attributes:
        curves: by metric.
        breaks: where every system breaks; None if there is nothing to draw.
        seams: contrast at seams; likewise.
    """

    curves: Mapping[str, Drawn]
    breaks: Drawn | None
    seams: Drawn | None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all pictures."""
        drawn = (*self.curves.values(), self.breaks, self.seams)
        return tuple(file for figure in drawn if figure is not None for file in figure.files)


def draw_figures(findings: ReportData, curves: Curves, profiles: Sequence[SeamProfile], folder: Path) -> Figures:
    """Returns the names of the figures it wrote into `folder`.

    Args:
        findings: rows and columns.
        curves: scores over time.
        profiles: contrast at seams by method.
        folder: an existing folder.
    """
    import matplotlib as mpl

    columns = findings.by_name
    with mpl.rc_context(STYLE):
        drawn = {}
        for name in dict.fromkeys(curve.metric for curve in curves.prefixes):
            lines = [curve for curve in curves.prefixes if curve.metric == name]
            if all(sum(point.mean is not None for point in line.points) < 2 for line in lines):
                continue  # a metric of whole videos has no course
            drawn[name] = _twice(partial(_curve_figure, findings, columns[name], lines), folder / f"curve-{name}")
        strips = _strips(curves.timelines)
        breaks = _twice(partial(_break_figure, findings, columns, strips), folder / "breaks") if strips else None
        seams = _twice(partial(_seam_figure, findings, profiles), folder / "seams") if profiles else None
    return Figures(drawn, breaks, seams)


def _strips(timelines: Sequence[Timeline]) -> dict[str, list[Timeline]]:
    """Returns the timelines to draw by metric: those of Table 1, or all where the run has none of it.

    Seams have a figure of their own, and a video that stands still is flagged in the table.
    """
    by_metric: dict[str, list[Timeline]] = {}
    for line in timelines:
        if line.starts:
            by_metric.setdefault(line.metric, []).append(line)
    published = {name: lines for name, lines in by_metric.items() if name in TABLE_1}
    return published or by_metric


def _twice(draw: Callable[[float], Figure], stem: Path) -> Drawn:
    """Writes a figure in both widths, each as PNG and SVG."""
    sizes = []
    for width, name in ((WIDE, stem), (NARROW, stem.with_name(f"{stem.name}-narrow"))):
        figure = draw(width)
        if width == WIDE:  # papers and slides take the wide one
            figure.savefig(name.with_suffix(".png"), dpi=160, metadata={"Software": None})
        figure.savefig(name.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
        sizes.append((round(96 * figure.get_figwidth()), round(96 * figure.get_figheight())))
    return Drawn(f"{stem.name}.svg", sizes[0], f"{stem.name}-narrow.svg", sizes[1])


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _curve_figure(findings: ReportData, column: MetricInfo, lines: Sequence[Curve], width: float) -> Figure:
    labels = [_label(findings, line.method, [point.n for point in line.points]) for line in lines]
    figure = _figure(width, _height(4.2, 3.6, labels, width))
    axes = figure.add_subplot()
    axes.grid(visible=True)
    for line in lines:
        colour = _plot_means(axes, findings, line.method, line.frames, line.points, width=1.6)
        if len(lines) <= BANDS:
            low, high = _gaps([point.low for point in line.points]), _gaps([point.high for point in line.points])
            axes.fill_between(line.frames, low, high, color=colour, alpha=0.08, linewidth=0)
    if findings.comparable:
        for method, windows in findings.published.windows.items():
            values = windows.get(column.name, {})
            title = findings.published.methods[method].title
            axes.plot(list(values), list(values.values()), ":", color="#0f172a", label=f"{title}, published")
    _log_if_wide(axes, [point.mean for line in lines for point in line.points])
    axes.set_title(f"{_literal(head(column))} on the first n frames")
    axes.set_xlabel(f"n ({HOLLOW})" if _survivors(findings, lines) else "n")
    axes.set_ylabel(_literal(column.unit))
    if lines[0].frames[-1] <= PREFIXES[-1]:  # of a longer video the paper's windows stand too close for labels
        axes.set_xticks(lines[0].frames)
    _legend(axes, below=width != WIDE)
    return figure


def _plot_means(
    axes: Axes,
    findings: ReportData,
    method: str,
    frames: Sequence[int],
    points: Sequence[Summary],
    *,
    width: float,
) -> str:
    """Returns the colour in which it plotted the means of one method, hollow where they are not over all its videos."""
    index = findings.info.methods.index(method)
    colour = COLOURS[index % len(COLOURS)]
    marker = MARKERS[index % len(MARKERS)]
    label = _label(findings, method, [point.n for point in points])
    means = _gaps([point.mean for point in points])
    axes.plot(frames, means, marker=marker, markersize=4.5, linewidth=width, color=colour, label=label)
    ok = _row(findings, method).ok
    hollow = [place for place, point in enumerate(points) if 0 < point.n < ok]
    axes.plot(
        [frames[place] for place in hollow],
        [means[place] for place in hollow],
        marker=marker,
        markersize=4.5,
        linestyle="none",
        color=colour,
        markerfacecolor="white",
    )
    return colour


def _break_figure(
    findings: ReportData, columns: Mapping[str, MetricInfo], strips: Mapping[str, Sequence[Timeline]], width: float
) -> Figure:
    rows = max(len(lines) for lines in strips.values())
    figure = _figure(width, (0.95 + 0.26 * rows) * len(strips))
    for position, (name, lines) in enumerate(strips.items(), start=1):
        _strip_panel(figure, figure.add_subplot(len(strips), 1, position), findings, columns[name], lines)
    return figure


def _strip_panel(
    figure: Figure, axes: Axes, findings: ReportData, column: MetricInfo, lines: Sequence[Timeline]
) -> None:
    """Draws one metric: a strip per method, the stronger coloured the worse it scores, with a tick under every seam."""
    import numpy as np
    from matplotlib.colors import LogNorm, Normalize

    values = [value for line in lines for value in line.values if value is not None]
    wide = bool(values) and min(values) > 0 and max(values) > LOG_FROM * min(values)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    norm = LogNorm(low, high) if wide else Normalize(low, high)
    colours = "YlOrRd" if column.better == "lower" else "YlOrRd_r"
    mesh, shared, fewer = None, False, False
    for row, line in enumerate(lines):
        centres = np.array(line.starts) + LOCAL_FRAMES / 2
        edges = np.append(centres - LOCAL_STEP / 2, centres[-1] + LOCAL_STEP / 2)
        strip = np.array([[np.nan if value is None else value for value in line.values]])
        mesh = axes.pcolormesh(edges, [row - 0.36, row + 0.30], strip, cmap=colours, norm=norm, rasterized=True)
        axes.vlines(_seams(findings, line.method), row + 0.33, row + 0.46, color="#334155", linewidth=0.8)
        ok = _row(findings, line.method).ok
        survivors = np.array([0 < n < ok for n in line.counts])
        axes.hlines(np.full(survivors.sum(), row - 0.43), edges[:-1][survivors], edges[1:][survivors], color="#0f172a")
        fewer = fewer or bool(survivors.any())
        own = max((findings.shared_frames(r) for r in findings.records if r.method == line.method), default=0)
        if own:
            axes.broken_barh(
                [(0, own)], (row - 0.36, 0.66), facecolor="#94a3b8", alpha=0.35, hatch="///", edgecolor="#64748b", lw=0
            )
        shared = shared or bool(own)
    axes.set_xlim(0, max(line.starts[-1] for line in lines) + LOCAL_FRAMES)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(range(len(lines)), [_label(findings, line.method, line.counts) for line in lines])
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(f"{_literal(head(column))}, windows of {LOCAL_FRAMES} frames")
    marks = "frame (ticks: seams; hatched: the shared first chunk)" if shared else "frame (ticks: seams)"
    axes.set_xlabel(f"{marks}\nline above a strip: over fewer videos, the fewest in brackets" if fewer else marks)
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=12)
        bar.outline.set_visible(False)


def _seam_figure(findings: ReportData, profiles: Sequence[SeamProfile], width: float) -> Figure:
    labels = [_label(findings, profile.method, [point.n for point in profile.points]) for profile in profiles]
    figure = _figure(width, _height(4.0, 3.4, labels, width))
    axes = figure.add_subplot()
    axes.grid(visible=True)
    for profile in profiles:
        _plot_means(axes, findings, profile.method, profile.frames, profile.points, width=1.0)
    axes.axhline(1.0, color="#64748b", linewidth=0.9, linestyle="--")
    _log_if_wide(axes, [point.mean for profile in profiles for point in profile.points])
    axes.set_title("Contrast at seams (1: unseen)")
    # A phone's figure has one line of so many letters: a second one would run into the legend.
    axes.set_xlabel(f"frame ({HOLLOW})" if _survivors(findings, profiles) else "first frame after the seam")
    axes.set_ylabel("contrast")
    _legend(axes, below=width != WIDE)
    return figure


def _height(wide: float, narrow: float, titles: Sequence[str], width: float) -> float:
    """Returns the height of a figure of lines in inches: its legend grows with them, beside the axes or below."""
    return max(wide, 0.8 + 0.2 * len(titles)) if width == WIDE else narrow + 0.2 * -(-len(titles) // _columns(titles))


def _columns(titles: Sequence[str]) -> int:
    """Returns the columns of a legend below narrow axes."""
    return 2 if max(map(len, titles), default=0) <= SHORT_TITLE else 1


def _legend(axes: Axes, *, below: bool = False) -> None:
    """Lists the lines beside the axes, or below them, in the order in which they end, the highest first."""
    import numpy as np

    def end(line: Any) -> float:
        values = np.asarray(line.get_ydata(), dtype=float)
        known = values[~np.isnan(values)]
        return float(known[-1]) if len(known) else -math.inf

    lines = sorted(axes.get_legend_handles_labels()[0], key=end, reverse=True)
    columns = _columns([str(line.get_label()) for line in lines])
    if below:
        axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, frameon=False)
    else:
        axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _gaps(values: Sequence[float | None]) -> list[float]:
    """Returns values to plot: undefined ones leave a gap."""
    return [math.nan if value is None else value for value in values]


def _log_if_wide(axes: Axes, values: Sequence[float | None]) -> None:
    known = [value for value in values if value is not None]
    if known and min(known) > 0 and max(known) > LOG_FROM * min(known):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _row(findings: ReportData, method: str) -> TableRow:
    return next(row for row in findings.rows if row.method == method)


def _label(findings: ReportData, method: str, counts: Sequence[int]) -> str:
    """Returns the title of a method and, where a mean of its line is not over all its videos, the fewest behind one."""
    row = _row(findings, method)
    fewest = min((n for n in counts if n), default=row.ok)
    return _literal(row.title if fewest == row.ok else f"{row.title} ({fewest} of {row.ok})")


def _survivors(findings: ReportData, lines: Sequence[Curve | SeamProfile]) -> bool:
    """Returns whether any mean of the lines is over fewer videos than its method has."""
    return any(0 < point.n < _row(findings, line.method).ok for line in lines for point in line.points)


def _seams(findings: ReportData, method: str) -> tuple[int, ...]:
    """Returns the seams of a method's first video; they follow from the method, not from the prompt."""
    return next((r.seams for r in findings.records if r.method == method and r.status == "ok"), ())


def _literal(text: str) -> str:
    """Returns text of others as matplotlib draws it literally: between dollars it would read formulas.

    A line break would make a second line, and SVG, which is XML, cannot hold control characters.
    """
    return one_line(text).replace("$", r"\$")
