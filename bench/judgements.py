"""What judges said of pairs of videos: read from the page's exports, kept with the run, turned into strengths.

Example:
    >>> judged = read_judgements(Path("judgements.json"), records)   # doctest: +SKIP
    >>> judged[0].answer                                             # doctest: +SKIP
    'tie'
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
    """Returns the judgements in one export; those of videos that this run has no longer are left out.

    Args:
        path: a JSON file that the page exported.
        records: of the run it is about.

    Raises:
        ConfigError: it is no export, or all of videos that this run does not have.
    """
    found, others = _judgements([(path, number, answer) for number, answer in enumerate(_answers(path), 1)], records)
    if others and not found:
        raise ConfigError(
            f"{path}: all {others} answers are about videos that this run does not have; name the run of the page with "
            "--out, and every run of a page of several"
        )
    return found


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


def kept_judgements(runs: Iterable[Path], records: Sequence[Record]) -> tuple[list[Judgement], int]:
    """Returns the judgements that runs keep of these videos, and how many they keep of others.

    A table may show some of a run's rows, and a row that was made anew has other videos than were judged. The page
    exports all its answers every time, so an answer in several exports, known by its `id`, counts once; and so does
    an export that several of the runs keep, known by its name, which is made from its content.
    """
    exports = {path.name: path for run in runs for path in sorted((run / FOLDER).glob("*.json"))}
    answers: dict[str, tuple[Path, int, Any]] = {}
    for path in exports.values():
        for number, answer in enumerate(_answers(path), start=1):
            known_by = str(answer.get("id", "")) if isinstance(answer, dict) else ""
            answers.setdefault(known_by or f"{path.name} {number}", (path, number, answer))
    return _judgements(answers.values(), records)


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


def _judgements(answers: Iterable[tuple[Path, int, Any]], records: Sequence[Record]) -> tuple[list[Judgement], int]:
    """Returns the answers about these videos, and how many there are about others."""
    known = {record.key: record for record in records if record.status == "ok"}
    found = [_judgement(path, number, answer, known) for path, number, answer in answers]
    return [judgement for judgement in found if judgement is not None], found.count(None)


def _judgement(path: Path, number: int, answer: Any, known: Mapping[str, Record]) -> Judgement | None:
    """Returns what an answer says; None if it is about other videos than the known ones."""
    fields = [str(answer.get(name)) for name in ("a", "b", "answer")] if isinstance(answer, dict) else []
    if not fields or fields[2] not in _ANSWERS:
        raise ConfigError(f"{path}: answer {number} is not one of this version")
    if not set(fields[:2]) <= known.keys():
        return None
    first, second = known[fields[0]], known[fields[1]]
    if first.prompt_key != second.prompt_key or first.method == second.method:
        raise ConfigError(f"{path}: answer {number} is not about two methods on one prompt")
    return Judgement(first, second, _ANSWERS[fields[2]])
