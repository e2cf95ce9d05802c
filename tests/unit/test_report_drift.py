"""The drift table of a report: every metric by every definition, and Table 1 of drifts."""

import csv
import re
from dataclasses import replace

import pytest

from bench.errors import ConfigError
from bench.given_file import ASSUMED_RATE
from bench.records import Record, RunInfo, StoredScore
from bench.report.curves import timelines_csv, trace
from bench.report.cuts import cuts_csv, cuts_notes, matched
from bench.report.data_files import drift_ends_csv, table_csv
from bench.report.derive import report_data
from bench.report.drift import (
    column_name,
    drift_csv,
    drift_grids,
    drift_markdown,
    drift_table,
    drift_tests_csv,
    with_drift,
)
from bench.report.published import load_published
from bench.report.scale import with_scale
from bench.report.segments import segments, segments_csv, segments_markdown
from bench.spec import SCHEMA, Prompt, TextChange
from metrics.clip import ClipScore
from metrics.consistency import SubjectConsistency
from metrics.drift import DRIFTS
from metrics.dynamic_degree import DynamicDegree

PROMPTS = tuple(Prompt(f"p{i}", f"prompt {i}") for i in range(4))
METHODS = ("steady", "falling")
FRAMES, FPS = 200, 10.0


def record(method, prompt, seed=0):
    step = 0.0005 if method == "falling" else 0.0
    level = 0.5 + 0.01 * int(prompt.id[1:])
    series = {"cosine": [level - step * i for i in range(FRAMES)]}
    score = StoredScore(ClipScore().window(series, 0, FRAMES), series=series, version="1")
    return Record(
        key=f"{method}{prompt.id}",
        method=method,
        title=f"{method} | title",
        prompt=prompt,
        seed=seed,
        status="ok",
        num_frames=FRAMES,
        fps=FPS,
        scores={"clip": score},
    )


@pytest.fixture
def run():
    info = RunInfo(SCHEMA, "run", "now", "four", METHODS, (ClipScore.info,), PROMPTS, (0,), "mini", {}, {})
    return info, [record(method, prompt) for method in METHODS for prompt in PROMPTS]


@pytest.fixture
def survivors(run):
    """Of the falling videos only p0 has values in its last 60 frames."""
    info, records = run
    return info, [r if r.method == "steady" or r.prompt == PROMPTS[0] else without(r, FRAMES - 60) for r in records]


def without(r, start):
    """Returns a record whose values from a frame on are undefined."""
    score = r.scores["clip"]
    cosine = [*score.series["cosine"][:start], *[None] * (FRAMES - start)]
    return replace(r, scores={"clip": replace(score, value=None, series={"cosine": cosine})})


def test_every_cell_of_the_tests_stands_under_its_head(run):
    rows = list(
        csv.DictReader(
            drift_tests_csv(drift_table(report_data(*run, load_published()), {"clip": ClipScore})).splitlines()
        )
    )
    by = {row["definition"]: row for row in rows}
    assert all(None not in row for row in rows)
    assert float(by["start_end_15"]["p_holm"]) == 0.125  # of one pair, as its p; the least that four prompts can give
    assert float(by["start_end_15"]["std"]) == pytest.approx(0, abs=1e-9)


def test_a_rate_that_is_assumed_makes_no_segments(run):
    info, records = run
    assumed = [replace(r, flags=(ASSUMED_RATE,)) for r in records]
    assert segments(report_data(info, records, load_published()), {"clip": ClipScore})
    assert not segments(report_data(info, assumed, load_published()), {"clip": ClipScore})


def test_every_definition_of_every_metric_has_a_row_and_a_test(run):
    table = drift_table(report_data(*run, load_published()), {"clip": ClipScore})
    assert {cell.definition.name for cell in table.cells} == set(DRIFTS)
    assert len(table.cells) == len(METHODS) * len(DRIFTS)
    assert len(table.tests) == len(DRIFTS)
    by = {(c.definition.name, c.method): c.summary for c in table.cells}
    assert by["start_end_15", "steady"].mean == 0
    assert by["start_end_15", "falling"].mean == pytest.approx(100 * 0.0005 * 170)
    assert by["start_end_15", "falling"].n == 4
    found = {(t.definition, t.first, t.second): t.test for t in table.tests}["start_end_15", "steady", "falling"]
    assert found.difference == pytest.approx(-8.5)


def test_csv_has_all_definitions(run):
    rows = list(
        csv.DictReader(drift_csv(drift_table(report_data(*run, load_published()), {"clip": ClipScore})).splitlines())
    )
    assert {row["definition"] for row in rows} == set(DRIFTS)
    assert all(row["metric"] == "clip" for row in rows)


