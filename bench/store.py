"""The owner of every path under results/: run.json, first chunks, one video and one JSON per cell.

Files are written under a temporary name and moved into place, the JSON of a cell last, so a JSON implies its video and
a killed run leaves nothing half done under a final name. Several processes may write into the same folder.

Example:
    >>> store = Store(Path("results/mini-1a2b3c"))
    >>> [record.status for record in store.records()]   # doctest: +SKIP
    ['ok', 'ok', 'failed']
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.errors import StoreError
from bench.ffv1 import VideoWriter, frames_digest, read_video
from bench.files import read_json, remove_leftovers, write_json
from bench.spec import SCHEMA, Cell, Prompt
from generators.api import MethodInfo, Start
from metrics.api import MetricInfo

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class StoredScore:
    """One metric's score of one video, with what it was computed with.

    Attributes:
        value: the number, or None where it is undefined.
        parts: named scalars behind it.
        series: per-frame, per-pair or per-event values.
        version: version of the metric.
        reason: why there is no value, in a sentence.
        settings: settings of the metric, weights fingerprints included.
        status: "ok" (an undefined value is ok), "failed" if the metric raised, "skipped" if its weights are missing.
    """

    value: float | None
    parts: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    version: str = ""
    reason: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "ok"


@dataclass(frozen=True)
class Record:
    """What is known of one cell.

    Attributes:
        key: content hash of the cell.
        method: name of the method.
        title: its name in tables.
        prompt: the prompt.
        seed: the seed.
        status: "ok" (the video exists), "failed" (the method raised) or "skipped" (its weights are missing).
        reason: why the status is not "ok", in a sentence; empty otherwise.
        start: SHA-256 over the bytes of the shared first chunk that was handed to the method; empty if there was none.
        num_frames: frames of the video, first chunk included; 0 unless ok.
        height: frame height in pixels.
        width: frame width in pixels.
        fps: frames per second.
        seams: first frame of every chunk but the first.
        video_sha256: SHA-256 of the video file; empty unless ok.
        video_bytes: its size, the cheap check for a torn file.
        cost: seconds, bytes and operations by name (see `bench.cost`); None where a figure does not apply.
        scores: scores by metric name.
        memory: how memory was saved and why, in a sentence, where it ran out otherwise (see `bench.memory`).
    """

    key: str
    method: str
    title: str
    prompt: Prompt
    seed: int
    status: Status
    reason: str = ""
    start: str = ""
    num_frames: int = 0
    height: int = 0
    width: int = 0
    fps: float = 0.0
    seams: tuple[int, ...] = ()
    video_sha256: str = ""
    video_bytes: int = 0
    cost: Mapping[str, float | None] = field(default_factory=dict)
    scores: Mapping[str, StoredScore] = field(default_factory=dict)
    memory: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What run.json says: the grid of the latest command in this folder, and where it ran.

    Attributes:
        schema: version of the folder's layout.
        name: name of the run.
        created: UTC time of the first command, ISO 8601.
        prompt_set: label of the prompts, such as "first 4 of mini" or "paper-50 (StreamingT2V, appendix A.5)".
        methods: names of the methods, in the order of the command.
        metrics: what each metric of the run says about itself, in the order of the table.
        prompts: the prompts.
        seeds: the seeds.
        profile: name of the profile.
        settings: the whole profile as resolved, with defaults of every method and metric.
        provenance: versions, machine, commit.
        plugins: drop-in files of the command.
        cells: "method/key" of every cell of the grid, in order.
        stamps: what each method says of itself; empty in runs of earlier versions.
    """

    schema: int
    name: str
    created: str
    prompt_set: str
    methods: tuple[str, ...]
    metrics: tuple[MetricInfo, ...]
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    profile: str
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    plugins: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    stamps: Mapping[str, MethodInfo] = field(default_factory=dict)


