"""Says what a command would do, and does none of it: cells, what is left, who would do it, expected seconds and disk.

Example:
    >>> for line in describe(spec, catalog, store):    # doctest: +SKIP
    ...     print(line)
    method  cells  to make  to score  s/cell  MB/cell
    still       4        2         0     0.8      1.2
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalog import Catalog
from bench.executors import idle_gpus, who
from bench.listing import text_table
from bench.plan import Todo, todo
from bench.progress import clock
from bench.records import Record
from bench.spec import RunSpec
from bench.store import Store

MEGABYTE = 1e6


@dataclass(frozen=True)
class Expected:
    """What one cell of a method takes, as finished cells of the folder say; None where there are none.

    Attributes:
        making: seconds to make and score a video, or to score one that is given.
        scoring: seconds to score one again.
        megabytes: size of a video.
    """

    making: float | None = None
    scoring: float | None = None
    megabytes: float | None = None


def describe(spec: RunSpec, catalog: Catalog, store: Store, redo: str = "") -> Iterator[str]:
    """Yields lines for the terminal.

    Args:
        spec: the cells of the command.
        catalog: where methods and metrics were found.
        store: the folder; need not exist.
        redo: as for `bench.plan.todo`.
    """
    left = todo(spec, catalog, store, redo)
    yield from left.notes
    expected = _expected(store)
    making = Counter([cell.method for cell in left.videos])
    scoring = Counter([cell.method for cell, _ in left.scores])
    yield text_table(_rows(spec, expected, making, scoring))
    yield from _totals(spec, left, store, expected, making, scoring)


def _rows(
    spec: RunSpec, expected: Mapping[str, Expected], making: Mapping[str, int], scoring: Mapping[str, int]
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("method", "cells", f"to {_verb(spec)}", "to score again", "s/cell", "MB/cell")]
    for method, count in Counter([cell.method for cell in spec.cells]).items():
        known = expected.get(method, Expected())
        figures = ("-" if figure is None else f"{figure:.1f}" for figure in (known.making, known.megabytes))
        rows.append((method, str(count), str(making.get(method, 0)), str(scoring.get(method, 0)), *figures))
    return rows


def _verb(spec: RunSpec) -> str:
    """Returns what is to be done with a cell that has no record."""
    return "score" if all(cell.given is not None for cell in spec.cells) else "make"


def _totals(
    spec: RunSpec,
    left: Todo,
    store: Store,
    expected: Mapping[str, Expected],
    making: Mapping[str, int],
    scoring: Mapping[str, int],
) -> Iterator[str]:
    tasks = len(left.videos) + len(left.scores)
    workers, words = who(spec.profile.run, tasks)
    yield f"{len(left.videos)} videos to {_verb(spec)}, {len(left.scores)} to score again, by {words}"
    if left.lacking:
        yield f"of these, {len(left.lacking)} lacked weights: one of each method first, the others if they have come"
    if idle := idle_gpus(spec.profile.run, tasks):
        yield f"note: {idle}"
    seconds = sum((expected[name].making or 0.0) * count for name, count in making.items() if name in expected)
    seconds += sum((expected[name].scoring or 0.0) * count for name, count in scoring.items() if name in expected)
    megabytes = sum((expected[name].megabytes or 0.0) * count for name, count in making.items() if name in expected)
    unknown = sorted({name for name in (*making, *scoring) if name not in expected})
    if left.videos or left.scores:
        yield f"expected: {clock(seconds / workers)} on {workers} workers, {megabytes:.1f} MB{_free(store)}"
    if unknown:
        yield f"not counted in that, because {store.location} has no finished cell of them yet: {', '.join(unknown)}"


def _expected(store: Store) -> dict[str, Expected]:
    if not store.exists():
        return {}
    by_method: dict[str, list[Record]] = defaultdict(list)
    for record in store.survey()[0]:
        if record.status == "ok":
            by_method[record.method].append(record)
    return {method: _mean(records) for method, records in by_method.items()}


def _mean(records: Sequence[Record]) -> Expected:
    scoring = [record.cost.get("metric_seconds") or 0.0 for record in records]
    making = [(record.cost.get("generation_seconds") or 0.0) for record in records]
    size = sum(record.video_bytes for record in records if not record.source) / MEGABYTE
    count = len(records)
    return Expected((sum(making) + sum(scoring)) / count, sum(scoring) / count, size / count)


def _free(store: Store) -> str:
    if "://" in store.location:
        return ""
    folder = next((path for path in (Path(store.location), *Path(store.location).parents) if path.is_dir()), None)
    return f" (free there: {shutil.disk_usage(folder).free / 1e9:.1f} GB)" if folder is not None else ""
