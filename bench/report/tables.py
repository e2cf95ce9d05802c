"""Lays findings out as text: numbers as tables print them, and Table 1 as Markdown.

Best and second best of a column are bold and underlined, as in the published table. Text from outside (prompts, titles,
reasons) is escaped for the language it lands in.

Example:
    >>> shown_value(6069.7), shown_value(52.34), shown_value(0.04), shown_value(0.00123), shown_value(None)
    ('6069.7', '52.34', '0.04', '0.0012', '–')
    >>> shown_value(0.98645, "cosine"), shown_value(0.00004, "cosine")
    ('0.9865', '4e-05')
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from bench.report.coded import in_sentence, pieces
from bench.report.findings import COSTS, TABLE_1, Block, ReportData, TableRow
from bench.report.notes import APART, OWN_START, TIED
from bench.stats import Summary
from metrics.api import MetricInfo

ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}

BLOCK_TITLES = {"systems": "Systems", "floors": "Floors", "ceiling": "Ceiling"}
"""What stands over each part of the table below the first."""

_MARKDOWN = str.maketrans(
    {"\n": " ", "&": "&amp;", "<": "&lt;", ">": "&gt;"} | {char: f"\\{char}" for char in "\\|*_`[]"}
)


FINE_UNITS = frozenset({"cosine", "cosine, fused", "0..1", "1 - difference / 255"})
"""Units of metrics that end at 1, where systems differ in the third and fourth decimal."""


def shown_value(value: float | None, unit: str = "") -> str:
    """Returns a number as tables print it: one decimal from 100 on, two from 0.1 on, two figures below; – if none.

    Args:
        value: the number.
        unit: of its metric; those of `FINE_UNITS` have four decimals.
    """
    if value is None:
        return "–"
    size = abs(value)
    if unit in FINE_UNITS and (size >= 0.001 or size == 0):
        return f"{value:.4f}"
    if size >= 100:
        return f"{value:.1f}"
    if size >= 0.1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.2g}"


def head(metric: MetricInfo) -> str:
    """Returns the column head of a metric: its title and an arrow towards better."""
    return f"{metric.title} {ARROWS[metric.better]}".strip()


def interval(summary: Summary, unit: str = "") -> str:
    """Returns "[low, high]", or nothing where there is no interval; `unit` as for `shown_value`."""
    if summary.low is None or summary.high is None:
        return ""
    return f"[{shown_value(summary.low, unit)}, {shown_value(summary.high, unit)}]"


def count(summary: Summary, row: TableRow) -> str:
    """Returns how many videos a mean is over where they are not all that exist, such as "3 of 4"; else nothing."""
    return f"{summary.n} of {row.ok}" if summary.n != row.ok else ""


def videos(row: TableRow) -> str:
    """Returns how many videos exist of those planned, with what became of the others."""
    lost = [(row.failed, "failed"), (row.skipped, "skipped"), (row.pending, "not made yet")]
    rest = ", ".join(f"{number} {what}" for number, what in lost if number)
    return f"{row.ok}/{row.planned}" + (f" ({rest})" if rest else "")


def published(row: TableRow) -> str:
    """Returns the published values of a row as "MAWE / SCuts / CLIP", or nothing."""
    return " / ".join(f"{row.published[metric]:g}" for metric in TABLE_1) if row.published else ""


def name(row: TableRow) -> str:
    """Returns the title of a row, marked if it makes its own first frames."""
    return f"{row.title} {OWN_START}" if row.own_start else row.title


def blocks(rows: Sequence[TableRow]) -> Iterator[tuple[Block, list[TableRow]]]:
    """Yields the parts of the table in order, each with its rows; rows of one block stand together."""
    for block, members in groupby(rows, key=lambda row: row.block):
        yield block, list(members)


def sign(row: TableRow, column: MetricInfo) -> str:
    """Returns the sign of a score that is not compared, or that cannot be told apart from the best; or nothing."""
    if row.scores[column.name].mean is not None and not row.stands_beside(column.name):
        return APART
    return TIED if column.name in row.tied else ""


def markdown(findings: ReportData) -> str:
    """Returns Table 1 as Markdown: the answer, scores, then costs, then the notes."""
    heads = ["Method", "Group", *(head(c) for c in findings.columns), "n", "Flags", "Published MAWE / SCuts / CLIP"]
    rows = []
    for block, members in blocks(findings.rows):
        if block != "systems":
            rows.append([f"*{BLOCK_TITLES[block]}*", *[""] * (len(heads) - 1)])
        rows += [_markdown_row(row, findings.columns) for row in members]
    costs = [[markdown_text(name(row)), *(shown_value(row.cost[key]) for key in COSTS)] for row in findings.rows]
    return "\n".join(
        [
            f"# Table 1: {markdown_text(findings.info.name)}",
            "",
            markdown_text(" ".join(sentence.text for sentence in findings.answer)),
            "",
            f"Profile `{in_sentence(findings.info.profile)}`, prompts `{in_sentence(findings.info.prompt_set)}`, "
            f"seeds {listed_numbers(findings.info.seeds)}. **Best**, <u>second best</u>.",
            "",
            *markdown_rows(heads, rows),
            "",
            *(f"- {metric_line(column)}" for column in findings.columns),
            "",
            "## Cost",
            "",
            *markdown_rows(["Method", *COSTS.values()], costs),
            "",
            "## Notes",
            "",
            *(f"- {_note(note)}" for note in findings.notes),
            "",
        ]
    )


def metric_line(column: MetricInfo) -> str:
    """Returns one Markdown line that defines a metric, with its unit and direction."""
    better = "" if column.better == "neither" else f"; {column.better} is better"
    definition = f" {markdown_text(column.definition)}" if column.definition else ""
    return f"**{markdown_text(column.title)}** ({markdown_text(column.unit)}{better}).{definition}"


def listed_numbers(numbers: Sequence[int]) -> str:
    """Returns numbers separated by commas."""
    return ", ".join(map(str, numbers))


def in_brackets(text: str) -> str:
    """Returns text in brackets, or nothing for nothing."""
    return f"({text})" if text else ""


def _markdown_row(row: TableRow, columns: Sequence[MetricInfo]) -> list[str]:
    return [
        markdown_text(name(row)),
        row.group or "–",
        *(_markdown_score(row, column) for column in columns),
        videos(row),
        ", ".join(markdown_text(flag.word) for flag in row.flags),
        published(row),
    ]


def markdown_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table; texts from outside must be escaped by `markdown_text` before."""
    rule = ["---", *("---:" if text != "Group" else "---" for text in heads[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]


def _markdown_score(row: TableRow, column: MetricInfo) -> str:
    summary = row.scores[column.name]
    number = shown_value(summary.mean, column.unit)
    mark = row.marks.get(column.name)
    number = {"best": f"**{number}**", "second": f"<u>{number}</u>"}.get(mark or "", number)
    extra = " ".join(
        text for text in (sign(row, column), interval(summary, column.unit), in_brackets(count(summary, row))) if text
    )
    return f"{number} {extra}".strip()


def markdown_text(text: str) -> str:
    """Returns a text from outside escaped for Markdown."""
    return text.translate(_MARKDOWN)


def _note(note: str) -> str:
    """Returns a note as Markdown: what stands between backticks is code, where nothing is escaped."""
    return "".join(f"`{piece}`" if code else markdown_text(piece) for piece, code in pieces(note))