class Store:
    """A results folder. Reading never creates anything; `open` makes the folder and takes the grid of a command.

    Args:
        path: the folder of one run.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    # -- the run ---------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Returns whether this folder holds a run."""
        return (self.path / "run.json").is_file()

    def open(self, info: RunInfo) -> None:
        """Writes run.json, keeping the creation time of an earlier command in the same folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for method in info.methods:
                (self.path / "cells" / method).mkdir(parents=True, exist_ok=True)
            (self.path / "starts").mkdir(exist_ok=True)
        except OSError as cause:
            raise StoreError(
                f"{self.path}: cannot write results there ({cause.strerror}); choose a folder with --out"
            ) from cause
        remove_leftovers(self.path)
        if self.exists():
            info = dataclasses.replace(info, created=self.info().created)
        write_json(self.path / "run.json", dataclasses.asdict(info))

    def info(self) -> RunInfo:
        """Returns what run.json says.

        Raises:
            StoreError: there is none, it is torn, or it is of another schema.
        """
        path = self.path / "run.json"
        raw = read_json(path)
        if raw.get("schema") != SCHEMA:
            raise StoreError(f"{path}: schema {raw.get('schema')!r}, this version reads {SCHEMA}; run again with --out")
        with _reading(path):
            raw["metrics"] = tuple(MetricInfo(**metric) for metric in raw["metrics"])
            raw["prompts"] = tuple(_prompt(prompt) for prompt in raw["prompts"])
            for name in ("methods", "seeds", "plugins", "cells"):
                raw[name] = tuple(raw[name])
            raw["stamps"] = {name: MethodInfo(**stamp) for name, stamp in raw.get("stamps", {}).items()}
            return RunInfo(**raw)

    # -- cells -----------------------------------------------------------------------------------------------------

    def records(self) -> list[Record]:
        """Returns the records of the grid in run.json that exist, in grid order.

        Raises:
            StoreError: a record is torn; running the same command again makes that cell anew.
        """
        paths = [self.path / "cells" / f"{cell}.json" for cell in self.info().cells]
        return [_read_record(path) for path in paths if path.exists()]

    def find(self, cell: Cell) -> Record | None:
        """Returns the record of a cell whose files are whole, else None.

        Raises:
            StoreError: the record or its video is torn (the sentence says which).
        """
        path = self._cell(cell.method, cell.key, ".json")
        if not path.exists():
            return None
        record = _read_record(path)
        if record.status == "ok":
            video = self.video_path(record)
            size = video.stat().st_size if video.exists() else -1
            if size != record.video_bytes:
                what = "is missing" if size < 0 else f"has {size} bytes, not {record.video_bytes}"
                raise StoreError(f"{video}: the video {what}; it is made anew")
        return record

    def save(self, record: Record) -> None:
        """Writes the JSON of a cell; the video of an "ok" record is in place before."""
        write_json(self._cell(record.method, record.key, ".json"), dataclasses.asdict(record))

    def discard(self, cell: Cell) -> None:
        """Removes the record of a cell, so that it is made anew."""
        self._cell(cell.method, cell.key, ".json").unlink(missing_ok=True)

    def video_path(self, record: Record) -> Path:
        """Returns where the video of a record is."""
        return self._cell(record.method, record.key, ".mkv")

    def cell_video(self, cell: Cell) -> Path:
        """Returns where the video of a cell goes."""
        return self._cell(cell.method, cell.key, ".mkv")

    def start_paths(self, key: str) -> tuple[Path, Path]:
        """Returns where the frames of a first chunk go, and its base frames where their size differs."""
        return self.path / "starts" / f"{key}.mkv", self.path / "starts" / f"{key}.base.mkv"

    # -- first chunks ----------------------------------------------------------------------------------------------

    def save_start(
        self, key: str, start: Start, fps: float, cost: Mapping[str, float | None] | None = None, memory: str = ""
    ) -> None:
        """Stores a first chunk: its frames, its base frames where their size differs, and last a JSON with their hash.

        Args:
            key: its key.
            start: the chunk.
            fps: frames per second.
            cost: what drawing it cost, as in `bench.store.Record`.
            memory: likewise.
        """
        path, base = self.start_paths(key)
        for target, frames in ((path, start.frames), (base, start.base)):
            if target == path or frames.shape != start.frames.shape:
                with VideoWriter(target, fps) as writer:
                    writer.write(frames)
        content = {
            "sha256": frames_digest(start.frames),
            "base_sha256": frames_digest(start.base),
            "base_differs": start.base.shape != start.frames.shape,
            "cost": cost or {},
            "memory": memory,
        }
        write_json(path.with_suffix(".json"), content)

    def load_start(self, key: str) -> tuple[Start, str]:
        """Returns a stored first chunk and the SHA-256 of its frames.

        Raises:
            StoreError: it is missing or torn.
        """
        path, base_path = self.start_paths(key)
        content = read_json(path.with_suffix(".json"))
        frames = np.concatenate(list(read_video(path)))
        base = np.concatenate(list(read_video(base_path))) if content.get("base_differs") else frames
        digest = frames_digest(frames)
        if (digest, frames_digest(base)) != (content.get("sha256"), content.get("base_sha256")):
            raise StoreError(f"{path}: the first chunk is not the one that was stored; it is drawn again")
        return Start(frames, base), digest

    # -- paths -----------------------------------------------------------------------------------------------------

    def _cell(self, method: str, key: str, suffix: str) -> Path:
        return self.path / "cells" / method / f"{key}{suffix}"


def latest(results: Path) -> Path:
    """Returns the folder of the run that was started last.

    Raises:
        StoreError: there is no run.
    """
    runs = [path for path in results.glob("*/run.json") if path.is_file()]
    if not runs:
        raise StoreError(f"{results}: no run there; start one with `python -m bench run`, or name a folder with --out")
    return max(runs, key=lambda path: path.stat().st_mtime).parent


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise StoreError(f"{path}: not as this version writes it ({cause}); `run` makes it anew") from cause


def _read_record(path: Path) -> Record:
    raw = read_json(path)
    with _reading(path):
        raw["prompt"] = _prompt(raw["prompt"])
        raw["seams"] = tuple(raw["seams"])
        raw["scores"] = {name: StoredScore(**score) for name, score in raw["scores"].items()}
        return Record(**raw)


def _prompt(raw: Mapping[str, Any]) -> Prompt:
    return Prompt(raw["id"], raw["text"], tuple(raw["tags"]))
