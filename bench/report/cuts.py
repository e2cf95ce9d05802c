"""Where the two detectors of cuts agree: which cuts only one of them sees.

Example:
    >>> matched([20.0, 48.0], [19.0, 90.0])
    ([(20.0, 19.0)], [48.0], [90.0])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.records import Record
from bench.report.csv_text import write_csv

SLACK = 2
"""Frames by which two detectors may differ on one cut: a dissolve has no exact frame."""


def matched(
    first: Sequence[float], second: Sequence[float]
) -> tuple[list[tuple[float, float]], list[float], list[float]]:
    """Returns the pairs of cuts that are one, the cuts of the first alone, and those of the second alone.

    Args:
        first: frames of one detector, ascending.
        second: of the other one.
    """
    rest, pairs, alone = list(second), [], []
    for cut in first:
        near = [other for other in rest if abs(other - cut) <= SLACK]
        if near:
            nearest = min(near, key=lambda other: abs(other - cut))
            pairs.append((cut, nearest))
            rest.remove(nearest)
        else:
            alone.append(cut)
    return pairs, alone, rest


def cuts_csv(records: Sequence[Record]) -> str:
    """Returns every cut of the videos that both detectors have scored, one row each, with who sees it."""
    rows: list[list[object]] = []
    for record, found in _opinions(records):
        rows += [[record.method, record.prompt.id, record.seed, int(cut), by] for cut, by in found]
    return write_csv(["method", "prompt", "seed", "frame", "seen_by"], rows)


def cuts_notes(records: Sequence[Record]) -> tuple[str, ...]:
    """Returns a sentence about how far the detectors agree, nothing where no video has both opinions."""
    opinions = _opinions(records)
    if not opinions:
        return ()
    seen = Counter(by for _, found in opinions for _, by in found)
    return (
        f"Of the cuts in {len(opinions)} videos that SCuts and TCuts both scored, both see {seen['both']}, SCuts alone "
        f"{seen['scuts']}, TCuts alone {seen['tcuts']}: `cuts.csv` names them.",
    )


def _opinions(records: Sequence[Record]) -> list[tuple[Record, list[tuple[float, str]]]]:
    """Returns the videos that both detectors have scored, each with its cuts and who sees them, ascending."""
    opinions = []
    for record in records:
        scores = [record.scores.get(name) for name in ("scuts", "tcuts")]
        if any(score is None or score.value is None for score in scores):
            continue
        scuts, tcuts = ([c for c in score.series["cuts"] if c is not None] for score in scores if score is not None)
        both, only_scuts, only_tcuts = matched(scuts, tcuts)
        found = [(cut, "both") for cut, _ in both]
        found += [(cut, "scuts") for cut in only_scuts] + [(cut, "tcuts") for cut in only_tcuts]
        opinions.append((record, sorted(found)))
    return opinions
