"""The measurements behind the metric cards, in small, and the pages they end as."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.report.definitions import DEFINITIONS, MEASURED
from bench.validate import pages
from bench.validate.cores import Cores
from bench.validate.cover import Cover, smallest_cover
from bench.validate.cuts import CUT_FRAMES, Cuts, CutVideo, Detection, detect, detections, random_cuts
from bench.validate.doses import STRENGTHS, DoseTable, DoseTask, dose, measure_doses
from bench.validate.findings import QUICK, ValidationResults
from bench.validate.flow_error import EstimatorError, Floor, FlowErrors
from bench.validate.instruments import MEASUREMENTS, Instruments
from bench.validate.invariances import Invariance, Tolerance, coded, compare_readings, enlarged
from bench.validate.ranks import dose_answer
from generators.mini.faults import UNITS
from metrics import BUILT_IN
from metrics.scuts import LOOK_AROUND, MIN_SCENE_LEN

NO_WEIGHTS = Instruments("", "")


def test_every_metric_and_every_fault_has_its_place():
    assert {definition.name for definition in DEFINITIONS} == set(BUILT_IN)
    assert {reading.metric for reading in MEASUREMENTS} == set(BUILT_IN)
    assert set(STRENGTHS) == set(UNITS)
    for kind, strengths in STRENGTHS.items():
        assert len(strengths) == 5
        assert list(strengths) == sorted(set(strengths))
        assert [dose(kind, s).strength for s in strengths] == list(strengths)


@pytest.mark.parametrize("count", range(5))
def test_random_cuts_respect_the_shortest_scene(count):
    rng = np.random.default_rng(count)
    for _ in range(50):
        cuts = random_cuts(rng, count)
        edges = np.array([0, *cuts, CUT_FRAMES])
        assert len(cuts) == count
        assert np.diff(edges).min() >= MIN_SCENE_LEN
        assert not cuts or cuts[-1] <= CUT_FRAMES - LOOK_AROUND - MIN_SCENE_LEN


def test_precision_and_recall_count_exact_frames():
    found = detections([CutVideo((20.0, 40.0), (20.0,)), CutVideo((), (30.0,)), CutVideo((50.0,), (51.0,))])
    assert (found.cuts, found.found, found.hits) == (3, 3, 1)
    assert found.precision == found.recall == found.f1 == pytest.approx(1 / 3)
    assert found.by_count == ((2, 1), (0, 1), (1, 1))
    assert detections([CutVideo((), ())]).f1 == 1.0


def test_the_detector_is_asked_about_the_same_video_every_time():
    assert detect(("place", 3, 1.0)) == detect(("place", 3, 1.0))
    assert len(detect(("place", 3, 1.0)).true) == 3
    assert detect(("pan", 0, 4.0)).true == ()


def test_a_scene_is_measured_at_every_dose():
    curves = measure_doses(DoseTask(NO_WEIGHTS, 1, kinds=("freeze",)))
    assert "clip" not in curves
    frozen = curves["stillness"]["freeze"]
    assert np.array(frozen[1:]) - frozen[0] == pytest.approx(
        100 / 63 * np.array(STRENGTHS["freeze"]), abs=4
    )  # some sound pairs rest, too
    assert curves["scuts"]["freeze"] == [0.0] * 6


def test_instruments_name_what_is_absent():
    assert [line.split(":")[0] for line in NO_WEIGHTS.absent()][:2] == ["flow estimator mini", "CLIP score"]
    assert "mawe_mini" not in NO_WEIGHTS.metrics(network=True)
    assert "dis" in NO_WEIGHTS.estimators()


def test_comparison_of_scores_counts_flips_and_uses_the_median():
    row = compare_readings("resolution", "twice", "mawe", [(10.0, 10.5), (10.0, 11.5), (None, None), (20.0, 20.2)])
    assert row.median == pytest.approx(0.05)
    assert row.largest == pytest.approx(0.15)
    assert row.holds
    flipped = compare_readings("coding", "crf", "mawe", [(None, 3.0), (1.0, 1.0)])
    assert (flipped.flips, flipped.holds) == (1, False)
    assert not compare_readings("chunking", "1", "mawe", [(1.0, 1.0 + 1e-12)]).holds


def test_coding_loses_little_and_more_at_a_higher_crf():
    pattern = (128 + 100 * np.sin(np.arange(64) / 6))[None, :, None, None] * np.ones((4, 1, 64, 3))
    frames = pattern.astype(np.uint8)
    good, poor = (np.concatenate(coded(frames, crf)).astype(float) for crf in (10, 45))
    assert good.shape == frames.shape
    assert np.abs(good - frames).mean() < 3 < 100
    assert np.abs(good - frames).mean() < np.abs(poor - frames).mean()
    assert enlarged(frames, 2).shape == (4, 128, 128, 3)


def test_results_come_in_order():
    with Cores(1) as cores:
        assert list(cores.map(abs, [-3, 1, -2])) == [3, 1, 2]


def synthetic():
    rng = np.random.default_rng(0)
    names = [reading.name for reading in MEASUREMENTS if reading.name not in ("clip", "mawe_mini")]
    curves = {n: {k: np.cumsum(rng.random((2, 6)), axis=1).tolist() for k in STRENGTHS} for n in names}
    curves["mawe"]["freeze"] = [[1.0, 2.0, None, None, None, None]] * 2
    answers = {n: {k: dose_answer(v, "lower") for k, v in kinds.items()} for n, kinds in curves.items()}
    error = EstimatorError(2, 0.5, 0.4, None, 2.0, 0.5, 0.9, {"sand": 0.5}, (9.0, 3.0, 50.0))
    found = Detection(2, 3, 3, 3, 1.0, 1.0, 1.0, ((1, 1), (2, 2)))
    return ValidationResults(
        QUICK,
        NO_WEIGHTS.absent(),
        FlowErrors({"dis": error}, [Floor(64, 4.0, 9.0, 12.0, 50.0), Floor(128, 1.0, 3.0, 5.0, 40.0)]),
        Cuts(found, found, ((2.0, 2, 0), (4.0, 2, 1)), ((2.0, 2, 1), (4.0, 2, 2))),
        DoseTable(curves, answers),
        [Invariance("coding", "CRF 35", "mawe", 0.3, 0.4, 0, 2, Tolerance(0.25, relative=True), holds=False)],
        {"numpy": "2"},
    )


def test_pages_say_what_is_blind_absent_and_outside(tmp_path):
    findings = synthetic()
    pages.write_pages(findings, tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert {f"{name}.md" for name in BUILT_IN} <= written
    assert {"README.md", "flow.md", "invariances.md", "numbers.json", "answers.png", "mawe-doses.png"} <= written
    index = (tmp_path / "README.md").read_text()
    assert "weights absent" in index
    assert "A reduced run" in index
    assert "**outside**" in index
    assert "**Read together.**" in index
    assert "It has no value under freeze." in (tmp_path / "mawe.md").read_text()
    assert "Not measured" in (tmp_path / "clip.md").read_text()
    for page in tmp_path.glob("*.md"):
        for target in page.read_text().split("](")[1:]:
            assert (tmp_path / target.split(")")[0]).is_file(), (page.name, target[:40])
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["doses"]["answers"]["scuts"]["blur"]["verdict"] == findings.doses.answers["scuts"]["blur"].verdict


def test_columns_to_read_together_see_the_most():
    seen = {"a": {"blur"}, "b": {"blur", "cut"}, "c": {"dip"}, "d": {"cut", "dip"}}
    assert smallest_cover(seen, {"blur", "cut", "dip"}, 3) == Cover(("a", "d"), frozenset())
    assert smallest_cover(seen, {"blur", "cut", "dip", "freeze"}, 1) == Cover(("b",), frozenset({"dip", "freeze"}))
    assert smallest_cover({"a": set()}, {"cut"}, 3) == Cover((), frozenset({"cut"}))


def test_the_same_findings_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pages.write_pages(synthetic(), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_the_summary_prints_blind_spots_rather_than_hiding_them():
    findings = synthetic()
    text = "\n".join(pages.summary(findings))
    assert "undefined" in text
    assert "1 of 1 outside of their tolerance" in text
    assert "F1 1.000" in text
    assert dataclasses.asdict(findings)["counts"]["scenes"] == 2


def test_the_command_is_there():
    result = CliRunner().invoke(cli, ["validate", "--help"])
    assert result.exit_code == 0
    assert "--quick" in result.output


def test_metrics_said_to_be_measured_have_their_card() -> None:
    cards = Path(__file__).parents[2] / "docs" / "metric-cards"
    assert {path.stem for path in cards.glob("*.md")} - {"README", "invariances", "flow"} == set(MEASURED)
