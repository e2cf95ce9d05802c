"""Previews, the data of the players, bundles, and judgements folded into a run."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from bench.bradley_terry import agreement, fit_strengths, strengths
from bench.cli import main
from bench.errors import ConfigError, StoreError
from bench.ffv1 import VideoWriter, file_digest
from bench.judgements import JUDGEMENT_FORMAT, judged_strengths, keep_judgements, kept_judgements, read_judgements
from bench.records import Record, RunInfo, StoredScore
from bench.report import write_report
from bench.report.bundle import unpack
from bench.report.derive import report_data
from bench.report.previews import PREVIEW_GROUP, encode_preview, preview_size
from bench.report.published import load_published
from bench.report.published_runs import published_runs
from bench.report.viewer import as_script
from bench.report.write import LISTING
from bench.spec import SCHEMA, Prompt
from bench.store import Store
from metrics.api import MetricInfo

PROMPTS = (Prompt("fox", "A fox </script><b>"), Prompt("crane", "纸鹤 ورقة"))
METHODS = ("one", "two")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods on two prompts, with a metric of no plugin: no curves, everything else."""
    store = Store(tmp_path / "run")
    cells = tuple(f"{method}/{method}-{prompt.id}" for method in METHODS for prompt in PROMPTS)
    metric = MetricInfo("wobble", "Wobble", "px", "lower", "1", "How much it wobbles.")
    store.open(
        RunInfo(
            SCHEMA, "run", "2026-01-01", "made up", METHODS, (metric,), PROMPTS, (0,), "mini",
            {"video": {"num_frames": 30}}, {"commit": None}, (), cells,
        )
    )  # fmt: skip
    for number, method in enumerate(METHODS):
        for prompt in PROMPTS:
            made = Record(
                f"{method}-{prompt.id}", method, method.title(), prompt, 0, "ok", start=prompt.id, num_frames=30,
                height=16, width=24, fps=10.0, seams=(8, 16), scores={"wobble": StoredScore(1.0 + number, version="1")},
            )  # fmt: skip
            with VideoWriter(store.video_path(made), 10.0) as video:
                video.write(np.random.default_rng(number).integers(0, 255, (30, 16, 24, 3), dtype=np.uint8))
            path = store.video_path(made)
            digest = file_digest(path)
            store.save(replace(made, video_sha256=digest, video_bytes=path.stat().st_size))
    return store


# -- previews ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "preview"),
    [
        ((64, 64), (256, 256)),
        ((720, 720), (384, 384)),
        ((100, 150), (200, 300)),
        ((1080, 1920), (216, 384)),
        ((384, 9), (384, 10)),
    ],
)
def test_previews_are_enlarged_by_whole_factors_or_shrunk_and_even(
    size: tuple[int, int], preview: tuple[int, int]
) -> None:
    assert preview_size(*size) == preview


def test_a_preview_starts_at_once_and_seeks_in_short_groups(tmp_path: Path) -> None:
    frames = np.zeros((40, 32, 40, 3), np.uint8)
    frames[np.arange(40), :, np.arange(40)] = 255  # a white column that moves by one pixel a frame
    encode_preview([frames[:7], frames[7:]], tmp_path / "a.mp4", (128, 160), 10.0)
    raw = (tmp_path / "a.mp4").read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 160, 128)
        pictures = list(video.decode(video=0))
    assert len(pictures) == 40
    assert [float(picture.time) for picture in pictures[:3]] == pytest.approx([0.0, 0.1, 0.2])
    keys = [index for index, picture in enumerate(pictures) if picture.key_frame]
    assert keys[0] == 0
    assert 0 < max(np.diff([*keys, 40])) <= PREVIEW_GROUP
    grey = [picture.to_ndarray(format="rgb24").mean(axis=(0, 2)) for picture in pictures]
    assert [int(row.reshape(40, 4).mean(axis=1).argmax()) for row in grey] == list(range(40))


def test_previews_are_made_once_and_stale_ones_go(store: Store) -> None:
    write_report(store)
    videos = store.path / "report" / "videos"
    before = {path.name: path.stat().st_mtime_ns for path in videos.iterdir()}
    assert len(before) == 2  # both prompts of a method have the same frames
    write_report(store)
    assert {path.name: path.stat().st_mtime_ns for path in videos.iterdir()} == before
    write_report(store, methods="one")
    assert len(list(videos.iterdir())) == 1


