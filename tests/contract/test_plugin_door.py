"""The door for plugins: `check`, the document that teaches it, and our own methods and metrics through it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.catalog import find_plugins
from bench.check import check_file
from bench.cli import main
from bench.errors import PluginError
from bench.profile import load_profile

ROOT = Path(__file__).resolve().parents[2]

HEAD = """
from dataclasses import dataclass
import numpy as np
from generators.api import method
from metrics.api import Score, metric
"""

METHOD = (
    HEAD
    + """
@method(name="{name}", title="T", paper="", licence="none", continues_start=True)
@dataclass
class Candidate:
    level: int = 3
    def generate(self, request, start):
        missing = request.num_frames - len(start.frames)
        {body}
"""
)

METRIC = (
    HEAD
    + """
@metric(name="m", title="M", unit="u", better="lower", version="1")
@dataclass
class Candidate:
    def begin(self, prompt, fps):
        return State()
    def window(self, series, start, stop):
        return {window}

class State:
    def __init__(self):
        self.values = []
    def update(self, frames):
        {update}
    def compute(self, seams=()):
        return Score({value}, {{}}, {{"v": self.values}})
"""
)

GOOD = "yield np.repeat(start.frames[-1:], missing, axis=0)"


def failures(tmp_path: Path, source: str) -> dict[str, str]:
    file = tmp_path / "candidate.py"
    file.write_text(source)
    return {finding.check: finding.detail for finding in check_file(str(file), load_profile("mini")) if not finding.ok}


def test_the_document_shows_a_method_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(source.splitlines()) <= 36
    file = tmp_path / "drift.py"
    file.write_text(source)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(file)])
    assert ended.value.code == 0
    assert "6 of 6 checks passed" in capsys.readouterr().out
    assert "drift" in find_plugins([str(file)]).choose_methods("all")


@pytest.mark.parametrize(
    ("body", "check", "words"),
    [
        ("yield start.frames[:missing].astype(float)", "it yields uint8", "float64"),
        ("yield start.frames[:1]", "it yields uint8", "short"),
        ("yield np.repeat(start.frames[-1:], missing + 1, axis=0)", "it yields uint8", "too many"),
        ("yield start.frames[:, :-1]", "it yields uint8", "shape"),
        ("raise KeyError('x')", "it yields uint8", "c raised KeyError"),
        (
            "yield np.random.randint(0, 255, (missing, *start.frames.shape[1:])).astype(np.uint8)",
            "the same",
            "seed",
        ),
        (f"start.frames[0] = 0; {GOOD}", "it leaves the shared", "changed"),
        (f"import os; os.chdir('/'); {GOOD}", "it leaves the process", "the working directory"),
        (f"import torch; torch.set_default_dtype(torch.float64); {GOOD}", "it leaves the process", "default dtype"),
        ("import sys; sys.exit(0)", "it yields uint8", "SystemExit"),
    ],
)
def test_check_finds_what_is_wrong_with_a_method(tmp_path: Path, body: str, check: str, words: str) -> None:
    found = failures(tmp_path, METHOD.format(name="c", body=body))
    assert any(sentence.startswith(check) and words in detail for sentence, detail in found.items()), found


@pytest.mark.parametrize(
    "name", ["../../evil", "Bad-Name", "", "a" * 65, "é", "all", "table", "first_chunk", "a/b", "a\\n"]
)
def test_names_that_are_paths_or_words_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "candidate.py"
    file.write_text(METHOD.format(name=name, body=GOOD))
    with pytest.raises(PluginError, match=r"candidate\.py"):
        find_plugins([str(file)])


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ('MethodInfo("../../evil", "T", "", "", True)', "name '../../evil'"),
        ('MethodInfo("c", 3, "", "", True)', "title = 3"),
        ('MethodInfo("c", "T\\udcff", "", "", True)', "title = "),
        ('MethodInfo("c", "T", "", "", "yes")', "continues_start = 'yes'"),
        ('MethodInfo("c", "T", "", "", True, group="all")', "a group 'all'"),
        ('MethodInfo("c", "T", "", "", True, group="still")', "a method 'still'"),
        ('MetricInfo("../evil", "T", "u", "lower", "1")', "name '../evil'"),
        ('MetricInfo("c", "T", "u", "lower", 1)', "version = 1"),
    ],
)
def test_stamps_put_on_by_hand_are_checked_too(tmp_path: Path, stamp: str, words: str) -> None:
    file = tmp_path / "candidate.py"
    head = "from generators.api import MethodInfo\nfrom metrics.api import MetricInfo\n"
    file.write_text(f"{head}class C:\n    info = {stamp}\n")
    with pytest.raises(PluginError) as refused:
        find_plugins([str(file)])
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("update", "value", "window", "check"),
    [
        ("self.values.append(float(frames.mean()))", "float(len(self.values))", "0.0", "the score does not depend"),
        ("self.values += [float(f.mean()) for f in frames]", "1.0", "2.0", "`window`"),
        ("self.values += [float('nan') for f in frames]", "1.0", "1.0", "value, parts and series"),
        ("pass", "None", "None", "a video of one frame"),
    ],
)
def test_check_finds_what_is_wrong_with_a_metric(
    tmp_path: Path, update: str, value: str, window: str, check: str
) -> None:
    found = failures(tmp_path, METRIC.format(update=update, value=value, window=window))
    assert any(sentence.startswith(check) for sentence in found), found


def test_check_ends_with_the_code_of_plugin_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "candidate.py"
    file.write_text(METHOD.format(name="c", body="yield start.frames[:1]"))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(file)])
    assert ended.value.code == 3
    assert "FAIL c: it yields uint8 frames" in capsys.readouterr().out


def test_a_sound_metric_passes(tmp_path: Path) -> None:
    update = "self.values += [float(f.mean()) for f in frames]"
    assert not failures(tmp_path, METRIC.format(update=update, value="sum(self.values)", window="sum(series['v'])"))


def test_ours_come_through_the_same_door() -> None:
    catalog = find_plugins()
    assert {"still", "pan", "naive", "svd"} <= set(catalog.choose_methods("all"))
    assert {"mawe", "scuts", "clip"} <= catalog.metrics.keys()
