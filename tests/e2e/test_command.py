"""The command from a user's own folder: files that carry our packages' names, and completion in the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "import sys; sys.argv[0] = 'longvideo-bench'; from bench.cli import main; main()"


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Returns what a Python that finds the benchmark says, started in a folder of the user's."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=settings, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("mine", ["metrics.py", "prompts/__init__.py"])
def test_a_file_with_the_name_of_a_package_of_ours_is_named_in_one_sentence(mine: str, tmp_path: Path) -> None:
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("raise SystemExit('imported')")
    said = run(tmp_path, "-m", "bench", "list", "metrics")
    assert said.returncode != 0
    assert said.stderr.startswith(f"error: {tmp_path / mine} hides the benchmark's own package")
    assert "longvideo-bench" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_folder_of_results_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert run(tmp_path, "-m", "bench", "--help").returncode == 0


@pytest.mark.parametrize(
    ("words", "expected"), [("longvideo-bench rep", "report"), ("longvideo-bench run --exec", "--executor")]
)
def test_the_shell_completes_commands_and_options(words: str, expected: str, tmp_path: Path) -> None:
    said = run(
        tmp_path,
        "-c",
        SCRIPT,
        _LONGVIDEO_BENCH_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert f"plain,{expected}" in said.stdout.split(), said.stderr


def test_the_shell_gets_a_script_for_the_installed_name(tmp_path: Path) -> None:
    said = run(tmp_path, "-c", SCRIPT, _LONGVIDEO_BENCH_COMPLETE="zsh_source")
    assert "#compdef longvideo-bench" in said.stdout
