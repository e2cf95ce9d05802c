"""With which settings given videos are scored: profile, optical flow, chunk boundaries, cache of features.

Example:
    >>> boundaries("", chunk=8, first=16)[:3]
    range(16, 40, 8)
    >>> boundaries("32,16", None, None)
    [16, 32]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from bench.catalog import Catalog
from bench.errors import ConfigError
from bench.growth import made_rows
from bench.profile import Profile, Settings, load_profile, stored_profile
from bench.records import RunInfo
from bench.terminal import say
from metrics.features.cache import FeatureCache, default_folder

FAR = 1_000_000
"""Where boundaries given by chunk length end; those behind the last frame are ignored."""


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


def scoring_profile(run: RunInfo | None, name: str | None, overrides: Sequence[str], device: str | None) -> Profile:
    """Returns the profile that says how videos are scored.

    Args:
        run: what the folder holds; where methods made some of it, its own profile, so that rows can be compared.
        name: a profile in its place; None for that of the run, or "paper" where there is none.
        overrides: as for `bench.profile.load_profile`.
        device: a torch device; None for that of the run, or "cpu".

    Raises:
        ConfigError: as for `bench.profile.load_profile`.
    """
    if name is not None or run is None or not made_rows(run):
        return load_profile(name or "paper", [f"run.device={device or 'cpu'}", *overrides])
    sections: Settings = run.settings.get("metrics", {})
    placed = [f"metrics.{metric}.device={device}" for metric, section in sections.items() if "device" in section]
    return stored_profile(run.settings, [*(placed if device else []), *overrides], f"run {run.name}")


def cache_folder() -> str:
    """Returns the folder where features are kept for this user; empty, after one warning, if there can be none."""
    folder = default_folder()
    cache = FeatureCache(folder, warn=lambda text: say(f"warning: {text}"))
    return str(folder) if cache.usable else ""


def with_flow(catalog: Catalog, profile: Profile, flow: str, weights: str, overrides: Sequence[str]) -> Profile:
    """Returns a profile in which every metric that reads optical flow reads it with this estimator.

    A metric whose source fixes the network (its class names the estimators it takes in `flows`) keeps its own where it
    does not take this one, and always its own weights.

    Args:
        catalog: says which metrics those are.
        profile: names the metrics.
        flow: name of the estimator; empty to keep the profile's.
        weights: its weights file (or "mini" folder); empty for its own.
        overrides: of the command, `KEY=VALUE`.

    Raises:
        ConfigError: an override says the same of a metric, and would be lost.
    """
    if not (flow or weights):
        return profile
    sections = dict(profile.metrics)
    for name in catalog.choose_metrics(profile.run.metrics):
        cls = catalog.metrics[name].cls
        taken = getattr(cls, "flows", None)
        if "flow" not in {field.name for field in fields(cls)} or (taken is not None and flow not in taken):
            continue
        for word in overrides:
            if word.startswith((f"metrics.{name}.flow=", f"metrics.{name}.flow_weights=")):
                raise ConfigError(
                    f"--set {word} and --flow speak of the same: give --flow NAME --flow-weights FILE alone"
                )
        section = dict(sections.get(name, {}))
        if flow:
            section |= {"flow": flow, "flow_weights": "mini:raft" if flow == "mini" else ""}
        if weights and taken is None:
            section["flow_weights"] = weights
        sections[name] = section
    return replace(profile, metrics=sections)
