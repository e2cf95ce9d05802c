"""Manifests and the order of videos: nothing is cut, joined, dropped or paired in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.files import read_json, write_json
from bench.manifest import Collected, GivenVideo, collect, pairs, read_manifest
from metrics.natural_order import natural_order, numbers_descend
from tests.conftest import handed

ODD = 'a red ball,\nthen a "blue" one\u2028\x85\v\f and 😀'


def write(folder: Path, text: str, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_manifest(path)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_cell_comes_back_as_it_was_written(tmp_path: Path, mark: str, newline: str) -> None:
    quoted = ODD.replace('"', '""')
    text = newline.join([f"{mark} prompt , path,seed", f'"{quoted}",a.mp4,7', "", "short,b.mp4"])
    assert read_manifest(write(tmp_path, text)) == [
        GivenVideo(f"{tmp_path}/a.mp4", ODD, seed="7"),
        GivenVideo(f"{tmp_path}/b.mp4", "short"),
    ]


@pytest.mark.parametrize("row", ["a.mp4,a cat, running", 'a.mp4, "a red ball"'])
def test_a_comma_or_quote_inside_a_text_is_not_taken_for_a_column(tmp_path: Path, row: str) -> None:
    assert "put texts with commas in double quotes" in refusal(write(tmp_path, f"path,prompt,method,seed\n{row}\n"))


def test_a_column_that_is_almost_ours_is_not_carried_along(tmp_path: Path) -> None:
    path = write(tmp_path, "path,Prompt\na.mp4,a cat\n")
    with pytest.raises(ConfigError, match="column 'Prompt': write it 'prompt'"):
        read_manifest(path, keep_extra=True)


def test_prompts_that_change_are_refused_for_given_videos(tmp_path: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(json.dumps({"id": "a", "text": [{"at": 0, "text": "rain"}, {"at": 8, "text": "sun"}]}) + "\n")
    with pytest.raises(ConfigError, match="changes on the way"):
        collect(["a.mp4"], str(prompts), "")


def test_lines_of_json_end_at_line_feeds_only(tmp_path: Path) -> None:
    rows = [{"path": "a.mp4", "prompt": ODD, "seed": 3}, {"path": "/b.mp4", "method": "x", "prompt": None}]
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\r\n"
    assert read_manifest(write(tmp_path, text, "m.jsonl")) == [
        GivenVideo(f"{tmp_path}/a.mp4", ODD, seed="3"),
        GivenVideo("/b.mp4", method="x"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,prompt\na.mp4,a cat, a dog\n", "row 2: 3 cells for 2 columns, the last one is ' a dog'"),
        ("path;prompt\na.mp4;a cat\n", "row 1: the columns seem to be separated by semicolons"),
        ("path\tprompt\na.mp4\ta, b\n", "row 1: the columns seem to be separated by tabs"),
        ("path,promt\na.mp4,a cat\n", "row 1: unknown column 'promt': only path, prompt, method, seed are read"),
        ("path,path\na,b\n", "row 1: two columns are called 'path'"),
        ("video,prompt\na.mp4,a cat\n", "row 1: no column is called `path`"),
        ('path,prompt\na.mp4,b\nb.mp4,"a cat\n', "row 3: not CSV (unexpected end of data)"),
        ("path,prompt\n,b\n", "row 2: no `path`"),
        ("path\na\0b.mp4\n", "row 2: "),
        ("", "is empty: its first row names the columns"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_row(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"path": "a"}\n[]', "line 2: not an object"),
        ('{"path": "a"}\n\n{', "line 3: not JSON"),
        ('{"path": "a", "promt": "b"}', "line 1: unknown key 'promt'"),
        ('{"path": "a", "prompt": ["b"]}', "line 1: `prompt` must be a text, not ['b']"),
        ('{"path": "a", "seed": true}', "line 1: `seed` must be a text, not True"),
        ('{"path": 3}', "line 1: `path` must be a text"),
        ('{"prompt": "a"}', "line 1: no `path`"),
        ("[" * 100_000, "line 1: not JSON"),
    ],
)
def test_what_is_wrong_in_lines_of_json_is_said_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal(write(tmp_path, text, "m.jsonl"))


def test_another_encoding_or_ending_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("path,prompt\na.mp4,café\n".encode("latin-1"))
    assert "is not UTF-8 at byte" in refusal(tmp_path / "m.csv")
    assert "give a .csv or .jsonl file" in refusal(write(tmp_path, "path\n", "m.tsv"))
    assert "cannot be read" in refusal(tmp_path / "none.csv")


def test_handed_manifests() -> None:
    folder = handed("inputs", "manifests")
    rows = read_manifest(folder / "newline.csv")
    assert [row.prompt for row in rows] == ['a red ball,\nthen a "blue" one', "a 😀 cat"]
    assert "row 2: 3 cells for 2 columns" in refusal(folder / "extra.csv")
    assert "separated by semicolons" in refusal(folder / "semicolon.csv")


def test_a_name_that_is_not_utf8_goes_through_json_and_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": "caf\udce9.mp4 é"})
    assert read_json(tmp_path / "a.json") == {"path": "caf\udce9.mp4 é"}


@pytest.mark.parametrize("column", ["prompt", "method", "note"])
def test_half_a_character_is_refused(tmp_path: Path, column: str) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"path": "a.mp4", column: "\ud83d"}))
    with pytest.raises(ConfigError, match=f"`{column}`: holds half a character"):
        read_manifest(tmp_path / "m.jsonl", keep_extra=True)


# -- order -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["t0.png", "t0.25.png", "t0.5.png", "t0.75.png", "t1.png", "t1.25.png"],
        ["0.png", "0.167.png", "0.333.png", "0.5.png", "0.667.png", "0.833.png", "1.png"],
        [f"1.{i}.png" for i in range(1, 13)],
        [f"scene{s}.{i}.png" for s in (1, 2) for i in range(1, 13)],
        [f"run{i}/clip.mp4" for i in (1, 2, 10)],
        ["a²1.png", "a²2.png", "a²10.png"],
        ["0007.png", "0008.png", "0010.png"],
        ["a.png", "b.png"],
    ],
)
def test_names_come_in_the_order_of_their_numbers(names: list[str]) -> None:
    for given in (names, names[::-1], sorted(names)):
        assert natural_order(given).names == tuple(names)
        assert natural_order(given).doubt == ""


@pytest.mark.parametrize(
    ("names", "doubt"),
    [
        (["frame_1.png", "frame_01.png", "frame_2.png"], "'frame_01.png' and 'frame_1.png' carry the same number"),
        (["t0.5.png", "t0.25.png", "t1.3.png"], "decimal points or separators"),
    ],
)
def test_an_order_that_cannot_be_known_is_said(names: list[str], doubt: str) -> None:
    assert doubt in natural_order(names).doubt
    assert natural_order(names).names == natural_order(names[::-1]).names


def test_only_numbers_of_one_series_can_be_out_of_step() -> None:
    assert numbers_descend(["b_1.mp4", "a_1.mp4", "b_2.mp4", "a_3.mp4"]) is None
    assert numbers_descend(["b_1.mp4", "b_10.mp4", "b_2.mp4"]) == ("b_10.mp4", "b_2.mp4")


def test_prompts_go_by_position_and_doubts_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip_1.mp4", "clip_2.mp4", "clip_10.mp4", "twin_1.mp4", "twin_01.mp4"):
        Path(name).touch()
    Path("three.txt").write_text("one\ntwo\nthree\n")
    Path("two.txt").write_text("one\ntwo\n")
    quoted = collect(["clip_*.mp4"], "three.txt", "")
    assert [(v.path, v.prompt) for v in quoted.videos] == [
        ("clip_1.mp4", "one"),
        ("clip_2.mp4", "two"),
        ("clip_10.mp4", "three"),
    ]
    assert quoted.warnings == ()
    expanded = collect(["clip_1.mp4", "clip_10.mp4", "clip_2.mp4"], "three.txt", "")
    assert "clip_10.mp4 (two) comes before clip_2.mp4 (three)" in expanded.warnings[0]
    assert pairs(expanded.videos)[2] == ("clip_10.mp4", "two", "-", "-")
    assert collect(["clip_10.mp4", "clip_2.mp4"], "", "").warnings == ()
    with pytest.raises(ConfigError, match="carry the same number, so which prompt belongs"):
        collect(["twin_*.mp4"], "two.txt", "")
    assert collect(["twin_*.mp4"], "", "") == Collected((GivenVideo("twin_01.mp4"), GivenVideo("twin_1.mp4")))
    with pytest.raises(ConfigError, match="nothing matches x"):
        collect(["clip_1.mp4", "x*.mp4"], "", "")


def test_a_folder_is_one_video_or_holds_videos_and_never_both(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.webm", "notes.txt"):
        (tmp_path / name).touch()
    assert [Path(video.path).name for video in collect([str(tmp_path)], "", "").videos] == ["a.webm", "b.mp4"]
    (tmp_path / "sheet.PNG").touch()
    with pytest.raises(
        ConfigError, match=r"holds videos \(2\) and pictures \(1\).*/\*\.mp4' '.*/\*\.webm'.*--manifest"
    ):
        collect([str(tmp_path)], "", "")
    assert [Path(video.path).name for video in collect([f"{tmp_path}/*.mp4"], "", "").videos] == ["b.mp4"]
    for video in ("b.mp4", "a.webm"):
        (tmp_path / video).unlink()
    assert [video.path for video in collect([str(tmp_path)], "", "").videos] == [str(tmp_path)]
