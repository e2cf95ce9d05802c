"""Turns videos made elsewhere into the cells of a grid: which row, prompt and seed each one is.

File names never carry meaning: prompts and seeds come from a manifest or a prompt file, rows from the manifest, from
the command or from the folder. From here on a given video is a cell like any other, but that its frames are read.

Example:
    >>> given = collect(["clips/*.mp4"], prompts="", manifest="")                          # doctest: +SKIP
    >>> planned = plan_given(catalog, profile, given.videos, GivenChoices(["clips/*.mp4"]))   # doctest: +SKIP
    >>> [cell.method for cell in planned.spec.cells]                                       # doctest: +SKIP
    ['clips', 'clips']
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalog import Catalog
from bench.errors import ConfigError
from bench.given_file import digest_of
from bench.growth import made_rows
from bench.manifest import GivenVideo
from bench.plan import metric_settings
from bench.profile import Profile
from bench.prompts import PAPER_LABEL, PAPER_SHA256, prompts_fingerprint
from bench.records import LARGEST, Record, RunInfo
from bench.spec import SCHEMA, Cell, GivenFile, Prompt, RunSpec, content_key
from bench.store import Store
from bench.terminal import one_line, printable
from metrics.decoding.sources import absolute
from metrics.errors import VideoError
from metrics.features.cache import content_hash

NAMED = 5
"""Videos that a sentence names before it only counts the others."""


@dataclass(frozen=True)
class GivenChoices:
    """What a command says of its videos besides which they are.

    Attributes:
        words: the paths and globs of the command, or the manifest: rows without a name are called after their folder.
        method: name of the row; empty for those of the manifest or the folder.
        title: its name in tables; empty for the name itself.
        num_frames: score no more than this many frames from the start; None for all.
        seams: first frame of every chunk but the first, the same for every video; empty if unknown.
        feature_cache: folder where their features are kept; empty for none.
        max_damaged: damaged frames that a video may have; None to count them only.
        plugins: drop-in files that bring metrics.
    """

    words: Sequence[str] = ()
    method: str = ""
    title: str = ""
    num_frames: int | None = None
    seams: Sequence[int] = ()
    feature_cache: str = ""
    max_damaged: int | None = None
    plugins: Sequence[str] = ()


@dataclass(frozen=True)
class GivenPlan:
    """A grid of given videos, and sentences about those that are not in it."""

    spec: RunSpec
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """Where one video stands in the grid."""

    video: GivenVideo
    row: str
    prompt: Prompt
    seed: int


def news(store: Store, spec: RunSpec) -> list[str]:
    """Returns a sentence for every given video of the folder that this command finds moved or changed, or leaves out.

    Args:
        store: the folder, before the command opens it.
        spec: the grid of the command.
    """
    given = {cell.key: cell.given for cell in spec.cells if cell.given is not None}
    here = {file.path for file in given.values()}
    known, found, changed = store.known(), [], Counter[str]()
    for record in store.survey()[0] if known is not None else []:
        name = printable(record.source)
        if record.key in given and given[record.key].path != record.source and not Path(record.source).exists():
            found.append(f"{name} has moved to {printable(given[record.key].path)}; its scores are kept")
        elif record.source in here and record.key not in given and _changed(record):
            found.append(f"{name} has changed since it was scored; it is scored again")
            changed[record.method] += 1
    # Systems whose files lie in folders of one name would share a row, and the later one would take it over.
    kept = {f"{cell.method}/{cell.key}" for cell in spec.cells}
    gone = Counter(cell.split("/")[0] for cell in (known.cells if known is not None else ()) if cell not in kept)
    for row in spec.methods:
        if gone[row] > changed[row]:
            found.append(
                f"{gone[row] - changed[row]} videos of the row {printable(spec.titles[row])} are not among these "
                "and are no longer shown; --method NAME makes a row of its own"
            )
    return found


def _changed(record: Record) -> bool:
    """Returns whether the file of a scored video holds other bytes today."""
    path = Path(record.source)
    return record.status == "ok" and path.exists() and digest_of(path) != record.video_sha256


def plan_given(
    catalog: Catalog, profile: Profile, videos: Sequence[GivenVideo], choices: GivenChoices, run: RunInfo | None = None
) -> GivenPlan:
    """Returns the grid of a command, row by row.

    Args:
        catalog: where metrics are found.
        profile: names the metrics and gives their settings.
        videos: at least one.
        choices: what else the command says.
        run: what the folder holds already; the videos join its rows where prompts and seeds match.

    Raises:
        ConfigError: a row, prompt or seed cannot be told, two videos stand in one place, or none matches the run.
    """
    rows = _rows(videos, choices)
    titles = {_name_of(title): title for title in rows}
    if choices.title and len(titles) > 1:
        raise ConfigError(f"--title names one row, and these videos are {len(titles)}: {', '.join(titles.values())}")
    if title := one_line(choices.title):
        titles = dict.fromkeys(titles, title)
    named = [(video, _name_of(row)) for video, row in zip(videos, rows, strict=True)]
    joins = run is not None and bool(made_rows(run))
    places, notes = _joining(named, run) if run is not None and joins else (_standing_alone(named, run), ())
    _refuse_twice(places)
    cells, same = _cells(places, choices)
    prompts = {place.prompt.text_hash: place.prompt for place in places if place.prompt.text}
    spec = RunSpec(
        profile=profile,
        prompt_set=PAPER_LABEL
        if prompts_fingerprint(p.text for p in prompts.values()) == PAPER_SHA256
        else "of the videos",
        prompts=tuple(prompts.values()),
        seeds=tuple(sorted({place.seed for place in places})),
        methods={name: {} for name in titles},
        titles=titles,
        metrics=metric_settings(catalog, profile),
        first_chunk={},
        plugins=tuple(choices.plugins),
        plugin_hashes=catalog.hashes(choices.plugins),
        cells=cells,
        feature_cache=choices.feature_cache,
    )
    return GivenPlan(spec, (*notes, *same))


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(videos: Sequence[GivenVideo], choices: GivenChoices) -> list[str]:
    """Returns the name in tables of the row of every video: the manifest's, the command's, or its folder's."""
    if choices.method and any(video.method for video in videos):
        raise ConfigError("the manifest names the rows in its column `method`: leave out --method")
    folders = _folders(videos, choices.words)
    rows = [one_line(v.method) or one_line(choices.method) or folder for v, folder in zip(videos, folders, strict=True)]
    by_name: dict[str, str] = {}
    for row in rows:
        if by_name.setdefault(_name_of(row), row) != row:
            raise ConfigError(
                f"the rows {by_name[_name_of(row)]!r} and {row!r} differ in nothing but capitals and punctuation: "
                "name them apart with --method or in a manifest"
            )
    return rows


