"""Table 1 on VBench's final scale: every column that VBench has, stretched to 0..1 between its constants.

The scaling is linear, so the mean of scaled videos is the scaled mean. The dynamic degree is VBench's: the share of
videos that move.

Example:
    >>> scaled_value("subject_consistency", StoredScore(0.95))   # doctest: +SKIP
    0.9414
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import ConfigError
from bench.records import Record, RunInfo, StoredScore
from metrics.api import MetricInfo
from metrics.vbench_scale import RANGES, final_scale


def with_scale(info: RunInfo, records: Sequence[Record]) -> tuple[RunInfo, list[Record]]:
    """Returns a run whose metrics are replaced by those VBench has, on its final scale.

    Raises:
        ConfigError: the run has none of them.
    """
    metrics = [metric for metric in info.metrics if metric.name in RANGES]
    if not metrics:
        raise ConfigError(f"--scale vbench: the run has none of {', '.join(RANGES)}; score it with --metrics vbench")
    columns = tuple(_column(metric) for metric in metrics)
    return replace(info, metrics=columns), [_scaled(record, metrics) for record in records]


def scaled_value(name: str, score: StoredScore) -> float | None:
    """Returns a score on the final scale; of the dynamic degree VBench's yes or no."""
    if score.value is None:
        return None
    return final_scale(name, float(bool(score.parts.get("dynamic"))) if name == "dynamic_degree" else score.value)


def _scaled(record: Record, metrics: Sequence[MetricInfo]) -> Record:
    added = {
        f"{metric.name}@vbench": replace(
            record.scores[metric.name], value=scaled_value(metric.name, record.scores[metric.name])
        )
        for metric in metrics
        if metric.name in record.scores
    }
    return replace(record, scores={**record.scores, **added})


def _column(metric: MetricInfo) -> MetricInfo:
    definition = f"{metric.title} on VBench's final scale: (x - lowest) / (highest - lowest)."
    title = f"{metric.title}, VBench scale"
    return replace(metric, name=f"{metric.name}@vbench", title=title, unit="0..1", definition=definition)
