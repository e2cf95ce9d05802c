"""The paper profile: a section for every system of Table 1, each of which can be built and says what it needs."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from baselines.opensora.method import OpenSora
from baselines.opensora_plan.method import OpenSoraPlan
from bench.catalog import find_plugins
from bench.plan import plan
from bench.profile import load_profile
from bench.report.published import load_published
from bench.settings import construct, resolve_settings, run_settings
from bench.spec import RunSpec
from bench.store import Store
from bench.tasks import Task
from bench.worker import Worker
from generators.api import Start

ROOT = Path(__file__).resolve().parents[2]
PROFILE = load_profile("paper")
METHODS = sorted(PROFILE.methods)
UNRELEASED = "streaming_opensora"
"""The paper's section 6, of which nobody has released weights."""


def spec_of(method: str) -> RunSpec:
    """The paper's settings of a method for one short and small video."""
    small = ["video.num_frames=20", "video.height=64", "video.width=64", "run.metrics=[]"]
    profile = load_profile("paper", small)
    return plan(find_plugins(), profile, methods=method, prompts="1")


@pytest.fixture(autouse=True)
def _empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gives every test an empty hub cache and fails it if anything goes out to the network."""
    real = huggingface_hub.snapshot_download

    def local(repository: str, **options: object) -> str:
        assert options.get("local_files_only"), "a run must not touch the network"
        return real(repository, cache_dir=tmp_path / "hub", **options)  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", local)


def test_every_system_of_table_1_has_a_section() -> None:
    assert set(load_published().methods) | {"naive", "freenoise_animatediff", UNRELEASED} == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_section_builds_its_method(method: str) -> None:
    cls = find_plugins().methods[method].cls
    settings = resolve_settings(cls, PROFILE.methods[method], run_settings(PROFILE.run), method)
    built = construct(cls, settings, method)
    assert built.device == "cuda"
    assert {name: getattr(built, name) for name in PROFILE.methods[method]} == PROFILE.methods[method]
    assert not [value for value in settings.values() if isinstance(value, str) and value.startswith("mini:")]


def test_t5_runs_in_the_precision_it_was_released_with() -> None:
    text = {method: settings.get("text_dtype") for method, settings in PROFILE.methods.items()}
    assert text["opensora"] == text["streaming_opensora"] == OpenSora().text_dtype == "float32"
    assert OpenSoraPlan().text_dtype == "bfloat16"


def test_streaming_t2v_runs_in_the_precisions_it_was_released_with() -> None:
    section = PROFILE.methods["streaming_t2v"]
    assert (section["dtype"], section["refiner_dtype"]) == ("float32", "float16")


def test_openclip_reads_token_0_behind_a_short_prompt() -> None:
    filled = {method: settings["text_fill"] for method, settings in PROFILE.methods.items() if "text_fill" in settings}
    assert filled == dict.fromkeys(["i2vgen_xl", "dynamicrafter_xl", "freenoise"], "zero")
    trained = {name: load_profile("mini").methods[name]["text_fill"] for name in filled}
    assert set(trained.values()) == {"tokenizer"}


@pytest.mark.parametrize("method", METHODS)
def test_without_weights_a_row_is_skipped_and_says_what_to_type(method: str, tmp_path: Path) -> None:
    spec, store = spec_of(method), Store(tmp_path / "results")
    (store.path / "starts").mkdir(parents=True)
    (store.path / "cells" / method).mkdir(parents=True)
    frames, base = np.zeros((16, 64, 64, 3), np.uint8), np.zeros((16, 256, 256, 3), np.uint8)
    store.save_start(spec.cells[0].start_key, Start(frames, base), spec.profile.video.fps)
    record = Worker(spec, store).run(Task("video", spec.cells[0])).record
    assert record is not None
    assert record.status == "skipped", record.reason
    typed = f"`python -m bench fetch {method}`"
    if method == UNRELEASED:
        assert record.reason.startswith("nobody has released weights of StreamingT2V on OpenSora")
        assert typed not in record.reason
    else:
        assert typed in record.reason


def test_without_weights_the_first_chunk_says_what_to_type(tmp_path: Path) -> None:
    spec, store = spec_of("still"), Store(tmp_path / "results")
    (store.path / "starts").mkdir(parents=True)
    outcome = Worker(spec, store).run(Task("start", spec.cells[0]))
    assert outcome.status == "skipped"
    assert "`python -m bench fetch first_chunk`" in outcome.reason


def test_expected_memory_is_stated_and_is_what_the_guide_says() -> None:
    profile = (ROOT / "bench" / "profiles" / "paper.toml").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\[methods\.(\w+)\] # expected peak: ([\d.]+) GB", profile, re.MULTILINE))
    released = [method for method in METHODS if method != UNRELEASED]
    assert sorted(stated) == released
    guide = (ROOT / "docs" / "reproducing-table-1.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in guide.splitlines() if line.startswith("| `")]
    told = {cells[1].strip("`"): cells[6] for cells in rows if len(cells) > 6}
    assert {method: told.get(method) for method in released} == stated
