"""A profile says how big, how long and with which settings a benchmark runs; it is TOML, and every value has a source.

Reading is strict: an unknown section or key, a wrong type or a senseless number is an error that names the valid ones,
so that a misspelt setting never silently measures something else.

Example:
    >>> profile = load_profile("mini", ["video.num_frames=32", "methods.svd.num_frames=9"])
    >>> profile.video.num_frames, profile.methods["svd"]["num_frames"]
    (32, 9)
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import ConfigError

Settings = Mapping[str, Any]
"""Settings of one method, metric or first chunk by field name: what TOML and JSON can both hold."""

T = TypeVar("T")


@dataclass(frozen=True)
class VideoSettings:
    """Shape of every video of a run.

    Attributes:
        num_frames: length in frames, the shared first chunk included.
        height: pixels.
        width: pixels.
        fps: frames per second.
    """

    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Run:
    """How a run is carried out.

    Attributes:
        executor: "serial", "processes" or "ray".
        workers: workers of the executor; 0 for one per GPU with `device = "cuda"`, else for one per `threads` cores.
        threads: torch threads per cell; constant, so that bytes never depend on the number of workers.
        device: "cpu", "cuda", "cuda:1"; fills the field of that name in methods, metrics and the first chunk.
        dtype: "float32", "float16" or "bfloat16"; likewise.
        prompts: packaged prompt set or file.
        num_prompts: how many of them by default; 0 for all.
        seeds: seeds by default.
        metrics: metrics by default, in the order of the table.
        weights_dir: folder that holds released weights; empty for the hub's cache.
        also: methods that `--methods all` means beside systems and floors.
        gpus_per_worker: GPUs that each worker sees: a whole number, or a fraction for several workers on one GPU; 0 for
            one with `device = "cuda"`, else none.
        address: Ray cluster: "local" to start one on this machine, "auto" for the one that runs here, or "HOST:PORT".
        cpus_per_worker: cores that a worker of a cluster reserves; 0 for `threads`.
        memory_gb: memory that it reserves, in 1e9 bytes; 0 for none.
        max_retries: how often a cell is tried again after its worker was lost.
    """

    executor: str
    workers: int
    threads: int
    device: str
    dtype: str
    prompts: str
    num_prompts: int
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    weights_dir: str = ""
    also: tuple[str, ...] = ()
    gpus_per_worker: float = 0.0
    address: str = "local"
    cpus_per_worker: int = 0
    memory_gb: float = 0.0
    max_retries: int = 2


@dataclass(frozen=True)
class Profile:
    """All settings of a run; sections of methods and metrics are checked against their fields by `bench.settings`."""

    name: str
    video: VideoSettings
    run: Run
    first_chunk: Settings
    methods: Mapping[str, Settings]
    metrics: Mapping[str, Settings]


EXTENDS = "extends"
"""Key of a profile that names another one, packaged or a file beside it, whose values it takes over and changes."""

EXECUTORS = ("serial", "processes", "ray")
RUN_DTYPES = ("float32", "float16", "bfloat16")


def packaged_profiles() -> list[str]:
    """Returns the names of the profiles that travel with the package."""
    files = resources.files("bench.profiles").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in files if entry.name.endswith(".toml"))


def packaged_sections() -> dict[str, Settings]:
    """Returns the sections of all packaged profiles that are methods of their own (`class = "..."`), by name."""
    found: dict[str, Settings] = {}
    for name in packaged_profiles():
        found |= {method: section for method, section in load_profile(name).methods.items() if "class" in section}
    return found


def load_profile(source: str, overrides: Sequence[str] = ()) -> Profile:
    """Returns a profile.

    Args:
        source: a packaged name or the path of a TOML file.
        overrides: "dotted.key=value"; the value is TOML, and a text without quotes is taken as it is.

    Raises:
        ConfigError: the profile is unknown, unreadable, or says something that has no meaning.
    """
    raw = _extended(source, ())
    for override in overrides:
        _override(raw, override)
    return _profile(raw, f"profile {source}")


def _extended(source: str, through: tuple[str, ...]) -> dict[str, Any]:
    """Returns what a profile says, over what the profile says that it extends; `through` holds those that led here."""
    raw = _raw(source)
    if EXTENDS not in raw:
        return raw
    base = checked(raw.pop(EXTENDS), "mini", f"profile {source}: {EXTENDS}")
    if base.endswith(".toml"):
        base = str(Path(source).parent / base)
    if base in (*through, source):
        raise ConfigError(f"profile {source}: {EXTENDS} = {base!r} leads back to itself; extend another")
    return _over(_extended(base, (*through, source)), raw)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Returns two tables as one, key by key; the second one wins, whole where it is a section of another class."""
    if "class" in above and above["class"] != below.get("class"):
        return above
    joined = dict(below)
    for key, value in above.items():
        old = joined.get(key)
        joined[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return joined


def _raw(source: str) -> dict[str, Any]:
    if source in packaged_profiles():
        text = resources.files("bench.profiles").joinpath(f"{source}.toml").read_text("utf-8")
    elif source.endswith(".toml"):
        text = _text(Path(source))
    else:
        known = ", ".join(packaged_profiles())
        raise ConfigError(f"unknown profile {source!r}; there are {known}, or give the path of a .toml file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise ConfigError(f"profile {source}: not TOML ({cause})") from cause


def stored_profile(settings: Mapping[str, Any], overrides: Sequence[str], where: str) -> Profile:
    """Returns the profile that a run was made with, but for its methods.

    Args:
        settings: what run.json says of it.
        overrides: as for `load_profile`.
        where: the run, for messages.

    Raises:
        ConfigError: as for `load_profile`.
    """
    sections = ("name", "video", "run", "first_chunk", "metrics")
    raw: dict[str, Any] = json.loads(json.dumps({name: settings.get(name, {}) for name in sections}))
    for override in overrides:
        _override(raw, override)
    return _profile(raw, where)


def checked(value: Any, like: Any, where: str) -> Any:
    """Returns `value` in the type of `like`: lists become tuples where `like` is one, whole numbers become floats.

    Args:
        value: what TOML gave.
        like: a value of the wanted type; None takes anything.
        where: the dotted key, for the message.

    Raises:
        ConfigError: another type.
    """
    if like is None or value is None:
        return tuple(value) if isinstance(value, list) else value
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(like, tuple | list) and isinstance(value, tuple | list):
        return type(like)(value)
    if type(value) is not type(like):
        raise ConfigError(f"{where} must be {_kind(like)} such as {like!r}, not {value!r}")
    return value


def _kind(like: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(type(like), "a list")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(packaged_profiles())
        raise ConfigError(f"no profile at {path}; give another path, or one of {known}") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"profile {path} cannot be read: {cause}") from cause


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", step) for step in steps):
        raise ConfigError(f"--set {override!r}: write it as section.key=value, such as video.num_frames=120")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = raw
    for step in steps[:-1]:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override!r}: {step} is a value, not a section")
    table[steps[-1]] = value


_VIDEO = VideoSettings(num_frames=240, height=64, width=64, fps=10.0)
_RUN = Run("serial", 0, 1, "cpu", "float32", "mini", 0, seeds=(0,), metrics=("mawe",))


def _profile(raw: dict[str, Any], where: str) -> Profile:
    sections = {"name", "video", "run", "first_chunk", "methods", "metrics"}
    _refuse_unknown(raw, sections, where)
    name = checked(raw.get("name", ""), "mini", f"{where}: name")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
        raise ConfigError(f"{where}: name must be up to 40 letters, digits, '-' or '_', not {name!r}")
    video = _section(VideoSettings, raw.get("video"), _VIDEO, f"{where}: video")
    run = _section(Run, raw.get("run"), _RUN, f"{where}: run")
    _check_video(video, where)
    _check_run(run, where)
    tables = {key: _table(raw.get(key, {}), f"{where}: {key}") for key in ("first_chunk", "methods", "metrics")}
    for key in ("methods", "metrics"):
        for section, content in tables[key].items():
            _table(content, f"{where}: {key}.{section}")
    return Profile(name, video, run, tables["first_chunk"], tables["methods"], tables["metrics"])


def _section(cls: type[T], raw: Any, like: T, where: str) -> T:
    """Returns a section as its dataclass; `like` holds a value of the right type for every key."""
    table = _table(raw if raw is not None else {}, where)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    _refuse_unknown(table, set(fields), where)
    missing = [name for name, f in fields.items() if f.default is dataclasses.MISSING and name not in table]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} is missing")
    return cls(**{name: checked(value, getattr(like, name), f"{where}.{name}") for name, value in table.items()})


