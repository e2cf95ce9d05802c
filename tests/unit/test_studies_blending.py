"""The ablation of blending: every variant starts from the same latents, nothing is made twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet3DConditionModel

from bench.prompts import load_prompts
from bench.studies import blending
from bench.studies.blending import (
    BlendingStudy,
    Measured,
    differences,
    draw_frames,
    draw_slices,
    psnr,
    steepness,
    table,
)
from generators.api import Frames
from generators.mini.tasks.refiner import CONFIG
from generators.pipelines import PipelineSettings
from generators.streaming_t2v import loading
from generators.streaming_t2v.refiner import Refiner, pad_rows_when_downsampling
from generators.weights import resolve_weights

PROMPT = load_prompts("mini").prompts[0]


@pytest.fixture
def study(tmp_path: Path) -> BlendingStudy:
    """Two chunks of six frames, refined by an untrained network."""
    made = BlendingStudy(tmp_path, num_frames=10)
    made.method = replace(made.method, refiner_chunk=6, refiner_overlap=2)
    base, settings = [resolve_weights("mini:text_to_video")], PipelineSettings()
    torch.manual_seed(0)
    made.refiner = Refiner(
        pad_rows_when_downsampling(UNet3DConditionModel(**CONFIG).eval()),
        loading.load_codec(base, settings, batch=1),
        loading.load_text_encoder(base, settings),
        chunk=6, overlap=2, canvas_height=128, canvas_width=128, start=400, steps=2, guidance_scale=1.0,
    )  # fmt: skip
    return made


def noise(seed: int) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (10, 128, 128, 3), dtype=np.uint8)


def measured(seams: float, psnr: float | None = 30.0) -> Measured:
    return Measured(seams, seams + 1, psnr, 80.0, 100.0)


def test_variants_refine_the_same_latents_and_are_made_once(
    study: BlendingStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (study.video(PROMPT, name) for name in ("independent", "released"))
    assert one.shape == other.shape == (10, 128, 128, 3)
    assert not np.array_equal(one, other)
    kept = {path.name for path in (study.folder / PROMPT.id).iterdir()}
    assert kept == {"small.npy", "latents.npy", "independent.npy", "released.npy"}
    monkeypatch.setattr(study, "refiner", None)
    assert np.array_equal(study.video(PROMPT, "released"), other)


def test_a_video_is_scored_once(study: BlendingStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    found = study.measured(PROMPT, "truth")
    assert found.psnr is None
    assert found.sharpness == pytest.approx(100)
    assert 0.5 < found.seams <= found.overlap
    monkeypatch.setattr(blending, "VideoScorer", None)
    assert BlendingStudy(study.folder, num_frames=10).measured(PROMPT, "truth") == found


def test_controls(study: BlendingStudy) -> None:
    truth, bilinear = (study.video(PROMPT, name) for name in blending.CONTROLS)
    assert 20 < psnr(bilinear, truth) < 40
    assert steepness(bilinear) < steepness(truth)


def test_joins_are_where_chunks_begin_to_give_frames(tmp_path: Path) -> None:
    assert BlendingStudy(tmp_path, 240).joins == list(range(24, 240, 16))
    assert BlendingStudy(tmp_path, 24).joins == []


def test_figures_of_merit() -> None:
    black = np.zeros((2, 8, 8, 3), np.uint8)
    assert psnr(black + np.uint8(255), black) == pytest.approx(0)
    assert psnr(black + np.uint8(51), black) == pytest.approx(20 * np.log10(5))
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None] * np.uint8(3), (2, 8, 8))
    assert steepness(np.repeat(ramp[..., None], 3, axis=3)) == pytest.approx(3)


def test_table_and_differences() -> None:
    names = {"truth": 1.0, "bilinear": 1.0, "independent": 2.0, "shared_noise": 1.5, "paper": 1.1, "released": 1.2}
    videos = {
        name: [measured(seams + shift, None if name == "truth" else 30 + shift) for shift in (0.0, 0.2, 0.1)]
        for name, seams in names.items()
    }
    lines = table(videos).splitlines()
    assert len(lines) == 2 + len(names)
    assert lines[2].startswith("| `truth` | 1.1 ±")
    assert "| – |" in lines[2]
    said = list(differences(videos))
    assert any(line.startswith("seam contrast of paper minus independent: -0.9") for line in said)
    assert any(line.startswith("paper minus bilinear: 0") for line in said)


def test_pictures(tmp_path: Path) -> None:
    from PIL import Image

    videos = {"a": noise(0), "b": noise(1)}
    draw_slices(videos, [6], tmp_path / "slices.png", first=0, count=10)
    with Image.open(tmp_path / "slices.png") as slices:
        assert slices.width > 300
    draw_frames(videos, (0, 9), tmp_path / "frames.png")
    with Image.open(tmp_path / "frames.png") as sheet:
        assert np.array_equal(np.asarray(sheet)[128:, :128], videos["b"][0])
