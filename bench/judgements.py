"""What judges said of pairs of videos: read from the page's exports, kept with the run, turned into strengths.

Example:
    >>> judged = read_judgements(Path("judgements.json"), records)   # doctest: +SKIP
    >>> judged[0].answer                                             # doctest: +SKIP
    'tie'
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.bradley_terry import Strength, Wins, strengths
from bench.errors import ConfigError, StoreError
from bench.files import read_json, write_json
from bench.records import Record

JUDGEMENT_FORMAT = "longvideo-bench judgements 1"
"""First field of an export; another one is another version."""

FOLDER = "judgements"
"""Where a run keeps the exports that were folded in, below its folder."""

Preference = Literal["a", "b", "tie"]

_ANSWERS: Mapping[str, Preference] = {"a": "a", "b": "b", "tie": "tie"}

_WINS: Mapping[Preference, tuple[float, float]] = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}


@dataclass(frozen=True)
class Judgement:
    """One answer: which of two videos of the same prompt is better.

    Attributes:
        first: record of the video called A.
        second: record of the video called B.
        answer: "a", "b" or "tie".
    """

    first: Record
    second: Record
    answer: Preference


def read_judgements(path: Path, records: Sequence[Record]) -> list[Judgement]:
    """Returns the judgements in one export.

    Args:
        path: a JSON file that the page exported.
        records: of the run it is about.

    Raises:
        ConfigError: it is no export, or of videos that this run does not have.
    """
    known = {record.key: record for record in records if record.status == "ok"}
    return [_judgement(path, number, answer, known) for number, answer in enumerate(_answers(path), start=1)]


def _answers(path: Path) -> list[Any]:
    try:
        content = read_json(path)
    except StoreError as error:
        raise ConfigError(f"{path}: no judgements can be read ({error.__cause__ or error})") from error
    answers = content.get("answers")
    if content.get("format") != JUDGEMENT_FORMAT or not isinstance(answers, list):
        raise ConfigError(f"{path}: not judgements of version {JUDGEMENT_FORMAT!r}; export them from the page again")
    return answers


def keep_judgements(path: Path, run: Path) -> Path:
    """Copies an export into a run's folder under a name made from its content and returns the copy's path."""
    content = read_json(path)
    name = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    target = run / FOLDER / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    write_json(target, content)
    return target


def kept_judgements(run: Path, records: Sequence[Record]) -> tuple[list[Judgement], int]:
    """Returns the judgements that a run keeps of these videos, and how many it keeps of others.

    A table may show some of a run's rows, and a row that was made anew has other videos than were judged. The page
    exports all its answers every time, so an answer in several exports, known by its `id`, counts once.
    """
    known = {record.key: record for record in records if record.status == "ok"}
    found, others, seen = [], 0, set[str]()
    for path in sorted((run / FOLDER).glob("*.json")):
        for number, answer in enumerate(_answers(path), start=1):
            given_id = str(answer.get("id", "")) if isinstance(answer, dict) else ""
            if given_id and given_id in seen:
                continue
            seen.add(given_id)
            if isinstance(answer, dict) and not {str(answer.get(name)) for name in ("a", "b")} <= known.keys():
                others += 1
            else:
                found.append(_judgement(path, number, answer, known))
    return found, others


def judged_strengths(judgements: Sequence[Judgement]) -> dict[str, Strength]:
    """Returns the strength of each judged method, the strongest first."""
    by_prompt: dict[str, dict[tuple[str, str], float]] = {}
    for judgement in judgements:
        a, b = judgement.first.method, judgement.second.method
        wins = by_prompt.setdefault(judgement.first.prompt_key, {})
        for pair, won in zip(((a, b), (b, a)), _WINS[judgement.answer], strict=True):
            wins[pair] = wins.get(pair, 0.0) + won
    found: Mapping[str, Wins] = by_prompt
    return strengths(found) if found else {}


def _judgement(path: Path, number: int, answer: Any, known: Mapping[str, Record]) -> Judgement:
    fields = [str(answer.get(name)) for name in ("a", "b", "answer")] if isinstance(answer, dict) else []
    if not fields or fields[2] not in _ANSWERS:
        raise ConfigError(f"{path}: answer {number} is not one of this version")
    missing = [key for key in fields[:2] if key not in known]
    if missing:
        raise ConfigError(f"{path}: answer {number} is about a video that this run does not have ({missing[0]!r})")
    first, second = known[fields[0]], known[fields[1]]
    if first.prompt_key != second.prompt_key or first.method == second.method:
        raise ConfigError(f"{path}: answer {number} is not about two methods on one prompt")
    return Judgement(first, second, _ANSWERS[fields[2]])
