"""Everything a validation found, as one value that pages, figures and JSON are made from.

Example:
    >>> FULL.scenes, FULL.cut_videos
    (20, 200)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.validate.cuts import Cuts
from bench.validate.doses import DoseTable
from bench.validate.flow_error import FlowErrors
from bench.validate.invariances import Invariance


@dataclass(frozen=True)
class Counts:
    """How much is measured.

    Attributes:
        scenes: of the dose-response table.
        network_scenes: of these, in how many the slow networks measure, too.
        cut_videos: with 0 to 4 hard cuts.
        pan_videos: per speed.
        flow_clips: per flow estimator.
        floor_clips: for the warp of the true flow.
        invariance_videos: for the invariances.
    """

    scenes: int
    network_scenes: int
    cut_videos: int
    pan_videos: int
    flow_clips: int
    floor_clips: int
    invariance_videos: int


FULL = Counts(20, 2, 200, 20, 60, 20, 8)
"""What the pages in the repository were made with."""

QUICK = Counts(2, 1, 20, 2, 6, 3, 2)
"""A quick look: whether everything runs; its numbers are too few to quote."""


@dataclass(frozen=True)
class ValidationResults:
    """All numbers.

    Attributes:
        counts: how much was measured.
        absent: a sentence for every instrument without weights.
        flow: end-point errors and the warp of the true flow.
        cuts: precision, recall and false alarms.
        doses: the dose-response table.
        invariances: every score under every harmless change.
        versions: of the libraries the numbers depend on.
    """

    counts: Counts
    absent: Sequence[str]
    flow: FlowErrors
    cuts: Cuts
    doses: DoseTable
    invariances: Sequence[Invariance]
    versions: Mapping[str, str]
