"""What a report shows of a folder that grew, and of several folders in one table."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.ffv1 import file_digest
from bench.growth import given_rows, given_stamp, grown
from bench.records import StoredScore
from bench.report import write_report
from bench.report.bundle import unpack
from bench.report.derive import report_data
from bench.report.findings import ReportData, TableRow
from bench.report.published import load_published
from bench.report.sources import gather
from bench.spec import Prompt
from bench.store import Store
from generators.api import TextChange
from metrics.api import MetricInfo
from metrics.features.cache import content_hash
from tests.stores import PROMPTS, WOBBLE, film, info, record, run


def findings(*stores: Store, methods: str = "") -> ReportData:
    sources = gather(stores, methods)
    data = report_data(sources.info, sources.records, load_published())
    return replace(data, notes=data.notes + sources.notes)


def rows(data: ReportData) -> dict[str, TableRow]:
    return {row.title: row for row in data.rows}


def test_a_folder_shows_every_row_it_holds_whichever_command_made_it(tmp_path: Path) -> None:
    store = run(tmp_path / "a", info("a", ["pan"]), {"pan": 1.0})
    run(tmp_path / "a", info("a", ["still", "svd"]), {"still": 2.0, "svd": 4.0})
    assert {title: row.scores["wobble"].mean for title, row in rows(findings(store)).items()} == {
        "Still": 3.0,
        "Svd": 5.0,
        "Pan": 2.0,
    }
    assert store.info().created == "of a"
    assert store.info().settings["methods"].keys() == {"pan", "still", "svd"}
    assert list(rows(findings(store, methods="svd,pan"))) == ["Svd", "Pan"]
    with pytest.raises(ConfigError, match="--methods sdv: there are still, svd, pan"):
        findings(store, methods="sdv")


def test_a_title_of_an_earlier_version_can_be_shown_everywhere(tmp_path: Path) -> None:
    store = run(tmp_path / "a", info("a", ["ours"]), {"ours": 1.0}, title="Ours\n(24\u2029fps)\x1b[1m")
    assert {row.title for row in findings(store).rows} == {r"Ours (24 fps)\x1b[1m"}
    write_report(store)
    for name in ("index.html", "table1.md", "table1.csv"):
        assert "\x1b" not in (store.path / "report" / name).read_text()


def test_a_later_command_replaces_its_own_row_only(tmp_path: Path) -> None:
    run(tmp_path / "a", info("a", ["pan", "svd"]), {"pan": 1.0, "svd": 1.0})
    about = replace(info("a", ["svd"]), cells=tuple(f"svd/new-{prompt.id}" for prompt in PROMPTS))
    store = run(tmp_path / "a", about, {})
    for prompt in PROMPTS:
        store.save(record("svd", prompt, 7.0, key=f"new-{prompt.id}"))
    found = rows(findings(store))
    assert (found["Svd"].scores["wobble"].mean, found["Svd"].planned) == (7.0, 3)
    assert (found["Pan"].scores["wobble"].mean, found["Pan"].planned) == (2.0, 3)


def test_rows_that_run_json_does_not_list_are_shown_too(tmp_path: Path) -> None:
    """As earlier versions left them, which listed the latest command's rows only."""
    store = run(tmp_path / "a", info("a", ["pan", "seine"]), {"pan": 1.0, "seine": 3.0})
    old = store.path / "cells" / "pan" / "old.json"
    store.save(record("pan", PROMPTS[0], 99.0, key="old"))
    os.utime(old, (0, 0))
    store.save(record("seine", PROMPTS[1], 3.0, frames=9))
    store.open(info("a", ["svd"]))
    for index, prompt in enumerate(PROMPTS):
        store.save(record("svd", prompt, 4.0 + index))
    found = rows(findings(store))
    means = {title: (row.scores["wobble"].mean, row.planned) for title, row in found.items()}
    assert means == {"Svd": (5.0, 3), "Pan": (2.0, 3), "Seine": (4.0, 2)}
    (store.path / "cells" / "pan" / "pan-fox-24.json").write_text("torn")
    assert rows(findings(store))["Pan"].ok == 3  # the old one stands in


