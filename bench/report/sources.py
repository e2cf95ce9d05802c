"""What one run folder or several hold, as one grid: the rows that one table can show, and where their videos are.

A folder shows every row it holds for the prompts, seeds and length of its latest `run`, whichever command made it. Rows
of several folders stand in one table under different names; what cannot be compared in it, the table itself says.

Example:
    >>> sources = gather([Store("results/mini-1a2b3c"), Store("results/ours")])   # doctest: +SKIP
    >>> sources.info.methods                                                      # doctest: +SKIP
    ('svd', 'still', 'ours')
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.errors import ConfigError, StoreError
from bench.ffv1 import pick_frames, read_video
from bench.given_file import pick_given_frames, read_given_video
from bench.growth import given_stamp, made_rows
from bench.records import Record, RunInfo
from bench.report.coded import in_sentence
from bench.spec import Prompt
from bench.store import Store
from bench.terminal import one_line
from generators.api import Frames

V = TypeVar("V")


PREVIEW_CODING = "1"
"""Version of how `bench.report.previews` codes; part of every preview's name."""


def preview_file(record: Record) -> str:
    """Returns where the preview of a video lies below the folder of a report: named by content, so made once.

    Of a given video the frames that were scored are shown, which may be its first ones only.
    """
    read = f"-{record.num_frames}" if record.source else ""
    return f"videos/{record.video_sha256[:24] or record.key}{read}-{PREVIEW_CODING}.mp4"


@dataclass(frozen=True)
class Sources:
    """What a report is made from.

    Attributes:
        info: as run.json of one folder would say it: of several folders, all their rows, prompts and seeds.
        records: of the cells that exist, row by row.
        places: folder of each record and its record there, by key; in another folder a row may have another name.
        notes: sentences about what is left out or damaged.
    """

    info: RunInfo
    records: tuple[Record, ...]
    places: Mapping[str, tuple[Store, Record]]
    notes: tuple[str, ...] = ()

    @property
    def videos(self) -> dict[str, Path]:
        """Where the video of every finished cell is, by key; a given one may have moved."""
        return {
            record.key: store.video_path(there)
            for record in self.records
            if record.status == "ok"
            for store, there in [self.places[record.key]]
        }

    def preview(self, record: Record) -> Path | None:
        """Returns the preview that an earlier report of the record's folder made, None if there is none."""
        path = self.places[record.key][0].path / "report" / preview_file(record)
        return path if path.is_file() else None

    def frames(self, record: Record) -> Iterator[Frames]:
        """Yields the frames [t, H, W, 3] of a record: of the video that was made, or what was read of the given one.

        Its bytes are checked before.

        Raises:
            StoreError: the video is missing, is not the one that was scored, or cannot be read.
        """
        store, there = self.places[record.key]
        path = store.whole_video(there)
        yield from read_given_video(path, there.num_frames) if record.source else read_video(path)

    def pick_frames(self, record: Record, wanted: Collection[int]) -> dict[int, Frames]:
        """Returns some frames [H, W, 3] of the video of a record by index, made or given; its bytes are checked before.

        Raises:
            StoreError: the video is missing, is not the one that was scored, or ends before one of the frames.
        """
        store, there = self.places[record.key]
        preview = self.preview(record)
        if preview is not None and not store.video_path(there).exists():
            found = pick_frames(preview, wanted)
            return found if found.keys() == set(wanted) else {}
        path = store.whole_video(there)
        found = pick_given_frames(path, wanted) if record.source else pick_frames(path, wanted)
        if found.keys() != set(wanted):
            raise StoreError(f"{path}: ends before frame {max(wanted)}; run again and it is made anew")
        return found


def gather(stores: Sequence[Store], methods: str = "") -> Sources:
    """Returns what the folders hold.

    Args:
        stores: one folder or several, each with a run.json.
        methods: names of the rows to show, separated by commas; empty for all.

    Raises:
        ConfigError: none of the folders has a row of that name.
        StoreError: a run.json cannot be read.
    """
    found = [_of_folder(store) for store in stores]
    together = found[0]
    for other in found[1:]:
        together = _joined(together, other)
    return _narrowed(together, methods) if methods else together


