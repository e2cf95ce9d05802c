"""Lays findings out as Markdown, CSV, LaTeX and Parquet.

Best and second best of a column are bold and underlined, as in the published table. Text from outside (prompts, titles,
reasons) is escaped for the language it lands in.

Example:
    >>> shown_value(6069.7), shown_value(52.34), shown_value(0.04), shown_value(0.00123), shown_value(None)
    ('6069.7', '52.34', '0.04', '0.0012', '–')
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.records import Record
from bench.report.findings import COSTS, TABLE_1, ReportData, TableRow
from bench.stats import Summary
from metrics.api import MetricInfo

ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        "×": r"$\times$",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "\n": " ",
    }
)
_MARKDOWN = str.maketrans({"|": "\\|", "\n": " ", "<": "&lt;", ">": "&gt;", "*": "\\*", "_": "\\_", "`": "\\`"})


def shown_value(value: float | None) -> str:
    """Returns a number as tables print it: one decimal from 100 on, two from 0.1 on, two figures below; – if none."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 100:
        return f"{value:.1f}"
    if size >= 0.1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.2g}"


def head(metric: MetricInfo) -> str:
    """Returns the column head of a metric: its title and an arrow towards better."""
    return f"{metric.title} {ARROWS[metric.better]}".strip()


def interval(summary: Summary) -> str:
    """Returns "[low, high]", or nothing where there is no interval."""
    if summary.low is None or summary.high is None:
        return ""
    return f"[{shown_value(summary.low)}, {shown_value(summary.high)}]"


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


def markdown(findings: ReportData) -> str:
    """Returns Table 1 as Markdown: scores, then costs, then the notes."""
    heads = ["Method", "Group", *(head(c) for c in findings.columns), "n", "Flags", "Published MAWE / SCuts / CLIP"]
    rows = [
        [
            markdown_text(row.title),
            row.group or "–",
            *(_markdown_score(row, column) for column in findings.columns),
            videos(row),
            ", ".join(flag.word for flag in row.flags),
            published(row),
        ]
        for row in findings.rows
    ]
    cost_heads = ["Method", *COSTS.values()]
    costs = [[markdown_text(row.title), *(shown_value(row.cost[key]) for key in COSTS)] for row in findings.rows]
    return "\n".join(
        [
            f"# Table 1: {markdown_text(findings.info.name)}",
            "",
            f"Profile `{findings.info.profile}`, prompts `{findings.info.prompt_set}`, "
            f"seeds {_listed(findings.info.seeds)}. **Best**, <u>second best</u>.",
            "",
            *markdown_rows(heads, rows),
            "",
            "## Cost",
            "",
            *markdown_rows(cost_heads, costs),
            "",
            "## Notes",
            "",
            *(f"- {markdown_text(note, keep='`_')}" for note in findings.notes),
            "",
        ]
    )


def table_csv(findings: ReportData) -> str:
    """Returns Table 1 as CSV at full precision, one row per method."""
    heads = ["method", "title", "group", "planned", "ok", "failed", "skipped", "pending", "ranked", "flags"]
    parts = ("mean", "median", "std", "low", "high", "n", "undefined")
    for column in findings.columns:
        heads += [f"{column.name}_{part}" for part in parts] + [f"{column.name}_mark", f"{column.name}_published"]
    rows = []
    for row in findings.rows:
        cells: list[object] = [row.method, row.title, row.group, row.planned, row.ok, row.failed, row.skipped]
        cells += [row.pending, row.ranked, "; ".join(flag.word for flag in row.flags)]
        for column in findings.columns:
            summary = row.scores[column.name]
            cells += [getattr(summary, part) for part in parts]
            cells += [row.marks.get(column.name, ""), row.published.get(column.name)]
        rows.append([*cells, *(row.cost[key] for key in COSTS)])
    return write_csv([*heads, *COSTS], rows)


def comparisons_csv(findings: ReportData) -> str:
    """Returns the paired tests as CSV, one row per metric and pair of methods."""
    heads = ["metric", "first", "second", "prompts", "difference", "low", "high", "p", "p_holm", "exact"]
    rows = []
    for comparison in findings.comparisons:
        test = comparison.test
        found = [test.n, test.difference, test.low, test.high, test.p, comparison.p_holm, test.exact]
        rows.append([comparison.metric, comparison.first, comparison.second, *found])
    return write_csv(heads, rows)


