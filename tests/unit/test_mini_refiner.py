"""What the miniature refiner learns from: clips and what a generator makes of them, as a solver shows them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from generators.mini import pairs as pairs_module
from generators.mini.data import to_tensor
from generators.mini.latents import LIGHT
from generators.mini.pairs import FRAMES, LARGE, Pairs, blurred, enlarged_clip, load_pairs, render_both, worsened
from generators.mini.tasks import refiner as module
from generators.mini.tasks.refiner import RefinerTask, seen_by_solver
from generators.mini.training import StepRandom, train_task
from generators.pipelines import PipelineSettings
from generators.streaming_t2v.blending import LatentChunk
from generators.streaming_t2v.encoders import LatentCodec
from generators.streaming_t2v.loading import load_refiner_unet
from generators.streaming_t2v.sdedit import SDEdit, refiner_sigmas


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, sample_size=64, layers_per_block=1,
    ).eval()  # fmt: skip


def silence(step: int, chunk: LatentChunk) -> Tensor:
    return torch.zeros_like(chunk.latents)


def test_both_sizes_show_the_same_clip() -> None:
    large, small, caption = render_both(3)
    assert large.shape == (FRAMES, LARGE, LARGE, 3)
    assert small.shape == (FRAMES, LARGE // 2, LARGE // 2, 3)
    halved = large.reshape(FRAMES, LARGE // 2, 2, LARGE // 2, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - small).mean() < 1
    assert render_both(3)[2] == caption
    assert (render_both(3)[0] == large).all()


def test_an_outline_is_one_pixel_soft_at_either_size() -> None:
    """A frame rendered at twice the size is sharper than one enlarged to it."""
    large, small, _ = render_both(3)
    grown = enlarged_clip(to_tensor(small[:1]), StepRandom.of("test", 0))
    steepest = [float(frame.diff(dim=-1).abs().amax()) for frame in (to_tensor(large[:1]), grown)]
    assert steepest[0] > 1.2 * steepest[1]


def test_blur_keeps_the_mean_and_spreads_as_far_as_it_says() -> None:
    point = torch.zeros(1, 2, 31, 31)
    point[..., 15, 15] = 1
    soft = blurred(point, 1.5)
    assert soft.sum(dim=(2, 3)).flatten().tolist() == pytest.approx([1, 1])
    rows = soft[0, 0].sum(dim=1)
    assert float((rows * (torch.arange(31) - 15) ** 2).sum()) == pytest.approx(1.5**2, rel=0.02)
    assert torch.equal(blurred(point, 0.0), point)


def test_a_worsened_clip_has_eight_bits_and_depends_on_the_seed_only() -> None:
    frames, codec = to_tensor(render_both(0)[1][:3]), LatentCodec(tiny_vae())
    one, same, other = (worsened(frames, codec, StepRandom.of("test", step)) for step in (0, 0, 1))
    assert one.shape == frames.shape
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    levels = (one + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert float(one.abs().max()) <= 1


def test_pairs_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "map_by_all_cores", map)  # no processes
    tiny_vae().save_pretrained(tmp_path / LIGHT)
    pairs = load_pairs(2, tmp_path / "cache", tmp_path, torch.device("cpu"))
    assert pairs.clean.shape == pairs.spoilt.shape == (2, FRAMES, 4, LARGE // 8, LARGE // 8)
    assert pairs.captions == [render_both(number)[2] for number in range(2)]
    assert not torch.equal(pairs.clean, pairs.spoilt)
    (tmp_path / LIGHT / "config.json").unlink()
    assert torch.equal(load_pairs(2, tmp_path / "cache", tmp_path, torch.device("cpu")).spoilt, pairs.spoilt)


@pytest.mark.parametrize("start", [250, 400, 599])
def test_v_leads_to_the_clean_clip(start: int) -> None:
    clean, spoilt, noise = torch.randn(3, 2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    sigmas = refiner_sigmas().double()
    levels = sigmas[torch.tensor([start, start // 2])]
    noisy, velocity = seen_by_solver(clean, spoilt, noise, sigmas[torch.tensor([start, start])], levels)
    level = levels.view(-1, 1, 1, 1, 1)
    assert torch.allclose((1 - level**2).sqrt() * noisy - level * velocity, clean, atol=1e-9)


def test_a_training_sample_is_what_the_solver_shows_a_network_that_is_right() -> None:
    """After each step from the spoilt clip, without noise, as much of the fault is left as training assumes."""
    clean, spoilt = torch.randn(2, 4, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    solver = SDEdit(lambda latents, time: (latents, latents), silence, refiner_sigmas(), start=400, steps=6)
    chunk = LatentChunk(0, 0, spoilt, is_last=True)  # in the solver's variable, latents over signal
    start = solver.schedule[400][None]
    for step in range(solver.num_steps - 1):
        chunk.latents, chunk.previous = solver.advance(chunk, clean, step), clean
        ratio = torch.tensor(solver.sigmas[step + 1])
        sigma = (ratio / (1 + ratio**2).sqrt())[None]
        noisy, _ = seen_by_solver(clean[None], spoilt[None], torch.zeros(1, *clean.shape), start, sigma)
        assert torch.allclose(chunk.latents / (1 + ratio**2).sqrt(), noisy[0], atol=1e-5)


@pytest.mark.parametrize("start", [250, 400, 599])
def test_the_first_call_is_what_the_solver_begins_with(start: int) -> None:
    """From the released level the solver scales it by sigma, as the released code does; from others not."""
    clean, spoilt, noise = torch.randn(3, 4, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    solver = SDEdit(lambda latents, time: (latents, latents), lambda step, chunk: noise, refiner_sigmas(), start)
    chunk = LatentChunk(0, 0, spoilt, is_last=True)
    solver.begin(chunk)
    level = solver.schedule[start][None]
    noisy, _ = seen_by_solver(clean[None], spoilt[None], noise[None], level, level)
    scale = float(level) if start == 599 else 1.0
    assert torch.allclose(chunk.latents / (1 + solver.sigmas[0] ** 2) ** 0.5, scale * noisy[0], atol=1e-5)


def test_training_learns_and_its_export_is_a_refiner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(2, 1, 4, 16, 16, generator=generator).expand(-1, 2, -1, -1, -1)  # nothing moves
    spoilt = clean + 0.3 * torch.randn(clean.shape, generator=generator)
    pairs = Pairs(clean.half(), spoilt.half(), ["a red circle spinning on grass"] * 2)
    monkeypatch.setattr(module, "load_pairs", lambda *given: pairs)
    task = RefinerTask(clips=2)
    task.recipe = replace(task.recipe, steps=24, batch=2, average=0.5)
    train_task(task, tmp_path / "cache", tmp_path / "weights")
    losses = [task.loss(network, StepRandom.of("held out", 0))[0].item() for network in (
        task.build(), load_refiner_unet(tmp_path / "weights" / "refiner", PipelineSettings())
    )]  # fmt: skip
    assert losses[1] < 0.9 * losses[0]
    size = (tmp_path / "weights" / "refiner" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert size <= 3e6
