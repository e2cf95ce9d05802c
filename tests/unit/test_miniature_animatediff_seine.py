"""Miniature AnimateDiff, SparseCtrl and SEINE: how their training starts, and what the shipped weights have learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel

from baselines.animatediff import training as animatediff_training
from baselines.freenoise.animatediff import FreeNoiseAnimateDiff
from baselines.seine import training as seine_training
from baselines.seine.method import Seine
from baselines.seine.network import SeineUNet
from baselines.sparsectrl import training as sparsectrl_training
from baselines.sparsectrl.method import SparseCtrl
from bench.profile import load_profile
from generators.api import Frames, Request, Start
from generators.mini.denoising import WEIGHTS
from generators.mini.grammar import parse
from generators.mini.latents import Library
from generators.mini.training import StepRandom
from generators.mini.world import Clip

CIRCLE, SQUARE = "a red circle bouncing up and down on grass", "a blue square spinning on sand"
METHODS = {"sparsectrl": SparseCtrl, "seine": Seine, "freenoise_animatediff": FreeNoiseAnimateDiff}

# diffusers 0.42 hands torch tensors to numpy in its schedulers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips in place of the thousands whose latents take minutes to make."""
    generator = torch.Generator().manual_seed(0)
    clips, looks, stills = (
        torch.randn(shape, generator=generator).half() for shape in [(2, 25, 4, 8, 8), (2, 5, 96), (2, 4, 8, 8)]
    )
    small = Library(clips, [CIRCLE, SQUARE], looks, stills, [CIRCLE, SQUARE], 1.0)
    for module in (animatediff_training, sparsectrl_training, seine_training):
        monkeypatch.setattr(module, "load_library", lambda *_: small)


@pytest.fixture(scope="module")
def image_network() -> Any:
    return UNet2DConditionModel.from_pretrained(WEIGHTS / "text_to_image" / "unet", torch_dtype=torch.float32)


