"""Finds methods and metrics: the entry points of installed packages, drop-in files, then sections of a profile.

Ours come through the same door as anyone's: the entry-point groups `bench.methods` and `bench.metrics`. A plugin that
cannot be imported is kept with its reason, and only choosing it is an error. A section
`[methods.NAME]` that says `class = "..."` is a method of its own: its class is one of the entry points
`bench.method_classes`.

Example:
    >>> catalog = find_plugins()
    >>> catalog.methods["still"].info.title
    'Still'
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType
from typing import Any, Generic, TypeVar

from bench.errors import ConfigError, PluginError, foreign
from bench.process_state import ProcessState
from bench.profile import Settings, checked
from bench.terminal import one_line
from generators.api import NAME, MethodInfo
from metrics.api import MetricInfo
from metrics.named import GROUPS

DEFAULT_GROUPS = ("table", "floor")
"""The groups that `all` means in every profile."""

Info = TypeVar("Info", MethodInfo, MetricInfo)

CLASS = "class"
"""Key of a section that makes it a method of its own."""

ABOUT = ("title", "paper", "licence", "group", "note")
"""Keys of such a section that describe the method and set nothing."""

RESERVED = ("all", "first_chunk")
"""Words that no method or group may be called: every row of the table, and who draws the shared first chunk."""


@dataclass(frozen=True)
class Plugin(Generic[Info]):
    """A stamped class and where it came from.

    Attributes:
        cls: the class; constructing it loads nothing.
        info: what its stamp says.
        origin: the entry point or the file.
        digest: SHA-256 of a drop-in file, so that an edited file makes its videos anew; the name of its class for a
            section of a profile; empty for installed packages, whose versions stand in the provenance.
    """

    cls: type[Any]
    info: Info
    origin: str
    digest: str = ""


def own_settings(section: Settings) -> Settings:
    """Returns the settings of a section, without its class and what describes it.

    Example:
        >>> own_settings({"class": "command", "title": "Mine", "takes": "image"})
        {'takes': 'image'}
    """
    if CLASS not in section:
        return section
    return {key: value for key, value in section.items() if key not in (CLASS, *ABOUT)}


@dataclass(frozen=True)
class Catalog:
    """Everything a run can choose from.

    Attributes:
        methods: by name.
        metrics: by name.
        broken: entry points that cannot be imported, as "method NAME" or "metric NAME", with the reason.
        classes: classes of methods that are sections of a profile, by name.
    """

    methods: Mapping[str, Plugin[MethodInfo]]
    metrics: Mapping[str, Plugin[MetricInfo]]
    broken: Mapping[str, str]
    classes: Mapping[str, type[Any]] = field(default_factory=dict)

    def with_sections(self, sections: Mapping[str, Settings]) -> Catalog:
        """Returns the catalog with the methods that sections [methods.NAME] of a profile define.

        Raises:
            ConfigError: a section names no class there is, takes a name that is in use, or describes itself wrongly.
            PluginError: its class cannot be imported, or its name is also a word for something else.
        """
        own = {name: section for name, section in sections.items() if CLASS in section}
        for name in own:
            if name in self.methods:
                taken = self.methods[name].origin
                raise ConfigError(f"[methods.{name}]: the name is taken by {taken}; choose another")
        methods = {**self.methods, **{name: self._defined(name, section) for name, section in own.items()}}
        _refuse_shared_words(methods, self.metrics)
        return replace(self, methods=methods)

    def hashes(self, files: Sequence[str]) -> dict[str, str]:
        """Returns the SHA-256 of drop-in files by path, as they were when they were imported."""
        found = {plugin.origin: plugin.digest for plugin in self.methods.values()}
        found |= {plugin.origin: plugin.digest for plugin in self.metrics.values()}
        return {file: found[file] for file in files if file in found}

    def method_class(self, section: Settings, where: str) -> type[Any]:
        """Returns the class that a section names.

        Raises:
            ConfigError: there is none of that name.
            PluginError: it cannot be imported.
        """
        name = section[CLASS]
        if not isinstance(name, str):
            raise ConfigError(f'[{where}]: class must be a text such as "diffusers_video", not {name!r}')
        self._require(name, self.classes, "method class", [])
        return self.classes[name]

    def _defined(self, name: str, section: Settings) -> Plugin[MethodInfo]:
        where = f"methods.{name}"
        cls = self.method_class(section, where)
        told = {key: checked(section.get(key, ""), "a text", f"{where}.{key}") for key in ABOUT}
        info = MethodInfo(
            name=name,
            title=one_line(told["title"]) or name,
            paper=told["paper"],
            licence=told["licence"] or "not said",
            continues_start=cls.class_info.continues_start(section),
            group=told["group"] or "sections",
            follows_prompts=cls.class_info.follows_prompts and cls.class_info.continues_start(section),
            note=told["note"],
        )
        return Plugin(cls, _checked(info, f"[{where}]"), f"[{where}]", section[CLASS])

    def choose_methods(self, selection: str, also: Sequence[str] = ()) -> list[str]:
        """Returns the names that a selection means, in its order and without repeats.

        Args:
            selection: "all" for systems and floors, a group such as "ablations", names, or a comma list of them.
            also: what the profile puts into "all" beside them.

        Raises:
            ConfigError: a name is unknown.
            PluginError: the method of that name cannot be imported.
        """
        groups: dict[str, list[str]] = {"all": []}
        for name, plugin in self.methods.items():
            group = plugin.info.group
            groups.setdefault(group, []).append(name)
            if group in DEFAULT_GROUPS or name in also:
                groups["all"].append(name)
        if not self.methods:
            raise ConfigError("no methods found: install this package, for example with `pip install -e .`")
        chosen: dict[str, None] = {}
        for word in _words(selection):
            for name in groups.get(word, [word]):
                self._require(name, self.methods, "method", [*groups])
                chosen[name] = None
        return list(chosen)

    def choose_metrics(self, words: Iterable[str]) -> list[str]:
        """Returns metric names without repeats, in the order asked for. Raises like `choose_methods`.

        Args:
            words: names, groups of `metrics.GROUPS`, or "all".
        """
        groups = {**GROUPS, "all": tuple(self.metrics)}
        chosen = dict.fromkeys(name for word in words for name in groups.get(word, (word,)))
        for name in chosen:
            self._require(name, self.metrics, "metric", [*groups])
        return list(chosen)

    def _require(self, name: str, known: Mapping[str, Any], kind: str, groups: Sequence[str]) -> None:
        if name in known:
            return
        if f"{kind} {name}" in self.broken:
            raise PluginError(f"{kind} {name!r} cannot be used: {self.broken[f'{kind} {name}']}")
        names = ", ".join([*groups, *sorted(known)]) or "none: install this package with `pip install -e .`"
        raise ConfigError(f"unknown {kind} {name!r}; there are {names}")


def find_plugins(files: Sequence[str] = ()) -> Catalog:
    """Returns what is installed and what the given drop-in files hold.

    Raises:
        PluginError: a drop-in file cannot be imported, holds no stamped class, or takes a name that is in use or is
            also a word for several.
    """
    broken: dict[str, str] = {}
    methods = _installed("method", MethodInfo, broken)
    metrics = _installed("metric", MetricInfo, broken)
    classes = _method_classes(broken)
    for file in files:
        found_methods, found_metrics = load_file(file)
        _add(methods, found_methods, file)
        _add(metrics, found_metrics, file)
    _refuse_shared_words(methods, metrics)
    return Catalog(methods, metrics, broken, classes)


def load_file(file: str) -> tuple[list[Plugin[MethodInfo]], list[Plugin[MetricInfo]]]:
    """Returns the stamped classes of a drop-in file: methods, metrics.

    Raises:
        PluginError: it cannot be read or imported, holds neither, or one without the functions its contract asks for.
    """
    path = Path(file)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as cause:
        raise PluginError(f"plugin {file}: cannot be read ({cause.strerror}); check the path") from cause
    name = f"bench_plugin_{digest[:16]}"
    if path.suffix != ".py":
        raise PluginError(f"plugin {file}: not a Python file; give one that ends in .py")
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    state = ProcessState()
    with foreign(PluginError, f"plugin {file}: import"):
        spec.loader.exec_module(module)
    state.restore()
    classes = dict.fromkeys(c for c in vars(module).values() if isinstance(c, type) and c.__module__ == name)
    stamped = [(c, vars(c).get("info")) for c in classes]
    methods = [Plugin(c, _checked(info, file), file, digest) for c, info in stamped if isinstance(info, MethodInfo)]
    metrics = [
        Plugin(c, dataclasses.replace(_checked(info, file), version=f"{info.version}+{digest[:8]}"), file, digest)
        for c, info in stamped
        if isinstance(info, MetricInfo)
    ]
    if not methods and not metrics:
        raise PluginError(f"plugin {file}: holds no class stamped with @method or @metric; see docs/adding-a-method.md")
    asked = [(p.cls, "generate") for p in methods] + [(p.cls, name) for p in metrics for name in ("begin", "window")]
    for cls, function in asked:
        if not callable(getattr(cls, function, None)):
            raise PluginError(f"plugin {file}: class {cls.__name__} has no `{function}`; write it")
    return methods, metrics


class _Uncached(SourceFileLoader):
    """Compiles a file anew each time: Python's cache takes an edit within the same second for the old file."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _installed(word: str, kind: type[Info], broken: dict[str, str]) -> dict[str, Plugin[Info]]:
    found: dict[str, Plugin[Info]] = {}
    for entry in sorted(entry_points(group=f"bench.{word}s"), key=lambda e: e.name):
        try:
            found[entry.name] = _load(entry, kind)
        except PluginError as error:
            broken[f"{word} {entry.name}"] = str(error)
    return found