def latex(findings: ReportData) -> str:
    """Returns Table 1 as LaTeX with booktabs, ready to be input into a document: scores on top, costs below."""
    columns = findings.columns
    heads = ["Method", "Group", *(head(column) for column in columns), "$n$", "Published"]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{_latex_caption(findings)}}}",
        rf"\begin{{tabular}}{{ll{'r' * len(columns)}rr}}",
        r"\toprule",
        " & ".join(text if text == "$n$" else tex(text) for text in heads) + r" \\",
        r"\midrule",
        *(" & ".join(_latex_row(row, columns)) + r" \\" for row in findings.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
        r"\medskip",
        rf"\begin{{tabular}}{{l{'r' * len(COSTS)}}}",
        r"\toprule",
        " & ".join(tex(text) for text in ("Method", *COSTS.values())) + r" \\",
        r"\midrule",
        *(
            " & ".join([tex(row.title), *(tex(shown_value(row.cost[key])) for key in COSTS)]) + r" \\"
            for row in findings.rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
        "",
    ]
    return "\n".join(lines)


def tex(text: str) -> str:
    """Returns text as LaTeX prints it literally."""
    return text.translate(_LATEX)


def write_parquet(records: Sequence[Record], path: Path) -> None:
    """Writes every number of every video in long form: one row per video, metric and named value.

    The score itself has the name "value"; numeric parts have their own names; costs have the metric "cost".
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for record in records for row in _long_rows(record)]
    schema = pa.schema(
        [(name, pa.string()) for name in ("method", "title", "prompt_id", "prompt")]
        + [("tags", pa.list_(pa.string())), ("seed", pa.int64()), ("status", pa.string())]
        + [("num_frames", pa.int64()), ("fps", pa.float64()), ("start", pa.string()), ("video_sha256", pa.string())]
        + [("metric", pa.string()), ("name", pa.string()), ("value", pa.float64())]
        + [(name, pa.string()) for name in ("version", "settings", "reason")]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def write_csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns CSV text; None becomes an empty field, floats keep every digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return out.getvalue()


def _long_rows(record: Record) -> list[dict[str, object]]:
    video: dict[str, object] = {
        "method": record.method,
        "title": record.title,
        "prompt_id": record.prompt.id,
        "prompt": record.prompt.text,
        "tags": list(record.prompt.tags),
        "seed": record.seed,
        "status": record.status,
        "num_frames": record.num_frames,
        "fps": record.fps,
        "start": record.start,
        "video_sha256": record.video_sha256,
    }
    if record.status != "ok":
        return [{**video, "reason": record.reason}]
    rows: list[dict[str, object]] = []
    for metric, score in record.scores.items():
        settings = json.dumps(score.settings, sort_keys=True, ensure_ascii=False)
        made = {**video, "metric": metric, "version": score.version, "settings": settings, "reason": score.reason}
        rows.append({**made, "name": "value", "value": score.value})
        rows += [{**made, "name": name, "value": part} for name, part in _numbers(score.parts)]
    rows += [{**video, "metric": "cost", "name": name, "value": value} for name, value in record.cost.items()]
    return rows


def _numbers(parts: Mapping[str, object]) -> list[tuple[str, float]]:
    return [(name, float(part)) for name, part in parts.items() if isinstance(part, int | float)]


def markdown_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table; texts from outside must be escaped by `markdown_text` before."""
    rule = ["---", *("---:" if text != "Group" else "---" for text in heads[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]


def _markdown_score(row: TableRow, column: MetricInfo) -> str:
    summary = row.scores[column.name]
    number = shown_value(summary.mean)
    mark = row.marks.get(column.name)
    number = {"best": f"**{number}**", "second": f"<u>{number}</u>"}.get(mark or "", number)
    extra = " ".join(text for text in (interval(summary), _in_brackets(count(summary, row))) if text)
    return f"{number} {extra}".strip()


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _in_brackets(text: str) -> str:
    return f"({text})" if text else ""


def markdown_text(text: str, keep: str = "") -> str:
    """Returns a text from outside escaped for Markdown, but for the characters in `keep`."""
    return text.translate({code: to for code, to in _MARKDOWN.items() if chr(code) not in keep})


def _latex_row(row: TableRow, columns: Sequence[MetricInfo]) -> list[str]:
    name = tex(row.title) + "".join(rf" \emph{{({tex(flag.word)})}}" for flag in row.flags)
    scores = [_latex_score(row, column) for column in columns]
    return [name, tex(row.group or "–"), *scores, f"{row.ok}/{row.planned}", tex(published(row) or "–")]


def _latex_score(row: TableRow, column: MetricInfo) -> str:
    summary = row.scores[column.name]
    number = tex(shown_value(summary.mean))
    mark = row.marks.get(column.name)
    number = {"best": rf"\textbf{{{number}}}", "second": rf"\underline{{{number}}}"}.get(mark or "", number)
    extra = " ".join(text for text in (interval(summary), _in_brackets(count(summary, row))) if text)
    return number + (rf" {{\scriptsize {extra}}}" if extra else "")


def _latex_caption(findings: ReportData) -> str:
    info = findings.info
    count = len(info.prompts)
    text = f"Profile {info.profile}; {count} prompts ({info.prompt_set}); seeds {_listed(info.seeds)}. "
    return rf"{tex(text + findings.notes[0].replace('`', ''))} Best \textbf{{bold}}, second \underline{{underlined}}."
