"""The drift table of a report: every metric by every definition, and Table 1 of drifts."""

import csv
from dataclasses import replace

import pytest

from bench.errors import ConfigError
from bench.records import Record, RunInfo, StoredScore
from bench.report.cuts import cuts_csv, matched
from bench.report.derive import report_data
from bench.report.drift import column_name, drift_csv, drift_table, with_drift
from bench.report.published import load_published
from bench.spec import SCHEMA, Prompt
from metrics.clip import ClipScore
from metrics.drift import DRIFTS

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