def _method_classes(broken: dict[str, str]) -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for entry in sorted(entry_points(group="bench.method_classes"), key=lambda e: e.name):
        try:
            with foreign(PluginError, f"entry point {entry.value}: import"):
                found[entry.name] = entry.load()
        except PluginError as error:
            broken[f"method class {entry.name}"] = str(error)
    return found


def _load(entry: EntryPoint, kind: type[Info]) -> Plugin[Info]:
    with foreign(PluginError, f"entry point {entry.value}: import"):
        cls = entry.load()
    info = vars(cls).get("info") if isinstance(cls, type) else None
    if not isinstance(info, kind) or info.name != entry.name:
        raise PluginError(f"entry point {entry.value}: not a class stamped with the name {entry.name!r}")
    return Plugin(cls, _checked(info, f"entry point {entry.value}"), entry.value)


def _checked(info: Info, where: str) -> Info:
    """Returns a stamp in which every field is of its type; names become paths and words of the command line.

    Raises:
        PluginError: it is not; a class may carry a stamp that `@method` and `@metric` never saw.
    """
    for part in dataclasses.fields(info):
        value = getattr(info, part.name)
        kind = bool if part.name in ("continues_start", "follows_prompts") else str
        if not isinstance(value, kind) or (kind is str and not str(value).isprintable()):
            raise PluginError(f"{where}: its stamp says {part.name} = {value!r}; give a plain {kind.__name__}")
    for word, name in (("name", info.name), ("group", info.group if isinstance(info, MethodInfo) else "table")):
        if not re.fullmatch(NAME, name):
            raise PluginError(f"{where}: {word} {name!r}: give 1 to 64 lower case letters, digits and underscores")
    return info


