"""The main job: plan, draw the shared first chunks, fill the cells, say what came of it.

Example:
    >>> summary = execute(spec, catalog, Store("results/mini-1a2b3c"), "mini-1a2b3c")   # doctest: +SKIP
    >>> summary.exit_code                                                                # doctest: +SKIP
    0
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.catalog import Catalog
from bench.claims import is_claimed
from bench.growth import grown
from bench.plan import Lack, Todo, lack_of, part_of, run_info, settle, todo
from bench.progress import Display, Step
from bench.records import Record
from bench.spec import RunSpec
from bench.store import Store
from bench.terminal import say

if TYPE_CHECKING:
    from bench.executors import Executor
    from bench.tasks import Outcome, Task


POLL = 1.0
"""Seconds between two looks at what another command is making."""


@dataclass(frozen=True)
class RunSummary:
    """What a run left behind, over all cells of its own grid, whatever another command wrote into run.json since.

    Attributes:
        planned: cells of the grid, or of the shard.
        ok: finished videos.
        failed: cells whose method raised.
        skipped: cells whose weights are missing, or whose method refuses such a video.
        failed_scores: scores whose metric raised.
        skipped_scores: scores whose metric has no weights.
        reasons: every different reason, with the number of cells or scores it hit.
        damage: sentences about damaged files that were made anew.
        spoiled: sentences about what plugins left behind in this process or a worker.
    """

    planned: int
    ok: int
    failed: int
    skipped: int
    failed_scores: int
    skipped_scores: int
    reasons: tuple[tuple[str, int], ...]
    damage: tuple[str, ...] = ()
    spoiled: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if anything failed or is missing, or if there is no video at all; an empty shard has nothing to fail."""
        return int(bool(self.failed or self.failed_scores or self.missing or (self.planned and not self.ok)))

    @property
    def missing(self) -> int:
        """Cells that have no record in the end: something went wrong that no worker could write down."""
        return self.planned - self.ok - self.failed - self.skipped

    def sentence(self) -> str:
        """Returns the counts, without those that are zero."""
        parts = [f"{self.ok} videos ok"]
        for count, what in (
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.missing, "without a record"),
            (self.failed_scores, "scores failed"),
            (self.skipped_scores, "scores skipped"),
            (len(self.damage), "damaged files made anew"),
        ):
            parts += [f"{count} {what}"] if count else []
        return ", ".join(parts)

    def remarks(self) -> list[str]:
        """Returns a line per reason for what failed or was skipped, and what to do about it."""
        lines = [f"{count} x {reason}" for reason, count in self.reasons]
        if self.failed or self.skipped or self.failed_scores or self.skipped_scores:
            lines.append("What lacked weights is tried again by the same command, all else with --redo failed.")
        return lines


def execute(
    spec: RunSpec, catalog: Catalog, store: Store, name: str, redo: str = "", shard: tuple[int, int] = (1, 1)
) -> RunSummary:
    """Does what is left of a grid, or of one shard of it, and returns what became of its cells.

    Args:
        spec: the grid.
        catalog: where its methods and metrics were found.
        store: the folder; made if it does not exist.
        name: name of the run.
        redo: see `bench.plan.todo`.
        shard: see `bench.plan.part_of`.

    Raises:
        StoreError: the folder cannot be written.
    """
    info, earlier = run_info(spec, catalog, name), store.known()
    damage = store.open(info if earlier is None else grown(earlier, info))
    spec = part_of(spec, shard)
    left = todo(spec, catalog, store, redo)
    settle(spec, left, store)
    damage += left.notes
    outcomes, traces = _do_what_is_left(spec, store, left) if left.videos or left.scores else ([], [])
    store.refresh()
    if traces:
        store.log(traces)
    now = store.known()
    if now is not None and not set(info.methods) <= set(now.methods):  # another command wrote run.json at the same time
        store.open(grown(info, now))
    damage = _unique((*damage, *(note for outcome in outcomes for note in outcome.notes)))
    spoiled = _unique(sentence for outcome in outcomes for sentence in outcome.spoiled)
    for note in damage:
        say(f"note: {note}")
    for change in _unique(sentence for outcome in outcomes for sentence in outcome.changes):
        say(f"warning: {change}; it was put back, and `check` shows it to the author")
    for sentence in spoiled:
        say(f"warning: {sentence}")
    records = (record for cell in spec.cells if (record := store.find(cell)) is not None)
    return replace(_summary(records, spec), damage=damage, spoiled=spoiled)


def _traces(record: Record) -> list[str]:
    """Returns an entry of run.log for everything in a record that failed with a traceback."""
    found = {"video": (record.reason, record.traceback)}
    found |= {name: (score.reason, score.traceback) for name, score in record.scores.items()}
    return [
        f"{record.method}/{record.key}, {what}: {reason}\n{trace}\n" for what, (reason, trace) in found.items() if trace
    ]


def _unique(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))


