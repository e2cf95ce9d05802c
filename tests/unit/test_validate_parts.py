"""The measurements behind the metric cards, in small, and the pages they end as."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.report.definitions import CARDS, DEFINITIONS, names_with_card
from bench.validate import pages
from bench.validate.cores import Cores
from bench.validate.cover import Cover, column_cover, smallest_cover
from bench.validate.cuts import CUT_FRAMES, Cuts, CutVideo, Detection, detect, detections, random_cuts
from bench.validate.doses import STRENGTHS, DoseTable, DoseTask, dose, measure_doses
from bench.validate.flow_error import EstimatorError, Floor, FlowErrors
from bench.validate.instruments import MEASUREMENTS, Instruments
from bench.validate.invariances import Invariance, Tolerance, coded, compare_readings, enlarged
from bench.validate.ranks import DoseAnswer, dose_answer
from bench.validate.results import QUICK, ValidationResults
from generators.mini.faults import UNITS
from metrics import BUILT_IN
from metrics.drift import DRIFTS
from metrics.scuts import LOOK_AROUND, MIN_SCENE_LEN

NO_WEIGHTS = Instruments("", "")

PAGES = {"README", "drift", "flow", "invariances"}
"""Pages that are no metric's card."""


def dead_links(page):
    targets = (target.split(")")[0] for target in page.read_text(encoding="utf-8").split("](")[1:])
    return [target for target in targets if not (page.parent / target).is_file()]


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


MEASURED = tuple(reading.name for reading in MEASUREMENTS if reading.name not in ("clip", "mawe_mini"))
"""Readings of the synthetic results."""


def synthetic(names=MEASURED):
    rng = np.random.default_rng(0)
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


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Folder of the pages that the synthetic results make; drawing them takes the time."""
    folder = tmp_path_factory.mktemp("cards")
    pages.write_pages(synthetic(), folder)
    return folder


def test_pages_say_what_is_blind_absent_and_outside(cards):
    validation = synthetic()
    written = {path.name for path in cards.iterdir()}
    assert {f"{name}.md" for name in {*BUILT_IN, *PAGES}} == {name for name in written if name.endswith(".md")}
    assert {"README.md", "flow.md", "invariances.md", "numbers.json", "answers.png", "mawe-doses.png"} <= written
    index = (cards / "README.md").read_text()
    assert "weights absent" in index
    assert "A reduced run" in index
    assert "**outside**" in index
    assert "**Read together.**" in index
    assert "It has no value under freeze." in (cards / "mawe.md").read_text()
    assert "Not measured" in (cards / "clip.md").read_text()
    for page in cards.glob("*.md"):
        assert dead_links(page) == [], page.name
    numbers = json.loads((cards / "numbers.json").read_text())
    assert numbers["doses"]["answers"]["scuts"]["blur"]["verdict"] == validation.doses.answers["scuts"]["blur"].verdict


def test_the_legend_says_the_rule_of_the_verdicts_on_the_committed_page_too(cards):
    (legend,) = [line for line in (cards / "README.md").read_text().splitlines() if line.startswith("Number: ")]
    assert "blind: between -0.5 and 0.5, or any small change that is not faint." in legend
    unordered = [[0.0, 0.02, 0.01, 0.04, 0.03, 0.05]] * 9 + [[0.0, 0.03, 0.02, 0.01, 0.01, -0.01]] * 2
    answer = dose_answer(unordered, "lower", least=1.0)
    assert (answer.rho, answer.verdict) == (pytest.approx(0.886, abs=1e-3), "blind")  # small, and worse in 9 of 11
    assert legend in (CARDS / "README.md").read_text()


def test_every_metric_and_every_definition_of_drift_has_its_card_and_its_rows(cards):
    assert names_with_card(cards) == set(BUILT_IN)
    drift = (cards / "drift.md").read_text()
    for name, definition in DRIFTS.items():
        section = drift.split(f"## `{name}`: {definition.title}\n")[1].split("\n## ")[0]
        assert definition.blind in section
        assert definition.source in section
        assert all(f"| {kind} | " in section for kind in STRENGTHS)
    index = (cards / "README.md").read_text()
    for reading in MEASUREMENTS:
        assert f"[{reading.title}]({reading.card}.md)" in index
        card = (cards / f"{reading.card}.md").read_text()
        assert reading.name not in MEASURED or f"### {reading.title}\n" in card, reading.name


def test_columns_to_read_together_see_the_most():
    seen = {"a": {"blur"}, "b": {"blur", "cut"}, "c": {"dip"}, "d": {"cut", "dip"}}
    assert smallest_cover(seen, {"blur", "cut", "dip"}, 3) == Cover(("a", "d"), frozenset())
    assert smallest_cover(seen, {"blur", "cut", "dip", "freeze"}, 1) == Cover(("b",), frozenset({"dip", "freeze"}))
    assert smallest_cover({"a": set()}, {"cut"}, 3) == Cover((), frozenset({"cut"}))


def test_a_reading_of_few_scenes_is_not_recommended():
    def answer(verdict):
        return DoseAnswer(1.0, 1.0, 0.0, 0.0, None, 0.0, verdict)

    answers = {"mawe_mini": {"blur": answer("sees")}, "clip": {"blur": answer("sees")}}
    curves = {"mawe_mini": {"blur": [[1.0]] * 2}, "clip": {"blur": [[1.0]] * 20}}
    assert column_cover(DoseTable(curves, answers)).columns == ("clip",)


def test_the_same_results_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pages.write_pages(synthetic(("mawe", "scuts")), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_the_summary_prints_blind_spots_rather_than_hiding_them():
    validation = synthetic()
    text = "\n".join(pages.summary(validation))
    assert "undefined" in text
    assert "1 of 1 outside of their tolerance" in text
    assert "F1 1.000" in text
    assert dataclasses.asdict(validation)["counts"]["scenes"] == 2


def test_the_command_is_there():
    result = CliRunner().invoke(cli, ["validate", "--help"])
    assert result.exit_code == 0
    assert "--quick" in result.output


def test_a_card_is_named_where_it_lies_and_nowhere_else(tmp_path):
    assert names_with_card(tmp_path / "no-documents") == frozenset()
    (tmp_path / "scuts.md").touch()
    (tmp_path / "flow.md").touch()
    assert names_with_card(tmp_path) == {"scuts"}
    assert {path.stem for path in CARDS.glob("*.md")} - PAGES == names_with_card()


@pytest.mark.parametrize("page", sorted(CARDS.glob("*.md")), ids=lambda page: page.stem)
def test_no_link_of_the_committed_cards_leads_nowhere(page):
    assert dead_links(page) == []
