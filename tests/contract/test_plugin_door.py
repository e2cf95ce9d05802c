"""The door for plugins: `check`, the document that teaches it, and our own methods and metrics through it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.catalog import find_plugins
from bench.check import checks_of
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
    return {finding.check: finding.detail for finding in checks_of(str(file), load_profile("mini")) if not finding.ok}


def test_the_document_shows_a_method_and_a_metric_that_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    method, metric = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    for name, source, checks in (("drift", method, 6), ("brightness", metric, 7)):
        assert len(source.splitlines()) <= 40
        file = tmp_path / f"{name}.py"
        file.write_text(source)
        with pytest.raises(SystemExit) as ended:
            main(["check", str(file)])
        assert ended.value.code == 0
        assert f"{checks} of {checks} checks passed" in capsys.readouterr().out
        catalog = find_plugins([str(file)])
        assert name in catalog.choose_methods("all") or name in catalog.choose_metrics(["all"])


@pytest.mark.parametrize(
    ("body", "check", "words"),
    [
        ("yield start.frames[:missing].astype(float)", "it yields uint8", "float64"),
        ("yield start.frames[:1]", "it yields uint8", "short"),
        ("yield np.repeat(start.frames[-1:], missing + 1, axis=0)", "it yields uint8", "too many"),
        ("yield start.frames[:, :-1]", "it yields uint8", "shape"),
        ("raise KeyError('x')", "it yields uint8", "c raised KeyError"),
        ("return None", "it yields uint8", "`generate` returned NoneType"),
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
    file.write_text(f"{head}class C:\n    info = {stamp}\n    def generate(self): ...\n")
    with pytest.raises(PluginError) as refused:
        find_plugins([str(file)])
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("update", "value", "window", "check"),
    [
        ("self.values.append(float(frames.mean()))", "float(len(self.values))", "0.0", "the score does not depend"),
        ("self.values += [float(f.mean()) for f in frames]", "1.0", "2.0", "`window`"),
        ("pass", "'3.0'", "'3.0'", "value, parts and series"),
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


def test_check_says_once_that_a_class_cannot_be_constructed(tmp_path: Path) -> None:
    found = failures(tmp_path, METHOD.format(name="c", body=GOOD).replace("level: int = 3", "level: int"))
    assert len(found) == 1
    assert "c raised" not in "".join(found.values())


@pytest.mark.parametrize("name", ["drift", "table1", "all"])
def test_a_metric_called_like_several_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "candidate.py"
    file.write_text(METRIC.format(update="pass", value="1.0", window="1.0").replace('name="m"', f'name="{name}"'))
    with pytest.raises(PluginError, match=f"a metric '{name}', which is a word for several"):
        find_plugins([str(file)])


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "candidate.py"
    one = METHOD.format(name="c", body=GOOD)
    file.write_text(one + "\n".join(one.splitlines()[6:]).replace("class Candidate", "class Other"))
    with pytest.raises(PluginError, match="the name 'c' is taken"):
        find_plugins([str(file)])


def test_check_refuses_a_name_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"the name 'naive' is taken by baselines\.naive:Naive"):
        failures(tmp_path, METHOD.format(name="naive", body=GOOD))


@pytest.mark.parametrize(("source", "function"), [(METHOD, "generate"), (METRIC, "begin"), (METRIC, "window")])
def test_a_class_without_what_its_contract_asks_for_is_refused(tmp_path: Path, source: str, function: str) -> None:
    file = tmp_path / "candidate.py"
    written = source.format(name="c", body=GOOD, update="pass", value="1.0", window="1.0")
    file.write_text(written.replace(f"def {function}(", f"def {function}d("))
    with pytest.raises(PluginError, match=f"class Candidate has no `{function}`"):
        find_plugins([str(file)])


@pytest.mark.parametrize(
    ("broken", "line"),
    [("x = (\n", 1), ("\nimport json\njson.loads('')\n", 3), (METHOD.format(name="A", body=GOOD), 7)],
)
def test_an_error_names_the_authors_own_line(tmp_path: Path, broken: str, line: int) -> None:
    file = tmp_path / "candidate.py"
    file.write_text(broken)
    with pytest.raises(PluginError, match=rf"\(candidate\.py, line {line}\)"):
        find_plugins([str(file)])


def test_a_sound_metric_passes(tmp_path: Path) -> None:
    update = "self.values += [float(f.mean()) for f in frames]"
    assert not failures(tmp_path, METRIC.format(update=update, value="sum(self.values)", window="sum(series['v'])"))


def test_ours_come_through_the_same_door() -> None:
    catalog = find_plugins()
    assert {"still", "pan", "naive", "svd"} <= set(catalog.choose_methods("all"))
    assert {"mawe", "scuts", "clip"} <= catalog.metrics.keys()