def test_rows_of_other_prompts_seeds_or_length_are_named_and_left_out(tmp_path: Path) -> None:
    run(tmp_path / "a", info("a", ["pan"]), {"pan": 1.0})
    run(tmp_path / "a", info("a", ["naive"], frames=48), {"naive": 1.0}, frames=48)
    store = run(tmp_path / "a", info("a", ["svd"], prompts=PROMPTS[:2]), {"svd": 4.0})
    data = findings(store)
    found = rows(data)
    assert list(found) == ["Svd", "Pan"]
    assert (found["Pan"].ok, found["Pan"].planned, found["Pan"].scores["wobble"].mean) == (2, 2, 1.5)
    text = "\n".join(data.notes)
    assert "Pan: 1 of its videos is not shown, for other prompts than this table's." in text
    assert "Naive: 2 of its videos are not shown, for another length (48 frames) than this table's." in text


@pytest.mark.parametrize("made_first", [True, False])
def test_a_given_row_and_a_made_one_cannot_have_one_name(made_first: bool) -> None:
    made, given = info("a", ["svd"]), replace(info("a", ["svd"]), stamps={"svd": given_stamp("svd", "Svd")})
    old, new = (made, given) if made_first else (given, made)
    with pytest.raises(ConfigError, match="a has a row 'svd' that"):
        grown(old, new)


def test_given_videos_leave_prompts_and_settings_of_the_run_they_join() -> None:
    made = replace(info("a", ["svd"]), settings={"video": {"num_frames": 24}, "methods": {"svd": {}}, "metrics": {}})
    match = MetricInfo("match", "Match", "%", "higher", "1")
    given = replace(
        info("a", ["mine"], prompts=PROMPTS[:1]),
        stamps={"mine": given_stamp("mine", "Mine")},
        metrics=(match,),
        settings={"video": {"num_frames": 9}, "methods": {"mine": {}}, "metrics": {"match": {"scale": 1}}},
    )
    both = grown(made, given)
    assert (both.methods, both.prompts, both.prompt_set) == (("svd", "mine"), PROMPTS, "set of a")
    assert both.settings == {
        "video": {"num_frames": 24},
        "methods": {"svd": {}, "mine": {}},
        "metrics": {"match": {"scale": 1}},
    }
    assert both.metrics == (WOBBLE, match)
    assert given_rows(both.stamps) == {"mine"}
    again = grown(both, info("a", ["svd", "still"]))
    assert again.methods == ("svd", "still", "mine")


def test_several_folders_make_one_table(tmp_path: Path) -> None:
    first = run(tmp_path / "a", info("a", ["svd", "pan"]), {"svd": 4.0, "pan": 1.0})
    other = run(tmp_path / "b", info("b", ["svd", "seine"]), {"seine": 2.0})
    for prompt in PROMPTS:
        other.save(record("svd", prompt, 9.0, key=f"svd-{prompt.id}-24-b"))
    about = other.info()
    cells = tuple(f"{cell}-b" if cell.startswith("svd/") else cell for cell in about.cells)
    other.open(replace(about, cells=cells))
    data = findings(first, other)
    means = {row.method: (row.title, row.scores["wobble"].mean) for row in data.rows}
    assert means == {
        "svd": ("Svd", 5.0),
        "pan": ("Pan", 2.0),
        "svd_b": ("Svd (b)", 9.0),
        "seine": ("Seine", 3.0),
    }
    assert data.info.name == "a + b"
    assert {frozenset((c.first, c.second)) for c in data.comparisons} >= {frozenset(("pan", "svd_b"))}
    assert not [note for note in data.notes if "same prompts" in note]


def test_the_same_row_in_two_folders_stands_once(tmp_path: Path) -> None:
    stores = [run(tmp_path / name, info(name, ["svd"]), {"svd": 4.0}) for name in "ab"]
    data = findings(*stores)
    assert [row.method for row in data.rows] == ["svd"]
    assert "b: its row svd is that of a, and stands once." in data.notes


def test_a_new_name_is_no_further_row_of_its_folder(tmp_path: Path) -> None:
    first = run(tmp_path / "a", info("a", ["svd"]), {"svd": 4.0})
    other = run(tmp_path / "refined", info("refined", ["svd", "svd_refined"], frames=25), {}, 25)
    for method, value in (("svd", 9.0), ("svd_refined", 5.0)):
        for prompt in PROMPTS:
            other.save(record(method, prompt, value, 25))
    means = {row.method: row.scores["wobble"].mean for row in findings(first, other).rows}
    assert means == {"svd": 5.0, "svd_refined_2": 9.0, "svd_refined": 5.0}


