"""Fills the settings of methods, metrics and the first chunk from a profile, and says which of them decide the bytes.

Settings are the fields of a dataclass. A section of the profile sets them by name; `device`, `dtype` and `weights_dir`
come from [run] where the class has such a field and its own section does not set it.

Example:
    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Hold:
    ...     chunk: int = 8
    ...     device: str = "cpu"
    >>> resolve_settings(Hold, {"chunk": 4}, {"device": "cuda"}, "methods.hold")
    {'chunk': 4, 'device': 'cuda'}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, PluginError, foreign
from bench.memory import OFFLOAD
from bench.profile import Run, Settings, checked
from bench.provenance import installed
from bench.released_weights import from_folder
from generators.weights import MissingWeightsError, resolve_weights
from metrics.api import MetricInfo

NOT_INSTALLED = "not installed"
"""Stands for the version of a package that this machine lacks."""

SCHEMES = ("mini:", "hub:", "unreleased:")
"""How a setting that names weights begins; see `generators.weights`."""


def run_settings(run: Run) -> Settings:
    """Returns what a profile's [run] offers to every class that has such fields."""
    return {"device": run.device, "dtype": run.dtype, "weights_dir": run.weights_dir}


def resolve_settings(cls: type[Any], section: Settings, offered: Settings, where: str) -> dict[str, Any]:
    """Returns every setting of a class by name: its defaults, then what [run] offers, then its own section.

    A setting that is a table keeps the default of every key that the section does not set.

    Args:
        cls: a dataclass.
        section: settings by name, as TOML gives them.
        offered: settings taken only where the class has a field of that name.
        where: dotted name of the section, for messages.

    Raises:
        PluginError: the class is no dataclass, or a field without a default is not set.
        ConfigError: an unknown name or a wrong type.
    """
    if not dataclasses.is_dataclass(cls):
        raise PluginError(f"{where}: {cls.__name__} is not a dataclass; decorate it with @dataclasses.dataclass")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init and not f.name.startswith("_")}
    unknown = sorted(section.keys() - fields.keys())
    if unknown:
        valid = ", ".join(sorted(fields)) or "none"
        raise ConfigError(f"{where}: unknown setting {unknown[0]!r}; there are {valid}")
    settings: dict[str, Any] = {}
    for name, field in fields.items():
        default = field.default_factory() if callable(field.default_factory) else field.default
        if name in section:
            like = None if default is dataclasses.MISSING else default
            value = checked(section[name], like, f"{where}.{name}")
            settings[name] = {**default, **value} if isinstance(default, dict) else value
        elif offered.get(name, "") != "":
            settings[name] = offered[name]
        elif default is dataclasses.MISSING:
            raise PluginError(f"{where}: the setting {name!r} has no default; give it one")
        else:
            settings[name] = default
    return settings


def identity(settings: Settings) -> dict[str, Any]:
    """Returns what of the settings decides the numbers: no folders, no device index, weights by their content.

    Nor does `offload` count: it says where networks wait while others run, not what they compute. Weights that travel
    with the package are named by a hash of their files, because training them again changes them under the same name.
    Hub weights are named by repository and revision, files by their path.
    """
    kept = {name: value for name, value in settings.items() if name not in ("weights_dir", OFFLOAD)}
    if isinstance(kept.get("device"), str):
        kept["device"] = kept["device"].partition(":")[0]
    return {name: _with_content(value) for name, value in kept.items()}


def stored_identity(settings: Settings) -> dict[str, Any]:
    """Returns `identity` of the settings as it reads after a round trip through JSON."""
    content: dict[str, Any] = json.loads(json.dumps(identity(settings), default=list))
    return content


def agrees(stored: Settings, wanted: Settings) -> bool:
    """Returns whether a score was computed as wanted; where its package is missing here, with whatever version it has.

    Nothing better could be computed here, and a valid score would give way to a skipped one.
    """
    known = {name: stored.get(name) if value == NOT_INSTALLED else value for name, value in wanted.items()}
    return known == stored


def score_settings(info: MetricInfo, settings: Settings) -> dict[str, Any]:
    """Returns what a score keeps as its settings: their stored identity and, where the metric names one, its package.

    The package stands by its name with the version installed here, or `NOT_INSTALLED`: another one is another metric.
    """
    packages = {info.package: installed(info.package) or NOT_INSTALLED} if info.package else {}
    return stored_identity(settings) | packages


def construct(cls: type[Any], settings: Settings, where: str) -> Any:
    """Returns an instance with these settings; cheap, since plugins load nothing before they are used.

    Raises:
        ConfigError: the class refuses them.
    """
    with foreign(ConfigError, f"{where}: its settings"):
        return cls(**settings)


def located(metric: str, settings: Settings, weights_dir: str) -> dict[str, Any]:
    """Returns settings for a metric, which knows no locations: they are replaced by local paths.

    Those are "mini:…" and "hub:…", and released weights chosen by name that lie in `weights_dir`.

    Raises:
        MissingWeightsError: they are not here; the message says how to get them.
    """
    return {
        name: str(resolve_weights(value, weights_dir))
        if isinstance(value, str) and value.startswith(SCHEMES)
        else value
        for name, value in {**settings, **from_folder(metric, settings, weights_dir)}.items()
    }


def locations(sections: Mapping[str, Settings]) -> dict[str, str]:
    """Returns the weights that settings name, as "owner.setting" -> location."""
    found: dict[str, str] = {}
    for owner, settings in sections.items():
        for name, value in settings.items():
            if isinstance(value, dict):
                found |= locations({f"{owner}.{name}": value})
            elif isinstance(value, str) and value.startswith(SCHEMES):
                found[f"{owner}.{name}"] = value
    return found


def _with_content(value: Any) -> Any:
    """Returns a setting with the hash of their files behind the names of packaged weights, inside tables as well."""
    if isinstance(value, dict):
        return {key: _with_content(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith("mini:"):
        return f"{value}#{_fingerprint(value)}"
    return value


def _fingerprint(location: str) -> str:
    try:
        folder = resolve_weights(location)
    except MissingWeightsError:
        return "missing"
    digest = hashlib.sha256()
    for path in sorted([folder] if folder.is_file() else folder.rglob("*"), key=Path.as_posix):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
