"""Markdown that several pages show: tables, invariances, and what a reading answers to, by verdict.

Example:
    >>> print(markdown_table([("a", "b"), ("1", "2")]))
    | a | b |
    |---|---|
    | 1 | 2 |
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.validate.doses import STRENGTHS
from bench.validate.instruments import MEASUREMENTS, Measurement
from bench.validate.invariances import Invariance
from bench.validate.results import ValidationResults

CardRow = tuple[str, ...]
"""Cells of one line of a table."""

SIGNS = {"sees": "●", "detects": "■", "faint": "◌", "in part": "◐", "blind": "·", "rewards": "▼", "undefined": "–"}
"""How a verdict looks in the index."""


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; the first row is its head."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def joined(*blocks: str) -> str:
    """Returns a page of these blocks, the empty ones left out."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def faults_by_verdict(validation: ValidationResults, reading: Measurement) -> dict[str, list[str]]:
    """Returns the faults by the verdict on a reading that was measured; every verdict has its list."""
    answers = validation.doses.answers[reading.name]
    return {v: [kind for kind in STRENGTHS if kind in answers and answers[kind].verdict == v] for v in SIGNS}


def with_doses(validation: ValidationResults, reading: Measurement, kinds: Sequence[str]) -> list[str]:
    """Returns the kinds with the dose from which on they are detected."""
    answers = validation.doses.answers[reading.name]
    return [f"{kind} (from {STRENGTHS[kind][answers[kind].threshold or 0]:g})" for kind in kinds]


def invariance_table(rows: Sequence[Invariance]) -> str:
    """Returns a table of scores under harmless changes."""
    titles = {reading.name: reading.title for reading in MEASUREMENTS}
    cells: list[CardRow] = [("change", "reading", "median", "worst", "flips", "tolerance", "")]
    for row in rows:
        show = _share if row.tolerance.relative else _plain
        moved = (show(row.median), show(row.largest), f"{row.flips} / {row.videos}", show(row.tolerance.amount))
        cells.append((row.change, titles.get(row.reading, row.reading), *moved, "" if row.holds else "**outside**"))
    return markdown_table(cells)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
