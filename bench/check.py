"""Tries a drop-in file against the two contracts, the way a run would use it, on tiny videos.

Example:
    >>> all(check.ok for check in checks_of("my_method.py", load_profile("mini")))   # doctest: +SKIP
    True
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from bench.catalog import CLASS, Plugin, find_plugins, own_settings
from bench.errors import BenchError, MethodFailure, MetricFailure, PluginError, foreign
from bench.frame_contract import check_total, checked_chunks, checked_frames
from bench.process_state import contained, fix_torch
from bench.profile import Profile, Settings, VideoSettings
from bench.score_contract import NO_REASON, checked_score
from bench.settings import construct, located, resolve_settings, run_settings
from generators.api import Frames, Method, MethodInfo, Request, Start
from generators.weights import MissingWeightsError
from metrics.api import Metric, MetricInfo, Score

START_FRAMES = 16
"""As many as the shared first chunk has; some methods take no fewer."""

NUM_FRAMES = 27
"""A video that no usual chunk size divides, short enough for a check to end soon."""


CONSTRUCTS = "it is a dataclass whose settings have defaults or stand in the profile"

SAMPLE_PROMPT = "a red circle bouncing up and down on grass"
"""What the videos of a check show; a caption of the miniature world, too."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        plugin: name of the method or metric.
        check: what was checked, as a sentence that holds if it is ok.
        ok: whether it holds.
        detail: what was seen instead, after a colon; empty if ok.
    """

    plugin: str
    check: str
    ok: bool
    detail: str = ""


Beginning = Callable[[str, str], None]
"""Called with the plugin's name and the sentence before each check."""


def silent(plugin: str, check: str) -> None:
    """Does nothing: nobody wants to know what is being checked."""


def checks_of(file: str, profile: Profile, num_frames: int = NUM_FRAMES, begin: Beginning = silent) -> Iterator[Check]:
    """Yields one check per check of every stamped class in a file, each as soon as it is done.

    Args:
        file: the drop-in file, or the .toml file of the profile, whose sections with a class are then the methods.
        profile: gives size, frame rate and settings.
        num_frames: length of the videos that methods make, more than `START_FRAMES`.
        begin: told what is checked next.

    Raises:
        PluginError: the file cannot be imported, holds no stamped class or no such section, or takes a name in use.
    """
    methods, metrics = _defined(profile) if file.endswith(".toml") else _dropped_in(file)
    for method in methods:
        yield from checks_of_method(method, profile, num_frames, begin)
    for metric in metrics:
        yield from _run_checks(metric.info.name, _metric_checks(metric, profile), begin)


def checks_of_method(
    method: Plugin[MethodInfo], profile: Profile, num_frames: int = NUM_FRAMES, begin: Beginning = silent
) -> Iterator[Check]:
    """Yields one check per check of one method, as `checks_of` does for every class of a file."""
    return _run_checks(method.info.name, _method_checks(method, profile, num_frames), begin)


def _dropped_in(file: str) -> tuple[list[Plugin[MethodInfo]], list[Plugin[MetricInfo]]]:
    """Returns what a file holds, as a run finds it."""
    known = find_plugins([file])
    methods = [plugin for plugin in known.methods.values() if plugin.origin == file]
    return methods, [plugin for plugin in known.metrics.values() if plugin.origin == file]


def _defined(profile: Profile) -> tuple[list[Plugin[MethodInfo]], list[Plugin[MetricInfo]]]:
    """Returns the methods that the sections of a profile define."""
    sections = {name: section for name, section in profile.methods.items() if CLASS in section}
    if not sections:
        raise PluginError(f'profile {profile.name}: no section [methods.NAME] says `class = "..."`; nothing to check')
    known = find_plugins().with_sections(sections).methods
    return [known[name] for name in sections], []


Claim = tuple[str, Callable[[], None]]
"""A sentence and a function that raises BenchError if it does not hold."""


def _run_checks(plugin: str, checks: Iterable[Claim], begin: Beginning) -> Iterator[Check]:
    """Yields one check per claim, and one about what they did to the process, which is put back after each."""
    changed: dict[str, None] = {}
    fix_torch(1)
    for sentence, check in checks:
        begin(plugin, sentence)
        detail = ""
        with contained(seed=0) as state:
            try:
                with foreign(MethodFailure, plugin, passing=(BenchError, MissingWeightsError)):
                    check()
            except (BenchError, MissingWeightsError) as error:
                detail = f": {error}"
            changed |= dict.fromkeys((*state.restore(), *state.leftovers()))
        yield Check(plugin, sentence, ok=not detail, detail=detail)
        if detail and sentence == CONSTRUCTS:
            break  # every other check would say the same
    detail = f": it changed or left behind {', '.join(changed)}" if changed else ""
    yield Check(plugin, "it leaves the process as it found it", ok=not changed, detail=detail)


# -- methods ---------------------------------------------------------------------------------------------------------


