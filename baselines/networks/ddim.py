"""DDIM as the systems of Table 1 run it: any list of timesteps, and clean latents rescaled on the way.

diffusers' scheduler has neither the dynamic rescale of DynamiCrafter and VideoCrafter2 nor SEINE's uneven steps. Here a
schedule is a value (which timesteps, how much signal at each), and one step is one function.

Example:
    >>> schedule = uniform_schedule(50, terminal_scale=0.7)
    >>> schedule.timesteps[0], schedule.timesteps[-1]
    (981, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]
Predict = Callable[[Tensor, int], Tensor]
"""What a network says (guidance included) about latents at a timestep; shapes equal."""

TRAIN_STEPS = 1000


@dataclass(frozen=True)
class DdimSchedule:
    """The steps of one sampling run, first step (most noise) first.

    Attributes:
        timesteps: what the network is told, 0..999.
        signal: cumulative alpha at each timestep.
        next_signal: cumulative alpha that the step leads to.
        rescale: factor on the predicted clean latents in each step.
    """

    timesteps: tuple[int, ...]
    signal: tuple[float, ...]
    next_signal: tuple[float, ...]
    rescale: tuple[float, ...]


def trailing_schedule(num_inference_steps: int, terminal_scale: float) -> DdimSchedule:
    """DynamiCrafter's steps: uniform trailing (19, 39, ..., 999 for 50), zero terminal SNR, dynamic rescale.

    The step from the smallest timestep leads to the signal of timestep 0 but keeps its own scale.

    Args:
        num_inference_steps: number of steps.
        terminal_scale: latents are scaled by 1 at timestep 0, falling linearly to this by timestep 399.

    Source: DynamiCrafter lvdm/models/samplers/ddim.py (make_schedule), lvdm/models/ddpm3d.py; Lin et al.,
    arXiv:2305.08891 (zero terminal SNR).
    """
    stride = TRAIN_STEPS / num_inference_steps
    timesteps = [round(TRAIN_STEPS - k * stride) - 1 for k in range(num_inference_steps)]
    signal = torch.cumprod(1 - rescale_zero_terminal_snr(_scaled_linear_betas()), dim=0)
    scales = latent_scales(terminal_scale)
    return _schedule(timesteps, signal, signal[0], scales, scales[timesteps[-1]])


def uniform_schedule(num_inference_steps: int, terminal_scale: float) -> DdimSchedule:
    """VideoCrafter2's steps (FreeNoise): uniform leading (1, 21, ..., 981 for 50), dynamic rescale.

    The step from the smallest timestep leads to signal and scale of timestep 0.

    Args:
        num_inference_steps: number of steps; divides 1000.
        terminal_scale: latents are scaled by 1 at timestep 0, falling linearly to this by timestep 399.

    Source: FreeNoise lvdm/models/samplers/ddim.py lines 280-289, lvdm/models/ddpm3d.py lines 362-376.
    """
    timesteps = [k + 1 for k in reversed(range(0, TRAIN_STEPS, TRAIN_STEPS // num_inference_steps))]
    signal = torch.cumprod(1 - _scaled_linear_betas(), dim=0)
    scales = latent_scales(terminal_scale)
    return _schedule(timesteps, signal, signal[0], scales, scales[0])


def respaced_schedule(num_inference_steps: int) -> DdimSchedule:
    """SEINE's steps for DDIM: the same timesteps as its DDPM sampler, no rescale; the last step ends in no noise.

    Source: SEINE diffusion/gaussian_diffusion.py (ddim_sample), linear betas.
    """
    signal = torch.cumprod(1 - linear_betas(), dim=0)
    ones = torch.ones(TRAIN_STEPS, dtype=torch.float64)
    return _schedule(respaced_timesteps(num_inference_steps), signal, ones[0], ones, ones[0])


def respaced_timesteps(num_inference_steps: int) -> list[int]:
    """Timesteps from 999 down to 0, evenly spread and rounded.

    Source: guided-diffusion respace.py (space_timesteps with one section), as in SEINE diffusion/respace.py.
    """
    stride = (TRAIN_STEPS - 1) / max(num_inference_steps - 1, 1)
    return [round(k * stride) for k in reversed(range(num_inference_steps))]


def linear_betas() -> Tensor:
    """Betas [1000] of guided diffusion's "linear" schedule. Source: SEINE diffusion/gaussian_diffusion.py 106-118."""
    return torch.linspace(1e-4, 0.02, TRAIN_STEPS, dtype=torch.float64)