def test_drifts_take_the_place_of_scores(run):
    info, records = with_drift(*run, {"clip": ClipScore}, "std_2s")
    findings = report_data(info, records, load_published())
    assert [column.name for column in findings.columns] == [column_name("clip", "std_2s")]
    marks = {row.method: row.marks for row in findings.rows}
    assert marks["steady"] == {"clip@std_2s": "best"}
    with pytest.raises(ConfigError, match="start_end_15"):
        with_drift(*run, {"clip": ClipScore}, "start-end")


@pytest.mark.parametrize(
    ("definition", "change", "words"),
    [
        ("std_2s", {"flags": (ASSUMED_RATE,)}, "states no frame rate"),
        ("first_last_5s", {"num_frames": 40}, "a video of 40 frames is too short"),
        (
            "vde",
            {"scores": {"clip": StoredScore(None, series={"cosine": [None] * FRAMES}, version="1")}},
            "no value on",
        ),
    ],
)
def test_a_drift_without_a_value_says_why(run, definition, change, words):
    info, records = run
    changed = [replace(r, **change) for r in records]
    _, drifted = with_drift(info, changed, {"clip": ClipScore}, definition)
    for found in drifted:
        score = found.scores[column_name("clip", definition)]
        assert score.value is None
        assert f"clip has no drift by {definition}: " in score.reason
        assert words in score.reason


def test_a_rate_that_was_assumed_leaves_drifts_in_frames_alone(run):
    info, records = run
    flagged = [replace(r, flags=(ASSUMED_RATE,)) for r in records]
    for given in (records, flagged):
        _, drifted = with_drift(info, given, {"clip": ClipScore}, "start_end_15")
        assert all(r.scores[column_name("clip", "start_end_15")].value is not None for r in drifted)


def test_segments_are_those_of_the_texts_or_ten_seconds(run):
    info, records = run
    changing = replace(PROMPTS[0], changes=(TextChange(60, "then this"), TextChange(999, "never")))
    records = [replace(r, prompt=changing) if r.prompt == PROMPTS[0] else r for r in records]
    findings = report_data(info, records, load_published())
    found = segments(findings, {"clip": ClipScore})
    of = [s for s in found if s.record.method == "falling" and s.record.prompt == changing]
    assert [(s.start, s.stop, s.text) for s in of] == [(0, 60, "prompt 0"), (60, 200, "then this")]
    assert of[0].value - of[1].value == pytest.approx(100 * 0.0005 * 100)
    assert {(s.start, s.stop) for s in found if s.record.prompt == PROMPTS[1]} == {(0, 100), (100, 200)}
    rows = list(csv.DictReader(segments_csv(found).splitlines()))
    assert len(rows) == len(METHODS) * len(PROMPTS) * 2
    assert "segment 2" in segments_markdown(findings, found)


def test_table_on_vbenchs_scale(run):
    info, records = run
    moving = StoredScore(1.7, {"dynamic": True}, version="1")
    still = StoredScore(0.9, {"dynamic": False}, version="1")
    alike = StoredScore(0.95, version="1")
    records = [
        replace(r, scores={"dynamic_degree": moving if r.method == "falling" else still, "subject_consistency": alike})
        for r in records
    ]
    info = replace(info, metrics=(DynamicDegree.info, SubjectConsistency.info, ClipScore.info))
    findings = report_data(*with_scale(info, records), load_published())
    assert [c.name for c in findings.columns] == ["dynamic_degree@vbench", "subject_consistency@vbench"]
    means = {row.method: row.scores["dynamic_degree@vbench"].mean for row in findings.rows}
    assert means == {"steady": 0.0, "falling": 1.0}
    assert findings.rows[0].scores["subject_consistency@vbench"].mean == pytest.approx(0.9414, abs=1e-4)
    with pytest.raises(ConfigError, match="--metrics vbench"):
        with_scale(*run)


def test_columns_that_standing_still_wins_name_what_to_read_beside(run):
    info, records = run
    for metrics, words in (
        ((SubjectConsistency.info, DynamicDegree.info), "Standing still wins Subject: read beside Dynamic."),
        ((SubjectConsistency.info,), "`dynamic_degree` or `stillness`, which this table does not show"),
    ):
        notes = report_data(replace(info, metrics=metrics), records, load_published()).notes
        assert any(words in note for note in notes)
    assert not any("Standing still wins" in note for note in report_data(info, records, load_published()).notes)


