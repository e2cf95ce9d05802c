"""Scores videos made elsewhere: results per video and per group, resumable.

Which videos, and what is known of them: `bench.manifest`. A file that is no sound video is quarantined with its reason
and counted; the others are scored.

Example:
    >>> given = collect(["clips/*.mp4"], prompts="", manifest="")          # doctest: +SKIP
    >>> results = score_all(given.videos, scorer, Path("results/scores"))          # doctest: +SKIP
    >>> print(results_table(results, ["mawe"]))                            # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from bench.catalog import Catalog
from bench.errors import BenchError, ConfigError, MetricFailure, StoreError, foreign
from bench.files import read_json, write_json
from bench.listing import text_table
from bench.manifest import GivenVideo
from bench.profile import Profile, Settings
from bench.progress import Display, Step
from bench.settings import construct, located, resolve_settings, run_settings, stored_identity
from bench.spec import SCHEMA, content_key
from bench.stats import mean_defined
from generators.weights import MissingWeightsError
from metrics.api import Metric
from metrics.errors import VideoError, WeightsError
from metrics.features.cache import FeatureCache, content_hash, default_folder
from metrics.files import score_file
from metrics.scoring import VideoScorer

FAR = 1_000_000
"""Where boundaries given by chunk length end; those behind the last frame are ignored."""


PROMPT_WIDTH = 40
"""Characters of a prompt in a table: enough to see that it belongs to the video."""


@dataclass(frozen=True)
class VideoResult:
    """What scoring one video gave.

    Attributes:
        job: the video.
        status: "ok", "failed" (a metric raised) or "quarantined" (not a sound video).
        reason: why not ok.
        num_frames: frames scored.
        values: score by metric; None where undefined.
        scores: value, parts, series and reason by metric.
        seconds: wall time by metric.
    """

    job: GivenVideo
    status: str
    reason: str = ""
    num_frames: int = 0
    values: Mapping[str, float | None] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How videos are scored.

    Attributes:
        metrics: usable metrics by name.
        identity: what decides their numbers, for finding results again.
        seams: declared chunk boundaries, the same for every video; empty if unknown.
        num_frames: frames from the start; None for all.
        cache: keeps flow numbers and CLIP features; None for none.
    """

    metrics: Mapping[str, Metric]
    identity: Settings
    seams: Sequence[int]
    num_frames: int | None
    cache: FeatureCache | None


# -- what to score -----------------------------------------------------------------------------------------------------


def boundaries(seams: str, chunk: int | None, first: int | None) -> Sequence[int]:
    """Returns chunk boundaries from "16,24,…", or from the length of the chunks and of the first one.

    Raises:
        ConfigError: not whole numbers, or both ways at once.
    """
    if seams and chunk is not None:
        raise ConfigError("give chunk boundaries with --seams or with --chunk and --first, not both")
    if first is not None and chunk is None:
        raise ConfigError("--first goes with --chunk: give the number of frames per chunk too")
    if chunk is not None:
        start = chunk if first is None else first
        if chunk < 1 or start < 1:
            raise ConfigError("--chunk and --first must be 1 or more")
        return range(start, FAR, chunk)
    words = [word.strip() for word in seams.split(",") if word.strip()]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise ConfigError(f"--seams {seams!r}: give frame numbers from 1 on, separated by commas")
    return sorted({int(word) for word in words})


# -- with what ---------------------------------------------------------------------------------------------------------


def choose(
    catalog: Catalog, profile: Profile, names: Sequence[str], flow: str, flow_weights: str, device: str
) -> tuple[dict[str, Metric], dict[str, str], Settings]:
    """Returns the metrics that can be used, why the others cannot, and the identity of all settings.

    Args:
        catalog: where metrics are found.
        profile: gives their settings.
        names: which; empty for those of the profile.
        flow: flow estimator in place of the profile's, for every metric that reads flow; empty to keep it.
        flow_weights: weights file (or "mini" folder) of that estimator; empty for its own.
        device: a torch device.

    Raises:
        ConfigError: an unknown metric or setting.
    """
    offered = {**run_settings(profile.run), "device": device}
    usable: dict[str, Metric] = {}
    lost: dict[str, str] = {}
    identity: dict[str, Any] = {}
    for name in catalog.choose_metrics(names or profile.run.metrics):
        plugin = catalog.metrics[name]
        section = dict(profile.metrics.get(name, {}))
        if "flow" in {f.name for f in dataclasses.fields(plugin.cls)}:
            if flow:
                section |= {"flow": flow, "flow_weights": "mini:raft" if flow == "mini" else ""}
            if flow_weights:
                section["flow_weights"] = flow_weights
        settings = resolve_settings(plugin.cls, section, offered, f"metrics.{name}")
        identity[name] = [plugin.info.version, stored_identity(settings)]
        try:
            with foreign(MetricFailure, name, passing=(MissingWeightsError, WeightsError)):
                metric = construct(plugin.cls, located(settings, profile.run.weights_dir), f"metrics.{name}")
                VideoScorer({**usable, name: metric}, "", 10.0)  # loads its weights, or says what is missing
                usable[name] = metric
        except (MissingWeightsError, WeightsError, MetricFailure) as error:
            lost[name] = str(error)
            if settings.get("clip_model"):
                lost[name] += f". To score {name} without the CLIP signal: --set metrics.{name}.clip_model=''"
    return usable, lost, identity


