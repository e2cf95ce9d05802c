"""What every score of every metric must keep: plain finite numbers, texts and lists, as `metrics.api.Score` says.

NumPy's scalars and arrays become Python's, numbers that are not finite become undefined ones; anything else is refused
with the name of the metric, so that it loses its own score and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from bench.errors import MetricFailure, plain
from bench.records import LARGEST, Number
from metrics.api import Score

NO_REASON = "the metric gave no value and no reason"
"""Said of a score that says nothing itself."""


def checked_score(score: object, who: str) -> Score:
    """Returns a score that keeps the contract of `metrics.api`.

    Args:
        score: what `compute` returned.
        who: name of the metric.

    Raises:
        MetricFailure: it does not; the sentence says how.
    """
    if not isinstance(score, Score):
        raise MetricFailure(f"{who} returned {type(score).__name__}; return a metrics.api.Score")
    value = None if score.value is None else _number(score.value, f"{who} returned the value")
    reason = plain(score.reason) if isinstance(score.reason, str) else ""
    if value is None and not reason:
        reason = f"the value is {score.value}, not a finite number" if score.value is not None else NO_REASON
    parts = {_name(key, who): _part(part, f"{who} returned parts[{key!r}]") for key, part in _items(score.parts, who)}
    series = {
        _name(key, who): _series(values, f"{who} returned series[{key!r}]") for key, values in _items(score.series, who)
    }
    return Score(value, parts, series, reason)


def _items(mapping: object, who: str) -> list[tuple[object, object]]:
    if not isinstance(mapping, Mapping):
        raise MetricFailure(f"{who} returned {type(mapping).__name__} for parts or series; return a dict")
    return list(mapping.items())


def _name(key: object, who: str) -> str:
    if not isinstance(key, str):
        raise MetricFailure(f"{who} returned parts or series under {key!r}; name them by texts")
    return plain(key)


def _scalar(value: object) -> object:
    """Returns NumPy's scalars and arrays of one number as Python's."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def _number(value: object, what: str) -> float | None:
    """Returns a real number as a float, None if it is not finite."""
    plain_value = _scalar(value)
    if not isinstance(plain_value, Real):
        raise MetricFailure(f"{what} {_shown(value)}; return a float or None")
    try:
        number = float(plain_value)
    except OverflowError:
        raise MetricFailure(f"{what} {_shown(value)}, which is too large; return a float or None") from None
    return number if math.isfinite(number) else None


def _part(value: object, what: str) -> Number:
    part = _scalar(value)
    if part is None or isinstance(part, bool):
        return part
    if isinstance(part, str):
        return plain(part)
    if isinstance(part, int) and abs(part) <= LARGEST:
        return part
    return _number(part, what)


def _series(values: object, what: str) -> Sequence[float | None]:
    plain_values = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
    if not isinstance(plain_values, list | tuple | range):
        raise MetricFailure(f"{what} as {_shown(values)}; return a list of floats and None")
    return [None if value is None else _number(value, what) for value in plain_values]


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {list(value.shape)}"
    return f"{type(value).__name__} {plain(repr(value))[:80]}"