def test_rows_that_share_videos_add_what_the_other_lacks(tmp_path: Path) -> None:
    small = run(tmp_path / "small", info("small", ["svd"], prompts=PROMPTS[:2]), {"svd": 4.0})
    large = run(tmp_path / "large", info("large", ["svd"]), {"svd": 4.0})
    shine = replace(WOBBLE, name="shine", title="Shine")
    about = replace(large.info(), metrics=(WOBBLE, shine))
    large.open(about)
    for index, prompt in enumerate(PROMPTS):
        score = StoredScore(float(index), {}, {}, "1", "", {"scale": 1.0})
        made = record("svd", prompt, 4.0 + index)
        large.save(replace(made, scores={**made.scores, "shine": score}))
    for stores in ((small, large), (large, small)):
        (row,) = findings(*stores).rows
        assert (row.method, row.title, row.ok, row.planned) == ("svd", "Svd", 3, 3)
        assert {name: (score.mean, score.n) for name, score in row.scores.items()} == {
            "wobble": (5.0, 3),
            "shine": (1.0, 3),
        }


def test_a_video_that_failed_in_one_folder_is_the_other_folders(tmp_path: Path) -> None:
    stores = [run(tmp_path / name, info(name, ["svd"]), {"svd": 4.0}) for name in "ab"]
    stores[0].save(record("svd", PROMPTS[0], 0.0, status="failed", reason="out of memory", scores={}))
    for order in (stores, stores[::-1]):
        sources = gather(order)
        (row,) = report_data(sources.info, sources.records, load_published()).rows
        assert (row.ok, row.failed, row.scores["wobble"].mean) == (3, 0, 5.0)
        assert sources.places[f"svd-{PROMPTS[0].id}-24"][0].path == stores[1].path


def test_folders_of_one_name_both_say_how_they_were_made(tmp_path: Path) -> None:
    stores = [run(tmp_path / name / "run", info("run", [method]), {method: 1.0}) for name, method in ("as", "bp")]
    assert gather(stores).info.settings.keys() == {"run", "run (2)"}


def test_prompts_that_differ_in_a_later_text_only_are_other_prompts(tmp_path: Path) -> None:
    rain = Prompt("p001", "rain", changes=(TextChange(8, "sun"),))
    snow = Prompt("p001", "rain", changes=(TextChange(16, "snow"),))
    run(tmp_path / "a", info("a", ["pan"], prompts=[rain]), {"pan": 1.0})
    store = run(tmp_path / "a", info("a", ["svd"], prompts=[snow]), {"svd": 4.0})
    data = findings(store)
    assert [row.title for row in data.rows] == ["Svd"]
    assert "Pan: 1 of its videos is not shown, for other prompts than this table's." in data.notes


@pytest.mark.parametrize(
    ("frames", "start", "flag", "sentence"),
    [
        (24, "another", "other start", "continues another first chunk"),
        (20, "start of {}", "other length", "has videos of another length"),
    ],
)
def test_rows_that_cannot_be_compared_are_out_of_ranks_and_say_why(
    tmp_path: Path, frames: int, start: str, flag: str, sentence: str
) -> None:
    first = run(tmp_path / "a", info("a", ["svd", "pan"]), {"svd": 4.0, "pan": 2.0})
    other = run(tmp_path / "b", info("b", ["mine"], prompts=PROMPTS[:2], frames=frames), {})
    for prompt in PROMPTS[:2]:
        other.save(record("mine", prompt, 0.0, frames, start=start.format(prompt.id)))
    data = findings(first, other)
    mine = rows(data)["Mine"]
    assert [found.word for found in mine.flags] == [flag, "2 of 3 videos"]
    assert (mine.ranked, mine.marks) == (False, {})
    assert rows(data)["Pan"].marks == {"wobble": "best"}
    assert any(note.startswith("Mine: ") and sentence in note for note in data.notes)
    assert any("a and b do not have the same prompts" in note for note in data.notes)


def test_scores_of_other_settings_are_not_compared_and_the_rest_of_the_row_is(tmp_path: Path) -> None:
    store = run(tmp_path / "a", info("a", ["svd", "pan", "mine"]), {"svd": 4.0, "pan": 2.0})
    for prompt in PROMPTS:
        score = StoredScore(0.0, {}, {}, "1", "", {"scale": 2.0, "device": "cpu"})
        store.save(record("mine", prompt, 0.0, scores={"wobble": score}))
    for prompt in PROMPTS:
        score = StoredScore(9.0, {}, {}, "1", "", {"scale": 1.0, "device": "cuda"})
        store.save(record("svd", prompt, 0.0, scores={"wobble": score}))
    data = findings(store)
    mine = rows(data)["Mine"]
    assert mine.ranked
    assert (mine.apart, mine.marks, mine.scores["wobble"].mean) == ({"wobble"}, {}, 0.0)
    assert rows(data)["Pan"].marks == {"wobble": "best"}
    assert rows(data)["Svd"].apart == frozenset()
    assert [{c.first, c.second} for c in data.comparisons] == [{"svd", "pan"}]
    assert any("on it, Mine is not compared" in note for note in data.notes)


