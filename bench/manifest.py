r"""Which videos a command means, and what is known of them: paths, globs, prompt files and manifests.

File names never carry meaning: prompt, method and seed come from a manifest or not at all. What names do carry is an
order, where they are numbered: see `metrics.natural_order`.

Example:
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "videos.csv"
    >>> _ = file.write_text('path,prompt\nclips/a.mp4,"a red ball, then a blue one"\n')
    >>> read_manifest(file)[0].prompt
    'a red ball, then a blue one'
"""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any

from bench.errors import ConfigError
from bench.prompts import load_prompts, refuse_half_characters
from bench.terminal import printable
from metrics.decoding.pictures import PICTURES
from metrics.natural_order import natural_order, numbers_descend

VIDEOS = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""File name endings of the videos that a folder stands for; any other file is scored where it is named."""

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


@dataclass(frozen=True)
class GivenVideo:
    """One video made elsewhere; its fields, but for the last, are the columns of a manifest.

    Attributes:
        path: video file or folder of pictures. A name that is not UTF-8 holds surrogates, as Python gives it:
            `bench.terminal.printable` makes it fit to print, `bench.files.write_json` writes it.
        prompt: text it was made from; empty if unknown.
        method: group it is averaged in; empty if unknown.
        seed: as the manifest gives it.
        extra: further columns, as (name, text), in the order of the manifest.
    """

    path: str
    prompt: str = ""
    method: str = ""
    seed: str = ""
    extra: tuple[tuple[str, str], ...] = ()


COLUMNS = tuple(column.name for column in fields(GivenVideo) if column.name != "extra")
"""The columns of a manifest that are read; others are refused, or kept as they are."""

UNKNOWN = f"only {', '.join(COLUMNS)} are read; --extra keep carries others into the tables"


@dataclass(frozen=True)
class Collected:
    """The videos of a command.

    Attributes:
        videos: at least one, in the order they are scored.
        warnings: sentences for people about what may not be meant: prompts paired with videos that are out of step.
    """

    videos: tuple[GivenVideo, ...]
    warnings: tuple[str, ...] = ()


def collect(paths: Sequence[str], prompts: str, manifest: str, *, keep_extra: bool = False) -> Collected:
    """Returns the videos of a command.

    Args:
        paths: files, folders of pictures, and folders of videos and globs, whose videos come in their natural order.
        prompts: a prompt file, one prompt per video in order, or one for all; empty for none.
        manifest: a file that `read_manifest` reads; empty for none.
        keep_extra: keep the manifest's further columns beside the scores, in place of refusing them.

    Raises:
        ConfigError: nothing to score, a glob without a match, numbers that do not match, or prompts for videos whose
            order cannot be known.
    """
    if manifest and (paths or prompts):
        raise ConfigError(
            "--manifest names the videos and their prompts itself: give no paths and no --prompts with it"
        )
    if manifest:
        return Collected(tuple(read_manifest(Path(manifest), keep_extra=keep_extra)))
    told = load_prompts(prompts).prompts if prompts else ()
    changing = [prompt.id for prompt in told if prompt.changes]
    if changing:
        raise ConfigError(
            f"{prompts}: prompt {changing[0]} changes on the way, which given videos cannot say; give texts"
        )
    texts = [prompt.text for prompt in told] or [""]
    by_position = len(texts) > 1
    videos = [GivenVideo(path) for word in paths for path in _expanded(word, by_position)]
    if not videos:
        raise ConfigError("no videos to score: give files, folders of pictures, globs, or --manifest FILE")
    if by_position and len(texts) != len(videos):
        raise ConfigError(
            f"{prompts} has {len(texts)} prompts for {len(videos)} videos: one per video in order, or one"
        )
    paired = tuple(replace(video, prompt=texts[i % len(texts)]) for i, video in enumerate(videos))
    return Collected(paired, _out_of_step(paired) if by_position else ())


def pairs(videos: Iterable[GivenVideo]) -> list[tuple[str, ...]]:
    """Returns a table of what would be scored with which prompt: a head and one row per video."""
    return [
        ("video", "prompt", "method", "seed"),
        *((v.path, v.prompt or "-", v.method or "-", v.seed or "-") for v in videos),
    ]


def read_manifest(path: Path, *, keep_extra: bool = False) -> list[GivenVideo]:
    r"""Returns the videos of a manifest, in its order; paths in it are relative to its folder.

    A `.csv` file is UTF-8 (with or without a byte order mark) with a head that names some of `COLUMNS`; cells may be
    quoted and then hold commas and line breaks; cells left out at the end of a row are empty. A `.jsonl` file is UTF-8
    with one object a line; a line ends at "\n" and nowhere else.

    Raises:
        ConfigError: another ending, an unreadable file, unknown columns, cells without a column, or a row without a
            path; with the number of the row (the head is row 1, as in a spreadsheet) or of the line.
    """
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError(f"manifest {path}: give a .csv or .jsonl file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            read = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
            rows = list(read(file, path, keep_extra))
    except OSError as cause:
        raise ConfigError(f"manifest {path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise ConfigError(f"manifest {path} is not UTF-8 at byte {cause.start}: save it as UTF-8") from cause
    return [_video(row, where, path.parent) for where, row in rows]


def _expanded(word: str, by_position: bool) -> Sequence[str]:
    found = _videos_in(Path(word))
    if not found:
        if not any(mark in word for mark in "*?[") or os.path.exists(word):  # noqa: PTH110 - likewise
            return [word]
        found = glob.glob(word, recursive=True)  # noqa: PTH207 - Path.glob is relative
    order = natural_order(found)
    if not order.names:
        raise ConfigError(f"no videos to score: nothing matches {word}")
    if order.doubt and by_position:
        raise ConfigError(
            f"{word}: {order.doubt}, so which prompt belongs to which video cannot be known: "
            "name the videos one by one, or write a --manifest"
        )
    return order.names


def _videos_in(folder: Path) -> list[str]:
    """Returns the video files in a folder without pictures; nothing for any other path.

    A folder with pictures is one video, its pictures are the frames.

    Raises:
        ConfigError: it holds both, so what is meant cannot be known and some would go unscored.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a name is too long for the disk
        return []
    files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    videos = [file for file in files if file.suffix.lower() in VIDEOS]
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    if videos and pictures:
        endings = " ".join(sorted({f"'{folder}/*{file.suffix}'" for file in videos}))
        raise ConfigError(
            f"{printable(str(folder))} holds videos ({len(videos)}) and pictures ({len(pictures)}): name the videos, "
            f"{printable(endings)}; or, if the pictures are the frames of one video, name the folder in a --manifest"
        )
    return [] if pictures else [str(file) for file in videos]


