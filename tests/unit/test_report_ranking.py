"""Who is ranked, marked and told apart, and what the answer above the table says."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.given_file import ASSUMED_RATE
from bench.judgements import FOLDER, JUDGEMENT_FORMAT
from bench.records import Record, RunInfo, StoredScore
from bench.report.answer import answer
from bench.report.curves import trace
from bench.report.data_files import table_csv, tidy_csv
from bench.report.derive import report_data
from bench.report.findings import ReportData, TableRow
from bench.report.html import matrices
from bench.report.judged import judged
from bench.report.latex import latex
from bench.report.notes import APART
from bench.report.published import load_published
from bench.report.sources import Sources
from bench.report.tables import markdown, shown_value
from bench.spec import SCHEMA, Prompt
from bench.stats import PairedTest, paired_test, prompts_needed, smallest_p
from bench.store import Store
from generators.api import MethodInfo
from metrics.api import MetricInfo, metric
from metrics.clip import ClipScore

MAWE = MetricInfo("mawe", "MAWE", "px", "lower", "1")
CLIP = MetricInfo("clip", "CLIP", "%", "higher", "1")


def findings_of(
    scores: dict[str, Sequence[float]],
    groups: dict[str, str] | None = None,
    column: MetricInfo = MAWE,
    sort: str = "",
    without: tuple[str, Sequence[int]] = ("", ()),
) -> ReportData:
    """Findings of methods by their values per prompt.

    `groups` names the stamp's group of those that are no system, `without` a method and the prompts without its video.
    """
    prompts = tuple(Prompt(f"p{i}", f"prompt {i}") for i in range(len(next(iter(scores.values())))))
    stamps = {
        name: MethodInfo(name, name.title(), "", "", name != "freenoise", (groups or {}).get(name, "table"))
        for name in scores
    }
    records = [
        Record(
            f"{name}-{prompt.id}",
            name,
            name.title(),
            prompt,
            0,
            "ok",
            start="s",
            num_frames=40,
            fps=10.0,
            seams=(16, 32),
            scores={column.name: StoredScore(value, version="1")},
        )
        for name, values in scores.items()
        for number, (prompt, value) in enumerate(zip(prompts, values, strict=True))
        if name != without[0] or number not in without[1]
    ]
    cells = tuple(f"{record.method}/{record.key}" for record in records)
    info = RunInfo(
        SCHEMA, "made", "2026", "made up", tuple(scores), (column,), prompts, (0,), "mini", {}, {}, (), cells, stamps
    )
    return report_data(info, records, load_published(), sort=sort)


def row(findings: ReportData, method: str) -> TableRow:
    return next(row for row in findings.rows if row.method == method)


GROUPS = {"still": "floor", "pan": "floor", "truth": "ceiling"}
FAR = {
    "svd": [50.0 + i for i in range(12)],
    "seine": [10.0 + i for i in range(12)],
    "opensora": [10.2 + i + (-1) ** i for i in range(12)],
    "pan": [1.0] * 12,
    "truth": [0.5] * 12,
}


def test_floors_and_ceiling_stand_below_without_rank_mark_or_test() -> None:
    findings = findings_of(FAR, GROUPS)
    assert [(r.method, r.block) for r in findings.rows] == [
        ("seine", "systems"),
        ("svd", "systems"),
        ("opensora", "systems"),
        ("pan", "floors"),
        ("truth", "ceiling"),
    ]
    assert [r.method for r in findings.rows if r.ranked] == ["seine", "svd", "opensora"]
    assert row(findings, "pan").marks == row(findings, "truth").marks == {}
    assert {c.first for c in findings.comparisons} | {c.second for c in findings.comparisons} == {
        "seine",
        "svd",
        "opensora",
    }


def test_rows_stand_as_in_the_published_table_or_by_a_metric() -> None:
    scores = {"mine": [1.0], "streaming_t2v": [4.0], "sparsectrl": [9.0], "still": [0.0], "pan": [2.0]}
    assert [r.method for r in findings_of(scores, GROUPS).rows] == [
        "sparsectrl",
        "streaming_t2v",
        "mine",
        "still",
        "pan",
    ]
    by_metric = findings_of(scores, GROUPS, CLIP, sort="clip")
    assert [r.method for r in by_metric.rows] == ["sparsectrl", "streaming_t2v", "mine", "pan", "still"]


def test_who_cannot_be_told_apart_from_the_best_says_so() -> None:
    findings = findings_of(FAR, GROUPS)
    assert [r.method for r in findings.rows if r.marks.get("mawe") == "best"] == ["seine"]
    assert [r.method for r in findings.rows if "mawe" in r.tied] == ["opensora"]


def test_with_few_prompts_every_row_ties_and_the_caption_says_how_many_would_do() -> None:
    findings = findings_of({name: values[:4] for name, values in FAR.items()}, GROUPS)
    assert {r.method for r in findings.rows if "mawe" in r.tied or r.marks.get("mawe") == "best"} == {
        "svd",
        "seine",
        "opensora",
    }
    (power,) = findings.power
    assert (power.pairs, power.apart, power.least) == (3, 0, 7)
    assert any("With 4 prompts nothing can be told apart" in note and "0.12" in note for note in findings.notes)
    assert "With 4 prompts no difference between systems is significant" in " ".join(s.text for s in findings.answer)


def test_the_answer_names_winners_ties_and_floors() -> None:
    text = " ".join(sentence.text for sentence in findings_of(FAR, GROUPS).answer)
    assert "On MAWE, " in text
    assert "beats all but" in text
    assert "Pan, a floor, has the lowest MAWE: motion without content." in text
    alone = findings_of({"svd": FAR["svd"], "seine": FAR["seine"]})
    assert alone.answer[0].text == "On MAWE, Seine beats Svd."
    assert alone.answer[0].anchor == "tests-mawe"
    assert "No ranked system" in answer((), (MAWE,), (), ())[0].text


def test_rows_that_make_their_own_start_are_marked() -> None:
    findings = findings_of({"freenoise": [1.0], "svd": [2.0]})
    assert [r.own_start for r in findings.rows] == [False, True]
    assert any(note.startswith("† Freenoise makes its own first frames") for note in findings.notes)
    assert [findings.shared_frames(record) for record in findings.records] == [0, 16]


def test_own_frames_and_worst_moments_leave_the_shared_start_out() -> None:
    cosines = [-1.0] * 8 + [0.5] * 32  # the worst frames are the shared ones
    findings = findings_of({"svd": [1.0], "freenoise": [1.0]}, column=CLIP)
    scored = tuple(
        Record(**{**vars(r), "scores": {"clip": StoredScore(1.0, series={"cosine": cosines}, version="1")}})
        for r in findings.records
    )
    curves = trace(ReportData(**{**vars(findings), "records": scored}), {"clip": ClipScore})
    assert {m.record.method: m.start for m in curves.worst} == {"svd": 12, "freenoise": 0}
    own = {entry.method: entry.score.mean for entry in curves.own_frames}
    assert own["svd"] == pytest.approx(50.0)
    assert own["freenoise"] == pytest.approx(100 * sum(cosines) / 40)


def test_prompts_needed_follow_spread_and_the_smallest_p() -> None:
    def measured(difference: float | None, std: float | None) -> PairedTest:
        return PairedTest(difference, None, None, 0.5, 4, exact=True, std=std)

    # (1.96 + 0.8416)^2 = 7.849 prompts for a difference of one standard deviation, at level 0.05 and power 0.8
    assert prompts_needed(measured(1.0, 2.0), 1) == math.ceil(4 * 7.849)
    assert prompts_needed(measured(1.0, 1e-9), 1) == 6  # 2^(1-6) = 0.031 is the first p below 0.05
    assert prompts_needed(measured(1.0, 1e-9), 36) == 11
    assert smallest_p(6) < 0.05 < smallest_p(5)
    assert prompts_needed(measured(0.0, 1.0), 1) is None
    assert smallest_p(50) == 1 / 20_001  # flips are drawn, and one in so many is the least that they can say
    assert prompts_needed(measured(1.9e-17, 0.3), 1) is None  # a tie but for the rounding of a sum
    assert prompts_needed(measured(1.0, None), 1) is None
    test = paired_test({("a", 0): 1.0, ("b", 0): 4.0}, {("a", 0): 0.0, ("b", 0): 1.0})
    assert test.std == pytest.approx(math.sqrt(2))


def test_a_direction_that_does_not_exist_is_refused_at_the_stamp() -> None:
    with pytest.raises(ValueError, match="better must be one of lower, higher, neither, not 'up'"):
        metric(name="x", title="X", unit="px", better="up", version="1")  # type: ignore[arg-type]


def test_a_better_mean_over_easier_prompts_is_no_win() -> None:
    """A made ten easy videos more than B, and B is better on all that both have: no mark, no ≈, and B does not lose."""
    hard, easy = [50.0 + i for i in range(10)], [1.0 + 0.1 * i for i in range(10)]
    scores = {"a": [*hard, *easy], "b": [v - 5 for v in hard] + [math.nan] * 10}
    findings = findings_of(scores, without=("b", range(10, 20)))
    assert row(findings, "a").scores["mawe"].mean < row(findings, "b").scores["mawe"].mean
    assert not row(findings, "a").marks
    assert not row(findings, "b").tied
    (said,) = [sentence.text for sentence in findings.answer]
    assert said == "On MAWE, A has the best mean, and B is better on the prompts that both have."
    assert [flag.word for flag in row(findings, "b").flags] == []


def test_rows_that_share_no_prompt_are_not_called_equal() -> None:
    scores = {"a": [*range(8)], "b": [*range(8)]}
    findings = findings_of(scores, without=("b", range(8)))
    assert not row(findings, "b").tied


def test_a_row_that_lacks_videos_of_most_rows_says_so() -> None:
    scores = {name: [*range(8)] for name in ("a", "b", "c")}
    findings = findings_of(scores, without=("c", range(3)))
    assert [flag.word for flag in row(findings, "c").flags] == ["5 of 8 videos"]
    assert not row(findings, "a").flags


def test_equal_systems_on_many_prompts_are_not_called_too_few() -> None:
    same = [*range(30)]
    findings = findings_of({"a": same, "b": same[::-1], "c": same})
    notes = " ".join(findings.notes)
    assert "no pair differs by the corrected test" in notes
    assert "nothing can be told apart" not in notes


def test_a_single_system_and_columns_that_rank_nothing_have_an_answer_of_their_own() -> None:
    alone = findings_of({"a": [1.0, 2.0]})
    assert alone.answer[0].text == "A is the only ranked system with a score."
    diagnosis = MetricInfo("mawe", "M", "px", "neither", "1")
    assert "rank nothing" in findings_of({"a": [1.0], "b": [2.0]}, column=diagnosis).answer[0].text


def test_very_many_pairs_can_still_be_told_apart() -> None:
    assert 1035 * smallest_p(50, 1035) < 0.05


def test_floors_that_tie_are_named_together_and_one_that_ties_with_a_system_is_not() -> None:
    scores = {"svd": [3.0] * 8, "seine": [4.0] * 8, "still": [0.0] * 8, "pan": [0.0] * 8}
    said = [sentence.text for sentence in findings_of(scores, GROUPS).answer]
    assert "Still and Pan, floors, share the lowest MAWE." in said
    level = scores | {"still": [3.0 + 1e-12] * 8, "pan": [3.0] * 8}
    assert not any("floor" in sentence.text for sentence in findings_of(level, GROUPS).answer)


def test_the_only_system_with_a_score_is_no_winner_of_that_metric() -> None:
    findings = findings_of({"svd": [1.0] * 8, "seine": [2.0] * 8})
    scored = [
        replace(r, scores={**r.scores, "clip": StoredScore(90.0, version="1")}) if r.method == "svd" else r
        for r in findings.records
    ]
    info = replace(findings.info, metrics=(MAWE, CLIP))
    said = " ".join(sentence.text for sentence in report_data(info, scored, load_published()).answer)
    assert "Svd" in said
    assert "CLIP" not in said


def other_way(**changes: object) -> ReportData:
    """Three systems and a floor; SEINE and the floor were computed, or made, as `changes` say, and look best."""
    findings = findings_of({"svd": [5.0] * 8, "opensora": [6.0] * 8, "seine": [0.5] * 8, "pan": [0.1] * 8}, GROUPS)
    info, records = findings.info, list(findings.records)
    settings: dict[str, object] = {"flow": "mini", "mode": "official"}
    score = {r.key: replace(r.scores["mawe"], settings=settings) for r in records}
    records = [replace(r, height=64, width=64, scores={"mawe": score[r.key]}) for r in records]
    for number, r in enumerate(records):
        if r.method in ("seine", "pan"):
            other = replace(score[r.key], settings={**settings, **{k: v for k, v in changes.items() if k == "mode"}})
            frames = {name: value for name, value in changes.items() if name != "mode"}
            records[number] = replace(r, scores={"mawe": other}, **frames)  # type: ignore[arg-type]
    return report_data(info, records, load_published(), sort="mawe")


@pytest.mark.parametrize(
    ("changes", "word"), [({"mode": "paper"}, ""), ({"height": 128}, "other size"), ({"fps": 24.0}, "other rate")]
)
def test_what_is_not_compared_says_so_in_every_table_and_leads_nowhere(changes: dict[str, object], word: str) -> None:
    findings = other_way(**changes)
    assert [r.method for r in findings.rows] == ["svd", "opensora", "seine", "pan"]
    assert [flag.word for flag in row(findings, "seine").flags] == ([word] if word else [])
    said = " ".join(sentence.text for sentence in findings.answer)
    assert "Svd" in said
    assert "Pan" not in said
    assert "Seine" not in said
    curves = trace(findings, {})
    assert f"0.50 {APART}" in markdown(findings)
    assert r"0.50$\neq$" in latex(findings)
    assert f"{APART}: not compared" in " ".join(findings.notes)
    assert r"$\neq$: not compared" in latex(findings)
    assert "mode = official" in latex(findings)
    wide = list(csv.DictReader(table_csv(findings, curves).splitlines()))
    tidy = list(csv.DictReader(tidy_csv(findings, curves).splitlines()))
    for table, column in ((wide, "mawe_compared"), (tidy, "compared")):
        assert {entry["method"]: entry[column] for entry in table} == {
            "svd": "True",
            "opensora": "True",
            "seine": "False",
            "pan": "False",
        }
    assert all("flow = mini, mode = " in entry["settings"] for entry in tidy)


def test_a_row_of_two_ways_is_compared_with_nobody() -> None:
    findings = findings_of({"svd": [5.0] * 8, "seine": [6.0] * 8})
    records = [
        replace(r, scores={"mawe": replace(r.scores["mawe"], settings={"mode": "official" if i % 2 else "paper"})})
        for i, r in enumerate(findings.records)
    ]
    mixed = report_data(findings.info, records, load_published())
    assert all(r.apart == {"mawe"} and not r.marks for r in mixed.rows)
    assert not mixed.comparisons


@pytest.mark.parametrize(("mode", "share"), [("official", 0.0), ("paper", None)])
def test_judges_are_held_against_comparable_scores_only(tmp_path: Path, mode: str, share: float | None) -> None:
    """Judges prefer SVD to SEINE, whose MAWE is better: that speaks against MAWE if both are the same MAWE."""
    findings = other_way(mode=mode)
    (tmp_path / FOLDER).mkdir()
    answers = [{"id": str(i), "a": f"svd-p{i}", "b": f"seine-p{i}", "answer": "a"} for i in range(8)]
    (tmp_path / FOLDER / "one.json").write_text(json.dumps({"format": JUDGEMENT_FORMAT, "answers": answers}))
    places = {r.key: (Store(tmp_path), r) for r in findings.records}
    found = judged(Sources(findings.info, findings.records, places, ()), findings)
    assert found is not None
    assert found.agreements["mawe"] == share


def test_a_row_with_videos_that_most_rows_lack_says_so_and_the_answer_counts_shared_prompts() -> None:
    findings = findings_of({"a": [5.0] * 4 + [1.0] * 6, "b": [4.0] * 10, "c": [4.5] * 10}, without=("b", range(4, 10)))
    records = [r for r in findings.records if r.method != "c" or int(r.prompt.id[1:]) < 4]
    found = report_data(findings.info, records, load_published())
    assert [flag.word for flag in row(found, "a").flags] == ["6 more videos"]
    assert not row(found, "b").flags
    assert "With 4 prompts no difference" in " ".join(sentence.text for sentence in found.answer)


def test_drifts_are_never_called_comparable_with_the_published_scores() -> None:
    findings = findings_of({"svd": [5.0] * 8})
    instead = report_data(findings.info, findings.records, load_published(), instead="they are drifts by `x`")
    assert not instead.comparable
    assert "they are drifts by `x`" in instead.notes[0]


def test_a_tie_is_zero_from_either_side() -> None:
    findings = findings_of({"svd": [5.0] * 8, "seine": [5.0] * 8, "opensora": [6.0] * 8})
    (matrix,) = matrices(findings)
    shown = [shown_value(duel.difference) for pair, duel in matrix.duels.items() if set(pair) == {"svd", "seine"}]
    assert shown == ["0.00", "0.00"]


@pytest.mark.parametrize(
    ("fps", "flags", "words"),
    [(10.05, (), []), (10.2, (), ["other rate"]), (24.0, (ASSUMED_RATE,), ["rate assumed 8/8"])],
)
def test_rates_that_differ_by_rounding_are_one_and_unknown_ones_tell_nothing(
    fps: float, flags: tuple[str, ...], words: list[str]
) -> None:
    found = other_way(fps=fps, flags=flags)
    assert [flag.word for flag in row(found, "seine").flags] == words
