"""Where an error of a plugin happened: its author's own line, and the whole traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import MethodFailure, foreign, trace_of

SOURCE = """
import json

def generate(text):
    return json.loads(text)
"""


def failure(tmp_path: Path, text: str) -> MethodFailure:
    file = tmp_path / "drift.py"
    space: dict[str, object] = {}
    exec(compile(SOURCE, str(file), "exec"), space)
    with pytest.raises(MethodFailure) as caught, foreign(MethodFailure, "drift"):
        space["generate"](text)  # type: ignore[operator]
    return caught.value


def test_an_error_names_the_authors_line_and_not_the_librarys(tmp_path: Path) -> None:
    error = failure(tmp_path, "{")
    assert str(error).startswith("drift raised JSONDecodeError: ")
    assert str(error).endswith("(drift.py, line 5)")


def test_the_traceback_is_kept_whole(tmp_path: Path) -> None:
    trace = trace_of(failure(tmp_path, "{"))
    assert "drift.py" in trace
    assert Path(json.__file__).name in trace
    assert trace.rstrip().splitlines()[-1].startswith("JSONDecodeError: ")
    assert trace_of(MethodFailure("of our own")) == ""
