"""The tables that `list` prints: what there is to choose from, without loading any of it.

Example:
    >>> print(text_table([("name", "title"), ("still", "Still")]))
    name   title
    still  Still
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

from bench.catalog import Catalog
from bench.profile import load_profile, packaged_profiles
from bench.prompts import load_prompts, packaged
from bench.terminal import printable

Rows = list[tuple[str, ...]]


def methods(catalog: Catalog) -> Rows:
    """Returns a head and one row per method; systems of the published table without a method are not built yet."""
    rows: Rows = [("name", "title", "state", "group", "paper", "licence of the weights")]
    for name, plugin in catalog.methods.items():
        info = plugin.info
        rows.append((name, info.title, info.note or "ready", info.group, info.paper or "-", info.licence))
    published = json.loads(resources.files("results.published").joinpath("table1.json").read_text("utf-8"))
    for name, row in published["methods"].items():
        if name not in catalog.methods and f"method {name}" not in catalog.broken:
            rows.append((name, row["title"], "not built yet", "table", "-", "-"))
    return rows + [(name, "-", f"broken: {reason}", "-", "-", "-") for name, reason in _broken(catalog, "method")]


def metrics(catalog: Catalog) -> Rows:
    """Returns a head and one row per metric."""
    rows: Rows = [("name", "title", "unit", "better", "version")]
    for name, plugin in catalog.metrics.items():
        info = plugin.info
        rows.append((name, info.title, info.unit, info.better, info.version))
    return rows + [(name, f"broken: {reason}", "-", "-", "-") for name, reason in _broken(catalog, "metric")]


def prompts() -> Rows:
    """Returns a head and one row per packaged prompt set."""
    rows: Rows = [("name", "prompts", "first")]
    for name in packaged():
        chosen = load_prompts(name)
        rows.append((name, str(len(chosen.prompts)), chosen.prompts[0].text))
    return rows


def profiles() -> Rows:
    """Returns a head and one row per packaged profile."""
    rows: Rows = [("name", "frames", "size", "fps", "device", "prompts")]
    for name in packaged_profiles():
        profile = load_profile(name)
        video, run = profile.video, profile.run
        number = str(run.num_prompts or "all")
        size = f"{video.width}x{video.height}"
        rows.append((name, str(video.num_frames), size, f"{video.fps:g}", run.device, f"{number} of {run.prompts}"))
    return rows


def text_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Returns rows as lines with columns two blanks apart; what cannot be shown is escaped."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _broken(catalog: Catalog, word: str) -> list[tuple[str, str]]:
    return [(n.removeprefix(f"{word} "), why) for n, why in catalog.broken.items() if n.startswith(f"{word} ")]