def trained(network: torch.nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def learning(task: Any, network: Any) -> set[str]:
    """The parameters that a step of training moves."""
    loss, _ = task.loss(network, StepRandom.of("test", 0))
    assert loss.isfinite()
    loss.backward()
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


def test_motion_starts_as_single_frames_and_alone_is_trained(image_network: Any, tmp_path: Path) -> None:
    task = animatediff_training.AnimateDiffTask()
    network = task.build()
    noisy, context = torch.randn(1, 4, 16, 8, 8), torch.randn(1, 32, 96)
    with torch.no_grad():
        clip = network(noisy, torch.tensor([500]), context.repeat(16, 1, 1)).sample
        frame = image_network(noisy[:, :, 7], torch.tensor([500]), context).sample
    torch.testing.assert_close(clip[:, :, 7], frame, atol=1e-4, rtol=1e-4)
    assert learning(task, network) == trained(network)
    assert all(".motion_modules." in name for name in trained(network))
    task.export(network, tmp_path)
    saved = MotionAdapter.from_pretrained(tmp_path / "motion_adapter", torch_dtype=torch.float32).state_dict()
    assert {name for name in saved if not name.endswith(".pe")} == trained(network)


def test_the_sparse_encoder_starts_without_effect_and_alone_is_trained() -> None:
    task = sparsectrl_training.SparseCtrlTask()
    network: Any = task.build()
    assert {name.partition(".")[0] for name in trained(network)} == {"encoder"}
    noisy, context, times = torch.randn(1, 4, 16, 8, 8), torch.randn(16, 32, 96), torch.tensor([500])
    shown, mask = sparsectrl_training.sparse(noisy, torch.tensor([4]))
    assert mask[0, 0, :, 0, 0].tolist() == [1] * 4 + [0] * 12
    assert torch.equal(shown[:, :, :4], noisy[:, :, :4])
    assert not shown[:, :, 4:].any()
    with torch.no_grad():
        skips, middle = network["encoder"](
            noisy, times, context, controlnet_cond=shown, conditioning_mask=mask, return_dict=False
        )
    assert not any(residual.any() for residual in (*skips, middle))
    assert all(name.startswith("encoder.") for name in learning(task, network))


def test_seine_starts_as_the_image_network_and_reads_mask_and_grey(image_network: Any) -> None:
    task = seine_training.SeineTask()
    network: Any = task.build()
    state = {name.removeprefix("unet."): tensor for name, tensor in network.state_dict().items()}
    copied = [
        torch.equal(state[name].flatten(), tensor.flatten())
        for name, tensor in image_network.state_dict().items()
        if name != "conv_in.weight"
    ]
    assert all(copied)
    assert len(copied) == len(image_network.state_dict()) - 1
    assert not state["conv_in.weight"][:, 4:].any()
    seen: list[torch.Tensor] = []

    def watched(clip: torch.Tensor, times: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        seen.append(clip)
        predicted: torch.Tensor = network(clip, times, text)
        return predicted

    loss, _ = task.loss(watched, StepRandom.of("test", 1))
    assert loss.isfinite()
    for clip in seen[0]:
        mask, given = clip[4, :, 0, 0], clip[5:]
        count = int((mask == 0).sum())
        assert mask.tolist() == [0] * count + [1] * (16 - count)
        assert 1 <= count <= seine_training.MOST_GIVEN
        torch.testing.assert_close(given[:, count:], task.grey[:, None].expand(-1, 16 - count, -1, -1))
        assert not torch.allclose(given[:, count - 1], task.grey)


def test_numbers_of_given_frames() -> None:
    counts = seine_training.given_counts(np.random.default_rng(0), 4000)
    assert set(counts.tolist()) == {1, 2, 3, 4, 5}
    assert (counts == 1).mean() == pytest.approx(0.6, abs=0.03)


def test_shipped_networks_are_small_and_have_the_sizes_of_the_tasks() -> None:
    for folder, config, megabytes in [
        ("motion_adapter", animatediff_training.CONFIG, 1.6),
        ("sparsectrl", sparsectrl_training.CONFIG, 1.6),
        ("seine/unet", seine_training.CONFIG, 2.6),
    ]:
        shipped = json.loads((WEIGHTS / folder / "config.json").read_text(encoding="utf-8"))
        for name, value in config.items():
            assert shipped[name] == (list(value) if isinstance(value, tuple) else value), (folder, name)
        (file,) = (WEIGHTS / folder).glob("*.safetensors")
        assert file.stat().st_size < megabytes * 1e6
    assert SeineUNet.from_pretrained(WEIGHTS / "seine" / "unet").num_frames == 16


def mini(name: str, **changes: object) -> Any:
    settings: dict[str, Any] = {**load_profile("mini").methods[name], **changes}
    return METHODS[name](**settings)


def clip_of(prompt: str) -> Start:
    frames = Clip(parse(prompt), 3).render_at(np.arange(16))
    return Start(frames, frames)


def video(method: Any, prompt: str, begin: Start, num_frames: int = 24) -> list[Frames]:
    return list(method.generate(Request(prompt, 0, num_frames, 64, 64, 10.0), begin))


def distance(one: Frames, other: Frames) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(("name", "new"), [("sparsectrl", 12), ("seine", 15)])
def test_given_frames_are_continued(name: str, new: int) -> None:
    method = mini(name)
    circle, square = clip_of(CIRCLE), clip_of(SQUARE)
    chunks = video(method, CIRCLE, circle, num_frames=16 + new + 3)
    assert [len(chunk) for chunk in chunks] == [new, 3]
    assert distance(chunks[0][0], circle.frames[-1]) < distance(chunks[0][0], square.frames[-1]) / 2


@pytest.mark.parametrize(("name", "given"), [("sparsectrl", 4), ("seine", 1)])
def test_only_the_conditioning_frames_are_read(name: str, given: int) -> None:
    method = mini(name, num_inference_steps=2)
    assert method.conditioning_frames == given
    begin = clip_of(CIRCLE)
    (plain,) = video(method, CIRCLE, begin)
    for back in (given, given + 1):
        frames = begin.frames.copy()
        frames[-back] = 255 - frames[-back]
        (changed,) = video(method, CIRCLE, Start(frames, frames))
        assert (plain != changed).any() == (back == given)


@pytest.mark.parametrize("name", METHODS)
def test_the_prompt_is_read(name: str) -> None:
    method = mini(name, num_inference_steps=2)
    begin = clip_of(CIRCLE)
    told, otherwise = (np.concatenate(video(method, prompt, begin)) for prompt in (CIRCLE, SQUARE))
    assert (told != otherwise).any()


def test_freenoise_draws_what_the_prompt_says() -> None:
    method = mini("freenoise_animatediff", num_inference_steps=6)
    means = [
        video(method, f"a red circle spinning {where}", clip_of(CIRCLE))[0][:, :12].mean(axis=(0, 1, 2))
        for where in ("on grass", "at sea")
    ]
    assert means[0][1] > means[0][2]  # grass is greener than blue
    assert means[1][2] > means[1][1]  # the sea is bluer than green