def _folders(videos: Sequence[GivenVideo], words: Sequence[str]) -> list[str]:
    """Returns the name of the folder on the command line that each video was found by.

    That is the manifest's folder, the part of a glob before its wildcards, or the folder of a file that is named.
    """
    for word in words:
        if Path(word).suffix.lower() in (".csv", ".jsonl"):
            return [_folder_name(Path(word).parent)] * len(videos)
    named = set(words)
    globs = [Path(word).parts for word in words if glob.has_magic(word) and not Path(word).exists()]
    roots = [Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))]) for parts in globs]
    names = []
    for video in videos:
        path = Path(video.path)
        above = [root for root in roots if root == Path() or path.is_relative_to(root)]
        found = path.parent if video.path in named or not above else max(above, key=lambda root: len(root.parts))
        names.append(_folder_name(found))
    return names


def _folder_name(folder: Path) -> str:
    return printable(folder.absolute().resolve().name) or "videos"


def _name_of(title: str) -> str:
    """Returns the name of a row on the command line and on disk: lower case letters, digits, underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:64]
    return name or f"given_{hashlib.sha256(title.encode()).hexdigest()[:8]}"


# -- prompts and seeds -------------------------------------------------------------------------------------------------


def _joining(named: Iterable[tuple[GivenVideo, str]], run: RunInfo) -> tuple[list[_Place], tuple[str, ...]]:
    """Returns the places of the videos whose prompt and seed the run has, and a sentence about the others.

    A prompt is found by its id, or by its text, spacing aside; several that begin with the same text, by their ids
    alone. Seeds that are not stated are taken in order.
    """
    texts = Counter(_spaced(prompt.text) for prompt in run.prompts)
    by_text = {_spaced(prompt.text): prompt for prompt in run.prompts if texts[_spaced(prompt.text)] == 1}
    by_id = {prompt.id: prompt for prompt in run.prompts}
    places, left_out = [], []
    taken: dict[tuple[str, str], int] = {}
    for video, row in named:
        prompt = by_id.get(video.prompt.strip()) or by_text.get(_spaced(video.prompt))
        seed = None
        if prompt is not None:
            count = taken.setdefault((row, prompt.text_hash), 0)
            taken[row, prompt.text_hash] += 1
            seed = _stated_seed(video) if video.seed.strip() else dict(enumerate(run.seeds)).get(count)
        if prompt is None:
            left_out.append(f"{printable(video.path)} ({_prompt_words(video)})")
        elif seed not in run.seeds or seed is None:
            left_out.append(f"{printable(video.path)} (seed {video.seed.strip() or taken[row, prompt.text_hash]})")
        else:
            places.append(_Place(video, row, prompt, seed))
    if not places:
        raise ConfigError(
            f"none of these videos has a prompt and seed of {run.name} ({run.prompt_set}, seeds "
            f"{', '.join(map(str, run.seeds))}): {_some(left_out)}. Name the run's prompts, by text or id, with "
            "--prompts or in a manifest, or choose another folder with --out"
        )
    if not left_out:
        return places, ()
    return places, (
        f"{len(left_out)} videos have no prompt and seed of {run.name} and are left out: {_some(left_out)}",
    )


def _standing_alone(named: Sequence[tuple[GivenVideo, str]], run: RunInfo | None) -> list[_Place]:
    """Returns the place of every video; prompts get the ids they have in the folder, or numbers in order.

    Seeds that are not stated are counted: the second video of a row and prompt has seed 1.
    """
    ids = {prompt.text: prompt.id for prompt in run.prompts} if run is not None else {}
    places = []
    taken: dict[tuple[str, str], int] = {}
    unknown: dict[str, list[str]] = {}
    for video, row in named:
        if not video.prompt.strip():
            unknown.setdefault(row, []).append(video.path)
    names = {(row, path): name for row, paths in unknown.items() for path, name in _told_apart(paths).items()}
    for video, row in named:
        text = video.prompt.strip()
        if text and text not in ids:
            ids[text] = f"p{len(ids) + 1:03d}"
        count = taken.setdefault((row, text), 0)
        taken[row, text] += bool(text)  # a video whose prompt is unknown has no sibling
        seed = _stated_seed(video) if video.seed.strip() else count
        name = ids[text] if text else names[row, video.path]
        places.append(_Place(video, row, Prompt(name, text), seed))
    return places


def _told_apart(paths: Sequence[str]) -> dict[str, str]:
    """Returns a name for every video of a row without prompts by path: its stem, or as much more as tells it apart."""
    places = {path: absolute(path) for path in paths}
    shared = os.path.commonpath([place.parent for place in places.values()])
    below = {path: place.relative_to(shared).as_posix() for path, place in places.items()}
    names: dict[str, str] = {}
    for form in (
        {path: Path(path).stem for path in paths},
        {path: str(Path(name).with_suffix("")) for path, name in below.items()},
        below,
        {path: path for path in paths},
    ):
        counts, taken = Counter(form.values()), set(names.values())
        free = {path: name for path, name in form.items() if counts[name] == 1 and name not in taken}
        names |= {path: name for path, name in free.items() if path not in names}
    return {path: printable(names.get(path, path)) for path in paths}


def _stated_seed(video: GivenVideo) -> int:
    word = video.seed.strip()
    if not (word.isascii() and word.isdigit() and len(word) <= len(str(LARGEST)) and int(word) <= LARGEST):
        raise ConfigError(
            f"{printable(video.path)}: seed {word!r} is no whole number from 0 to {LARGEST}; write one, or leave it out"
        )
    return int(word)


def _refuse_twice(places: Sequence[_Place]) -> None:
    seen: dict[tuple[str, str, int], str] = {}
    for place in places:
        where = (place.row, place.prompt.text_hash, place.seed)
        path = printable(place.video.path)
        if place.prompt.text and where in seen:
            raise ConfigError(
                f"{seen[where]} and {path} are both of row {place.row!r}, prompt {printable(place.prompt.text)!r} and "
                f"seed {place.seed}: give them different seeds, or rows of their own"
            )
        seen[where] = path


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _prompt_words(video: GivenVideo) -> str:
    return f"prompt {printable(video.prompt.strip())[:60]!r}" if video.prompt.strip() else "no prompt"


def _some(sentences: Sequence[str]) -> str:
    more = len(sentences) - NAMED
    return ", ".join(sentences[:NAMED]) + (f" and {more} more" if more > 0 else "")


# -- cells -------------------------------------------------------------------------------------------------------------


def _cells(places: Sequence[_Place], choices: GivenChoices) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """Returns the cells, row by row, and a sentence per video that is another one again."""
    cells: dict[str, Cell] = {}
    notes = []
    order = {row: number for number, row in enumerate(dict.fromkeys(place.row for place in places))}
    for place in sorted(places, key=lambda place: order[place.row]):
        path = str(absolute(place.video.path))
        content = _content(Path(path), choices)
        given = GivenFile(path, content, choices.num_frames, choices.seams, place.video.extra, choices.max_damaged)
        parts = given.seams
        seams = {"first": parts.start, "chunk": parts.step} if isinstance(parts, range) else list(parts)
        key = content_key(
            {
                "schema": SCHEMA,
                "video": given.content or printable(path),
                "num_frames": given.num_frames,
                "seams": seams,
            }
            | {"row": place.row, "prompt": place.prompt.identity, "seed": place.seed}
            | ({} if given.max_damaged is None else {"max_damaged": given.max_damaged})
        )
        if key in cells:
            first = cells[key].given
            assert first is not None
            notes.append(f"{printable(path)} is the same video as {printable(first.path)} and counts once")
            continue
        cells[key] = Cell(key, place.row, place.prompt, place.seed, start_key="", given=given)
    return tuple(cells.values()), tuple(notes)


def _content(path: Path, choices: GivenChoices) -> str:
    """Returns the hash of a video's content; empty if there is none to read, which its cell then says."""
    try:
        if not (path.is_file() or path.is_dir()):
            return ""
        return content_hash(path, choices.num_frames)
    except (OSError, VideoError):
        return ""
