"""The tutorial's first two ways, as a new user takes them: a section for a folder, and a section for a program."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from baselines.command import Command
from bench.catalog import own_settings
from bench.cli import main
from tests import tiny_modern

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
SECTION, PROGRAM = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)[:2]

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def test_the_section_of_the_tutorial_makes_videos_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_modern.save("wan22_a14b_i2v", tmp_path / "my-wan")
    assert '"/data/my-wan"' in SECTION
    assert "num_inference_steps = 20 " in SECTION
    Path("mine.toml").write_text(SECTION.replace("/data/my-wan", str(folder)))
    main(["list", "methods", "--profile", "mine.toml"])
    assert any(line.startswith("mine ") and "My Wan" in line for line in capsys.readouterr().out.splitlines())
    quick = ["--set", "methods.mine.arguments.num_inference_steps=2", "--set", "first_chunk.num_inference_steps=2"]
    quick += ["--frames", "40", "--metrics", "scuts", "--prompts", "prompts.jsonl", "--executor", "serial"]
    texts = [{"at": 0, "text": "a red circle"}, {"at": 30, "text": "a blue square"}]
    Path("prompts.jsonl").write_text(json.dumps(texts) + "\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--profile", "mine.toml", "--methods", "mine,still", "--out", "run", *quick])
    assert ended.value.code == 0, capsys.readouterr().err
    (record,) = (json.loads(file.read_text()) for file in Path("run/cells/mine").glob("*.json"))
    assert (record["title"], record["num_frames"], record["seams"]) == ("My Wan", 40, [16, 30])
    main(["report", "--out", "run"])
    assert "My Wan" in Path("run/report/table1.md").read_text()
    assert "first text only" not in Path("run/report/table1.md").read_text()  # it switched, and Still reads no text


def test_the_program_of_the_tutorial_can_be_constructed() -> None:
    section = tomllib.loads(PROGRAM)["methods"]["longlive"]
    assert Command(**own_settings(section)).timeout == 3600
