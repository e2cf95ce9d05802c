"""The contrast at every seam of every method, averaged over its videos: which join shows, and whether joins get worse.

Example:
    >>> seam_profiles(findings)[0].frames   # doctest: +SKIP
    (16, 29, 42, 55)
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.csv_text import write_csv
from bench.report.findings import ReportData
from bench.stats import Summary, summarise

METRIC = "seams"
"""Name of the metric whose series `seam` (first frame after a boundary) and `contrast` are read."""


@dataclass(frozen=True)
class SeamProfile:
    """Contrast at the seams of one method.

    Attributes:
        method: name of the method.
        frames: first frame after each seam, ascending; seams of all its videos.
        points: summary over the videos that have a seam there.
    """

    method: str
    frames: tuple[int, ...]
    points: tuple[Summary, ...]


def seam_profiles(findings: ReportData) -> tuple[SeamProfile, ...]:
    """Returns one profile per method with declared seams, in table order; none if the metric was not run."""
    found = []
    for row in findings.rows:
        at: dict[int, list[tuple[float | None, str]]] = {}
        for record in findings.records:
            score = record.scores.get(METRIC)
            if record.method != row.method or record.status != "ok" or score is None or score.value is None:
                continue
            for seam, contrast in zip(score.series["seam"], score.series["contrast"], strict=True):
                at.setdefault(int(seam or 0), []).append((contrast, record.prompt_key))
        if at:
            frames = tuple(sorted(at))
            points = [summarise([c for c, _ in at[f]], [prompt for _, prompt in at[f]]) for f in frames]
            found.append(SeamProfile(row.method, frames, tuple(points)))
    return tuple(found)


def seams_csv(found: tuple[SeamProfile, ...]) -> str:
    """Returns the profiles as CSV, one row per method and seam."""
    rows = (
        [profile.method, frame, point.mean, point.low, point.high, point.n, point.undefined]
        for profile in found
        for frame, point in zip(profile.frames, profile.points, strict=True)
    )
    return write_csv(["method", "frame", "contrast", "low", "high", "n", "undefined"], rows)
