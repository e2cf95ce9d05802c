"""The samplers take the released steps, agree with diffusers where it has them too, and sample what they should."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from baselines.networks.ddim import (
    DdimSchedule,
    ddim_sample,
    ddim_step,
    guide,
    latent_scales,
    respaced_schedule,
    respaced_timesteps,
    trailing_schedule,
    uniform_schedule,
)
from baselines.seine.ddpm import ddpm_sample, ddpm_scheduler

SPREAD = 0.5


def test_released_timesteps() -> None:
    assert trailing_schedule(50, 0.3).timesteps == tuple(range(999, 0, -20))
    assert uniform_schedule(50, 0.7).timesteps == tuple(range(981, 0, -20))
    respaced = respaced_timesteps(250)
    assert (len(respaced), respaced[0], respaced[-1], respaced[-2]) == (250, 999, 0, 4)
    assert ddpm_scheduler(250).timesteps.tolist() == respaced


def test_scales_fall_over_the_first_400_timesteps() -> None:
    scales = latent_scales(0.3)
    assert scales[0] == 1
    assert scales[399:].unique().tolist() == pytest.approx([0.3])
    schedule = trailing_schedule(50, 0.3)
    assert schedule.signal[0] == 0  # zero terminal SNR
    assert schedule.rescale[-1] == 1  # the smallest timestep keeps its own scale
    assert schedule.rescale[0] == 1  # both scales are constant there
    assert schedule.rescale[-2] == pytest.approx(float(scales[19] / scales[39]))
    assert uniform_schedule(50, 0.7).rescale[-1] == pytest.approx(float(1 / latent_scales(0.7)[1]))


@pytest.mark.parametrize("eta", [0.0, 0.9])  # at 1, diffusers takes the root of a rounding error at zero SNR
@pytest.mark.parametrize(
    ("schedule", "prediction", "settings"),
    [
        (uniform_schedule(50, 1.0), "epsilon", {"timestep_spacing": "leading", "steps_offset": 1}),
        (trailing_schedule(50, 1.0), "v_prediction", {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True}),
    ],
)
def test_steps_agree_with_diffusers(
    schedule: DdimSchedule, prediction: str, settings: dict[str, object], eta: float
) -> None:
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        **settings,
    )
    scheduler.set_timesteps(50)
    assert tuple(scheduler.timesteps.tolist()) == schedule.timesteps
    generator = torch.Generator().manual_seed(0)
    for index, timestep in enumerate(schedule.timesteps):
        latents, output, noise = torch.randn(3, 1, 4, 2, 3, 3, generator=generator)
        theirs = scheduler.step(output, timestep, latents, eta=eta, variance_noise=noise).prev_sample
        ours = ddim_step(schedule, index, latents, output, prediction, eta, noise)
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


def exact_epsilon(latents: Tensor, signal: float, scale: float) -> Tensor:
    """What a perfect network predicts if clean latents are normal with deviation `SPREAD * scale`."""
    return (1 - signal) ** 0.5 * latents / (signal * (SPREAD * scale) ** 2 + 1 - signal)


@pytest.mark.parametrize(
    ("schedule", "terminal", "eta"),
    [(respaced_schedule(50), 1.0, 0.0), (uniform_schedule(50, 0.7), 0.7, 0.0), (trailing_schedule(500, 0.3), 0.3, 1.0)],
)
def test_a_perfect_network_gives_the_right_spread(schedule: DdimSchedule, terminal: float, eta: float) -> None:
    scales = latent_scales(terminal)
    signals = dict(zip(schedule.timesteps, schedule.signal, strict=True))

    def velocity(latents: Tensor, timestep: int) -> Tensor:
        signal = signals[timestep]
        variance = (SPREAD * float(scales[timestep])) ** 2
        return (signal * (1 - signal)) ** 0.5 * latents * (1 - variance) / (signal * variance + 1 - signal)

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 1, 1, 100, 100, generator=generator)
    made = ddim_sample(velocity, start, schedule, "v_prediction", eta, generator)
    assert float(made.std()) == pytest.approx(SPREAD, rel=0.06)


def test_ddpm_gives_the_right_spread_and_the_same_bytes_for_a_seed() -> None:
    signals = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)

    def predict(latents: Tensor, timestep: int) -> Tensor:
        return exact_epsilon(latents, float(signals[timestep]), 1.0)

    def sample(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return ddpm_sample(predict, torch.randn(1, 1, 1, 60, 60, generator=generator), 250, generator)

    assert float(sample(0).std()) == pytest.approx(SPREAD, rel=0.06)
    assert torch.equal(sample(0), sample(0))
    assert not torch.equal(sample(0), sample(1))


def test_guidance_rescale_restores_the_contrast_of_the_conditional_prediction() -> None:
    conditional, unconditional = torch.randn(2, 2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(guide(conditional, unconditional, 1.0), unconditional + (conditional - unconditional))
    plain = guide(conditional, unconditional, 7.5)
    torch.testing.assert_close(plain, unconditional + 7.5 * (conditional - unconditional))
    restored = guide(conditional, unconditional, 7.5, guidance_rescale=1.0)
    torch.testing.assert_close(restored.std(dim=(1, 2, 3, 4)), conditional.std(dim=(1, 2, 3, 4)))
    torch.testing.assert_close(guide(conditional, unconditional, 7.5, 0.5), (plain + restored) / 2)
