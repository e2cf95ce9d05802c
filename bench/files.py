"""Files that appear whole or not at all, and JSON in which an undefined number is null.

Example:
    >>> with replacing(Path("a.json")) as temporary:     # doctest: +SKIP
    ...     temporary.write_text("{}")
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, StoreError
from bench.owner import is_gone, this_process

DAY = 86400.0
"""Seconds after which a temporary file of another machine is taken for left over."""


@contextmanager
def replacing(path: Path, *, make_way: bool = False) -> Iterator[Path]:
    """Returns a temporary path beside `path` that takes its place when the block ends without an error.

    It is on the disk when this returns, so what is written later never survives a power cut that it does not survive.

    Args:
        path: the file.
        make_way: a folder that lies under that name is moved aside first, to `NAME.aside-1`: for names that the store
            gives; a folder under a name that the user gives is the user's.

    Raises:
        StoreError: the folder cannot be written or is full, or a folder lies under that name.
    """
    temporary = path.with_name(f".tmp-{this_process()}~{path.name}")
    try:
        yield temporary
        _on_disk(temporary)
        if make_way:
            _move_aside(path)
        temporary.replace(path)
        _on_disk(path.parent)
    except OSError as cause:
        raise StoreError(f"{path}: cannot be written ({cause.strerror or cause})") from cause
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any], *, make_way: bool = False) -> None:
    """Writes one JSON file in one step; NaN and infinities become null, which is what an undefined number is.

    `make_way` as for `replacing`.
    """
    text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path, make_way=make_way) as temporary:
        # A file name that is not UTF-8 holds surrogates: escaped by a backslash they are JSON's own escapes.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def check_output(path: Path, option: str, ending: str, made: Path) -> None:
    """Raises ConfigError unless a file can be written under a name that the user gives; leaves nothing there.

    Args:
        path: the file, which need not exist.
        option: what names it, such as "--json".
        ending: how the name has to end, so that a shell's `--json *.mp4` costs nobody a video.
        made: a folder that the command makes, with all above it, if it is not there.
    """
    place = path.absolute().parent
    while not place.exists() and place in (made.absolute(), *made.absolute().parents):
        place = place.parent
    probe = place / f".tmp-{this_process()}~{path.name}"
    try:
        if path.is_dir():
            raise ConfigError(f"{option} {path}: a folder lies there; name a file")
        if path.suffix != ending:
            raise ConfigError(f"{option} {path}: name it FILE{ending}")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{option} {path}: a pipe or a device, which a file cannot replace; name a file")
        probe.touch()
        probe.unlink()
    except OSError as cause:
        raise ConfigError(
            f"{option} {path}: no file can be written there ({cause.strerror}); name one in a folder that you can write"
        ) from cause


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        StoreError: it is missing, torn, not an object, or not a file at all.
    """
    check_regular(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_known, parse_float=_known)
    except (OSError, ValueError, RecursionError) as cause:
        raise StoreError(f"{path}: torn or unreadable ({cause}); the same `run` command makes it anew") from cause
    if not isinstance(content, dict):
        raise StoreError(f"{path}: torn (no JSON object); the same `run` command makes it anew")
    return content


def check_regular(path: Path) -> None:
    """Raises StoreError unless a path is a file: to open a pipe or a device would wait for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as cause:
        raise StoreError(f"{path}: not found; make it with `python -m bench run`") from cause
    except OSError as cause:
        raise StoreError(f"{path}: torn or unreadable ({cause}); the same `run` command makes it anew") from cause
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise StoreError(f"{path}: {what}, not a file; the same `run` command makes it anew")


def finite(value: Any) -> Any:
    """Returns plain JSON content in which numbers that are not finite are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files and claims that processes which are gone left below a folder.

    Of another machine nothing is known but silence: its temporary files go after a day.
    """
    for path in folder.rglob(".tmp-*"):
        owner = path.name.removeprefix(".tmp-").split("~")[0]
        with suppress(OSError):
            if is_gone(owner) or folder_clock(path.parent) - path.lstat().st_mtime > DAY:
                path.unlink(missing_ok=True)
    for path in folder.rglob(".claim-*"):
        with suppress(OSError):
            if path.is_file() and is_gone(path.read_text(encoding="ascii", errors="replace")):
                path.unlink(missing_ok=True)


def folder_clock(folder: Path) -> float:
    """Returns what time it is by the clock that stamps the files of a folder, which may be another machine's.

    Raises:
        OSError: the folder cannot be written.
    """
    probe = folder / f".tmp-{this_process()}~clock"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _on_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _known(text: str) -> float:
    """Returns the number a text stands for; what is not finite never was written by us."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return value


def _move_aside(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        number = 1
        while os.path.lexists(aside := path.with_name(f"{path.name}.aside-{number}")):
            number += 1
        path.rename(aside)
