"""Fills the page that shows everything: one file that opens from disk and refers to the pictures beside it.

Example:
    >>> page(findings, curves, figures, sheets, links).startswith("<!doctype html>")   # doctest: +SKIP
    True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from markupsafe import Markup, escape

from bench.report import tables
from bench.report.contact import Sheets
from bench.report.curves import Curves
from bench.report.figures import BANDS, Figures
from bench.report.findings import COSTS, SIGNIFICANT, TABLE_1, Comparison, ReportData
from metrics.api import MetricInfo
from metrics.curves import ENDS_SECONDS


def page(findings: ReportData, curves: Curves, figures: Figures, sheets: Sheets, links: Mapping[str, str]) -> str:
    """Returns the page as HTML text.

    Args:
        findings: numbers and sentences.
        curves: scores over time.
        figures: names of the figures in the folder of the page.
        sheets: names of the contact sheets there.
        links: address of every finished video, by key of its record.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = with_code
    environment.globals |= {"shown": tables.shown_value, "head": tables.head, "interval": tables.interval}
    environment.globals |= {"count": tables.count, "videos": tables.videos, "published": tables.published}
    environment.globals |= {"name": tables.name, "blocks": tables.blocks, "tie": tables.tie}
    environment.globals |= {"block_titles": tables.BLOCK_TITLES}
    columns = {column.name: column for column in findings.columns}
    titles = {row.method: row.title for row in findings.rows}
    template = environment.get_template("index.html.j2")
    return template.render(
        css=resources.files("bench.report").joinpath("report.css").read_text(encoding="utf-8"),
        findings=findings,
        info=findings.info,
        columns=columns,
        titles=titles,
        costs=COSTS,
        table_1=TABLE_1,
        figures=figures,
        banded=len({curve.method for curve in curves.prefixes}) <= BANDS,
        sheets=sheets,
        links=links,
        drifts={(drift.method, drift.metric): drift for drift in curves.drifts},
        drifting=[column for name, column in columns.items() if any(d.metric == name for d in curves.drifts)],
        ends_seconds=ENDS_SECONDS,
        worst=curves.worst,
        matrices=[matrix for column in findings.columns if (matrix := pair_matrix(findings, column))],
        significant=SIGNIFICANT,
        totals=totals(findings),
    )


def with_code(sentence: str) -> Markup:
    """Returns a sentence as HTML: escaped, with what stands between backticks set as code."""
    pieces = [escape(piece) for piece in sentence.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else piece for number, piece in enumerate(pieces)
    )


def pair_matrix(
    findings: ReportData, column: MetricInfo
) -> tuple[MetricInfo, Sequence[str], Mapping[tuple[str, str], Comparison]] | None:
    """Returns (metric, methods, comparison by pair in row order) for a metric with comparisons, else None."""
    own = [comparison for comparison in findings.comparisons if comparison.metric == column.name]
    if not own:
        return None
    compared = {name for c in own for name in (c.first, c.second)}
    by_pair = {(comparison.first, comparison.second): comparison for comparison in own}
    return column, [row.method for row in findings.rows if row.method in compared], by_pair


def totals(findings: ReportData) -> dict[str, int]:
    """Returns how many videos there are by what became of them."""
    rows = findings.rows
    return {
        "planned": sum(row.planned for row in rows),
        "ok": sum(row.ok for row in rows),
        "failed": sum(row.failed for row in rows),
        "skipped": sum(row.skipped for row in rows),
        "not made yet": sum(row.pending for row in rows),
    }
