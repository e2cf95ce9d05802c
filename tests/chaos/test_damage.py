"""A storm of damage over every kind of file in a run's folder: `verify` sees it, `run` repairs it, nothing hangs.

Commands run in this process: what they raise beside their own exit codes fails the test, and an alarm ends what hangs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from bench.ffv1 import read_whole_video
from tests.chaos.conftest import Extent
from tests.chaos.storm import image, litter, plugin
from tests.tiny_grid import arguments, call, lay_out, lay_starts

pytestmark = pytest.mark.chaos

KINDS = {
    "run.json": "run.json",
    "record": "cells/*/*.json",
    "video": "cells/*/*.mkv",
    "start": "starts/*.json",
    "first chunk": "starts/????????????????.mkv",
    "base": "starts/*.base.mkv",
    "folder": "cells/walk",
}


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, len(content))])


def empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def other_type(path: Path, rng: random.Random) -> None:
    path.write_text(rng.choice(['{"schema": "one"}', "[]", "null", '{"key": 3, "scores": 1}', "[" * 100_000, "1e999"]))


def replace(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


HURTS: dict[str, Callable[[Path, random.Random], None]] = {
    "flip": flip,
    "cut": cut,
    "empty": empty,
    "other type": other_type,
    "missing": lambda path, rng: replace(path, lambda _: None),
    "folder": lambda path, rng: replace(path, lambda p: p.mkdir()),
    "pipe": lambda path, rng: replace(path, os.mkfifo),
    "loop": lambda path, rng: replace(path, lambda p: p.symlink_to(p)),
}


@contextmanager
def alarm(seconds: int, what: str) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def called(*words: str) -> int:
    with alarm(600, words[0]):
        return call(*words)


def fingerprint(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {str(path): (stat.st_mode, stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def shows_nothing(kind: str, flipped: Path) -> bool:
    """Returns whether a flipped bit need not be found: in JSON without a checksum, or where no frame differs by it."""
    if kind in ("first chunk", "base"):
        whole = read_whole_video(Path("clean") / flipped.relative_to("out"))
        return np.array_equal(read_whole_video(flipped), whole)
    return kind in ("run.json", "start")


def test_damage_storm(tmp_path: Path, extent: Extent, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, plugin(0.0))
    lay_starts(tmp_path, "clean")
    monkeypatch.chdir(tmp_path)
    again = ["--set", "metrics.brightness.gain=2.0"]
    assert called(*arguments(methods="walk,still", out="clean")) == 0
    shutil.copytree("clean", "wanted")
    assert called(*arguments(*again, methods="walk,still", out="wanted")) == 0
    wanted = image(Path("wanted"))
    rng = random.Random(extent.seed)
    ways = [(kind, hurt) for kind in KINDS for hurt in HURTS if kind != "folder" or hurt in ("missing", "pipe", "loop")]
    rng.shuffle(ways)
    seen = Counter[str]()
    for number in range(extent.damages):
        kind, hurt = ways[number % len(ways)]
        shutil.rmtree("out", ignore_errors=True)
        shutil.copytree("clean", "out")
        target = rng.choice(sorted(Path("out").glob(KINDS[kind])))
        HURTS[hurt](target, rng)
        before = fingerprint(Path("out"))
        where = f"{hurt} of {target}"
        verified = called("verify", "out")
        assert verified in (0, 4), where
        assert fingerprint(Path("out")) == before, where
        if hurt == "missing":  # of what no other file names nobody can say that it is gone
            assert verified == 4 or kind in ("run.json", "record", "start", "folder"), where
        else:
            assert verified == 4 or (hurt == "flip" and shows_nothing(kind, target)), where
        code = called(*arguments(*again, methods="walk,still", out="out"))
        if kind == "folder" and hurt != "missing":
            assert code == 4, where  # not ours to remove: named, and nothing else happens
            seen["named"] += 1
            continue
        if kind in ("first chunk", "base", "start"):
            assert code in (0, 1), where  # no model here can draw it again: its cells keep their videos or say so
        else:
            assert code == 0, where
            assert image(Path("out")) == wanted, where
            assert called("verify", "out") == 0, where
        assert litter(Path("out")) == [], where
        seen[kind] += 1
        if number % 8 == 0:
            assert called("report", "--out", "out") in (0, 4), where
    print(f"{sum(seen.values())} damaged files: {dict(seen)}")