def latent_scales(terminal_scale: float) -> Tensor:
    """Scale of the clean latents at each timestep [1000]: 1 to `terminal_scale` over 0..399, constant from there on.

    Source: DynamiCrafter lvdm/models/ddpm3d.py (`use_dynamic_rescale`, turning step 400).
    """
    falling = torch.linspace(1.0, terminal_scale, 400, dtype=torch.float64)
    return torch.cat([falling, torch.full((TRAIN_STEPS - 400,), terminal_scale, dtype=torch.float64)])


def ddim_sample(
    predict: Predict,
    latents: Tensor,
    schedule: DdimSchedule,
    prediction: Prediction,
    eta: float,
    generator: torch.Generator,
) -> Tensor:
    """The clean latents after all steps of the schedule; shape, device and dtype as `latents`.

    Args:
        predict: the network with its guidance.
        latents: unit normal noise.
        schedule: the steps.
        prediction: what the network predicts.
        eta: share of the variance that is drawn anew in each step; 0 is deterministic.
        generator: CPU generator of that noise; not touched if `eta` is 0.
    """
    for index, timestep in enumerate(schedule.timesteps):
        noise = torch.randn(latents.shape, generator=generator) if eta else torch.zeros(())
        output = predict(latents, timestep)
        latents = ddim_step(schedule, index, latents, output, prediction, eta, noise.to(latents))
    return latents


def ddim_step(
    schedule: DdimSchedule,
    index: int,
    latents: Tensor,
    output: Tensor,
    prediction: Prediction,
    eta: float,
    noise: Tensor,
) -> Tensor:
    """The latents after step `index`.

    Source: Song et al., "DDIM", arXiv:2010.02502, equations 12 and 16; Salimans & Ho, arXiv:2202.00512 (velocity).
    """
    signal, following = schedule.signal[index], schedule.next_signal[index]
    if prediction == "epsilon":
        epsilon = output
        clean = (latents - (1 - signal) ** 0.5 * output) / signal**0.5
    else:
        epsilon = signal**0.5 * output + (1 - signal) ** 0.5 * latents
        clean = signal**0.5 * latents - (1 - signal) ** 0.5 * output
    sigma = eta * ((1 - following) / (1 - signal) * (1 - signal / following)) ** 0.5
    direction = max(1 - following - sigma**2, 0.0) ** 0.5  # can fall below zero by rounding only
    arrived: Tensor = following**0.5 * schedule.rescale[index] * clean + direction * epsilon + sigma * noise
    return arrived


def guide(conditional: Tensor, unconditional: Tensor, guidance_scale: float, guidance_rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance, its contrast moved towards that of the conditional prediction by `guidance_rescale`.

    Source: Ho & Salimans, arXiv:2207.12598; Lin et al., arXiv:2305.08891, equations 15 and 16.
    """
    guided = unconditional + guidance_scale * (conditional - unconditional)
    if guidance_rescale == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    factor = conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    rescaled: Tensor = guided * (guidance_rescale * factor + 1 - guidance_rescale)
    return rescaled


def _scaled_linear_betas() -> Tensor:
    """Betas [1000] of latent diffusion, 0.00085 to 0.012, linear in their square roots."""
    return torch.linspace(0.00085**0.5, 0.012**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2


def _schedule(
    timesteps: Sequence[int], signal: Tensor, last_signal: Tensor, scales: Tensor, last_scale: Tensor
) -> DdimSchedule:
    at = torch.tensor(timesteps)
    following = torch.cat([signal[at[1:]], last_signal[None]])
    next_scales = torch.cat([scales[at[1:]], last_scale[None]])
    return DdimSchedule(
        tuple(timesteps),
        tuple(signal[at].tolist()),
        tuple(following.tolist()),
        tuple((next_scales / scales[at]).tolist()),
    )
