"""What to run: prompts, cells and the grid they span, each cell with the key its files are stored under.

A key is a hash of everything that decides the bytes of a video and of nothing else, so the same cell is found again by
any later run, and a changed setting never picks up an old video.

Example:
    >>> content_key({"method": "still", "seed": 0}) == content_key({"seed": 0, "method": "still"})
    True
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.profile import Profile, Settings
from generators.api import TextChange
from metrics.api import ChangingText

SCHEMA = 1
"""Version of the files under results/: part of every key, written into run.json."""


@dataclass(frozen=True)
class Prompt:
    """One text to make videos of.

    Attributes:
        id: short name, unique in its set; shown in tables and on contact sheets.
        text: what the video shows.
        tags: what the prompt exercises, such as "camera" or "two objects".
        changes: the texts that follow, by rising frame; `text` is the first one.
    """

    id: str
    text: str
    tags: tuple[str, ...] = ()
    changes: tuple[TextChange, ...] = ()

    @property
    def text_hash(self) -> str:
        """16 hex digits of the SHA-256 of the text: what the prompt is, whatever it is called."""
        later = "".join(f"\n{change.at}\n{change.text}" for change in self.changes)
        return hashlib.sha256((self.text + later).encode()).hexdigest()[:16]

    @property
    def identity(self) -> str | list[object]:
        """What of the prompt decides the bytes of a video: its text, or its texts with their first frames."""
        return [self.text, *([change.at, change.text] for change in self.changes)] if self.changes else self.text

    @property
    def scored_text(self) -> str:
        """The text as metrics are given it, changes included."""
        changes = tuple((change.at, change.text) for change in self.changes)
        return ChangingText(self.text, changes) if changes else self.text


@dataclass(frozen=True)
class GivenFile:
    """A video made elsewhere, as the content of one cell; it stays where it is.

    Attributes:
        path: absolute path of a video file or a folder of pictures.
        content: hash of its frames as they are read (`metrics.features.cache.content_hash`); empty where it is missing.
        num_frames: read no more than this many frames from the start; None for all.
        seams: first frame of every chunk but the first, empty if unknown; those behind the last frame are ignored.
        extra: further columns of its manifest, as (name, text).
        max_damaged: damaged frames that are borne; one more is an error. None to count them only.
    """

    path: str
    content: str
    num_frames: int | None = None
    seams: Sequence[int] = ()
    extra: tuple[tuple[str, str], ...] = ()
    max_damaged: int | None = None


@dataclass(frozen=True)
class Cell:
    """One video: method x prompt x seed, to be made, or made elsewhere.

    Attributes:
        key: content hash; names the files.
        method: name of the method; of the row, for a video made elsewhere.
        prompt: the prompt; its text is empty where it is unknown.
        seed: the seed.
        start_key: content hash of the shared first chunk it continues; empty for a video made elsewhere.
        counts_flops: True for the first cell of its method in the grid, where network operations are counted.
        given: the video, where it was made elsewhere.
    """

    key: str
    method: str
    prompt: Prompt
    seed: int
    start_key: str
    counts_flops: bool = False
    given: GivenFile | None = None


@dataclass(frozen=True)
class RunSpec:
    """A grid of cells with everything a worker needs to run any of them.

    Attributes:
        profile: the profile, overrides applied.
        prompt_set: label of the prompts.
        prompts: the prompts.
        seeds: the seeds.
        methods: resolved settings by method name, in the order of the command; empty for rows of given videos.
        titles: name in tables by method name.
        metrics: resolved settings by metric name, in the order of the table.
        first_chunk: resolved settings of the shared first chunk.
        plugins: drop-in files that bring methods or metrics.
        cells: the grid, method by method.
        plugin_hashes: SHA-256 of those files as the grid was planned with them.
        feature_cache: folder where features of given videos are kept; empty for none.
    """

    profile: Profile
    prompt_set: str
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    methods: Mapping[str, Settings]
    titles: Mapping[str, str]
    metrics: Mapping[str, Settings]
    first_chunk: Settings
    plugins: tuple[str, ...]
    cells: tuple[Cell, ...]
    plugin_hashes: Mapping[str, str] = field(default_factory=dict)
    feature_cache: str = ""


def content_key(parts: Settings) -> str:
    """Returns 16 hex digits that depend on the content of `parts` alone, not on the order of its keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
