"""`bench.prompts`: packaged suites, users' files, the paper's list by its content, and what is wrong with a file."""

import json
from pathlib import Path

import pytest

from bench import prompts as module
from bench.errors import ConfigError
from bench.prompts import PAPER_LABEL, load_prompts, packaged, prompts_fingerprint


def test_long50_is_fifty_different_tagged_prompts() -> None:
    suite = load_prompts("long50")
    assert suite.label == "long50"
    assert len(suite.prompts) == 50
    assert len({prompt.text for prompt in suite.prompts}) == 50
    for prompt in suite.prompts:
        kinds = [tag.split(":")[0] for tag in prompt.tags]
        assert kinds == ["subject", "action", "scene", "camera"], prompt.id


def test_every_packaged_suite_loads() -> None:
    assert "long50" in packaged()
    for name in packaged():
        assert load_prompts(name).prompts


def test_text_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\ufeffa red fox\r\n\n  two otters  \n", encoding="utf-8")
    suite = load_prompts(str(file))
    assert suite.label == "mine.txt"
    assert [(prompt.id, prompt.text, prompt.tags) for prompt in suite.prompts] == [
        ("p001", "a red fox", ()),
        ("p002", "two otters", ()),
    ]


def test_json_lines_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"text": "a red fox"}\n\n{"id": "otters", "text": "two\u2028otters", "tags": ["animal"]}\n')
    suite = load_prompts(str(file))
    assert [(prompt.id, prompt.text, prompt.tags) for prompt in suite.prompts] == [
        ("p001", "a red fox", ()),
        ("otters", "two\u2028otters", ("animal",)),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", r"line 2: not JSON"),
        ('["a"]', r"line 2: a changing text is a list of objects"),
        ('{"id": "x"}', r"line 2: `text`"),
        ('{"text": "  "}', r"line 2: `text`"),
        ('{"text": "a", "id": "a/b"}', r"line 2: `id`"),
        ('{"text": "a", "tags": "x"}', r"line 2: `tags`"),
        ('{"text": "a", "tag": ["x"]}', r"line 2: unknown key 'tag'"),
        ('{"text": "a", "id": "p001"}', r"line 2: id 'p001' was used on line 1"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps({"text": "fine"}) + "\n" + line + "\n")
    with pytest.raises(ConfigError, match=complaint):
        load_prompts(str(file))


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_empty_files_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "empty.txt"
    file.write_text(content)
    with pytest.raises(ConfigError, match="holds no prompts"):
        load_prompts(str(file))


def test_unknown_names_missing_folders_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown prompts 'long51'.*long50"):
        load_prompts("long51")
    with pytest.raises(ConfigError, match="no prompt file at"):
        load_prompts(str(tmp_path / "absent.txt"))
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prompts(str(tmp_path / "folder.txt"))
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8 at byte 3"):
        load_prompts(str(tmp_path / "latin.txt"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.txt", "a fox\nan otter\n a fox \n", "line 3: the same prompt as on line 1"),
        ("p.jsonl", '{"id": "a", "text": "a fox"}\n\n{"id": "b", "text": "a fox"}\n', "line 3: the same prompt"),
        ("p.jsonl", '{"text": "a \\ud800 fox"}\n', "line 1: holds half a character"),
        ("p.jsonl", '{"text": "a fox", "tags": ["\\udcff"]}\n', "line 1: holds half a character"),
    ],
)
def test_a_prompt_twice_and_half_a_character_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_prompts(str(tmp_path / name))


def test_fingerprint_sees_words_and_order_and_nothing_else() -> None:
    plain = prompts_fingerprint(['it\'s "late"', "a fox"])
    assert prompts_fingerprint(["  it\u2019s \u201clate\u201d ", "", "a\u00a0 fox\t"]) == plain
    assert prompts_fingerprint(["a fox", 'it\'s "late"']) != plain
    assert prompts_fingerprint(["\uff41 fox"]) == prompts_fingerprint(["a fox"])  # NFKC: full-width letters


def test_the_papers_list_is_recognised_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "whatever.txt"
    file.write_text("a \u201cfox\u201d\nan otter\n")
    monkeypatch.setattr(module, "PAPER_SHA256", prompts_fingerprint(['a "fox"', "an otter"]))
    assert load_prompts(str(file)).label == PAPER_LABEL
    file.write_text("a fox\nan otter\n")
    assert load_prompts(str(file)).label == "whatever.txt"
