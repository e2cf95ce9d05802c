"""Fills the page that shows everything: one file that opens from disk and refers to the pictures beside it.

Example:
    >>> page(Content(findings, curves, figures, sheets, previews, links))[:15]   # doctest: +SKIP
    '<!doctype html>'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from markupsafe import Markup, escape

from bench.given_file import stated_rate
from bench.report import tables
from bench.report.coded import pieces
from bench.report.contact import Sheets
from bench.report.curves import Curves
from bench.report.definitions import DEFINITIONS, names_with_card
from bench.report.drift import DriftTable, drift_grids
from bench.report.figures import BANDS, Figures
from bench.report.findings import COSTS, SIGNIFICANT, TABLE_1, Comparison, Power, ReportData
from bench.report.judged import Judged
from bench.report.notes import APART, OWN_START, TIED, has_apart
from bench.report.previews import Previews
from bench.report.published_runs import PublishedRun
from bench.report.ranking import PairVerdict, verdict
from bench.report.viewer import as_script, viewer_data
from metrics.api import MetricInfo
from metrics.curves import LONGEST_END
from metrics.drift import DRIFTS

SCRIPTS = ("tables.js", "players.js", "compare.js", "judge.js")
"""Scripts of the page, in the order in which they run; none is a module, so that they work from disk."""


@dataclass(frozen=True)
class Content:
    """Everything the page shows.

    Attributes:
        findings: numbers and sentences.
        curves: scores over time.
        figures: the figures in the folder of the page.
        sheets: the contact sheets there.
        previews: the videos there that a browser plays.
        links: address of the video itself, by key of its record: lossless if it was made, the original if it was given;
            videos that are not here have none.
        judged: what judges said; None if nobody was asked.
        published_runs: runs of others that are shown beside this one.
        drifts: every metric by every definition of drift.
    """

    findings: ReportData
    curves: Curves
    figures: Figures
    sheets: Sheets
    previews: Previews
    links: Mapping[str, str]
    judged: Judged | None = None
    published_runs: Sequence[PublishedRun] = ()
    drifts: DriftTable = field(default_factory=DriftTable)


@dataclass(frozen=True)
class Duel:
    """One cell of a matrix of tests, seen from its row.

    Attributes:
        verdict: what the corrected test says of the row against the column.
        difference: row minus column, mean over shared prompts; None if there are none.
        low: lower end of its interval; None for few prompts.
        high: upper end.
        p: corrected p.
    """

    verdict: PairVerdict
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Matrix:
    """All tests of one metric: methods in table order, cells by (row, column), and what the tests can see."""

    column: MetricInfo
    methods: Sequence[str]
    duels: Mapping[tuple[str, str], Duel]
    power: Power


def page(content: Content) -> str:
    """Returns the page as HTML text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = with_code
    environment.globals |= {"shown": tables.shown_value, "head": tables.head, "interval": tables.interval}
    environment.globals |= {"count": tables.count, "videos": tables.videos, "published": tables.published}
    environment.globals |= {"name": tables.name, "blocks": tables.blocks, "sign": tables.sign}
    environment.globals |= {"block_titles": tables.BLOCK_TITLES, "tied": TIED, "own_start": OWN_START}
    environment.globals |= {"not_compared": APART}
    environment.tests["not_all_compared"] = has_apart
    findings, curves = content.findings, content.curves
    columns = findings.by_name
    return environment.get_template("index.html.j2").render(
        css=_text("page.css"),
        scripts=[_text(script) for script in SCRIPTS],
        data=as_script(viewer_data(findings, curves, content.previews)),
        findings=findings,
        info=findings.info,
        columns=columns,
        titles={row.method: tables.name(row) for row in findings.rows},
        costs=COSTS,
        table_1=TABLE_1,
        figures=content.figures,
        **claims(findings, curves),
        sheets=content.sheets,
        previews=content.previews,
        links=content.links,
        judged=content.judged,
        published_runs=content.published_runs,
        drift_grids=drift_grids(findings, content.drifts),
        drift_definitions=DRIFTS,
        cards={card.name: card for card in DEFINITIONS},
        with_card=names_with_card(),
        drifts={(drift.method, drift.metric): drift for drift in curves.drifts},
        drifting=[column for metric, column in columns.items() if any(d.metric == metric for d in curves.drifts)],
        ends_seconds=LONGEST_END,
        worst=curves.worst,
        matrices=matrices(findings),
        significant=SIGNIFICANT,
        totals=totals(findings),
    )


def claims(findings: ReportData, curves: Curves) -> dict[str, bool]:
    """Returns which sentences of the page hold for this run, under the names they have in its templates.

    continued: there is a first chunk, and some row continues it. bracketed: some score has an interval. intervals: some
    curve has one. banded: few enough methods to draw it. hatched: some strip begins with shared frames. too_short: some
    video has no first and last seconds that do not overlap.
    """
    continuing = {row.method for row in findings.rows if not row.own_start}
    striped = {line.method for line in curves.timelines}
    rates = [(record.num_frames, stated_rate(record)) for record in findings.records if record.status == "ok"]
    return {
        "continued": any(record.start and record.method in continuing for record in findings.records),
        "bracketed": any(score.low is not None for row in findings.rows for score in row.scores.values()),
        "intervals": any(point.low is not None for curve in curves.prefixes for point in curve.points),
        "banded": len({curve.method for curve in curves.prefixes}) <= BANDS,
        "hatched": any(findings.shared_frames(r) for r in findings.records if r.method in striped),
        "too_short": any(rate and 2 * round(LONGEST_END * rate) > frames for frames, rate in rates),
    }


def with_code(sentence: str) -> Markup:
    """Returns a sentence as HTML: escaped, with what stands between backticks set as code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if code else escape(piece) for piece, code in pieces(sentence)
    )


def matrices(findings: ReportData) -> list[Matrix]:
    """Returns the tests of every metric that has some, each pair seen from both sides."""
    columns = {column.name: column for column in findings.columns}
    found = []
    for power in findings.power:
        duels: dict[tuple[str, str], Duel] = {}
        for comparison in (c for c in findings.comparisons if c.metric == power.metric):
            duels[comparison.first, comparison.second] = _duel(comparison, columns[power.metric], 1.0)
            duels[comparison.second, comparison.first] = _duel(comparison, columns[power.metric], -1.0)
        compared = {method for pair in duels for method in pair}
        methods = [row.method for row in findings.rows if row.method in compared]
        found.append(Matrix(columns[power.metric], methods, duels, power))
    return found


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


def _duel(comparison: Comparison, column: MetricInfo, side: float) -> Duel:
    test = comparison.test
    if test.difference is None:
        return Duel("untested", None, None, None, None)
    pair = (comparison.first, comparison.second)
    found = verdict([comparison], column, *(pair if side > 0 else pair[::-1]))
    ends = [None if end is None else side * end + 0.0 for end in (test.low, test.high)]
    low, high = ends if side > 0 else ends[::-1]
    return Duel(found, side * test.difference + 0.0, low, high, comparison.p_holm)  # + 0.0: a tie from either side is 0


def _text(file: str) -> str:
    return resources.files("bench.report").joinpath("page", file).read_text(encoding="utf-8")