# -- one folder --------------------------------------------------------------------------------------------------------


def _of_folder(store: Store) -> Sources:
    info = store.info()
    records, damage = store.survey()
    older = store.unlisted()
    # Folders of earlier versions hold titles as they were given, which pictures and tables cannot show.
    records = [replace(record, title=one_line(record.title)) for record in (*records, *older)]
    strange = {record.key: why for record in records if (why := _not_of(info, record))} if made_rows(info) else {}
    info = _listing(info, older)
    shown = tuple(record for record in records if record.key not in strange)
    cells = tuple(cell for cell in info.cells if cell.partition("/")[2] not in strange)
    counts = Counter((in_sentence(record.title), strange[record.key]) for record in records if record.key in strange)
    notes = (
        f"{title}: {number} of its videos {'is' if number == 1 else 'are'} not shown, for {why} than this table's."
        for (title, why), number in counts.items()
    )
    rows = {cell.partition("/")[0] for cell in cells}
    unknown = tuple(record.prompt for record in shown if not record.prompt.text)
    methods = tuple(method for method in info.methods if method in rows)
    info = replace(info, cells=cells, methods=methods, prompts=info.prompts + unknown)
    return Sources(info, shown, {record.key: (store, record) for record in shown}, (*damage, *notes))


def _listing(info: RunInfo, records: Sequence[Record]) -> RunInfo:
    """Returns what run.json would say if it listed these records of further rows, too."""
    titles = {record.method: record.title for record in records}
    given = {record.method for record in records if record.source}
    return replace(
        info,
        methods=info.methods + tuple(titles),
        cells=info.cells + tuple(f"{record.method}/{record.key}" for record in records),
        stamps={**info.stamps, **{name: given_stamp(name, titles[name]) for name in given}},
    )


def _not_of(info: RunInfo, record: Record) -> str:
    """Returns why a record has no place in the table of a run; empty if it has one."""
    length = info.settings.get("video", {}).get("num_frames")  # none in a bundle of several folders, which were asked
    if record.prompt.text_hash not in {prompt.text_hash for prompt in info.prompts}:
        return "other prompts"
    if record.seed not in info.seeds:
        return "other seeds"
    if record.status == "ok" and not record.source and length is not None and record.num_frames != length:
        return f"another length ({record.num_frames} frames)"
    return ""


def _narrowed(sources: Sources, methods: str) -> Sources:
    names = [word.strip() for word in methods.split(",") if word.strip()]
    for name in names:
        if name not in sources.info.methods:
            raise ConfigError(f"--methods {name}: there are {', '.join(sources.info.methods) or 'no rows'}")
    info = replace(
        sources.info,
        methods=tuple(dict.fromkeys(names)),
        cells=tuple(cell for cell in sources.info.cells if cell.partition("/")[0] in names),
    )
    return replace(sources, info=info, records=tuple(r for r in sources.records if r.method in names))


# -- several folders ---------------------------------------------------------------------------------------------------


