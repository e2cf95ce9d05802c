r"""The data that the page's scripts read: previews, scores and curves of every video, as one JSON text.

Example:
    >>> print(as_script({"prompt": "<b>"}))
    {"prompt":"\u003cb\u003e"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.records import Record
from bench.report.curves import LOCAL_FRAMES, Curves
from bench.report.figures import COLOURS
from bench.report.findings import ReportData
from bench.report.previews import Previews
from bench.report.tables import name

CUTS = "scuts"
"""Name of the metric whose series `cuts` holds the first frame after each cut."""

FIGURES = 5
"""Significant figures of the numbers in the page; files hold all of them."""


def viewer_data(findings: ReportData, curves: Curves, previews: Previews) -> dict[str, Any]:
    """Returns what the players need, by short names: methods, metrics and prompts in the order of the tables.

    Videos refer to methods and prompts by position. `lines` holds, per metric, the value of each sliding window,
    placed at its middle frame.
    """
    shown = [record for record in findings.records if record.key in previews.by_key]
    methods = {row.method: place for place, row in enumerate(findings.rows)}
    prompts = {record.prompt_key: record.prompt for record in shown}
    places = {key: place for place, key in enumerate(prompts)}
    lines: dict[str, dict[str, list[list[float | None]]]] = {}
    for line in curves.lines:
        points = [[point.start + LOCAL_FRAMES // 2, _short(point.value)] for point in line.points]
        lines.setdefault(line.record.key, {})[line.metric] = points
    # Black is the ink of the page: in the dark the page's own colour stands for it.
    seen = [colour if colour != "#000000" else "currentColor" for colour in COLOURS]
    colours = {method: seen[index % len(seen)] for index, method in enumerate(findings.info.methods)}
    return {
        "run": findings.info.name,
        "created": findings.info.created,
        "methods": [
            {"name": row.method, "title": name(row), "block": row.block, "colour": colours[row.method]}
            for row in findings.rows
        ],
        "metrics": [
            {"name": c.name, "title": c.title, "unit": c.unit, "better": c.better} for c in findings.by_name.values()
        ],
        "prompts": [{"id": prompt.id, "text": prompt.text} for prompt in prompts.values()],
        "videos": [
            {
                "method": methods[record.method],
                "prompt": places[record.prompt_key],
                **_video(record, findings, previews),
                "lines": lines.get(record.key, {}),
            }
            for record in shown
        ],
    }


def as_script(content: Mapping[str, Any]) -> str:
    """Returns JSON that is safe inside a script element: nothing in it can close the element or open another one."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _video(record: Record, findings: ReportData, previews: Previews) -> dict[str, Any]:
    preview = previews.by_key[record.key]
    cuts = record.scores[CUTS].series.get("cuts", ()) if CUTS in record.scores else ()
    return {
        "key": record.key,
        "seed": record.seed,
        "src": preview.file,
        "width": preview.width,
        "height": preview.height,
        "frames": record.num_frames,
        "fps": record.fps,
        "shared": findings.shared_frames(record),
        "seams": list(record.seams),
        "cuts": [int(cut) for cut in cuts if cut is not None],
        "scores": {metric: _short(score.value) for metric, score in record.scores.items()},
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{FIGURES}g}")