def _method_checks(plugin: Plugin[MethodInfo], profile: Profile, num_frames: int) -> list[Claim]:
    info = plugin.info

    def fresh() -> Method:
        settings = _resolved(plugin.cls, info.name, profile.methods, profile)
        method: Method = construct(plugin.cls, settings, f"methods.{info.name}")
        return method

    @cache
    def first() -> tuple[Frames, bool]:
        """Returns a video by a fresh method, and whether it left its start as it was; made once for all checks."""
        start = sample_start(profile.video)
        before = start.frames.copy()
        frames = _generate(fresh(), info, profile, num_frames, start=start)
        return frames, np.array_equal(before, start.frames)

    def exact() -> None:
        first()
        _generate(fresh(), info, profile, START_FRAMES + 1)

    def repeats() -> None:
        method = fresh()
        _generate(method, info, profile, START_FRAMES + 1, seed=1)  # global generators have moved on, too
        if not np.array_equal(first()[0], _generate(method, info, profile, num_frames)):
            raise MethodFailure("the second video differs; draw noise from a generator seeded with request.seed")

    def leaves_start() -> None:
        if not first()[1]:
            raise MethodFailure("the shared first chunk was changed; copy it before writing into it")

    return [
        ("its title is not empty", lambda: _titled(info)),
        (CONSTRUCTS, lambda: _ignore(fresh())),
        ("it yields uint8 frames of the right size and exactly as many as asked for", exact),
        ("the same request gives the same bytes, whatever was made before", repeats),
        ("it leaves the shared first chunk as it is", leaves_start),
    ]


def sample_start(video: VideoSettings) -> Start:
    """Returns a first chunk of smooth moving colour at the size of a video."""
    shape = (START_FRAMES, video.height, video.width)
    time, row, column = np.ogrid[:START_FRAMES, : video.height, : video.width]
    waves = (np.sin(0.1 * column + 0.3 * time), np.sin(0.07 * row), np.sin(0.05 * (row + column)))
    frames = np.stack([np.broadcast_to(127.5 + 127.5 * wave, shape) for wave in waves], axis=-1).astype(np.uint8)
    return Start(frames, frames.copy())


def _generate(
    method: Method, info: MethodInfo, profile: Profile, total: int, seed: int = 0, start: Start | None = None
) -> Frames:
    """Returns all new frames of one video; raises MethodFailure where the contract is broken."""
    video = replace(profile.video, num_frames=total)
    request = Request(SAMPLE_PROMPT, seed, total, video.height, video.width, video.fps)
    missing = wanted = total - (START_FRAMES if info.continues_start else 0)
    chunks = []
    for chunk in checked_chunks(method.generate(request, start or sample_start(video)), info.name):
        chunks.append(checked_frames(chunk, video, info.name))
        missing -= len(chunk)
        if missing < 0:
            break
    check_total(missing, wanted, video, info.name)
    return np.concatenate(chunks)


# -- metrics ---------------------------------------------------------------------------------------------------------


def _metric_checks(plugin: Plugin[MetricInfo], profile: Profile) -> list[Claim]:
    info = plugin.info
    frames = np.concatenate([sample_start(profile.video).frames] * 2)

    def fresh() -> Metric:
        settings = _resolved(plugin.cls, info.name, profile.metrics, profile)
        placed = located(info.name, settings, profile.run.weights_dir)
        metric: Metric = construct(plugin.cls, placed, f"metrics.{info.name}")
        return metric

    def chunking() -> None:
        metric = fresh()
        whole, pieces = (
            _score(metric, [frames]),
            _score(metric, [frames[i : i + 1] for i in range(len(frames))]),
        )
        if whole.value != pieces.value:
            raise MetricFailure(f"{whole.value} from one call of update, {pieces.value} from one per frame")

    def windows() -> None:
        metric = fresh()
        score = _score(metric, [frames])
        value = metric.window(score.series, 0, len(frames))
        if value != score.value:
            raise MetricFailure(f"window over the whole video gives {value}, the score is {score.value}")

    def _score(metric: Metric, chunks: Sequence[Frames]) -> Score:
        accumulator = metric.begin(SAMPLE_PROMPT, profile.video.fps)
        for chunk in chunks:
            accumulator.update(chunk)
        return checked_score(accumulator.compute(), info.name)

    def single() -> None:
        score = _score(fresh(), [frames[:1]])
        if score.value is None and score.reason == NO_REASON:
            raise MetricFailure("a video of one frame has no value and no reason; give a reason")

    return [
        ("its title is not empty", lambda: _titled(info)),
        (CONSTRUCTS, lambda: _ignore(fresh())),
        ("the score does not depend on how a video is cut into calls", chunking),
        ("`window` over the whole video gives the score", windows),
        ("value, parts and series are plain numbers, texts and lists", lambda: _ignore(_score(fresh(), [frames]))),
        ("a video of one frame has a score or a reason", single),
    ]


# -- both ------------------------------------------------------------------------------------------------------------


def _resolved(cls: type[Any], name: str, sections: Any, profile: Profile) -> Settings:
    return resolve_settings(cls, own_settings(sections.get(name, {})), run_settings(profile.run), name)


def _titled(info: MethodInfo | MetricInfo) -> None:
    if not info.title.strip():
        raise MethodFailure(f"the title is {info.title!r}")


def _ignore(_: object) -> None:
    """Does nothing with what was constructed: constructing it was the check."""
