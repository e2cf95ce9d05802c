"""Runs one piece of work in one process: a first chunk, a video with its scores, or new scores of a finished video.

Frames flow once: what a method yields is checked, timed, written and handed to every metric, and then forgotten, so
memory does not grow with the length of a video. Whatever a method raises ends here, and whatever a metric raises in
`bench.scoreboard`, in the record of its cell (through `errors.foreign`, the one broad `except`).

Example:
    >>> worker = Worker(spec, store)                       # doctest: +SKIP
    >>> worker.run(Task("video", spec.cells[0])).record.status   # doctest: +SKIP
    'ok'
"""

from __future__ import annotations

import errno
import gc
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from bench.catalog import Catalog, find_plugins
from bench.claims import claimed
from bench.cost import Meter
from bench.errors import ConfigError, MethodFailure, StoreError, foreign, trace_of, watching_interrupts
from bench.ffv1 import VideoWriter, file_digest, read_video
from bench.frame_contract import check_total, checked_chunks, checked_frames
from bench.given_video import score_given
from bench.memory import OFFLOAD, ran_out, stronger
from bench.plan import first_chunk_class, stale_scores, wanted_scores
from bench.process_state import ProcessState, contained, fix_torch
from bench.profile import Settings
from bench.provenance import machine_facts
from bench.records import Record, Status, StoredScore
from bench.scoreboard import Scorers
from bench.settings import construct
from bench.spec import Cell, GivenFile, RunSpec
from bench.store import Store
from bench.tasks import Outcome, Task, blank
from bench.terminal import say
from generators.api import Frames, Method, MethodInfo, Request, Start, UnsupportedRequestError
from generators.weights import MissingWeightsError, command_for
from metrics.features.cache import FeatureCache

T = TypeVar("T")

FIRST_CHUNK = "first_chunk"
"""Who draws the shared first chunk, where methods are named; no method may be called so."""

SKIPPING = (MissingWeightsError, UnsupportedRequestError)
"""What a method raises where the fault is not its own: the cell is skipped."""

NOTHING = ""
"""Who is loaded before anything is."""


