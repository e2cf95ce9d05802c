"""Randomized blending: chunks, thresholds, and the wavefront that equals lock-step bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from generators.streaming_t2v.blending import (
    Blender,
    Blending,
    LatentChunk,
    RandomThresholds,
    cut,
    lock_step,
    random_thresholds,
    spans,
    wavefront,
)
from generators.streaming_t2v.sdedit import FrameNoise, SDEdit, guided_prediction, refiner_sigmas, solver_sigmas


def toy(latents: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
    """A network whose frames depend on the whole chunk, so chunks disagree about the frames they share."""
    mean = latents.mean(1, keepdim=True)
    return torch.tanh(latents + mean), torch.tanh(latents - 0.5 * mean + timestep / 1000)


def denoiser(mode: Blending, steps: int, seed: int = 5) -> SDEdit:
    noise = FrameNoise(seed, per_chunk=mode == "independent")
    return SDEdit(toy, noise, refiner_sigmas(), start=599, steps=steps)


def video(num_frames: int) -> list[Tensor]:
    return list(torch.randn(num_frames, 2, 3, 2, generator=torch.Generator().manual_seed(num_frames)))


def noisy(sdedit: SDEdit, frames: Iterable[Tensor], chunk: int, overlap: int) -> Iterator[LatentChunk]:
    for piece in cut(frames, chunk, overlap):
        sdedit.begin(piece)
        yield piece


@given(num_frames=st.integers(1, 200), chunk=st.integers(1, 30), data=st.data())
def test_cut_gives_the_spans_and_every_frame_is_emitted_once(num_frames: int, chunk: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, chunk // 2))
    frames = [torch.full((1, 1, 1), float(index)) for index in range(num_frames)]
    pieces = list(cut(frames, chunk, overlap))
    assert [(piece.start, piece.start + piece.latents.shape[1]) for piece in pieces] == spans(
        num_frames, chunk, overlap
    )
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    blender = Blender(denoiser("released", 1), "released", overlap, RandomThresholds(0, 1))
    emitted = torch.cat([blender.emit(piece) for piece in pieces], dim=1).flatten()
    assert emitted.tolist() == list(range(num_frames))


@settings(deadline=None, max_examples=25)
@given(
    mode=st.sampled_from(get_args(Blending)), num_frames=st.integers(1, 60), chunk=st.integers(2, 12),
    steps=st.integers(1, 5), data=st.data(),
)  # fmt: skip
def test_the_wavefront_is_lock_step_bit_for_bit(
    mode: Blending, num_frames: int, chunk: int, steps: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, chunk // 2))
    sdedit = denoiser(mode, steps)
    blender = Blender(sdedit, mode, overlap, random_thresholds(mode, overlap, seed=9))
    frames = video(num_frames)
    expected = torch.cat(list(lock_step(noisy(sdedit, frames, chunk, overlap), blender)), dim=1)
    streamed = torch.cat(list(wavefront(noisy(sdedit, frames, chunk, overlap), blender)), dim=1)
    assert expected.shape[1] == num_frames
    assert torch.equal(streamed, expected)


def test_the_wavefront_holds_a_bounded_number_of_chunks() -> None:
    sdedit = denoiser("released", 3)
    blender = Blender(sdedit, "released", 2, random_thresholds("released", 2, seed=0))
    taken = 0

    def counted() -> Iterator[LatentChunk]:
        nonlocal taken
        for chunk in noisy(sdedit, iter(video(200)), 6, 2):
            taken += 1
            yield chunk

    held = []
    for given_back, _ in enumerate(wavefront(counted(), blender), start=1):
        held.append(taken - given_back + 1)
    assert given_back == taken == len(spans(200, 6, 2))
    assert max(held) == sdedit.num_steps + 1


@pytest.mark.parametrize(("mode", "count"), [("paper", 9), ("released", 8)])
def test_thresholds_are_uniform_over_the_variants_range(mode: Blending, count: int) -> None:
    thresholds = random_thresholds(mode, 8, seed=1)
    drawn = torch.tensor([thresholds(step, boundary) for step in range(40) for boundary in range(100)])
    frequencies = drawn.bincount(minlength=count) / len(drawn)
    assert len(frequencies) == count
    assert float((frequencies - 1 / count).abs().max()) < 0.025
    again = random_thresholds(mode, 8, seed=1)
    assert [again(3, boundary) for boundary in range(5)] == [thresholds(3, boundary) for boundary in range(5)]


def test_what_each_mode_shares() -> None:
    """Neighbours agree on shared frames after blending, start alike with shared noise, and not at all independently."""
    table: dict[Blending, tuple[bool, bool]] = {
        "paper": (True, True),
        "released": (True, True),
        "shared_noise": (True, False),
        "independent": (False, False),
    }
    for mode, (same_start, same_end) in table.items():
        sdedit = denoiser(mode, 3)
        blender = Blender(sdedit, mode, 3, random_thresholds(mode, 3, seed=0))
        left, right = noisy(sdedit, video(13), 8, 3)
        assert torch.equal(left.latents[:, -3:], right.latents[:, :3]) == same_start, mode
        list(lock_step([left, right], blender))
        assert torch.equal(left.latents[:, -3:], right.latents[:, :3]) == same_end, mode


def test_the_two_variants_differ() -> None:
    results = []
    modes: tuple[Blending, ...] = ("paper", "released")
    for mode in modes:
        sdedit = denoiser(mode, 4)
        blender = Blender(sdedit, mode, 4, RandomThresholds(0, 4))
        results.append(torch.cat(list(wavefront(noisy(sdedit, video(22), 8, 4), blender)), dim=1))
    assert not torch.allclose(results[0], results[1])


@pytest.mark.parametrize(("chunk", "overlap"), [(8, 5), (8, -1), (0, 0)])
def test_impossible_overlaps(chunk: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot overlap"):
        spans(20, chunk, overlap)
    with pytest.raises(ValueError, match="cannot overlap"):
        next(cut(video(3), chunk, overlap))


def test_unknown_mode_and_impossible_steps() -> None:
    with pytest.raises(ValueError, match="blending = 'none'"):
        Blender(denoiser("released", 1), "none", 1, RandomThresholds(0, 1))  # type: ignore[arg-type]
    for start, steps in ((599, 0), (999, 3), (-1, 3)):
        with pytest.raises(ValueError, match="need at least 1 step"):
            solver_sigmas(refiner_sigmas(), start, steps)
    with pytest.raises(ValueError, match="at least one frame"):
        spans(0, 8, 2)


def test_refiner_noise_levels() -> None:
    """Figures the fact sheet gives for the released schedule and its 30 calls from level 599."""
    schedule = refiner_sigmas()
    for timestep, sigma in ((599, 0.97236), (300, 0.78257), (100, 0.32262)):
        assert float(schedule[timestep]) == pytest.approx(sigma, abs=5e-6)
    sigmas = solver_sigmas(schedule, 599, 30)
    assert len(sigmas) == 31
    assert sigmas[-1] == 0
    assert bool((sigmas[:-1] > sigmas[1:]).all())


def test_rescaled_guidance_keeps_the_prompts_spread() -> None:
    negative, positive = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(0)).unbind(0)
    assert torch.allclose(guided_prediction(negative, positive, 1.0, 0.3), positive)
    full = guided_prediction(negative, positive, 7.5, 1.0)
    assert float(full.std()) == pytest.approx(float(positive.std()), rel=1e-5)
