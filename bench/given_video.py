"""Scores one given video: reads it where it lies, shows it to the metrics, and says what it is.

A file that is no sound video makes its own cell failed, with the reason; a metric that fails loses its own score only.

Example:
    >>> record = score_given(blank, cell.given, spec.metrics, scorers, cache)   # doctest: +SKIP
    >>> record.num_frames, record.scores["mawe"].value                          # doctest: +SKIP
    (240, 45.2)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.errors import MethodFailure, foreign
from bench.given_file import ASSUMED_RATE, digest_of, first_frames, frame_size_of
from bench.profile import Settings
from bench.records import Record, StoredScore
from bench.scoreboard import Scorers
from bench.spec import GivenFile
from metrics.decoding import VideoReader, read_frames
from metrics.errors import VideoError
from metrics.features.cache import FeatureCache, content_hash
from metrics.features.kept import KeptFeatures


def score_given(
    record: Record, given: GivenFile, metrics: Mapping[str, Settings], scorers: Scorers, cache: FeatureCache | None
) -> Record:
    """Returns the record of a given video with the scores of these metrics, beside those that it has.

    Args:
        record: what is known before: the names of a new cell, or the stored record.
        given: where the video lies, and how it is read.
        metrics: settings by name.
        scorers: constructed metrics.
        cache: keeps features; None for none.
    """
    known, record = record, replace(record, source=given.path, content=given.content, extra=dict(given.extra))
    try:
        with foreign(MethodFailure, "reading", passing=(VideoError,)):
            return _scored(record, given, metrics, scorers, cache)
    except (VideoError, MethodFailure) as error:
        if known.status == "ok":  # it was read before: a share that is gone for a moment takes no score away
            failed = StoredScore(None, reason=str(error), status="failed")
            return replace(known, scores={**known.scores, **dict.fromkeys(metrics, failed)})
        return replace(record, status="failed", reason=str(error), num_frames=0, seams=(), scores={})


def _scored(
    record: Record, given: GivenFile, metrics: Mapping[str, Settings], scorers: Scorers, cache: FeatureCache | None
) -> Record:
    path = Path(given.path)
    reader = VideoReader(path, given.max_damaged)
    facts = reader.probe()
    _check_content(given)
    features = KeptFeatures(cache, given.content, record.prompt.scored_text) if cache is not None else None
    board, count = scorers.begin(metrics, record.prompt.scored_text, facts.fps, features), 0
    for frames in reader.frames(num_frames=given.num_frames):
        board.update(frames)
        count += len(frames)
    if count < 2:
        raise VideoError("one-frame", f"{path} is a single picture: a video has at least two frames")
    seams = tuple(seam for seam in given.seams if seam < count)
    computed = board.compute(seams, lambda: read_frames(path, num_frames=given.num_frames))
    scores: dict[str, StoredScore] = {**record.scores, **computed}
    seconds = (record.cost.get("metric_seconds") or 0.0) + board.seconds
    sha256, size = digest_of(path), frame_size_of(path)
    _check_content(given)  # what was scored is what the hash is of
    return replace(
        record,
        status="ok",
        reason="",
        num_frames=count,
        height=facts.height,
        width=facts.width,
        fps=float(facts.fps),  # an assumed one, too, is a plain number in a record
        seams=seams,
        video_sha256=sha256,
        video_bytes=size,
        damaged=reader.condition.damaged,
        flags=(
            *reader.condition.flags(),
            *[first_frames(count)] * (count == given.num_frames),
            *[ASSUMED_RATE] * (not facts.fps_known),
        ),
        cost={**record.cost, "metric_seconds": seconds},
        scores=scores,
    )


def _check_content(given: GivenFile) -> None:
    """Raises VideoError unless the frames are still those that the cell was planned for."""
    if content_hash(Path(given.path), given.num_frames) != given.content:
        raise VideoError("changed", f"{given.path} changed while the command ran: give the same command again")
