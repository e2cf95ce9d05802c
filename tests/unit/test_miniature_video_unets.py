"""The tasks of I2VGen-XL, FreeNoise and DynamiCrafter: their common start, and that every part of them is trained."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from baselines.dynamicrafter_xl import training as dynamicrafter_training
from baselines.dynamicrafter_xl.method import DynamiCrafterXl
from baselines.freenoise import training as freenoise_training
from baselines.freenoise.method import FreeNoise
from baselines.i2vgen_xl import training as i2vgen_training
from baselines.i2vgen_xl.method import I2vgenXl
from baselines.train import BASELINE_TASKS
from generators.api import Request, Start
from generators.mini.denoising import WEIGHTS
from generators.mini.latents import Library
from generators.mini.train import load_task
from generators.mini.training import StepRandom, train_task

SHARED = "mini:text_to_video"
QUICK: dict[str, Any] = {"height": 0, "width": 0, "num_inference_steps": 2}
NAMES = ["i2vgen_xl", "freenoise", "dynamicrafter_xl"]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """Noise in place of the encoded clips, which do not travel with the repository."""
    noise = torch.Generator().manual_seed(0)
    small = Library(
        clips=torch.randn(5, 25, 4, 8, 8, generator=noise).half(),
        clip_captions=["a red circle on grass"] * 5,
        looks=torch.randn(5, 5, 96, generator=noise).half(),
        stills=torch.zeros(0, 4, 8, 8).half(),
        still_captions=[],
        scaling_factor=0.5,
    )
    for module in (i2vgen_training, freenoise_training, dynamicrafter_training):
        monkeypatch.setattr(module, "load_library", lambda *_: small)
    return small


def image_model() -> UNet2DConditionModel:
    folder = WEIGHTS / "text_to_image" / "unet"
    network = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32, attention_head_dim=(4, 8))
    return network.eval()


@torch.no_grad()
def test_before_training_a_clip_is_so_many_images() -> None:
    clip, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 32, 96)
    times, fps = torch.tensor([500]), torch.tensor([10])
    images = image_model()(clip[0].transpose(0, 1), times, text.expand(3, -1, -1)).sample.transpose(0, 1)[None]
    video = freenoise_training.FreeNoiseTask().build().eval()
    torch.testing.assert_close(video(clip, times, text, fps), images, atol=1e-4, rtol=1e-4)
    video = dynamicrafter_training.DynamiCrafterXlTask().build()["unet"].eval()
    beside, tokens = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 3 * dynamicrafter_training.FRAME_TOKENS, 96)
    shown = video(torch.cat([clip, beside], dim=1), times, text, tokens, fps)
    torch.testing.assert_close(shown, images, atol=1e-4, rtol=1e-4)


def test_the_image_latents_start_without_effect() -> None:
    kernel = i2vgen_training.I2vgenXlTask().build().get_parameter("conv_in.weight")
    assert torch.equal(kernel[:, :4], image_model().conv_in.weight)
    assert not kernel[:, 4:].any()


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_trained_and_exported(name: str, tmp_path: Path) -> None:
    task = load_task(BASELINE_TASKS[name])
    assert (task.name, task.recipe) == (name, freenoise_training.FreeNoiseTask.recipe)  # the same budget for all
    task.recipe = replace(task.recipe, steps=3, batch=2)
    torch.manual_seed(zlib.crc32(name.encode()))
    begun = task.build().state_dict()
    trained = train_task(task, tmp_path / "cache", tmp_path).state_dict()
    assert [key for key, tensor in trained.items() if torch.equal(tensor, begun[key].to(tensor))] == []
    adapter: Any = {
        "i2vgen_xl": I2vgenXl(
            weights=str(tmp_path / "i2vgen_xl"), text_tower=SHARED, image_tower="mini:svd", vae=f"{SHARED}/vae", **QUICK
        ),
        "freenoise": FreeNoise(
            weights=str(tmp_path / "freenoise"), encoders=SHARED, vae=f"{SHARED}/vae", variant="", **QUICK
        ),
        "dynamicrafter_xl": DynamiCrafterXl(
            weights=str(tmp_path / "dynamicrafter_xl"), encoders=SHARED, image_tower="mini:svd", vae=f"{SHARED}/vae",
            variant="", **QUICK,
        ),
    }[name]  # fmt: skip
    grey = np.full((2, 64, 64, 3), 128, np.uint8)
    video = np.concatenate(list(adapter.generate(Request("a red circle", 0, 17, 64, 64, 10.0), Start(grey, grey))))
    assert video.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_step_depends_on_its_dice_only(name: str) -> None:
    task = load_task(BASELINE_TASKS[name])
    task.recipe = replace(task.recipe, batch=2)
    network = task.build().eval()
    losses = [task.loss(network, StepRandom.of(name, step))[0].item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_later_frames_are_numbered() -> None:
    first = torch.randn(2, 4, 1, 8, 8)
    latents = i2vgen_training.with_positions(first, 5)
    assert torch.equal(latents[:, :, :1], first)
    assert latents[0, 0, 1:, 0, 0].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert latents[1, 3, 1:, 7, 7].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_first_frames_are_seen_once(library: Library) -> None:
    frames = dynamicrafter_training.FirstFrames(library)
    seen = frames.tokens([(3, 0), None, (1, 5), (3, 0)])
    assert seen.shape == (4, 65, 96)
    assert torch.equal(seen[0], seen[3])
    assert not torch.equal(seen[0], seen[1])
    library.clips.zero_()
    assert torch.equal(frames.tokens([(1, 5)])[0], seen[2])