def test_nothing_in_the_data_can_close_its_script() -> None:
    text = as_script({"a": "</script><!-- & \u2028", "b": [None, 1.5]})
    assert not {"<", ">", "&", "\u2028"} & set(text)
    assert json.loads(text) == {"a": "</script><!-- & \u2028", "b": [None, 1.5]}


# -- bundles -----------------------------------------------------------------------------------------------------------


def test_a_bundle_reads_back_as_the_run_it_packed(store: Store, tmp_path: Path) -> None:
    write_report(store, bundle=tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as bundle:
        names = bundle.namelist()
        assert not any(name.endswith(".mkv") for name in names)
        assert ".mkv" not in bundle.read("report/index.html").decode()
    shutil.copy(tmp_path / "run.zip", tmp_path / "renamed")
    main(["report", str(tmp_path / "renamed"), "--out", str(tmp_path / "page")])
    assert (tmp_path / "page" / "index.html").exists()
    again = unpack(tmp_path / "run.zip", tmp_path / "scratch")
    assert again.info() == store.info()
    assert again.records() == store.records()
    page = write_report(again, folder=tmp_path / "again")
    assert len(list((tmp_path / "again" / "videos").glob("*.mp4"))) == 2
    assert len(list((tmp_path / "again" / "strips").glob("*.jpg"))) == 4
    table = (tmp_path / "again" / "table1.csv").read_text()
    assert table == (store.path / "report" / "table1.csv").read_text()
    assert page.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("run", "a folder"), ("bundle", "name it FILE"), ("run.ZIP", "name it FILE"), ("kept.zip", "a folder lies there")],
)
def test_a_bundle_goes_under_no_name_that_is_taken_or_ends_otherwise(
    store: Store, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "kept.zip").mkdir()
    with pytest.raises(ConfigError, match=words):
        write_report(store, bundle=tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.zip", "run"]
    assert not (store.path / "report").exists()


@pytest.mark.parametrize("damage", ["changed", "extra", "upward", "no zip"])
def test_a_damaged_bundle_is_refused(store: Store, tmp_path: Path, damage: str) -> None:
    write_report(store, bundle=tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}
    files |= {
        "changed": {"run.json": files["run.json"].replace(b"Wobble", b"Wobbly")},
        "extra": {"cells/one/more.json": b"{}"},
        "upward": {"../outside.txt": b""},
        "no zip": {},
    }[damage]
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    if damage == "no zip":
        (tmp_path / "bad.zip").write_bytes(b"PK")
    words = {"changed": "not the file that was packed", "no zip": "no bundle of a report"}
    with pytest.raises(StoreError, match=words.get(damage, "does not belong in a bundle")):
        unpack(tmp_path / "bad.zip", tmp_path / "scratch")
    assert not (tmp_path / "outside.txt").exists()


# -- judgements --------------------------------------------------------------------------------------------------------


def test_strengths_are_the_odds_of_the_wins() -> None:
    found = fit_strengths({("a", "b"): 300.0, ("b", "a"): 100.0}, ["a", "b"])
    assert found["a"] - found["b"] == pytest.approx(math.log(3), abs=0.01)  # the prior pulls a little
    lost = fit_strengths({("a", "b"): 5.0}, ["a", "b"])
    assert 1 < lost["a"] - lost["b"] < 10


def test_intervals_draw_whole_prompts() -> None:
    agreed = {f"p{i}": {("a", "b"): 1.0} for i in range(6)}
    split = {f"p{i}": {("a", "b"): float(i % 2), ("b", "a"): float(1 - i % 2)} for i in range(6)}
    sure, unsure = strengths(agreed)["a"], strengths(split)["a"]
    assert sure.low is not None
    assert unsure.low is not None
    assert unsure.high is not None
    assert sure.low > 0 > unsure.low
    assert unsure.high > 0
    assert strengths({"p": {("a", "b"): 1.0}})["a"].low is None


def test_agreement_is_the_share_of_pairs_in_the_same_order() -> None:
    assert agreement({"a": 3.0, "b": 2.0, "c": 1.0}, {"a": 9.0, "b": 7.0, "c": 8.0}) == pytest.approx(2 / 3)
    assert agreement({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0}) == 0.5
    assert agreement({"a": 1.0}, {"a": 1.0}) is None


def export(path: Path, *answers: dict[str, object], form: str = JUDGEMENT_FORMAT) -> Path:
    path.write_text(json.dumps({"format": form, "run": "run", "judge": "", "answers": list(answers)}))
    return path


def test_judge_folds_exports_into_the_report(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [
        {"a": f"one-{p.id}", "b": f"two-{p.id}", "answer": word} for p, word in zip(PROMPTS, ("a", "tie"), strict=True)
    ]
    file = export(tmp_path / "j.json", *answers)
    for _ in range(2):  # the same export counts once
        main(["judge", str(file), "--out", str(store.path)])
    said = capsys.readouterr().out
    assert "One: +" in said
    assert "2 judgements" in said
    assert "Wobble orders 100 % of the pairs as the judges do" in said
    assert "2 judgements of pairs" in (store.path / "report" / "index.html").read_text()
    (first, second) = judged_strengths(read_judgements(file, store.records())).items()
    assert (first[0], second[0]) == ("one", "two")


def test_an_answer_in_several_exports_of_one_judge_counts_once(store: Store, tmp_path: Path) -> None:
    answers = [
        {"id": f"{number:016x}", "a": f"one-{p.id}", "b": f"two-{p.id}", "answer": "a"}
        for number, p in enumerate(PROMPTS)
    ]
    for name, given in (("early", answers[:1]), ("late", answers)):
        main(["judge", str(export(tmp_path / f"{name}.json", *given)), "--out", str(store.path)])
    assert len(kept_judgements([store.path], store.records())[0]) == len(PROMPTS)


def test_a_report_of_fewer_rows_leaves_no_picture_of_the_others(store: Store) -> None:
    write_report(store)
    strips = store.path / "report" / "strips"
    assert any(path.name.startswith("two") for path in strips.iterdir())
    main(["report", "--out", str(store.path), "--methods", "one"])
    assert not any("two" in path.name for path in (*strips.iterdir(), *strips.parent.glob("contact-*")))
    assert not (strips.parent / "together.png").exists()


def test_a_bundle_holds_what_this_report_wrote_and_nothing_else(store: Store, tmp_path: Path) -> None:
    write_report(store, folder=tmp_path / "page")
    own = ("curve-mine.svg", "contact-mine.png", "strips/mine.jpg", "videos/mine.mp4")
    for name in own:
        (tmp_path / "page" / name).write_text("the user's own")
    listing = tmp_path / "page" / LISTING
    stale = json.loads(listing.read_text())["files"]
    assert "contact-two.png" in stale
    (tmp_path / "mine.txt").write_text("the user's own")
    listing.write_text(json.dumps({"files": [*stale, "../mine.txt"]}))
    write_report(store, folder=tmp_path / "page", methods="one", bundle=tmp_path / "page" / "one.zip")
    assert (tmp_path / "mine.txt").is_file()
    assert not (tmp_path / "page" / "contact-two.png").exists()
    with zipfile.ZipFile(tmp_path / "page" / "one.zip") as bundle:
        packed = {name.removeprefix("report/") for name in bundle.namelist() if name.startswith("report/")}
    there = {p.relative_to(tmp_path / "page").as_posix() for p in (tmp_path / "page").rglob("*") if p.is_file()}
    assert packed == there - {*own, LISTING, "one.zip"}


@pytest.mark.parametrize("damage", ["{", "{}", '{"files": 3}'])
def test_a_damaged_list_of_files_is_made_anew(store: Store, damage: str) -> None:
    listing = write_report(store).parent / LISTING
    before = listing.read_text()
    listing.write_text(damage)
    write_report(store)
    assert listing.read_text() == before


def test_judgements_of_videos_that_are_not_shown_do_not_count_and_are_named(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [{"a": f"one-{p.id}", "b": f"two-{p.id}", "answer": "a"} for p in PROMPTS]
    main(["judge", str(export(tmp_path / "j.json", *answers)), "--out", str(store.path)])
    (kept,) = (store.path / "judgements").iterdir()
    kept.write_text(kept.read_text().replace(f'"two-{PROMPTS[0].id}"', '"made anew since"'))
    found, others = kept_judgements([store.path], store.records())
    assert (len(found), others) == (len(PROMPTS) - 1, 1)
    page = write_report(store).read_text()
    assert "(1 more are about videos that this table does not show)" in page
    main(["report", "--out", str(store.path), "--methods", "one"])
    page = (store.path / "report" / "index.html").read_text()
    assert f"All {len(PROMPTS)} judgements are about videos that this table does not show." in page
    assert kept_judgements([store.path], [r for r in store.records() if r.method == "one"]) == ([], len(PROMPTS))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"a": "one-fox", "b": "gone", "answer": "a"}, "all 1 answers are about videos that this run does not have"),
        ({"a": "one-fox", "b": "two-crane", "answer": "a"}, "not about two methods on one prompt"),
        ({"a": "one-fox", "b": "two-fox", "answer": "maybe"}, "not one of this version"),
    ],
)
def test_judgements_of_something_else_are_refused(
    store: Store, tmp_path: Path, answer: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        read_judgements(export(tmp_path / "j.json", answer), store.records())
    with pytest.raises(ConfigError, match="not judgements of version"):
        read_judgements(export(tmp_path / "k.json", form="other"), store.records())


def test_an_outdated_answer_keeps_no_other_from_counting(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"a": "one-fox", "b": "two-fox", "answer": "a"}
    file = export(tmp_path / "j.json", {"a": "one-fox", "b": "made anew", "answer": "b"}, known)
    main(["judge", str(file), "--out", str(store.path)])
    said = capsys.readouterr().out
    assert "One: +" in said
    assert "1 judgements are about videos that this table does not show, and do not count" in said


@pytest.mark.parametrize("known_by", [{"id": "1"}, {}])
def test_a_judgement_in_two_folders_counts_once(store: Store, tmp_path: Path, known_by: dict[str, object]) -> None:
    shutil.copytree(store.path, tmp_path / "copy")
    file = export(tmp_path / "j.json", {**known_by, "a": "one-fox", "b": "two-fox", "answer": "a"})
    folders = [store.path, tmp_path / "copy"]
    for folder in folders:
        keep_judgements(file, folder)
    found, others = kept_judgements(folders, store.records())
    assert (len(found), others) == (1, 0)


def test_what_a_page_of_two_runs_exports_is_folded_into_both(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(store.path, tmp_path / "other")
    split = {store.path: METHODS[0], tmp_path / "other": METHODS[1]}
    for folder, method in split.items():
        info = Store(folder).info()
        cells = tuple(cell for cell in info.cells if cell.startswith(method))
        Store(folder).open(replace(info, name=folder.name, methods=(method,), cells=cells))
        shutil.rmtree(folder / "cells" / next(name for name in METHODS if name != method))
    page = tmp_path / "both" / "index.html"
    main(["report", *map(str, split), "--out", str(page.parent)])
    assert "for each of the runs of this page" in page.read_text()
    file = export(tmp_path / "j.json", {"a": "one-fox", "b": "two-fox", "answer": "a"})
    with pytest.raises(SystemExit):
        main(["judge", str(file), "--out", str(store.path)])
    assert "every run of a page of several" in capsys.readouterr().err
    main(["judge", str(file), *(word for folder in split for word in ("--out", str(folder)))])
    assert "One: +" in capsys.readouterr().out
    main(["report", *map(str, split), "--out", str(page.parent)])
    assert "1 judgements of pairs" in page.read_text()


def test_published_bundles_stand_below_the_table_with_what_differs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    monkeypatch.setattr("bench.report.write.published_folder", lambda: folder)
    write_report(store, folder=tmp_path / "first", bundle=folder / "theirs.zip")
    (folder / "torn.zip").write_bytes(b"PK")
    run = store.info()
    store.open(replace(run, metrics=(*run.metrics, MetricInfo("other", "Other", "px", "lower", "1"))))
    text = write_report(store, folder=tmp_path / "second").read_text()
    assert "Published: run" in text
    assert "begun" in text
    assert "A published run is not shown" in text
    findings = report_data(store.info(), store.records(), load_published())
    (found,), (note,) = published_runs(findings, folder)
    assert "torn.zip" in note
    assert [(row.method, row.ranked, set(row.scores)) for row in found.rows] == [
        ("one", False, {"wobble"}),
        ("two", False, {"wobble"}),
    ]
    assert found.differs == ()
    changed = [replace(r, num_frames=31, scores={"wobble": StoredScore(1.0, version="2")}) for r in store.records()]
    other = report_data(replace(store.info(), profile="paper"), changed, load_published())
    (apart,), _ = published_runs(other, folder)
    assert apart.differs == ("profile mini", "30 frames", "other settings of Wobble")
