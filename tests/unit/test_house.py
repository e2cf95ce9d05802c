"""The house keeps its own rules: no import circles, no import smuggled past them, one meaning for a name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("baselines", "bench", "generators", "metrics")

SAME_MEANING = frozenset(
    {
        "CONFIG",  # of a trainer: the sizes of its miniature network
        "COLOURS",  # what something may be drawn in
        "DIVERGENCE",  # of an autoencoder's trainer: the weight of the KL term
        "FRAMES_PER_BATCH",  # of a feature: frames that go through its network together
        "Frames",  # both contracts stand alone
        "HERE",  # the folder of a module
        "GIGABYTE",  # units, and colours of light, are what they are
        "HEAD_WIDTH",  # channels of an attention head
        "LUMA",
        "MEGABYTE",
        "PATIENCE",  # seconds before something less polite is done
        "NUM_FRAMES",  # of a trainer or a check: frames of its clips
        "TABLE",  # of released weights, and all of them
        "TRAINING_FPS",  # of a trainer: the frame rate its network hears
        "continues_start",  # of a class of methods: whether a section's program or pipeline is shown the first chunk
        "main",  # of a program
        "score",  # the function and the command that calls it
        "validate",
        "verify",
    }
)
"""Public names that may stand in several modules, because they mean the same thing there."""


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]


def test_no_module_imports_itself_through_others() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    circles = []
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if graph.chain_exists(importer=imported, imported=module):
                circles.append((module, imported))
    assert circles == []


@pytest.mark.parametrize("package", ["baselines", "generators", "metrics"])
def test_nothing_below_the_harness_names_it_in_a_string(package: str) -> None:
    named = re.compile(r"[\"']bench[.:/](?!methods|metrics\b)")
    found = [path for path in sorted((REPOSITORY / package).rglob("*.py")) if named.search(path.read_text("utf-8"))]
    assert found == []


def test_a_public_name_means_one_thing() -> None:
    places: dict[str, set[Path]] = defaultdict(set)
    for path in sources():
        for node in ast.parse(path.read_text("utf-8")).body:
            names = []
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                # One capital letter is a type variable.
                if not name.startswith("_") and len(name) > 1:
                    places[name].add(path.relative_to(REPOSITORY))
    twice = {name: sorted(map(str, found)) for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in SAME_MEANING} == {}


def test_only_conftest_names_a_folder_outside_the_repository() -> None:
    outside = re.compile(r"parents\[[3-9]\]|\.\./shared")
    tests = [path for path in (REPOSITORY / "tests").rglob("*.py") if path.name not in ("conftest.py", "test_house.py")]
    assert [path for path in tests if outside.search(path.read_text("utf-8"))] == []
