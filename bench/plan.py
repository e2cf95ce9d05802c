"""Turns a profile and the choices of a command into the grid of cells, and says what of it is still to do.

Nothing heavy is imported here: a run with nothing to do ends after reading its own records.

Example:
    >>> spec = plan(find_plugins(), load_profile("mini"), methods="still", prompts="2")   # doctest: +SKIP
    >>> [cell.method for cell in spec.cells]                                      # doctest: +SKIP
    ['still', 'still']
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.catalog import CLASS, Catalog, Plugin, own_settings
from bench.claims import claimed
from bench.errors import ConfigError, StoreError
from bench.growth import given_stamp
from bench.profile import Profile, Settings
from bench.prompts import PromptSet, load_prompts
from bench.provenance import provenance
from bench.records import LARGEST, Record, RunInfo, Status
from bench.settings import agrees, construct, identity, resolve_settings, run_settings, score_settings
from bench.spec import SCHEMA, Cell, Prompt, RunSpec, content_key
from bench.store import Store
from generators.api import MethodInfo
from generators.first_chunk import FirstChunk
from metrics.api import MetricInfo

Lack = tuple[str, ...]
"""What tells cells apart that lacked other weights: the method and the reason, or each metric and its reason."""


@dataclass(frozen=True)
class Todo:
    """What is left of a grid.

    Attributes:
        videos: cells without a video.
        scores: cells with a video, and the metrics whose scores are missing or stale.
        notes: sentences about torn files that are made anew.
        torn: cells whose record is torn, among the videos.
        renamed: cells of given videos that this command calls otherwise than their record does.
        lacking: of the cells above that are here only because weights were missing: "method/key" -> what was said
            then. Cells of the same words lacked the same weights.
    """

    videos: tuple[Cell, ...]
    scores: tuple[tuple[Cell, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    torn: tuple[Cell, ...] = ()
    renamed: tuple[Cell, ...] = ()
    lacking: Mapping[str, Lack] = field(default_factory=dict)


def choose_prompts(selection: str, profile: Profile) -> PromptSet:
    """Returns the prompts of a command.

    Args:
        selection: "" for the profile's number of the profile's set, a number of them, "all" of them, or a packaged name
            or a file, taken whole.
        profile: names the set and the default number.

    Raises:
        ConfigError: a number that the set does not have, or what `load_prompts` raises.
    """
    is_number = re.fullmatch(r"-?\d+", selection, re.ASCII) is not None
    if selection not in ("", "all") and not is_number:
        return load_prompts(selection)
    chosen = load_prompts(profile.run.prompts)
    whole = len(chosen.prompts)
    usual = whole if selection == "all" else profile.run.num_prompts or whole
    count = int(selection) if is_number else usual
    if not 1 <= count <= whole:
        raise ConfigError(f"--prompts {selection or count}: {chosen.label} has 1 to {whole} prompts")
    if count == whole:
        return chosen
    return PromptSet(f"first {count} of {chosen.label}", chosen.prompts[:count])


def plan(
    catalog: Catalog,
    profile: Profile,
    *,
    methods: str = "all",
    prompts: str = "",
    seeds: Sequence[int] = (),
    plugins: Sequence[str] = (),
) -> RunSpec:
    """Returns the grid of a command, method by method.

    Raises:
        ConfigError: something chosen does not exist, or a setting is wrong.
        PluginError: a chosen plugin cannot be used.
    """
    offered = run_settings(profile.run)
    catalog = catalog.with_sections(profile.methods)
    _refuse_unknown_sections(catalog, profile)
    names = catalog.choose_methods(methods, profile.run.also)
    chosen = choose_prompts(prompts, profile)
    start, start_identity = _start_settings(catalog, profile)
    by_method = {n: _settings(catalog.methods[n], profile.methods, offered, "methods") for n in names}
    seeds = tuple(dict.fromkeys(seeds or profile.run.seeds))
    if max(seeds) > LARGEST:
        raise ConfigError(f"seed {max(seeds)}: seeds are stored in 64 bits; give at most {LARGEST}")
    cells: list[Cell] = []
    for name in names:
        made_by = {"settings": identity(by_method[name]), "digest": catalog.methods[name].digest}
        group = _cells(name, made_by, start_identity, profile, chosen.prompts, seeds)
        cells += [dataclasses.replace(group[0], counts_flops=True), *group[1:]]
    return RunSpec(
        profile=profile,
        prompt_set=chosen.label,
        prompts=chosen.prompts,
        seeds=seeds,
        methods=by_method,
        titles={name: catalog.methods[name].info.title for name in names},
        metrics=metric_settings(catalog, profile),
        first_chunk=start,
        plugins=tuple(plugins),
        plugin_hashes=catalog.hashes(plugins),
        cells=tuple(cells),
    )


def metric_settings(catalog: Catalog, profile: Profile) -> dict[str, Settings]:
    """Returns the resolved settings of a profile's metrics by name, in the order of the table. Raises like `plan`."""
    offered = run_settings(profile.run)
    names = catalog.choose_metrics(profile.run.metrics)
    return {name: _settings(catalog.metrics[name], profile.metrics, offered, "metrics") for name in names}


