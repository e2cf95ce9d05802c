"""What judges said of a run, beside what the metrics say.

Example:
    >>> judged(sources, findings).agreements["mawe"]   # doctest: +SKIP
    0.75
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.bradley_terry import Strength, agreement
from bench.judgements import judged_strengths, kept_judgements
from bench.report.findings import ReportData
from bench.report.sources import Sources


@dataclass(frozen=True)
class Judged:
    """Strengths of the judged methods, the strongest first, and how well each metric's order agrees with theirs.

    Attributes:
        strengths: by method.
        agreements: by metric; None where nothing can be compared.
        judgements: how many there are of the videos of the table.
        others: how many the folders keep of videos that the table does not show.
    """

    strengths: Mapping[str, Strength]
    agreements: Mapping[str, float | None]
    judgements: int
    others: int


def judged(sources: Sources, findings: ReportData) -> Judged | None:
    """Returns what the judgements say that the folders keep, or None if they keep none.

    Of judgements about videos that the table does not show, nothing but their number.
    """
    folders = dict.fromkeys(store.path for store, _ in sources.places.values())
    found, others = kept_judgements(folders, sources.records)
    if not found and not others:
        return None
    strengths = judged_strengths(found)
    people = {method: strength.value for method, strength in strengths.items()}
    agreements = {}
    for column in findings.columns:
        if column.better != "neither":
            sign = 1.0 if column.better == "higher" else -1.0
            compared = [row for row in findings.rows if row.stands_beside(column.name)]
            means = {row.method: row.scores[column.name].mean for row in compared}
            known = {method: sign * mean for method, mean in means.items() if mean is not None}
            agreements[column.name] = agreement(people, known)
    return Judged(strengths, agreements, len(found), others)


def judged_lines(found: Judged, titles: Mapping[str, str]) -> list[str]:
    """Returns the strengths and agreements as lines for a terminal; `titles` by name of method and of metric."""
    lines = []
    for method, strength in found.strengths.items():
        ends = "" if strength.low is None else f" [{strength.low:.2f}, {strength.high:.2f}]"
        lines.append(f"{titles[method]}: {strength.value:+.2f}{ends}, {strength.judgements} judgements")
    for metric, share in found.agreements.items():
        if share is not None:
            lines.append(f"{titles[metric]} orders {100 * share:.0f} % of the pairs as the judges do")
    if found.others:
        lines.append(f"{found.others} judgements are about videos that this table does not show, and do not count")
    return lines