class Worker:
    """Runs tasks one after another and keeps weights loaded between those of one method.

    Args:
        spec: the grid, with all settings.
        store: where everything goes.
    """

    def __init__(self, spec: RunSpec, store: Store) -> None:
        self.spec = spec
        self.store = store.settled()  # a plugin may change the working directory
        self._loaded: tuple[str, Any] = (NOTHING, None)
        self._warm = False
        self._saving: dict[str, Settings] = {}
        self._why_saving: dict[str, str] = {}
        self._notes: list[str] = []
        self._changes: list[str] = []
        self._state = ProcessState()

    def run(self, task: Task) -> Outcome:
        """Returns what became of a task; its files are in the store.

        Raises:
            StoreError: the results folder cannot be written, or a drop-in file changed meanwhile; nothing else.
        """
        self._check_plugins()
        fix_torch(self.spec.profile.run.threads)
        self._notes.clear()
        self._changes.clear()
        drawing = task.kind == "start"
        with claimed(self.store.claim_path(task.cell, start=drawing)) as mine:
            if not mine:
                return Outcome(task, "skipped", "another command is at it", 0.0, elsewhere=True)
            task = self._left(task)
            return self._contained(task, task.cell.start_key if drawing else task.cell.key)

    def _check_plugins(self) -> None:
        """Raises StoreError if a drop-in file is not the one that the keys of the cells were made from."""
        found = self._catalog.hashes(self.spec.plugins)
        for file, planned in self.spec.plugin_hashes.items():
            if found.get(file) != planned:
                raise StoreError(f"plugin {file} changed while the command ran: give the same command again")

    def _left(self, task: Task) -> Task:
        """Returns what is left of a task: less where another command has written its record since it was planned."""
        if task.kind == "start" or not self.store.written_since(task.cell, task.state):
            return task
        record = None
        with suppress(StoreError):
            record = self.store.find(task.cell)
        if record is None:
            return task
        if record.status != "ok":
            return replace(task, kind="scores", metrics=())
        stale = stale_scores(record, wanted_scores(self._catalog, self.spec.metrics))
        lacking = [name for name in task.metrics if name in record.scores and record.scores[name].status != "ok"]
        return replace(task, kind="scores", metrics=tuple(dict.fromkeys((*stale, *lacking))))

    def _contained(self, task: Task, key: str) -> Outcome:
        with watching_interrupts(), contained(_seed(key)) as self._state:
            try:
                outcome = self._run(task)
            finally:
                who = "first chunk" if task.kind == "start" else f"{task.cell.method} or one of its metrics"
                self._changes += [f"{who} changed {name}" for name in self._state.restore()]
            spoiled = tuple(f"{who} left behind {what}" for what in self._state.leftovers())
        return replace(outcome, notes=tuple(self._notes), changes=tuple(self._changes), spoiled=spoiled)

    def _run(self, task: Task) -> Outcome:
        began = time.perf_counter()
        if task.kind == "start":
            if self.store.written_since(task.cell, task.state, start=True):  # another command has drawn it
                return Outcome(task, "ok", "", 0.0)
            status, reason = self._draw(task.cell)
            return Outcome(task, status, reason, time.perf_counter() - began)
        if task.kind == "scores" and not task.metrics and (made := self.store.find(task.cell)) is not None:
            return Outcome(task, made.status, made.reason, 0.0, made)
        if task.cell.given is not None:
            record = self._score_given(task, task.cell.given)
        else:
            record = self._score_again(task.cell, task.metrics) if task.kind == "scores" else self._make(task.cell)
        record = replace(record, lost=(*record.lost, *task.lost))
        self.store.save(record)
        return Outcome(task, record.status, record.reason, time.perf_counter() - began, record)

    # -- first chunks ----------------------------------------------------------------------------------------------

    def _draw(self, cell: Cell) -> tuple[Status, str]:
        try:
            start, cost = self._in_memory(FIRST_CHUNK, lambda: self._drawn(cell))
            fps, memory = self.spec.profile.video.fps, self._why_saving.get(FIRST_CHUNK, "")
            self.store.save_start(cell.start_key, start, fps, cost, memory)
        except MissingWeightsError as missing:
            return "skipped", f"first chunk: {missing}"
        except MethodFailure as error:
            return "failed", str(error)
        return "ok", ""

    def _drawn(self, cell: Cell) -> tuple[Start, dict[str, float | None]]:
        with (
            Meter(warm=self._is_warm(FIRST_CHUNK), gpu=self._on_gpu(FIRST_CHUNK)) as meter,
            meter.chunk() as length,
            foreign(MethodFailure, "first chunk", passing=(MissingWeightsError,)),
        ):
            start: Start = self._load(FIRST_CHUNK).draw(self._request(cell))
            frames = checked_frames(start.frames, self.spec.profile.video, "first chunk")
            length.append(len(frames))
        self._warm = True
        return Start(frames, start.base), meter.cost(0.0)

    def _start(self, cell: Cell) -> tuple[Start, str]:
        """Returns the stored first chunk and its hash; draws a torn one again."""
        try:
            return self.store.load_start(cell.start_key)
        except StoreError as damage:
            self._notes.append(str(damage))
            status, reason = self._draw(cell)
            if status == "skipped":
                raise MissingWeightsError(reason) from None
            if status == "failed":
                raise MethodFailure(reason) from None
            return self.store.load_start(cell.start_key)

    # -- videos ----------------------------------------------------------------------------------------------------

    def _make(self, cell: Cell) -> Record:
        info = self._catalog.methods[cell.method].info
        record = blank(self.spec, cell, "failed", "")
        try:
            start, digest = self._start(cell)
            record = replace(record, start=digest)
            record = self._in_memory(cell.method, lambda: self._stream(cell, info, start, record))
        except MissingWeightsError as missing:
            reason = absence(missing, cell.method, self.spec.profile.run.weights_dir)
            record = replace(record, status="skipped", reason=reason)
        except UnsupportedRequestError as refusal:
            record = replace(record, status="skipped", reason=str(refusal), refused=True)
        except MethodFailure as error:
            record = replace(record, reason=str(error), traceback=trace_of(error))
        except StoreError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EBADF:
                raise
            record = replace(record, reason=f"{cell.method} or one of its metrics closed a file of ours ({error})")
        return replace(record, memory=self._why_saving.get(cell.method, ""), machine=self._machine)

    def _stream(self, cell: Cell, info: MethodInfo, start: Start, record: Record) -> Record:
        video = self.spec.profile.video
        path = self.store.cell_video(cell)
        board = self._scorers.begin(self.spec.metrics, cell.prompt.scored_text, video.fps)
        seams: list[int] = []
        with (
            Meter(warm=self._is_warm(cell.method), flops=cell.counts_flops, gpu=self._on_gpu(cell.method)) as meter,
            VideoWriter(path, video.fps) as writer,
        ):
            for frames in self._frames(cell, info, start, meter):
                if writer.num_frames:
                    seams.append(writer.num_frames)
                writer.write(frames)
                board.update(frames)
        self._warm = True
        scores = board.compute(seams, lambda: read_video(path))
        self._changes += board.changes
        return replace(
            record,
            status="ok",
            num_frames=video.num_frames,
            height=video.height,
            width=video.width,
            fps=video.fps,
            seams=tuple(seams),
            video_sha256=file_digest(path),
            video_bytes=path.stat().st_size,
            cost=meter.cost(board.seconds),
            scores=scores,
        )

    def _frames(self, cell: Cell, info: MethodInfo, start: Start, meter: Meter) -> Iterator[Frames]:
        """Yields every chunk of the video, the shared one first, each checked; counts and times the method's own."""
        video = self.spec.profile.video
        missing = wanted = video.num_frames
        if info.continues_start:
            first = start.frames[: video.num_frames]
            missing = wanted = video.num_frames - len(first)
            yield first
        if missing == 0:
            return
        theirs: dict[str, Any] = {}
        with self._state.lent(theirs), foreign(MethodFailure, cell.method, passing=SKIPPING):
            method: Method = self._load(cell.method)
            chunks = checked_chunks(method.generate(self._request(cell), start), cell.method)
        while True:
            step = foreign(MethodFailure, cell.method, passing=SKIPPING)
            with meter.chunk() as length, self._state.lent(theirs), step:
                chunk = next(chunks, None)
                if chunk is not None:
                    chunk = checked_frames(chunk, video, cell.method)
                    length.append(len(chunk))
            if chunk is None:
                break
            missing -= len(chunk)
            if missing < 0:
                break
            yield chunk
        self._changes += [f"{cell.method} changed {name}" for name in theirs]
        check_total(missing, wanted, video, cell.method)

    # -- scores ----------------------------------------------------------------------------------------------------

    def _score_again(self, cell: Cell, metrics: Iterable[str]) -> Record:
        record = self.store.find(cell)
        assert record is not None
        wanted = {name: self.spec.metrics[name] for name in metrics}
        board = self._scorers.begin(wanted, cell.prompt.scored_text, record.fps)
        try:
            path = self.store.whole_video(record)
        except StoreError as damage:
            self._notes.append(str(damage))
            return self._make(cell)  # the only way to its scores is to make the video again
        for frames in read_video(path):
            board.update(frames)
        scores: dict[str, StoredScore] = {**record.scores, **board.compute(record.seams, lambda: read_video(path))}
        self._changes += board.changes
        spent = (record.cost.get("metric_seconds") or 0.0) + board.seconds
        return replace(record, scores=scores, cost={**record.cost, "metric_seconds": spent})

    def _score_given(self, task: Task, given: GivenFile) -> Record:
        known = self.store.find(task.cell) if task.kind == "scores" else None
        metrics = {name: self.spec.metrics[name] for name in (task.metrics if known else self.spec.metrics)}
        record = known or blank(self.spec, task.cell, "failed", "")
        scored = score_given(record, given, metrics, self._scorers, self._cache)
        return replace(scored, machine=self._machine)

    # -- memory ----------------------------------------------------------------------------------------------------

    def _in_memory(self, name: str, work: Callable[[], T]) -> T:
        """Returns what `work` returns; if memory runs out, tries once more with the next stronger way to save it.

        Args:
            name: who works: a method, or `FIRST_CHUNK`.
            work: loads it with `_load`.

        Raises:
            MethodFailure: what `work` raised; where memory ran out, with the reason why there was no other try.
        """
        try:
            return work()
        except MethodFailure as error:
            self._save_memory(name, error)
        # Not inside the block: until it ends, the traceback holds every tensor of the first try.
        return work()

    def _save_memory(self, name: str, error: MethodFailure) -> None:
        """Makes a method save memory from now on, in this process; raises MethodFailure if that is not the cure."""
        if not ran_out(error.__cause__):
            raise error
        before, who = self._settings(name), name
        self._loaded, self._warm = (NOTHING, None), False
        try:
            settings = stronger(before, who)
            construct(self._class(name), settings, who)
        except ConfigError as refusal:
            raise MethodFailure(f"{error}; no second try: {refusal}") from error
        said = str(error).partition(". ")[0]  # CUDA's message goes on for a paragraph
        self._saving[name] = settings
        self._why_saving[name] = f'{OFFLOAD} = "{settings[OFFLOAD]}", because with "{before[OFFLOAD]}" {said}'

    # -- what a worker keeps ---------------------------------------------------------------------------------------

    @cached_property
    def _catalog(self) -> Catalog:
        return find_plugins(self.spec.plugins).with_sections(self.spec.profile.methods)

    @cached_property
    def _scorers(self) -> Scorers:
        return Scorers(self._catalog, self.spec.profile.run.weights_dir)

    @cached_property
    def _cache(self) -> FeatureCache | None:
        folder = self.spec.feature_cache
        return FeatureCache(Path(folder), warn=lambda text: say(f"warning: {text}")) if folder else None

    def _load(self, name: str) -> Any:
        """Returns the method of that name (or `FIRST_CHUNK`), letting go of the one before."""
        if self._loaded[0] != name or self._loaded[1] is None:
            self._loaded = (NOTHING, None)
            gc.collect()  # networks hold reference cycles; two large ones must not be in memory at once
            if self._cuda:
                sys.modules["torch"].cuda.empty_cache()
            self._loaded = (name, construct(self._class(name), self._settings(name), name))
            self._warm = False
        return self._loaded[1]

    def _class(self, name: str) -> type[Any]:
        if name == FIRST_CHUNK:
            return first_chunk_class(self._catalog, self.spec.profile)
        return self._catalog.methods[name].cls

    def _settings(self, name: str) -> Settings:
        planned = self.spec.first_chunk if name == FIRST_CHUNK else self.spec.methods[name]
        return self._saving.get(name, planned)

    def _is_warm(self, name: str) -> bool:
        return self._warm and self._loaded[0] == name

    def _on_gpu(self, name: str) -> bool:
        return self._cuda and str(self._settings(name).get("device", "")).startswith("cuda")

    @cached_property
    def _machine(self) -> dict[str, str]:
        return machine_facts(self.spec.profile.run.device)

    @cached_property
    def _cuda(self) -> bool:
        import torch

        return torch.cuda.is_available()

    def _request(self, cell: Cell) -> Request:
        video = self.spec.profile.video
        prompt, size = cell.prompt, (video.height, video.width)
        return Request(prompt.text, cell.seed, video.num_frames, *size, video.fps, prompt.changes)


def _seed(key: str) -> int:
    """Returns the seed of the global generators while a cell is made: of its key, whatever ran before."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])


def absence(missing: MissingWeightsError, method: str, weights_dir: str) -> str:
    """Returns why a method is skipped and how to get what it lacks; some weights are known as those of another."""
    if missing.entry is None or missing.entry.methods[0] == method or method not in missing.entry.methods:
        return str(missing)
    return f"{missing}; `{command_for([method], weights_dir)}` fetches everything {method} reads"