def default_cache() -> FeatureCache:
    """Returns the cache in the user's own cache folder."""
    return FeatureCache(default_folder())


# -- scoring -----------------------------------------------------------------------------------------------------------


def score_all(jobs: Sequence[GivenVideo], plan: Plan, folder: Path) -> list[VideoResult]:
    """Returns one result per video, in order; those in the folder from an earlier command are not computed again.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise StoreError(f"{folder}: cannot write results there ({cause.strerror}); choose another --out") from cause
    results = []
    with Display("videos", Counter(job.method for job in jobs), 1) as display:
        for job in jobs:
            began = time.perf_counter()
            result = _score(job, plan, folder)
            seconds = time.perf_counter() - began
            display.done(Step(job.method, job.path, result.status, result.reason, seconds, result.num_frames))
            results.append(result)
    return results


def _score(job: GivenVideo, plan: Plan, folder: Path) -> VideoResult:
    try:
        with foreign(MetricFailure, "reading", passing=(VideoError,)):
            path = folder / f"{_key(job, plan)}.json"
        if path.exists():
            return _again(job, path)
        with foreign(MetricFailure, "one of the metrics", passing=(VideoError,)):
            scored = score_file(job.path, plan.metrics, job.prompt, plan.seams, plan.num_frames, plan.cache)
    except VideoError as error:
        return VideoResult(job, "quarantined", str(error))
    except BenchError as error:
        return VideoResult(job, "failed", str(error))
    values = {name: score.value for name, score in scored.scores.items()}
    scores = {name: asdict(score) for name, score in scored.scores.items()}
    result = VideoResult(job, "ok", "", scored.num_frames, values, scores, dict(scored.seconds))
    write_json(path, asdict(result))
    return result


def _key(job: GivenVideo, plan: Plan) -> str:
    if not Path(job.path).exists():
        raise VideoError("missing", f"there is no {job.path}")
    seams = [plan.seams.start, plan.seams.step] if isinstance(plan.seams, range) else list(plan.seams)
    content = content_hash(Path(job.path), plan.num_frames)
    return content_key(
        {"schema": SCHEMA, "video": content, "prompt": job.prompt, "seams": seams, "metrics": plan.identity}
        | {"usable": sorted(plan.metrics), "num_frames": plan.num_frames}
    )


def _again(job: GivenVideo, path: Path) -> VideoResult:
    content = read_json(path)
    return VideoResult(**{**content, "job": job})


# -- results -----------------------------------------------------------------------------------------------------------


def groups(results: Sequence[VideoResult], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Returns one entry per method: videos, how many are quarantined or failed, and the mean of every metric."""
    entries = []
    for method in dict.fromkeys(result.job.method for result in results):
        of = [result for result in results if result.job.method == method]
        ok = [result for result in of if result.status == "ok"]
        means = {name: mean_defined([result.values.get(name) for result in ok]) for name in metrics}
        undefined = {name: sum(result.values.get(name) is None for result in ok) for name in metrics}
        counts = {"videos": len(of), "scored": len(ok), "excluded": len(of) - len(ok)}
        entries.append({"method": method, **counts, "mean": means, "undefined": undefined})
    return entries


def results_table(results: Sequence[VideoResult], metrics: Sequence[str]) -> str:
    """Returns both tables as text: every video, then every group."""
    head = ("video", "prompt", "method", "frames", *metrics, "state")
    rows = [
        (
            result.job.path,
            shorten(result.job.prompt, PROMPT_WIDTH, placeholder="…") or "-",
            result.job.method or "-",
            str(result.num_frames or "-"),
            *(_number(result.values.get(name)) for name in metrics),
            result.status,
        )
        for result in results
    ]
    group_head = ("group", "videos", "scored", "excluded", *metrics)
    group_rows = [
        (
            entry["method"] or "all",
            *(str(entry[name]) for name in ("videos", "scored", "excluded")),
            *(_number(entry["mean"][name]) for name in metrics),
        )
        for entry in groups(results, metrics)
    ]
    return text_table([head, *rows]) + "\n\n" + text_table([group_head, *group_rows])


def write_results(path: Path, results: Sequence[VideoResult], metrics: Sequence[str], lost: Mapping[str, str]) -> None:
    """Writes everything as one JSON file."""
    content = {"groups": groups(results, metrics), "videos": [asdict(result) for result in results], "lost": dict(lost)}
    write_json(path, content)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