def with_plugin_metrics(profile: Profile, catalog: Catalog, named: bool) -> tuple[Profile, list[str]]:
    """Returns the profile with the metrics of drop-in files behind its own, and notes about those that stay out.

    Who brings a metric wants it scored, unless the command names the metrics.

    Args:
        profile: settings.
        catalog: installed and drop-in metrics.
        named: whether `profile.run.metrics` are what the command names.
    """
    chosen = catalog.choose_metrics(profile.run.metrics)
    brought = [name for name, plugin in catalog.metrics.items() if plugin.digest and name not in chosen]
    if named:
        why = "is not scored, because --metrics leaves it out"
        return profile, [f"metric {name} of a --plugin file {why}" for name in brought]
    metrics = (*profile.run.metrics, *brought)
    return dataclasses.replace(profile, run=dataclasses.replace(profile.run, metrics=metrics)), []


def run_name(spec: RunSpec) -> str:
    """Returns the default name of a run's folder: the same command finds the same folder again.

    Metrics do not enter: another metric is scored on the same videos.
    """
    video = dataclasses.asdict(spec.profile.video)
    prompts = [prompt.identity for prompt in spec.prompts]
    parts = {
        "video": video,
        "methods": spec.methods,
        "prompts": prompts,
        "seeds": spec.seeds,
        "start": spec.first_chunk,
    }
    return f"{spec.profile.name}-{content_key(parts)[:8]}"


def run_info(spec: RunSpec, catalog: Catalog, name: str) -> RunInfo:
    """Returns what to write into run.json."""
    given = {cell.method for cell in spec.cells if cell.given is not None}
    settings = dataclasses.asdict(spec.profile) | {
        "first_chunk": spec.first_chunk,
        "methods": spec.methods,
        "metrics": spec.metrics,
    }
    methods = catalog.with_sections(spec.profile.methods).methods
    return RunInfo(
        schema=SCHEMA,
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        prompt_set=spec.prompt_set,
        methods=tuple(spec.methods),
        metrics=tuple(catalog.metrics[metric].info for metric in spec.metrics),
        prompts=spec.prompts,
        seeds=spec.seeds,
        profile=spec.profile.name,
        settings=settings,
        provenance=provenance(),
        plugins=spec.plugins,
        cells=tuple(f"{cell.method}/{cell.key}" for cell in spec.cells),
        stamps={
            name: given_stamp(name, spec.titles[name]) if name in given else methods[name].info for name in spec.methods
        },
    )


def part_of(spec: RunSpec, shard: tuple[int, int]) -> RunSpec:
    """Returns a grid with every n-th of its cells only, so that no two shards share one.

    Args:
        spec: the whole grid.
        shard: number of the shard from 1 on, and number of shards.
    """
    number, shards = shard
    return dataclasses.replace(spec, cells=spec.cells[number - 1 :: shards])


def todo(spec: RunSpec, catalog: Catalog, store: Store, redo: str = "") -> Todo:
    """Returns what is left to do, and changes nothing; a finished video is never made again unless `redo` says so.

    What lacked weights is always left to do, since these may have come; see `lack_of`.

    Args:
        spec: the grid.
        catalog: says the versions of the metrics.
        store: the folder.
        redo: "failed" for cells and scores that failed or were refused, too, "all" for every cell, "" for neither.
    """
    again: tuple[Status, ...] = ("skipped", "failed") if redo == "failed" else ("skipped",)
    wanted = wanted_scores(catalog, spec.metrics)
    videos: list[Cell] = []
    scores: list[tuple[Cell, tuple[str, ...]]] = []
    notes: list[str] = []
    torn: list[Cell] = []
    renamed: list[Cell] = []
    lacking: dict[str, Lack] = {}
    for cell in spec.cells:
        try:
            record, damage = store.examine(cell)
            notes += damage
        except StoreError as error:
            notes.append(str(error))
            torn.append(cell)
            record = None
        if record is None or redo == "all" or record.lacks_weights or (redo == "failed" and record.status != "ok"):
            videos.append(cell)
            if record is not None and not redo:
                lacking[f"{cell.method}/{cell.key}"] = lack_of(record)
            continue
        if cell.given is not None:
            today = _as_said_today(cell, record, spec.titles[cell.method])
            renamed += [cell] if today != record else []
            record = today
        if record.status == "ok" and (stale := stale_scores(record, wanted, again)):
            scores.append((cell, stale))
            if not redo and not stale_scores(record, wanted):
                lacking[f"{cell.method}/{cell.key}"] = lack_of(record, stale)
    return Todo(tuple(videos), tuple(scores), tuple(notes), tuple(torn), tuple(renamed), lacking)


def lack_of(record: Record, metrics: Iterable[str] = ()) -> Lack:
    """Returns what says which weights a cell lacks, or its scores; empty if not all of them lack any.

    Args:
        record: of the cell.
        metrics: for a finished cell, those whose scores lacked weights.
    """
    if record.status != "ok":
        return (record.method, record.reason) if record.lacks_weights else ()
    scores = [(name, record.scores.get(name)) for name in metrics]
    skipped = [(name, score.reason) for name, score in scores if score is not None and score.status == "skipped"]
    return tuple(word for pair in skipped for word in pair) if len(skipped) == len(scores) else ()


