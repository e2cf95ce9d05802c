"""Answers the question of the page in two or three sentences, made from the tests and the table.

Example:
    >>> in_words(["SVD", "SEINE", "OpenSora"])
    'SVD, SEINE and OpenSora'
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.findings import TABLE_1, Comparison, Power, Sentence, TableRow
from bench.report.ranking import TIED_SHARE, equal, ranking, shared_prompts, verdict
from metrics.api import MetricInfo

MEANING_OF_FLOORS = {
    "still": "a picture that stands still",
    "pan": "motion without content",
    "naive": "chunks that know nothing of each other",
}
"""What a floor shows instead of a long video, by name."""

SYSTEMS_NAMED = 3
"""Systems that a sentence names before it counts them instead."""


def answer(
    rows: Sequence[TableRow],
    columns: Sequence[MetricInfo],
    comparisons: Sequence[Comparison],
    power: Sequence[Power],
) -> tuple[Sentence, ...]:
    """Returns the answer: who leads, whether the tests carry that, and which floor scores better than every system.

    Args:
        rows: the table.
        columns: its metrics; the sentences speak of the published ones, or of all that rank where it has none of them.
        comparisons: the paired tests.
        power: what the tests can see.
    """
    ranks = [column for column in columns if column.better != "neither"]
    spoken = [column for column in ranks if column.name in TABLE_1] or ranks
    titles = {row.method: row.title for row in rows}
    if columns and not ranks:
        return (Sentence("These columns point at something to look at; they rank nothing.", "table"),)
    named = {method for column in spoken for method, _ in ranking(rows, column)}
    if not named:
        return (Sentence("No ranked system has a score yet.", "table"),)
    if len(named) == 1:
        return (
            Sentence(f"{titles[named.pop()]} is the only ranked system with a score.", "table"),
            *_floors(rows, spoken),
        )
    told = (rows, spoken, comparisons, titles)
    found = [*_winners(*told), *_contradicted(*told), *_leaders(*told)]
    if power and not any(entry.apart for entry in power):
        found.append(Sentence(_nothing_apart(power, spoken, shared_prompts(comparisons)), "power"))
    return (*found, *_floors(rows, spoken))


def in_words(words: Sequence[str]) -> str:
    """Returns words as a list in a sentence."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _winners(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], comparisons: Sequence[Comparison], titles: dict[str, str]
) -> list[Sentence]:
    """Returns one sentence per metric whose best system beats another one by the corrected test."""
    found = []
    for column in columns:
        order = [method for method, _ in ranking(rows, column)]
        equal = [m for m in order[1:] if verdict(comparisons, column, order[0], m) != "better"]
        beaten = len(order) - 1 - len(equal)
        if not order or not beaten:
            continue
        if not equal:
            whom = f"all {beaten} others" if beaten > 1 else titles[order[1]]
        elif len(equal) <= SYSTEMS_NAMED:
            whom = f"all but {in_words([titles[m] for m in equal])}"
        else:
            whom = f"{beaten} of {len(order) - 1} others"
        found.append(Sentence(f"On {column.title}, {titles[order[0]]} beats {whom}.", f"tests-{column.name}"))
    return found


def _contradicted(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], comparisons: Sequence[Comparison], titles: dict[str, str]
) -> list[Sentence]:
    """Returns one sentence per metric whose best mean is over other prompts than those on which it loses a test."""
    found = []
    for column in columns:
        order = [method for method, _ in ranking(rows, column)]
        better = [titles[m] for m in order[1:] if verdict(comparisons, column, order[0], m) == "worse"]
        if better:
            verb = "is" if len(better) == 1 else "are"
            text = f"On {column.title}, {titles[order[0]]} has the best mean, and {in_words(better)} {verb} better on "
            found.append(Sentence(text + "the prompts that both have.", f"tests-{column.name}"))
    return found


def _leaders(
    rows: Sequence[TableRow], columns: Sequence[MetricInfo], comparisons: Sequence[Comparison], titles: dict[str, str]
) -> list[Sentence]:
    """Returns one sentence about the best means that no test carries."""
    leads: dict[str, list[str]] = {}
    shared = []
    for column in columns:
        order = ranking(rows, column)
        if len(order) < 2 or any(
            verdict(comparisons, column, order[0][0], m) in ("better", "worse") for m, _ in order[1:]
        ):
            continue
        best = [method for method, mean in order if equal(mean, order[0][1])]
        if len(best) > max(1.0, TIED_SHARE * len(order)):
            shared.append(f"on {column.title}, {len(best)} of {len(order)} systems share the best value")
        else:
            leads.setdefault(in_words([titles[method] for method in best]), []).append(column.title)
    parts = [f"{who} on {in_words(where)}" for who, where in leads.items()]
    text = f"the best mean is that of {'; of '.join(parts)}" if parts else ""
    text = "; ".join(part for part in (text, *shared) if part)
    return [Sentence(f"{text[0].upper()}{text[1:]}.", "table")] if text else []


def _nothing_apart(power: Sequence[Power], columns: Sequence[MetricInfo], prompts: int) -> str:
    of = {entry.metric: entry.first_two for entry in power}
    needed = [f"{of[column.name]} on {column.title}" for column in columns if of.get(column.name)]
    would = f"; to tell best from second best would take about {in_words(needed)}" if needed else ""
    return f"With {prompts} prompt{'s' * (prompts != 1)} no difference between systems is significant{would}."


def _floors(rows: Sequence[TableRow], columns: Sequence[MetricInfo]) -> list[Sentence]:
    """Returns a sentence per floor, or floors that tie, with a better mean than every system on some metric."""
    leads: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        order = ranking(rows, column)
        sign = -1.0 if column.better == "higher" else 1.0
        floors = [
            (sign * mean, row.method)
            for row in rows
            if row.block == "floors" and row.stands_beside(column.name)
            if (mean := row.scores[column.name].mean) is not None
        ]
        if not floors or not order:
            continue
        least = min(floors)[0]
        if least < sign * order[0][1] and not equal(least, sign * order[0][1]):
            word = "highest" if column.better == "higher" else "lowest"
            best = tuple(method for value, method in floors if equal(value, least))
            leads.setdefault(best, []).append(f"the {word} {column.title}")
    titles = {row.method: row.title for row in rows}
    sentences = []
    for names, where in leads.items():
        if len(names) == 1:
            (name,) = names
            what = f": {MEANING_OF_FLOORS[name]}" if name in MEANING_OF_FLOORS else ""
            text = f"{titles[name]}, a floor, has {in_words(where)}{what}."
        else:
            text = f"{in_words([titles[name] for name in names])}, floors, share {in_words(where)}."
        sentences.append(Sentence(text, "table"))
    return sentences
