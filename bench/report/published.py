"""Reads the published Table 1, which stands beside measured rows so that a reader sees both without another window.

Example:
    >>> published = load_published()
    >>> published.methods["streaming_t2v"].scores["mawe"]
    52.3
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class PublishedMethod:
    """One row of the published table.

    Attributes:
        title: name in the paper.
        group: "I2V", "V2V" or "T2V".
        scores: published mean by metric name.
    """

    title: str
    group: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Published:
    """The published table and the windowed values.

    Attributes:
        source: where the values are printed.
        prompts: what they were measured on.
        notes: what the paper leaves open, in sentences.
        groups: what each group means.
        methods: rows by method name.
        windows: by method and metric, the value on the first n frames, {n: value}.
    """

    source: str
    prompts: str
    notes: tuple[str, ...]
    groups: Mapping[str, str]
    methods: Mapping[str, PublishedMethod]
    windows: Mapping[str, Mapping[str, Mapping[int, float]]]


def load_published() -> Published:
    """Returns the published Table 1 that travels with the package."""
    text = resources.files("results.published").joinpath("table1.json").read_text(encoding="utf-8")
    raw = json.loads(text)
    metrics = tuple(raw["metrics"])
    methods = {
        name: PublishedMethod(row["title"], row["group"], {metric: float(row[metric]) for metric in metrics})
        for name, row in raw["methods"].items()
    }
    windows = {
        name: {metric: dict(zip(curve["frames"], curve[metric], strict=True)) for metric in curve if metric != "frames"}
        for name, curve in raw["windows"].items()
    }
    return Published(raw["source"], raw["prompts"], tuple(raw["notes"]), raw["groups"], methods, windows)