def _table(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} must be a section of key = value lines, not {raw!r}")
    return raw


def _refuse_unknown(table: Mapping[str, Any], valid: set[str], where: str) -> None:
    unknown = sorted(table.keys() - valid)
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(valid))}")


def _check_video(video: VideoSettings, where: str) -> None:
    for name, value in dataclasses.asdict(video).items():
        if not value > 0 or value == float("inf"):
            raise ConfigError(f"{where}: video.{name} must be positive, not {value}")


def _check_run(run: Run, where: str) -> None:
    if run.executor not in EXECUTORS:
        raise ConfigError(f"{where}: run.executor must be one of {', '.join(EXECUTORS)}, not {run.executor!r}")
    if run.dtype not in RUN_DTYPES:
        raise ConfigError(f"{where}: run.dtype must be one of {', '.join(RUN_DTYPES)}, not {run.dtype!r}")
    if run.workers < 0 or run.num_prompts < 0:
        raise ConfigError(f"{where}: run.workers and run.num_prompts must be 0 (all) or more")
    if run.threads < 1:
        raise ConfigError(f"{where}: run.threads must be 1 or more, not {run.threads}")
    if run.gpus_per_worker < 0 or not (run.gpus_per_worker < 1 or run.gpus_per_worker.is_integer()):
        raise ConfigError(f"{where}: run.gpus_per_worker must be a whole number or a fraction below 1")
    for key in ("cpus_per_worker", "memory_gb", "max_retries"):
        if not 0 <= getattr(run, key) < float("inf"):
            raise ConfigError(f"{where}: run.{key} must be 0 or more, not {getattr(run, key)}")
    if not run.seeds or any(type(seed) is not int or seed < 0 for seed in run.seeds):
        raise ConfigError(f"{where}: run.seeds must be whole numbers from 0 on, not {list(run.seeds)}")
    for key, names in (("metrics", run.metrics), ("also", run.also)):
        if not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{where}: run.{key} must be names, not {list(names)}")
