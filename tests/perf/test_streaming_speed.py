"""The streaming stage against a straightforward loop over the same weights: same frames, less work, more speed.

The straightforward loop does what the released pipeline does: it encodes text, anchor and two unused latents in every
window, runs both branches of guidance as one doubled batch through all of CAM in every step, and decodes all frames.

The suite counts arithmetic; seconds are measured by hand.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.profile import load_profile
from generators.streaming_t2v.method import StreamingT2V
from generators.streaming_t2v.pipeline import StreamingStage, StreamState
from tests.perf.arithmetic import operations

PROMPT = "a red circle bouncing up and down on grass"


def miniature_stage() -> StreamingStage:
    """The stage with the miniature weights and the settings of the mini profile, but the released eta and guidance."""
    settings = dict(load_profile("mini").methods["streaming_t2v"])
    return StreamingT2V(**(settings | {"eta": 1.0, "guidance_scale": 7.5}))._stage


@torch.no_grad()
def straightforward(stage: StreamingStage, state: StreamState, windows: int) -> Tensor:
    """New frames [8 windows, 3, H, W] in 0..1, made the plain way."""
    network, codec, scheduler = stage.network, stage.codec, stage.scheduler
    generator = torch.Generator()
    generator.set_state(state.generator)
    known, made = state.frames, []
    for _ in range(windows):
        text = stage.encode_text([stage.negative_prompt, PROMPT])
        assert stage.encode_image is not None
        images = stage.encode_image(torch.cat([torch.zeros_like(state.anchor), state.anchor]))[:, None]
        codec.encode(known)  # the released pipeline encodes twice and uses neither
        codec.encode(known)
        latents = torch.randn(1, 4, 16, 8, 8, generator=generator)
        scheduler.set_timesteps(stage.num_inference_steps)
        for timestep in scheduler.timesteps:
            prepared = network.prepare(text, images, torch.stack([known, known]))
            without, with_prompt = network(torch.cat([latents] * 2), timestep, prepared).chunk(2)
            guided = without + stage.guidance_scale * (with_prompt - without)
            noise = torch.randn(16, 4, 8, 8, generator=generator).transpose(0, 1)[None]
            latents = scheduler.step(guided, timestep, latents, eta=stage.eta, variance_noise=noise).prev_sample
        known = codec.decode(latents[0].transpose(0, 1))[-8:]
        made.append(known)
    return (torch.cat(made) + 1) / 2


Run = Callable[[], Tensor]


@pytest.fixture(scope="module")
def runs() -> tuple[Run, Run]:
    """Makes the first window with the streaming stage, and the plain way."""
    stage = miniature_stage()
    start = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    state = stage.begin(start, seed=3)

    def ours() -> Tensor:
        return torch.cat([window.frames for window in stage.stream(PROMPT, state, 8)])

    def plain() -> Tensor:
        return straightforward(stage, state, 1)

    return ours, plain


def seconds(run: Run) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


@pytest.mark.slow
def test_same_frames_with_1_6_times_less_arithmetic(runs: tuple[Run, Run]) -> None:
    ours, plain = runs
    assert float((ours() - plain()).abs().max()) < 0.5 / 255
    ratio = operations(plain) / operations(ours)
    print(f"operations, a straightforward loop against ours: {ratio:.2f}x")
    assert ratio >= 1.6


@pytest.mark.by_hand
def test_at_least_1_3_times_as_fast(runs: tuple[Run, Run]) -> None:
    ours, plain = runs
    ratio = statistics.median(seconds(plain) / seconds(ours) for _ in range(9))
    print(f"frames per second, ours against a straightforward loop: {ratio:.2f}x")
    assert ratio >= 1.3
