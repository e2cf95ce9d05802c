"""Draws the results: answers to doses, the table of answers, cuts, flow errors.

matplotlib's object interface only; the same results give the same bytes.

Example:
    >>> draw_card_figures(validation, Path("docs/metric-cards"))   # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.report.figures import COLOURS, LOG_FROM, MARKERS, STYLE
from bench.validate.cuts import MOST_CUTS, Cuts
from bench.validate.doses import STRENGTHS, DoseTable
from bench.validate.flow_error import FlowErrors
from bench.validate.instruments import FLOW_SIZE, MEASUREMENTS, Measurement
from bench.validate.ranks import DoseAnswer
from bench.validate.results import ValidationResults
from generators.mini.faults import UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = {"mawe": ("mawe", "mawe_mini"), "stillness": ("stillness",)}
"""Readings that share the axes of a metric's figure, where that is not all of them: those in the same unit."""

PANELS = 4
"""Panels side by side in the figure of a metric; one for every fault."""


def draw_card_figures(validation: ValidationResults, folder: Path) -> None:
    """Writes all figures as PNG into an existing folder."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        for metric in dict.fromkeys(reading.metric for reading in MEASUREMENTS):
            readings = drawn_readings(validation.doses, metric)
            if readings:
                _save(_dose_figure(validation.doses, readings), folder / f"{metric}-doses.png")
        _save(_answer_figure(validation.doses), folder / "answers.png")
        _save(_cut_figure(validation.cuts), folder / "scuts-cuts.png")
        _save(_flow_figure(validation.flow), folder / "flow-error.png")
        _save(_floor_figure(validation.flow), folder / "mawe-floor.png")


def drawn_readings(table: DoseTable, metric: str) -> list[Measurement]:
    """Returns the readings of a metric that its figure shows."""
    names = DRAWN.get(metric, tuple(r.name for r in MEASUREMENTS if r.card == metric))
    return [reading for reading in MEASUREMENTS if reading.name in names and reading.name in table.curves]


def _save(figure: Figure, path: Path) -> None:
    cropped = "tight" if figure.get_layout_engine() is not None else None
    figure.savefig(path, dpi=90, bbox_inches=cropped, metadata={"Software": None})


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _dose_figure(table: DoseTable, readings: Sequence[Measurement]) -> Figure:
    """Draws one panel per fault: median and quartiles over scenes against the dose."""
    rows = -(-len(STRENGTHS) // PANELS)
    # Panels stand at fixed places: a dozen of them take ten times as long to lay out as to draw.
    figure = _figure(11.0, 2.8 * rows, layout=None)
    grid = figure.add_gridspec(rows, PANELS, left=0.06, right=0.99, top=0.96, bottom=0.1, wspace=0.26, hspace=0.62)
    for position, kind in enumerate(STRENGTHS, start=1):
        axes = figure.add_subplot(grid[divmod(position - 1, PANELS)])
        axes.grid(visible=True)
        for index, reading in enumerate(readings):
            _plot_doses(axes, table, reading, kind, index)
        verdict = table.answers[readings[0].name][kind].verdict
        axes.set_title(f"{kind}: {verdict}")
        axes.set_xlabel(UNITS[kind].replace(" that ", "\nthat ").replace(" (", "\n("), fontsize=8)
        axes.set_xticks(range(1 + len(STRENGTHS[kind])), ["0", *(f"{s:g}" for s in STRENGTHS[kind])])
        if position % PANELS == 1:
            axes.set_ylabel(readings[0].title if len(readings) == 1 else readings[0].metric)
    if len(readings) > 1:
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(),
            loc="lower right",
            frameon=False,
        )
    return figure


def _plot_doses(axes: Axes, table: DoseTable, reading: Measurement, kind: str, index: int) -> None:
    curves = table.curves[reading.name][kind]
    values = np.array([[np.nan if v is None else v for v in curve] for curve in curves])
    defined = ~np.isnan(values).all(axis=0)
    quartiles = np.full((3, values.shape[1]), np.nan)
    quartiles[:, defined] = np.nanpercentile(values[:, defined], [25, 50, 75], axis=0)
    x = np.arange(values.shape[1])
    axes.plot(x, quartiles[1], marker=MARKERS[index], markersize=4, color=COLOURS[index], label=reading.title)
    axes.fill_between(x, quartiles[0], quartiles[2], color=COLOURS[index], alpha=0.15, linewidth=0)
    known = quartiles[1][defined]
    if len(known) and known.min() > 0 and known.max() > LOG_FROM * known.min():
        axes.set_yscale("log")


def _answer_figure(table: DoseTable) -> Figure:
    """Draws the correlations as a heat map: red rises with the fault, blue falls, grey is no answer."""
    readings = [reading for reading in MEASUREMENTS if reading.name in table.answers]
    figure = _figure(10.5, 0.9 + 0.42 * len(readings))
    axes = figure.add_subplot()
    rho = np.array([[_counted(table.answers[r.name][kind]) for kind in STRENGTHS] for r in readings])
    image = axes.imshow(rho, cmap="coolwarm", vmin=-1, vmax=1, aspect="auto")
    for row, reading in enumerate(readings):
        for column, kind in enumerate(STRENGTHS):
            found = table.answers[reading.name][kind]
            colour = "white" if abs(_counted(found)) > 0.7 else "#0f172a"
            axes.text(column, row, found.verdict, ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_xticks(range(len(STRENGTHS)), list(STRENGTHS))
    axes.set_yticks(range(len(readings)), [reading.title for reading in readings])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Which metric sees which fault")
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=14)
    bar.set_label("Spearman of dose and badness", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _counted(found: DoseAnswer) -> float:
    """Returns the correlation, 0 where the verdict is that it means nothing."""
    return 0.0 if found.verdict in ("blind", "faint", "undefined") else found.rho


def _cut_figure(cuts: Cuts) -> Figure:
    figure = _figure(10.5, 3.6)
    left, right = figure.subplots(1, 2)
    for index, (name, found) in enumerate((("another place", cuts.other_place), ("any scene", cuts.any_scene))):
        pairs, counts = np.unique(np.array(found.by_count), axis=0, return_counts=True)
        offset = 0.12 * (2 * index - 1)
        left.scatter(
            pairs[:, 0] + offset, pairs[:, 1], s=18 * np.sqrt(counts) + 12, color=COLOURS[index], alpha=0.75, label=name
        )
    left.plot([0, 4], [0, 4], color="#94a3b8", linewidth=0.8, zorder=0)
    left.set_xticks(range(MOST_CUTS + 1))
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set_xlabel("true cuts")
    left.set_ylabel("found cuts")
    left.set_title("Hard cuts (size of a dot: videos)")
    left.legend(frameon=False, loc="upper left")
    for index, (name, alarms) in enumerate((("steady pan", cuts.pans), ("whip pan", cuts.whips))):
        right.plot(
            [speed for speed, _, _ in alarms],
            [count / videos for _, videos, count in alarms],
            marker=MARKERS[index],
            color=COLOURS[index],
            label=name,
        )
    right.set_xticks([speed for speed, _, _ in cuts.pans])
    right.set_ylim(-0.05, max(1.0, 1.05 * max(count / videos for _, videos, count in (*cuts.pans, *cuts.whips))))
    right.set_xlabel("speed, pixels a frame (64 pixels wide), roughly")
    right.set_ylabel("false alarms per video")
    right.set_title("No cut, fast camera")
    right.legend(frameon=False)
    return figure


def _flow_figure(flow: FlowErrors) -> Figure:
    figure = _figure(8.5, 3.4)
    axes = figure.add_subplot()
    axes.grid(visible=True, axis="y")
    groups = ["all", *next(iter(flow.estimators.values())).by_background]
    width = 0.8 / len(flow.estimators)
    for index, (name, error) in enumerate(flow.estimators.items()):
        heights = [error.everywhere, *(error.by_background.get(group, np.nan) for group in groups[1:])]
        places = np.arange(len(groups)) + (index - (len(flow.estimators) - 1) / 2) * width
        bars = axes.bar(places, heights, 0.92 * width, color=COLOURS[index], label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(f"end-point error, pixels of {FLOW_SIZE}")
    axes.set_title("Flow against the exact one, by background")
    axes.legend(frameon=False)
    return figure


def _floor_figure(flow: FlowErrors) -> Figure:
    figure = _figure(6.5, 3.6)
    axes = figure.add_subplot()
    axes.grid(visible=True)
    sizes = [floor.size for floor in flow.floor]
    lines = {
        "no flow": [floor.still for floor in flow.floor],
        "true flow, all pixels": [floor.everywhere for floor in flow.floor],
        "true flow, visible pixels": [floor.visible for floor in flow.floor],
        "true flow, not at outlines": [floor.inner for floor in flow.floor],
    }
    for index, (name, values) in enumerate(lines.items()):
        axes.plot(sizes, values, marker=MARKERS[index], color=COLOURS[index], label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("side of the frames, pixels")
    axes.set_ylabel("warp error, grey levels²")
    axes.set_title("What the warp itself costs")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
