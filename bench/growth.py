"""A run folder grows: what run.json says after a command in a folder that other commands have used before.

Example:
    >>> stamp = given_stamp("mine", "Mine")
    >>> given_rows({"mine": stamp})
    frozenset({'mine'})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.errors import ConfigError
from bench.profile import Settings
from bench.records import RunInfo
from generators.api import MethodInfo

GIVEN = "given"
"""Group of the rows whose videos were made elsewhere."""


def given_stamp(name: str, title: str) -> MethodInfo:
    """Returns what stands in run.json for a row of given videos in the place of a method's stamp."""
    return MethodInfo(name, title, paper="", licence="", continues_start=False, group=GIVEN)


def given_rows(stamps: Mapping[str, MethodInfo]) -> frozenset[str]:
    """Returns the names of the rows whose videos were made elsewhere."""
    return frozenset(name for name, stamp in stamps.items() if stamp.group == GIVEN)


def made_rows(info: RunInfo) -> tuple[str, ...]:
    """Returns the names of the rows that methods of this benchmark made, in order."""
    given = given_rows(info.stamps)
    return tuple(name for name in info.methods if name not in given)


def grown(old: RunInfo, new: RunInfo) -> RunInfo:
    """Returns what run.json says after a command: its own rows, and those that earlier commands left in the folder.

    A row that both name is that of the new command, at its old place. Prompts, seeds, metrics and settings are those of
    the latest `run`; given videos that join a run add their metrics only, those that join other given videos add
    prompts and seeds, too.

    Args:
        old: what run.json says before the command.
        new: the grid of the command.

    Raises:
        ConfigError: a row of given videos and one made by a method have the same name.
    """
    _refuse_mixed_rows(old, new)
    kept = tuple(name for name in old.methods if name not in new.methods)
    stamps = {name: stamp for name, stamp in old.stamps.items() if name in kept} | dict(new.stamps)
    joins = not made_rows(new)
    base = _joined(old, new) if joins else new
    methods = kept + new.methods if joins else new.methods + kept
    if set(new.methods) <= set(old.methods):
        methods = old.methods
    cells = [*new.cells, *(cell for cell in old.cells if _row_of(cell) in kept)]
    return replace(
        base,
        created=old.created,
        methods=methods,
        cells=tuple(sorted(cells, key=lambda cell: methods.index(_row_of(cell)))),
        stamps=stamps,
        settings={**base.settings, "methods": {**_section(old, "methods"), **_section(new, "methods")}},
        plugins=tuple(dict.fromkeys((*old.plugins, *new.plugins))),
    )


def _joined(old: RunInfo, new: RunInfo) -> RunInfo:
    """Returns what run.json says of everything but the rows, once given videos have joined."""
    metrics = {metric.name: metric for metric in (*old.metrics, *new.metrics)}  # keeps the order of the old
    settings = {**_section(old, "metrics"), **_section(new, "metrics")}
    if made_rows(old):
        return replace(old, metrics=tuple(metrics.values()), settings={**old.settings, "metrics": settings})
    prompts = {prompt.text: prompt for prompt in (*old.prompts, *new.prompts)}
    return replace(
        new,
        metrics=tuple(metrics.values()),
        prompts=tuple(prompts.values()),
        seeds=tuple(sorted({*old.seeds, *new.seeds})),
        settings={**new.settings, "metrics": settings},
    )


def _row_of(cell: str) -> str:
    return cell.partition("/")[0]


def _section(info: RunInfo, name: str) -> Settings:
    section: Settings = info.settings.get(name, {})
    return section


def _refuse_mixed_rows(old: RunInfo, new: RunInfo) -> None:
    for name in new.methods:
        if name in old.methods and (name in made_rows(old)) != (name in made_rows(new)):
            made = "was made by a method" if name in made_rows(old) else "is of videos made elsewhere"
            raise ConfigError(
                f"{old.name} has a row {name!r} that {made}: give the row of your videos another name with --method, "
                "or choose another folder with --out"
            )
