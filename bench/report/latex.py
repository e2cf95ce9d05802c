r"""Lays findings out as LaTeX with booktabs, narrow enough for a two-column template: scores and costs apart.

Example:
    >>> print(tex("50 % of $x_1"))
    50 \% of \$x\_1
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bench.report.findings import COSTS, TABLE_1, ReportData, TableRow
from bench.report.notes import APART, OWN_START, TIED, settings_note
from bench.report.tables import (
    BLOCK_TITLES,
    blocks,
    count,
    head,
    in_brackets,
    interval,
    listed_numbers,
    name,
    shown_value,
    sign,
)
from metrics.api import MetricInfo

ACROSS = 4
"""Metrics that fit beside each other on the full width of a two-column page."""

NARROW = r"\setlength{\tabcolsep}{3pt}"
"""Half of the usual space between columns at least; the tables fill the width anyway."""

JOINING = "-',"
"""Characters of which LaTeX sets another one where two stand together: a dash, or a quote."""

LATIN_END = 0x250
"""First code point behind Unicode's Latin letters."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "[": "{[}",  # at the head of a row it would be an argument of the line before
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "`": r"\textasciigrave{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        "×": r"$\times$",
        OWN_START: r"\textdagger{}",
        TIED: r"$\approx$",
        APART: r"$\neq$",
        "²": r"\textsuperscript{2}",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "\n": " ",
    }
)


def latex(findings: ReportData) -> str:
    """Returns Table 1, then further tables of the same rows for the metrics that do not fit beside the first ones."""
    columns = findings.columns
    first = ACROSS - findings.comparable  # the published values take the room of a metric
    groups = [columns[:first], *(columns[i : i + ACROSS] for i in range(first, len(columns), ACROSS))]
    tables = [_scores(findings, group, first=index == 0) for index, group in enumerate(groups)]
    return "\n".join([r"% \usepackage{booktabs,textcomp}", *(line for table in tables for line in table)])


def costs_latex(findings: ReportData) -> str:
    """Returns the table of costs."""
    heads = [_stacked(title) for title in COSTS.values()]
    return "\n".join(
        [
            r"% \usepackage{booktabs,textcomp}",
            r"\begin{table*}",
            rf"\centering\footnotesize{NARROW}",
            r"\caption{Costs: means over videos, memory the largest of any video.}",
            rf"\begin{{tabular*}}{{\textwidth}}{{@{{\extracolsep{{\fill}}}}l{'r' * len(COSTS)}@{{}}}}",
            r"\toprule",
            " & ".join(["Method", *heads]) + r" \\",
            r"\midrule",
            *(
                " & ".join([tex(name(row)), *(tex(shown_value(row.cost[key])) for key in COSTS)]) + r" \\"
                for row in findings.rows
            ),
            *_end(),
        ]
    )


def tex(text: str) -> str:
    """Returns text as LaTeX prints it literally; what its fonts lack (emoji, other scripts) as its code point."""
    return "".join(
        ("{}" if char == before and char in JOINING else "") + (_LATEX.get(ord(char)) or _letter(char))
        for before, char in pairwise(f" {text}")
    )


def _letter(char: str) -> str:
    return char if _typeset(char) else rf"\texttt{{U+{ord(char):04X}}}"


def _typeset(char: str) -> bool:
    """Returns whether LaTeX knows a character without further packages: Latin letters and common punctuation."""
    return (char.isprintable() and ord(char) < LATIN_END) or char in "‘’“”—…"


def _scores(findings: ReportData, columns: Sequence[MetricInfo], first: bool) -> list[str]:
    shown = findings.comparable and first
    width = 2 + len(columns) + shown
    heads = ["Method", *(tex(head(column)) for column in columns), "$n$", *(["Published"] if shown else [])]
    about = _caption(findings) if first else "Further metrics of the same videos."
    lines = []
    for block, members in blocks(findings.rows):
        if block != "systems":
            lines += [r"\midrule", rf"\multicolumn{{{width}}}{{@{{}}l}}{{\emph{{{BLOCK_TITLES[block]}}}}} \\"]
        lines += [" & ".join(_row(row, columns, shown)) + r" \\[2pt]" for row in members]
    return [
        r"\begin{table*}",
        rf"\centering\small{NARROW}",
        rf"\caption{{{about} {_ways(findings, columns)}}}",
        rf"\begin{{tabular*}}{{\textwidth}}{{@{{\extracolsep{{\fill}}}}l{'r' * (width - 1)}@{{}}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *lines,
        *_end(),
    ]


def _stacked(title: str) -> str:
    """Returns a column head in two lines, broken at the space that leaves the shorter longest line."""
    words = title.split(" ")
    splits = [[" ".join(words[:i]), " ".join(words[i:])] for i in range(1, len(words))] or [words]
    lines = min(splits, key=lambda split: max(map(len, split)))
    return r"\shortstack[r]{" + r"\\".join(map(tex, lines)) + "}"


def _end() -> list[str]:
    return [r"\bottomrule", r"\end{tabular*}", r"\end{table*}", ""]


def _row(row: TableRow, columns: Sequence[MetricInfo], published: bool) -> list[str]:
    flags = " ".join(rf"\emph{{({tex(flag.word)})}}" for flag in row.flags)
    title = rf"\shortstack[l]{{{tex(name(row))}\\[-1pt] {{\tiny {flags}}}}}" if flags else tex(name(row))
    values = [f"{row.published[metric]:g}" for metric in TABLE_1] if row.published else []
    beside = [rf"{{\tiny {tex(' / '.join(values) or '–')}}}"] if published else []
    return [title, *(_score(row, column) for column in columns), f"{row.ok}/{row.planned}", *beside]


def _score(row: TableRow, column: MetricInfo) -> str:
    """Returns a mean with its interval in small print below it."""
    summary = row.scores[column.name]
    number = tex(shown_value(summary.mean, column.unit))
    mark = row.marks.get(column.name)
    number = {"best": rf"\textbf{{{number}}}", "second": rf"\underline{{{number}}}"}.get(mark or "", number)
    number += tex(sign(row, column))
    extra = " ".join(text for text in (interval(summary, column.unit), in_brackets(count(summary, row))) if text)
    return rf"\shortstack[r]{{{number}\\[-1pt] {{\tiny {extra}}}}}" if extra else number


def _ways(findings: ReportData, columns: Sequence[MetricInfo]) -> str:
    """Returns how the metrics of a table were computed: MAWE, for one, has two published readings."""
    notes = [settings_note(column, findings.rows, findings.records) for column in columns]
    return tex(" ".join(note for note in notes if note))


def _caption(findings: ReportData) -> str:
    info = findings.info
    prompts = len(info.prompts)
    text = f"Profile {info.profile}; {prompts} prompts ({info.prompt_set}); seeds {listed_numbers(info.seeds)}. "
    marked = [note for note in findings.notes[1:] if note.startswith((TIED, OWN_START, APART, "With "))]
    said = tex(text + " ".join(note.replace("`", "") for note in [findings.notes[0], *marked]))
    return rf"{said} Best \textbf{{bold}}, second \underline{{underlined}}."