def settle(spec: RunSpec, left: Todo, store: Store) -> None:
    """Makes the folder ready for what is left: torn records go, given videos that have moved get their new path.

    Each is looked at again under a claim: another command may have made it anew since, or be at it, and then the record
    is that command's to write.
    """
    for cell in left.torn:
        with claimed(store.claim_path(cell)) as mine:
            if mine and _is_torn(store, cell):
                store.discard(cell)
    for cell in left.renamed:
        with claimed(store.claim_path(cell)) as mine:
            if mine and (record := store.find(cell)) is not None:
                store.save(_as_said_today(cell, record, spec.titles[cell.method]))


def _is_torn(store: Store, cell: Cell) -> bool:
    try:
        store.find(cell)
    except StoreError:
        return True
    return False


def _as_said_today(cell: Cell, record: Record, title: str) -> Record:
    """Returns the record of a given video with the path, names and columns of this command."""
    assert cell.given is not None
    extra = dict(cell.given.extra)
    return dataclasses.replace(record, title=title, prompt=cell.prompt, source=cell.given.path, extra=extra)


def wanted_scores(catalog: Catalog, metrics: Mapping[str, Settings]) -> dict[str, tuple[str, Settings]]:
    """Returns version and stored settings by metric: what a stored score must have been computed with."""
    infos = {name: catalog.metrics[name].info for name in metrics}
    return {name: (infos[name].version, score_settings(infos[name], own)) for name, own in metrics.items()}


def stale_scores(
    record: Record, wanted: Mapping[str, tuple[str, Settings]], again: Container[Status] = ()
) -> tuple[str, ...]:
    """Returns the metrics whose scores are missing or were computed otherwise than wanted.

    Args:
        record: a finished cell.
        wanted: version and stored settings by metric.
        again: scores of such a status are stale, too.
    """
    names = []
    for name, (version, settings) in wanted.items():
        score = record.scores.get(name)
        current = score is not None and score.version == version and agrees(score.settings, settings)
        if score is None or not current or score.status in again:
            names.append(name)
    return tuple(names)


def _cells(
    method: str,
    made_by: Settings,
    start: Settings,
    profile: Profile,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
) -> list[Cell]:
    # Sums of floats depend on how they are split over threads, so the number of threads decides bytes.
    fixed = {"schema": SCHEMA, "threads": profile.run.threads}
    video = dataclasses.asdict(profile.video)
    shape = {name: value for name, value in video.items() if name != "num_frames"}
    cells = []
    for prompt in prompts:
        for seed in seeds:
            of = {"prompt": prompt.text, "seed": seed, "start": start} | fixed
            made = {"prompt": prompt.identity, "method": method, "made_by": made_by, "video": video}
            key = content_key(of | made)
            cells.append(Cell(key, method, prompt, seed, content_key(of | {"video": shape})))
    return cells


def _settings(
    plugin: Plugin[MethodInfo] | Plugin[MetricInfo], sections: Mapping[str, Settings], offered: Settings, kind: str
) -> Settings:
    name = plugin.info.name
    settings = resolve_settings(plugin.cls, own_settings(sections.get(name, {})), offered, f"{kind}.{name}")
    construct(plugin.cls, settings, f"{kind}.{name}")  # a class that refuses its settings says so before the run
    return settings


def _start_settings(catalog: Catalog, profile: Profile) -> tuple[Settings, Settings]:
    """Returns the settings of the first chunk, and what of them and of its class decides the bytes."""
    cls = first_chunk_class(catalog, profile)
    own = own_settings(profile.first_chunk)
    settings = resolve_settings(cls, own, run_settings(profile.run), "first_chunk")
    construct(cls, settings, "first_chunk")
    named = {CLASS: profile.first_chunk[CLASS]} if CLASS in profile.first_chunk else {}
    return settings, identity(settings) | named


def first_chunk_class(catalog: Catalog, profile: Profile) -> type[Any]:
    """Returns the class that draws first chunks: that of [first_chunk], where it names one, or `FirstChunk`.

    Raises:
        ConfigError: a class that cannot draw first chunks.
    """
    if CLASS not in profile.first_chunk:
        return FirstChunk
    cls = catalog.method_class(profile.first_chunk, "first_chunk")
    if not cls.class_info.draws_start:
        raise ConfigError(f'[first_chunk]: class = "{profile.first_chunk[CLASS]}" cannot draw first chunks')
    return cls


def _refuse_unknown_sections(catalog: Catalog, profile: Profile) -> None:
    for word, sections, known in (
        ("method", profile.methods, catalog.methods),
        ("metric", profile.metrics, catalog.metrics),
    ):
        for name in sorted(sections.keys() - known.keys()):
            if f"{word} {name}" not in catalog.broken:
                names = ", ".join(sorted(known))
                raise ConfigError(f"profile {profile.name}: [{word}s.{name}] is no {word}; there are {names}")
