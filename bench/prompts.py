"""Reads prompt suites, because every table depends on which prompts were drawn and must say so.

A suite is a packaged name or a user's file; either way it comes out as one `PromptSet` with a label that stands in
every table. The list of 50 prompts that the paper used is not ours to ship; it is recognised by its content.

Example:
    >>> suite = load_prompts("long50")
    >>> suite.label, len(suite.prompts)
    ('long50', 50)
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.spec import Prompt
from generators.api import TextChange

PAPER_LABEL = "paper-50 (StreamingT2V, appendix A.5)"
"""Label of the list of prompts behind the published Table 1."""

PAPER_SHA256 = "934dbe7b4beb7f84d1993eed7c28ea9998c272d3bc8a20fc78ca847169b7d56f"
"""`prompts_fingerprint` of the 50 prompts in appendix A.5. Source: arXiv:2403.14773, hashed as there."""

_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"'})
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEYS = {"id", "text", "tags"}


@dataclass(frozen=True)
class PromptSet:
    """A list of prompts and the name it goes by in tables.

    Attributes:
        label: packaged name, `PAPER_LABEL`, or the name of the user's file.
        prompts: at least one, with unique ids, in the order of the file.
    """

    label: str
    prompts: tuple[Prompt, ...]


def packaged() -> tuple[str, ...]:
    """Returns the names of the suites that travel with the package, sorted."""
    files = (entry.name for entry in resources.files("prompts").iterdir())
    return tuple(sorted(name.removesuffix(".jsonl") for name in files if name.endswith(".jsonl")))


def load_prompts(source: str) -> PromptSet:
    """Returns the prompts of a packaged suite or of a user's file.

    Args:
        source: a name from `packaged()`, or the path of a `.txt` file (one prompt a line, empty lines skipped) or a
            `.jsonl` file (objects with `text` and optionally `id` and `tags`), both UTF-8. A `text`, or a whole line,
            may be a list such as [{"at": 0, "text": "rain"}, {"at": 240, "text": "sun"}]: the text changes there.

    Raises:
        ConfigError: unknown name, missing or unreadable file, another suffix, no prompts, or a malformed line.
    """
    if source in packaged():
        text = resources.files("prompts").joinpath(f"{source}.jsonl").read_text(encoding="utf-8")
        return PromptSet(source, _parse(text, ".jsonl", source))
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in (".txt", ".jsonl"):
        names = ", ".join(packaged())
        raise ConfigError(f"unknown prompts {source!r}: give one of {names}, or a .txt or .jsonl file")
    prompts = _parse(_read(path), suffix, source)
    label = PAPER_LABEL if prompts_fingerprint(prompt.text for prompt in prompts) == PAPER_SHA256 else path.name
    return PromptSet(label, prompts)


def prompts_fingerprint(texts: Iterable[str]) -> str:
    """Returns the SHA-256 (hex) of a list of prompts; spacing, quote style and empty lines do not change it.

    Each text gets Unicode NFKC, straight quotes, white space collapsed to one blank, and is stripped; empty ones are
    dropped; the rest is joined with a newline and encoded as UTF-8. The order counts.
    """
    lines = (" ".join(unicodedata.normalize("NFKC", text).translate(_STRAIGHT).split()) for text in texts)
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no prompt file at {path}: check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompt file {path} is not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"prompt file {path} cannot be read: {error.strerror}") from error


def _parse(text: str, suffix: str, source: str) -> tuple[Prompt, ...]:
    """Returns the prompts in the text of a file; `source` is what error messages call it."""
    prompts: list[Prompt] = []
    first_line: dict[str, int] = {}
    first_text: dict[str, int] = {}
    for number, line in _lines(text):
        default_id = f"p{len(prompts) + 1:03d}"
        if suffix == ".txt":
            prompt = Prompt(id=default_id, text=line, tags=())
        else:
            prompt = _from_json(line, default_id, f"{source}, line {number}")
        if prompt.id in first_line:
            raise ConfigError(
                f"{source}, line {number}: id {prompt.id!r} was used on line {first_line[prompt.id]}: make ids unique"
            )
        if (before := first_text.get(prompt.text_hash)) is not None:
            raise ConfigError(f"{source}, line {number}: the same prompt as on line {before}: remove one of them")
        first_line[prompt.id] = first_text[prompt.text_hash] = number
        prompts.append(prompt)
    if not prompts:
        raise ConfigError(f"{source} holds no prompts: write one a line")
    return tuple(prompts)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, stripped line) of every line that is not blank."""
    for number, line in enumerate(text.split("\n"), start=1):
        if stripped := line.strip():
            yield number, stripped


def _from_json(line: str, default_id: str, where: str) -> Prompt:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    if isinstance(entry, list):
        entry = {"text": entry}
    if not isinstance(entry, dict):
        raise ConfigError(f'{where}: expected an object such as {{"text": "a red fox"}}, found {line[:40]}')
    if unknown := sorted(entry.keys() - _KEYS):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}: only id, text and tags are read")
    text, name, tags = entry.get("text"), entry.get("id", default_id), entry.get("tags", [])
    text, changes = _changing(text, where) if isinstance(text, list) else (text, ())
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{where}: `text` must be a sentence that is not empty")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ConfigError(f"{where}: `id` must be 1 to 64 letters, digits, dots, underscores or dashes, not {name!r}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ConfigError(f"{where}: `tags` must be a list of strings")
    refuse_half_characters("".join([text, *tags]), where)
    return Prompt(id=name, text=text.strip(), tags=tuple(tags), changes=changes)


def refuse_half_characters(text: str, where: str) -> None:
    """Raises ConfigError for a text with a lone surrogate, which no file of UTF-8 can hold."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"{where}: holds half a character (a lone surrogate); save the file anew as UTF-8")


def _changing(entries: list[Any], where: str) -> tuple[str, tuple[TextChange, ...]]:
    """Returns the first text of a list of texts and the changes that follow it."""
    changes: list[TextChange] = []
    for entry in entries:
        whole = isinstance(entry, dict) and entry.keys() == {"at", "text"} and type(entry["at"]) is int
        if not whole or not isinstance(entry["text"], str) or not entry["text"].strip():
            raise ConfigError(f'{where}: a changing text is a list of objects such as {{"at": 240, "text": "rain"}}')
        changes.append(TextChange(entry["at"], entry["text"].strip()))
    frames = [change.at for change in changes]
    if not frames or frames[0] != 0 or any(a >= b for a, b in pairwise(frames)):
        raise ConfigError(f"{where}: `at` counts frames: the first is 0 and each is above the one before, not {frames}")
    return changes[0].text, tuple(changes[1:])