def _do_what_is_left(spec: RunSpec, store: Store, left: Todo) -> tuple[list[Outcome], list[str]]:
    """Does what is left; returns what became of every task, without the records, and the entries of run.log."""
    from bench.executors import idle_gpus, open_executor
    from bench.tasks import Task

    tasks = [Task("video", cell, state=store.state(cell)) for cell in left.videos]
    tasks += [Task("scores", cell, metrics, state=store.state(cell)) for cell, metrics in left.scores]
    if idle := idle_gpus(spec.profile.run, len(tasks)):
        say(f"note: {idle}")
    by_lack = _by_lack(tasks, left.lacking)
    traces: list[str] = []
    with open_executor(spec, store, len(tasks)) as executor:
        first = [of_one[0] for lack, of_one in by_lack.items() if lack and len(of_one) > 1]
        outcomes = _carry_out(spec, store, executor, first, traces)
        store.refresh()
        still = {lack for lack, of_one in by_lack.items() if of_one[0] in first and _lack_now(store, of_one[0]) == lack}
        rest = [task for lack, of_one in by_lack.items() if lack not in still for task in of_one if task not in first]
        return outcomes + _carry_out(spec, store, executor, rest, traces), traces


def _by_lack(tasks: Sequence[Task], lacking: Mapping[str, Lack]) -> dict[Lack, list[Task]]:
    """Returns the tasks by what was said to be lacking, those that lacked nothing under ().

    Of each that lacked something one is tried first: where it lacks that still, so would the others. A grid of
    thousands of cells without weights costs one try per method, and the other records stay as they are.
    """
    found: dict[Lack, list[Task]] = {}
    for task in tasks:
        found.setdefault(lacking.get(f"{task.cell.method}/{task.cell.key}", ()), []).append(task)
    return found


def _lack_now(store: Store, task: Task) -> Lack:
    """Returns what a cell lacks after its task."""
    record = store.find(task.cell)
    return lack_of(record, task.metrics) if record is not None else ()


def _carry_out(
    spec: RunSpec, store: Store, executor: Executor, tasks: Sequence[Task], traces: list[str]
) -> list[Outcome]:
    """Returns what became of tasks, after the first chunks that they need."""
    from bench.tasks import Task

    made = [task.cell for task in tasks if task.kind == "video" and task.cell.given is None]
    starts = {cell.start_key: cell for cell in made if not store.has_start(cell.start_key)}.values()
    to_draw = [Task("start", cell, state=store.state(cell, start=True)) for cell in starts]
    drawn = _until_done("first chunks", store, executor, to_draw, traces)
    blocked = {outcome.task.cell.start_key: outcome for outcome in drawn if outcome.status != "ok"}
    unblocked = [task for task in tasks if not _blocked(spec, store, task, blocked)]
    return drawn + _until_done("cells", store, executor, unblocked, traces)


def _until_done(what: str, store: Store, executor: Executor, tasks: Sequence[Task], traces: list[str]) -> list[Outcome]:
    """Returns what became of tasks; those that another command is at are waited for, and done if it gives them up."""
    outcomes: list[Outcome] = []
    while tasks:
        found = _run_with_progress(what, executor, tasks, traces)
        outcomes += [outcome for outcome in found if not outcome.elsewhere]
        tasks = [outcome.task for outcome in found if outcome.elsewhere]
        claims = {store.claim_path(task.cell, start=task.kind == "start") for task in tasks}
        if claims:
            say(f"note: waiting for {len(claims)} {what} that another command is making")
        while claims and all(is_claimed(claim) for claim in claims):
            time.sleep(POLL)
    return outcomes


def _blocked(spec: RunSpec, store: Store, task: Task, blocked: dict[str, Outcome]) -> bool:
    """Returns whether a cell has no first chunk; its record then says why."""
    from bench.tasks import blank

    start = blocked.get(task.cell.start_key) if task.kind == "video" else None
    if start is not None and not store.written_since(task.cell, task.state):
        store.save(blank(spec, task.cell, start.status, start.reason))
    return start is not None


def _run_with_progress(what: str, executor: Executor, tasks: Sequence[Task], traces: list[str]) -> list[Outcome]:
    """Runs tasks under a progress display and returns what became of them, in the order in which they ended.

    Of a record only what goes to run.log is kept, in `traces`: those of a large grid would fill the memory.
    """
    if not tasks:
        return []
    outcomes = []
    with Display(what, Counter(task.cell.method for task in tasks), executor.workers) as display:
        for outcome in executor.run(tasks, display.note):
            display.done(_step(outcome))
            traces += _traces(outcome.record) if outcome.record is not None else []
            outcomes.append(replace(outcome, record=None))
    return outcomes


def _step(outcome: Outcome) -> Step:
    cell, frames = outcome.task.cell, outcome.record.num_frames if outcome.record else 0
    if cell.given is not None:
        return Step(cell.method, cell.given.path, outcome.status, outcome.reason, outcome.seconds, frames)
    name = cell.prompt.id if outcome.task.kind == "start" else f"{cell.method} · {cell.prompt.id}"
    return Step(cell.method, f"{name} · seed {cell.seed}", outcome.status, outcome.reason, outcome.seconds, frames)


def _summary(records: Iterable[Record], spec: RunSpec) -> RunSummary:
    status: Counter[str] = Counter()
    of_scores: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for record in records:
        status[record.status] += 1
        if record.status != "ok":
            reasons[record.reason] += 1
            continue
        for score in (score for name, score in record.scores.items() if name in spec.metrics):
            of_scores[score.status] += 1
            if score.status != "ok":
                reasons[score.reason] += 1
    return RunSummary(
        len(spec.cells),
        status["ok"],
        status["failed"],
        status["skipped"],
        of_scores["failed"],
        of_scores["skipped"],
        tuple(reasons.most_common()),
    )
