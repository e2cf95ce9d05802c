"""SEINE's released sampler: ancestral DDPM over evenly spread timesteps, with the larger of the two fixed variances.

The step itself is diffusers' `DDPMScheduler`, which takes any list of timesteps; this file chooses them.

Example:
    >>> ddpm_scheduler(250).timesteps[:3].tolist()
    [999, 995, 991]
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from baselines.networks.ddim import Predict, Prediction, linear_betas, respaced_timesteps


def ddpm_scheduler(num_inference_steps: int, prediction: Prediction = "epsilon") -> DDPMScheduler:
    """A scheduler over SEINE's timesteps: linear betas, predicted noise or v, variance beta, latents not clipped.

    Source: SEINE diffusion/__init__.py, diffusion/gaussian_diffusion.py (FIXED_LARGE, learn_sigma False).
    """
    scheduler = DDPMScheduler(
        trained_betas=linear_betas().tolist(),
        prediction_type=prediction,
        variance_type="fixed_large",
        clip_sample=False,
    )
    scheduler.set_timesteps(timesteps=respaced_timesteps(num_inference_steps))
    return scheduler


def ddpm_sample(
    predict: Predict,
    latents: Tensor,
    num_inference_steps: int,
    generator: torch.Generator,
    prediction: Prediction = "epsilon",
) -> Tensor:
    """The clean latents after all steps; shape, device and dtype as `latents`.

    Args:
        predict: the network with its guidance.
        latents: unit normal noise.
        num_inference_steps: number of steps, 250 as released.
        generator: CPU generator of the noise drawn in every step but the last.
        prediction: what the network predicts.
    """
    scheduler = ddpm_scheduler(num_inference_steps, prediction)
    for timestep in scheduler.timesteps.tolist():
        output = predict(latents, timestep)
        latents = scheduler.step(output, timestep, latents, generator=generator, return_dict=False)[0]
    return latents