def _add(known: dict[str, Plugin[Info]], found: Iterable[Plugin[Info]], file: str) -> None:
    for plugin in found:
        name = plugin.info.name
        same = name in known and (known[name].digest, known[name].cls.__name__) == (plugin.digest, plugin.cls.__name__)
        if name in known and not same:
            raise PluginError(f"plugin {file}: the name {name!r} is taken by {known[name].origin}; choose another")
        known[name] = plugin


def _refuse_shared_words(methods: Mapping[str, Plugin[MethodInfo]], metrics: Mapping[str, Plugin[MetricInfo]]) -> None:
    """Raises PluginError where one word would mean a method and a group of methods, or a metric and several."""
    groups = {plugin.info.group: plugin.origin for plugin in methods.values()}
    words = dict.fromkeys(RESERVED, "the command line") | groups
    for name in sorted(methods.keys() & words.keys()):
        raise PluginError(f"{methods[name].origin}: a method {name!r}, which is a word of {words[name]}; rename one")
    for name in sorted(groups.keys() & set(RESERVED)):
        raise PluginError(f"{groups[name]}: a group {name!r}, which is a word of the command line; rename it")
    for name in sorted(metrics.keys() & {"all", *GROUPS}):
        raise PluginError(f"{metrics[name].origin}: a metric {name!r}, which is a word for several metrics; rename it")


def _words(selection: str) -> list[str]:
    words = [word.strip() for word in selection.split(",") if word.strip()]
    if not words:
        raise ConfigError("nothing selected; give names separated by commas, or all")
    return words