def test_drifts_as_the_page_shows_them(run):
    findings = report_data(*run, load_published())
    (grid,) = drift_grids(findings, drift_table(findings, {"clip": ClipScore}))
    assert [row.title for row, _ in grid.rows] == ["steady | title", "falling | title"]
    drifts = dict(zip(DRIFTS, grid.rows[1][1], strict=True))
    assert drifts["start_end_15"].mean == pytest.approx(100 * 0.0005 * 170)
    assert grid.apart["start_end_15"] == (0, 1)


def test_a_drift_over_fewer_videos_says_over_how_many(survivors):
    findings = report_data(*survivors, load_published())
    steady, falling = markdown_cells(drift_markdown(findings, drift_table(findings, {"clip": ClipScore})))
    drifts = dict(zip(DRIFTS, falling[1:], strict=True))
    assert drifts["start_end_15"] == "8.50 (1 of 4)"
    assert re.fullmatch(r"\S+ \[.*\]", drifts["slope_10s"])  # all four, through the windows that each has
    assert not any(" of " in cell for cell in steady)


def test_a_segment_over_fewer_videos_says_over_how_many(survivors):
    findings = report_data(*survivors, load_published())
    steady, falling = markdown_cells(segments_markdown(findings, segments(findings, {"clip": ClipScore})))
    assert falling[2].endswith(" (1 of 4)")
    assert not any(" of " in cell for cell in (falling[1], *steady))


def markdown_cells(text):
    """Returns the cells of the rows of both methods."""
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if "title |" in line]


def test_a_pair_without_a_test_is_not_counted_among_the_tests(run):
    info, records = run
    early = [r.prompt in PROMPTS[:2] for r in records]
    apart = [without(r, 0) if (r.method == "steady") == e else r for r, e in zip(records, early, strict=True)]
    findings = report_data(info, apart, load_published())
    (grid,) = drift_grids(findings, drift_table(findings, {"clip": ClipScore}))
    assert set(grid.apart.values()) == {(0, 0)}


def test_first_and_last_seconds_are_those_of_the_same_videos(survivors):
    over_time = trace(report_data(*survivors, load_published()), {"clip": ClipScore})
    rows = list(csv.DictReader(drift_ends_csv(over_time).splitlines()))
    by = {row["quantity"]: row for row in rows if row["method"] == "falling"}
    assert {quantity: (row["n"], row["undefined"]) for quantity, row in by.items()} == {
        "first": ("1", "3"),
        "last": ("1", "3"),
        "change": ("1", "3"),
        "slope": ("4", "0"),
    }
    assert float(by["first"]["mean"]) == pytest.approx(100 * (0.5 - 0.0005 * 24.5))
    assert float(by["last"]["mean"]) - float(by["first"]["mean"]) == pytest.approx(float(by["change"]["mean"]))


def test_every_mean_over_time_has_its_number_of_videos_beside_it(survivors):
    findings = report_data(*survivors, load_published())
    over_time = trace(findings, {"clip": ClipScore})
    windows = [r for r in csv.DictReader(timelines_csv(over_time).splitlines()) if r["method"] == "falling"]
    counts = {int(row["stop"]) <= FRAMES - 60: (row["n"], row["undefined"]) for row in windows}
    assert counts == {True: ("4", "0"), False: ("1", "3")}
    (row,) = [r for r in csv.DictReader(table_csv(findings, over_time).splitlines()) if r["method"] == "falling"]
    assert row["clip_own_n"] == "1"


def test_a_metric_that_stumbles_over_its_series_is_a_note(run):
    class Broken(ClipScore):
        def window(self, series, start, stop):
            raise KeyError("cosine")

    table = drift_table(report_data(*run, load_published()), {"clip": Broken})
    assert table.cells == ()
    assert "CLIP" in table.notes[0]


def test_cuts_that_one_detector_alone_sees():
    pairs, first, second = matched([20.0, 48.0], [19.0, 21.0, 90.0])
    assert (pairs, first, second) == ([(20.0, 19.0)], [48.0], [21.0, 90.0])


def test_agreement_of_the_detectors_as_csv():
    def cuts(frames):
        return StoredScore(float(len(frames)), series={"cuts": frames}, version="1")

    both = replace(record("steady", PROMPTS[0]), scores={"scuts": cuts([20.0]), "tcuts": cuts([20.0, 60.0])})
    one = replace(record("steady", PROMPTS[1]), scores={"scuts": cuts([5.0])})
    rows = list(csv.DictReader(cuts_csv([both, one]).splitlines()))
    assert [(row["frame"], row["seen_by"]) for row in rows] == [("20", "both"), ("60", "tcuts")]
    assert "both see 1, SCuts alone 0, TCuts alone 1" in cuts_notes([both, one])[0]
    assert cuts_notes([one]) == ()