def _joined(first: Sources, other: Sources) -> Sources:
    """Returns both in one; a row of a name that is taken is called after its folder, too, unless it is the same row.

    Rows that have a video in common are the same: each adds the videos and the scores that the other lacks.
    """
    known = {record.key: record for record in first.records}
    again = {record.key: record for record in other.records if record.key in known}
    same = {record.method: known[key].method for key, record in again.items()}
    titles = {record.method: record.title for record in first.records}
    names, notes = dict[str, str](), []
    own_name, its_name = in_sentence(first.info.name), in_sentence(other.info.name)
    for method in other.info.methods:
        if method in same:
            names[method] = same[method]
            notes.append(f"{its_name}: its row {method} is that of {own_name}, and stands once.")
        else:
            names[method] = _free(method, (*first.info.methods, *names.values()), other.info)
    added = []
    for record in other.records:
        name = names[record.method]
        if record.key not in known:
            suffix = "" if name == record.method else f" ({other.info.name})"
            title = titles[name] if record.method in same else record.title + suffix
            added.append(replace(record, method=name, title=title))
    only_there = [key for key, record in again.items() if _is_only_there(known[key], record)]
    found_there = [record.key for record in added] + only_there
    prompts = [{prompt.text_hash for prompt in run.info.prompts if prompt.text} for run in (first, other)]
    if prompts[0] != prompts[1]:
        notes.append(
            f"{own_name} and {its_name} do not have the same prompts: means are over each row's own, "
            "tests over those that two rows share."
        )
    return Sources(
        _one_info(first.info, other.info, names),
        (*(_completed(record, again.get(record.key)) for record in first.records), *added),
        {**first.places, **{key: other.places[key] for key in found_there}},
        (*first.notes, *other.notes, *notes),
    )


def _completed(record: Record, again: Record | None) -> Record:
    """Returns a record with what it has in another folder only: the video, or scores."""
    if again is None:
        return record
    if _is_only_there(record, again):
        return replace(again, method=record.method, title=record.title)
    return replace(record, scores={**again.scores, **record.scores})


def _is_only_there(record: Record, again: Record) -> bool:
    return again.status == "ok" and record.status != "ok"


def _one_info(first: RunInfo, other: RunInfo, names: Mapping[str, str]) -> RunInfo:
    """Returns what run.json of both folders in one would say, so that the page can say how each was made."""
    taken = {cell.partition("/")[2] for cell in first.cells}
    cells = (cell.split("/", 1) for cell in other.cells)
    own_stamps = {names[n]: replace(s, name=names[n]) for n, s in other.stamps.items() if n in names}
    return replace(
        first,
        name=f"{first.name} + {other.name}",
        profile=_both(first.profile, other.profile),
        prompt_set=_both(first.prompt_set, other.prompt_set),
        methods=tuple(dict.fromkeys((*first.methods, *names.values()))),
        metrics=tuple({metric.name: metric for metric in (*other.metrics, *first.metrics)}.values()),
        prompts=_prompts(first.prompts, other.prompts),
        seeds=tuple(dict.fromkeys((*first.seeds, *other.seeds))),
        settings=_by_run(first, first.settings, other, other.settings),
        provenance=_by_run(first, first.provenance, other, other.provenance),
        plugins=tuple(dict.fromkeys((*first.plugins, *other.plugins))),
        cells=first.cells + tuple(f"{names[m]}/{key}" for m, key in cells if m in names and key not in taken),
        stamps={**own_stamps, **first.stamps},
    )


def _prompts(first: Sequence[Prompt], other: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Returns the prompts of both, those of one text once; of an unknown text there is one for each video."""
    known = {prompt.text_hash for prompt in first if prompt.text}
    return (*first, *(prompt for prompt in other if prompt.text_hash not in known))


def _by_run(
    first: RunInfo, content: Mapping[str, V], other: RunInfo, theirs: Mapping[str, V]
) -> dict[str, V | Mapping[str, V]]:
    """Returns what each run says of itself under its name; what several said before stands so already."""
    found = dict[str, V | Mapping[str, V]](content if " + " in first.name else {first.name: content})
    name, number = other.name, 2
    while name in found:
        name, number = f"{other.name} ({number})", number + 1
    return found | {name: theirs}


def _both(first: str, other: str) -> str:
    return first if other in first.split(" + ") else f"{first} + {other}"


def _free(method: str, taken: Collection[str], other: RunInfo) -> str:
    """Returns the name of a row of another folder in the common table, which is no further row's of that folder."""
    if method not in taken:
        return method
    suffix = "".join(char if char.isascii() and char.isalnum() else "_" for char in other.name.lower())
    name, number = f"{method}_{suffix}"[:60], 2
    while name in {*taken, *other.methods}:
        name, number = f"{method}_{suffix}"[:58] + f"_{number}", number + 1
    return name