def _out_of_step(videos: Sequence[GivenVideo]) -> tuple[str, ...]:
    """Returns a warning if numbered videos stand in another order, as they do where the shell expands a glob."""
    found = numbers_descend([video.path for video in videos])
    if found is None:
        return ()
    prompt_of = {video.path: video.prompt for video in videos}
    first, second = (f"{printable(path)} ({printable(prompt_of[path])})" for path in found)
    return (
        f"prompts go to videos by position, and the numbers in the names are out of step: {first} comes before "
        f"{second}. Put the glob in quotes to have its videos in the order of their numbers; --dry-run shows all pairs",
    )


def _csv_rows(file: Iterable[str], path: Path, keep_extra: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = csv.reader(file, strict=True)
    number, head = 0, list[str]()
    try:
        for number, cells in enumerate(rows, start=1):
            if not head and any(cells):
                head = _head(cells, f"manifest {path}, row {number}", keep_extra)
            elif any(cells):
                where = f"manifest {path}, row {number}"
                if len(cells) > len(head):
                    raise ConfigError(
                        f"{where}: {len(cells)} cells for {len(head)} columns, the last one is {cells[-1][:40]!r}: "
                        'put texts with commas in double quotes ("a cat, a dog")'
                    )
                row = dict(zip(head, cells, strict=False))
                if row.get("method", "").startswith(" ") or row.get("prompt", "").startswith(' "'):
                    raise ConfigError(
                        f"{where}: {row!r} comes of a comma or a quote inside a text: put texts with commas in double "
                        "quotes, without a blank before them"
                    )
                yield where, row
    except csv.Error as cause:
        raise ConfigError(f"manifest {path}, row {number + 1}: not CSV ({cause}), check its double quotes") from cause
    if not head:
        raise ConfigError(f"manifest {path} is empty: its first row names the columns ({', '.join(COLUMNS)})")


def _head(cells: Sequence[str], where: str, keep_extra: bool) -> list[str]:
    names = [cell.strip() for cell in cells]
    if "path" not in names:
        for separator, plural in SEPARATORS.items():
            if "path" in [word.strip(' "') for word in ",".join(cells).split(separator)]:
                raise ConfigError(f"{where}: the columns seem to be separated by {plural}: save it with commas")
        raise ConfigError(
            f"{where}: no column is called `path`: the first row names the columns ({', '.join(COLUMNS)})"
        )
    for name in names:
        if name not in COLUMNS and not (keep_extra and name):
            raise ConfigError(f"{where}: unknown column {name!r}: {UNKNOWN}")
        if name not in COLUMNS and name.casefold() in COLUMNS:
            raise ConfigError(f"{where}: column {name!r}: write it {name.casefold()!r}")
        if names.count(name) > 1:
            raise ConfigError(f"{where}: two columns are called {name!r}")
    return names


def _json_rows(file: Iterable[str], path: Path, keep_extra: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate("".join(file).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"manifest {path}, line {number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as cause:
            raise ConfigError(f"{where}: not JSON ({cause})") from cause
        if not isinstance(content, dict):
            raise ConfigError(f'{where}: not an object such as {{"path": "a.mp4"}}')
        if (unknown := sorted(content.keys() - set(COLUMNS))) and not keep_extra:
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}: {UNKNOWN}")
        yield where, content


def _video(row: Mapping[str, Any], where: str, folder: Path) -> GivenVideo:
    values = {name: str(value) for name, value in row.items() if value is not None}
    for name, value in row.items():
        if not isinstance(value, _types(name)) or (isinstance(value, bool) and name in COLUMNS):
            raise ConfigError(f"{where}: `{name}` must be a text, not {value!r}")
    if not values.get("path"):
        raise ConfigError(f"{where}: no `path`")
    for name, value in values.items():
        if name != "path":
            refuse_half_characters(value, f"{where}: `{name}`")
    if "\0" in values["path"]:
        raise ConfigError(f"{where}: `path` holds a zero byte, which no file name does")
    known = {name: values[name] for name in COLUMNS if name in values}
    extra = tuple((name, value) for name, value in values.items() if name not in COLUMNS)
    return GivenVideo(**{**known, "path": str(folder / values["path"])}, extra=extra)


def _types(name: str) -> tuple[type, ...]:
    """Returns what a JSON object may hold under a name: a text, for a seed a whole number, elsewhere any one value."""
    if name not in COLUMNS:
        return (str, int, float, bool, NoneType)
    return (str, int, NoneType) if name == "seed" else (str, NoneType)
