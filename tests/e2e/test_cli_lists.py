from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import listing
from bench.catalog import Catalog
from bench.cli import main

ROOT = Path(__file__).resolve().parents[2]


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    main(list(words))
    return capsys.readouterr().out.splitlines()


def test_every_system_of_the_published_table_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    published = json.loads((ROOT / "results" / "published" / "table1.json").read_text())["methods"]
    rows = {line.split()[0]: line for line in lines(capsys, "list", "methods")}
    assert published.keys() <= rows.keys()
    assert "ready" in rows["still"]
    assert {row[0]: row[2] for row in listing.methods(Catalog({}, {}, {}))[1:]} == dict.fromkeys(
        published, "not built yet"
    )


def test_metrics_prompts_and_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert any(line.startswith("mawe ") and "lower" in line for line in lines(capsys, "list", "metrics"))
    assert any(line.startswith("long50 ") and " 50 " in line for line in lines(capsys, "list", "prompts"))
    profiles = [line.split()[0] for line in lines(capsys, "list", "profiles")]
    assert profiles == ["name", "mini", "mini-refined", "modern", "modern-1min", "paper"]


def test_systems_that_are_sections_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'extends = "mini"\nname = "own"\n[methods.mine]\nclass = "diffusers_video"\ntitle = "Mine, at last"\n'
        'pipeline = "WanPipeline"\nweights = "here"\n'
    )
    rows = {line.split()[0]: line for line in lines(capsys, "list", "methods", "--profile", str(own))}
    assert " modern " in rows["wan22_i2v_a14b"]
    assert "not run here" in rows["self_forcing"]
    assert "modern_programs" in rows["self_forcing"]
    assert "Mine, at last" in rows["mine"]
    assert " sections " in rows["mine"]


def test_doctor_names_packages_and_weights(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(lines(capsys, "doctor"))
    assert "torch" in text
    assert "first_chunk.weights" in text
    assert "mini:raft" in text
    assert "stabilityai/stable-video-diffusion-img2vid-xt" in text
    assert "licence" in text


def test_fetch_knows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fetch", "still"])
    assert ended.value.code == 2
    assert "nothing to fetch for 'still'; there are weights for" in capsys.readouterr().err
