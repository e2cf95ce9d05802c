"""Finds metrics by name: those of this package, then those that any installed package announces.

Example:
    >>> BUILT_IN["scuts"]
    'metrics.scuts:SceneCuts'
    >>> list(metrics_by_name(["scuts"]))
    ['scuts']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from metrics.api import Metric, MetricInfo
from metrics.errors import SettingError

GROUP = "bench.metrics"
"""The entry-point group in which a package announces its metrics; see docs/adding-a-method.md."""

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "aesthetic_quality": "metrics.quality:AestheticQuality",
        "background_consistency": "metrics.consistency:BackgroundConsistency",
        "background_consistency_long": "metrics.vbench_long:BackgroundConsistencyLong",
        "clip": "metrics.clip:ClipScore",
        "collapse": "metrics.repetition:SinkCollapse",
        "dynamic_degree": "metrics.dynamic_degree:DynamicDegree",
        "exposure": "metrics.exposure:Exposure",
        "flickering": "metrics.flickering:Flickering",
        "imaging_quality": "metrics.quality:ImagingQuality",
        "mawe": "metrics.mawe:Mawe",
        "repetition": "metrics.repetition:Repetition",
        "scuts": "metrics.scuts:SceneCuts",
        "seams": "metrics.seams:Seams",
        "stillness": "metrics.stillness:Stillness",
        "subject_consistency": "metrics.consistency:SubjectConsistency",
        "subject_consistency_long": "metrics.vbench_long:SubjectConsistencyLong",
        "tcuts": "metrics.tcuts:TransNetCuts",
    }
)
"""The metrics of this package by name, as `module:class`; the class has the paper's settings as defaults."""

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "table1": ("mawe", "scuts", "clip"),
        "drift": ("exposure", "collapse", "repetition"),
        "vbench": (
            "subject_consistency",
            "background_consistency",
            "flickering",
            "dynamic_degree",
            "aesthetic_quality",
            "imaging_quality",
        ),
        "vbench-long": ("subject_consistency_long", "background_consistency_long"),
    }
)
"""Metrics that are chosen together, by the name of the group."""


def metrics_by_name(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    """Returns metric objects by name, in the order given.

    Args:
        metrics: names of `BUILT_IN` or of an installed package's metrics, for their default settings, and metric
            objects.

    Raises:
        SettingError: a name is unknown, its package cannot be imported, or a name comes twice.
    """
    named: dict[str, Metric] = {}
    for metric in metrics:
        found = _constructed(metric) if isinstance(metric, str) else metric
        if found.info.name in named:
            raise SettingError(f"two metrics are called {found.info.name!r}: score them in two calls")
        named[found.info.name] = found
    return named


def _constructed(name: str) -> Metric:
    if name in BUILT_IN:
        module, _, cls = BUILT_IN[name].partition(":")
        made: Metric = getattr(import_module(module), cls)()
        return made
    return _installed(name)


def _installed(name: str) -> Metric:
    """Returns the metric that an installed package announces under a name, with its default settings."""
    announced = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in announced:
        raise SettingError(f"no metric is called {name!r}: choose from {', '.join(sorted({*BUILT_IN, *announced}))}")
    entry = announced[name]
    try:
        cls: Any = entry.load()
    except (ImportError, AttributeError) as error:
        raise SettingError(f"the metric {name!r} ({entry.value}) cannot be imported: {error}") from error
    info = vars(cls).get("info") if isinstance(cls, type) else None
    if not isinstance(info, MetricInfo) or info.name != name:
        raise SettingError(f"the metric {name!r} ({entry.value}) is not a class stamped with @metric and that name")
    made: Metric = cls()
    return made
