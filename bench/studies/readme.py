"""`python -m bench.studies.readme results/RUN`: the README's picture and table, from a run that has a report.

Writes `docs/readme/together.png` and the table between two marks of `README.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from bench.errors import ConfigError
from bench.report.derive import report_data
from bench.report.findings import TABLE_1, ReportData
from bench.report.published import load_published
from bench.report.tables import shown_value
from bench.store import Store

BEGIN, END = "<!-- table of the default run: begin -->\n", "<!-- end -->\n"
"""What the table stands between in the README."""

WIDEST = 1400
"""Width in pixels that the picture is reduced to."""


def short_table(findings: ReportData) -> str:
    """Returns the rows that are no floors, with means of Table 1's metrics and their intervals, as Markdown."""
    columns = [column for column in findings.columns if column.name in TABLE_1]
    arrows = {"lower": "↓", "higher": "↑", "neither": ""}
    heads = ["", *(f"{column.title} {arrows[column.better]}" for column in columns), "s / video"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in findings.rows:
        if row.block == "floors":
            continue
        cells = [row.title]
        for column in columns:
            score = row.scores[column.name]
            interval = (
                f" <sub>[{shown_value(score.low)}, {shown_value(score.high)}]</sub>" if score.low is not None else ""
            )
            cells.append(shown_value(score.mean) + interval)
        lines.append("| " + " | ".join([*cells, shown_value(row.cost["generation_seconds"])]) + " |")
    return "\n".join(lines) + "\n"


def write_between(readme: Path, table: str) -> None:
    """Puts the table between the marks of a README.

    Raises:
        ConfigError: the marks are not there.
    """
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{readme}: lacks the marks {BEGIN.strip()!r} and {END.strip()!r}")
    readme.write_text(before + begin + "\n" + table + "\n" + end + after, encoding="utf-8")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.readme", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with its report")
    options = parser.parse_args()
    store = Store(options.run)
    write_between(Path("README.md"), short_table(report_data(store.info(), store.records(), load_published())))
    picture = Path("docs/readme/together.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(options.run / "report" / "together.png") as sheet:
        small = sheet.convert("RGB")
        small.thumbnail((WIDEST, 10 * WIDEST), Image.Resampling.LANCZOS)
        small.quantize(256).save(picture, optimize=True)


if __name__ == "__main__":
    main()