@pytest.fixture
def shown(tmp_path: Path) -> Store:
    """Two rows of given videos whose prompts are unknown; every file lies outside the run's folder."""
    store = run(tmp_path / "a", replace(info("a", []), prompts=(), prompt_set="of the videos", settings={}), {})
    cells, stamps = [], {}
    for row in ("one", "two"):
        stamps[row] = given_stamp(row, row.title())
        for level in (40, 80, 120):
            path = film(tmp_path / f"{row} {level}.mkv", level + len(stamps))
            key = f"{row}-{level}"
            cells.append(f"{row}/{key}")
            about = {"source": str(path), "content": content_hash(path), "video_bytes": path.stat().st_size}
            made = record(row, Prompt(path.stem, ""), level, key=key, start="", video_sha256=file_digest(path), **about)
            store.open(replace(store.info(), methods=tuple(stamps), stamps=stamps, cells=tuple(cells)))
            store.save(made)
    return store


def test_videos_of_unknown_prompts_pair_with_none_and_have_intervals(shown: Store) -> None:
    data = findings(shown)
    assert [row.own_start for row in data.rows] == [False, False]
    assert {row.title: row.scores["wobble"].low is not None for row in data.rows} == {"One": True, "Two": True}
    assert data.comparisons == ()
    assert [row.tied for row in data.rows] == [frozenset(), frozenset()]
    assert "No tests: no two rows have a video of the same prompt and seed." in data.notes


def test_the_page_shows_given_videos_where_they_lie(shown: Store, tmp_path: Path) -> None:
    text = write_report(shown).read_text()
    assert f'href="{(tmp_path / "one 40.mkv").as_uri()}"' in text
    assert (shown.path / "report" / "contact-one.png").is_file()
    assert "has moved" not in text
    assert not (shown.path / "report" / "together.png").exists()


def test_given_videos_that_moved_or_changed_are_named(shown: Store, tmp_path: Path) -> None:
    (tmp_path / "one 40.mkv").rename(tmp_path / "elsewhere.mkv")
    film(tmp_path / "two 80.mkv", 7)
    text = write_report(shown).read_text()
    assert re.search(r"one 40\.mkv: the given video has moved or is gone", text)
    assert re.search(r"two 80\.mkv: the given video has changed since it was scored", text)
    assert {row.title: row.scores["wobble"].mean for row in findings(shown).rows} == {"One": 80.0, "Two": 80.0}


def test_a_report_of_several_folders_is_written_where_it_is_told(shown: Store, tmp_path: Path) -> None:
    made = run(tmp_path / "b", info("b", ["svd"]), {})
    for prompt in PROMPTS:
        made_record = record("svd", prompt, 3.0)
        path = film(made.video_path(made_record), 90)
        made.save(replace(made_record, video_bytes=path.stat().st_size, video_sha256=file_digest(path)))
    text = write_report(made, shown, folder=tmp_path / "both").read_text()
    links = re.findall(r'href="(\.\./[^"]+\.mkv)"', text)
    assert links
    assert all((tmp_path / "both" / link).is_file() for link in links)
    assert (tmp_path / "both" / "table1.csv").read_text().count("\n") == 4
    assert not (made.path / "report").exists()


def test_a_bundle_of_several_folders_reads_back_whole(tmp_path: Path) -> None:
    stores = [run(tmp_path / name, info(name, [method]), {}) for name, method in (("a", "svd"), ("b", "pan"))]
    for store, method in zip(stores, ("svd", "pan"), strict=True):
        for level, prompt in enumerate(PROMPTS, start=40):
            made = record(method, prompt, 3.0)
            path = film(store.video_path(made), level)
            store.save(replace(made, video_sha256=file_digest(path), video_bytes=path.stat().st_size))
    write_report(*stores, folder=tmp_path / "both", bundle=tmp_path / "both.zip")
    back = gather([unpack(tmp_path / "both.zip", tmp_path / "back")])
    assert back.info.methods == ("svd", "pan")
    assert len(back.records) == 2 * len(PROMPTS)
