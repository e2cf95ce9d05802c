"""Rectified flow with a frame mask: how Open-Sora 1.2 denoises some frames while others are given.

Why it exists: the sampler of Open-Sora is its continuation mechanism. Frames with mask 0 are given: they keep their
latents and the network is told so; frames with mask 1 are made; a value between starts from the given latent and is
noised when the time step first falls below it (the "edit ratio").

Example:
    >>> import torch
    >>> steps = transformed_timesteps(3, height=512, width=512, num_frames=1)
    >>> [round(step, 1) for step in steps.tolist()]
    [1000.0, 666.7, 333.3]
    >>> latents, mask = torch.ones(1, 1, 2, 1, 1), torch.tensor([[0.0, 1.0]])
    >>> out = sample(lambda z, t, live: -z, latents, mask, steps, torch.randn_like)
    >>> bool(out[0, 0, 0, 0, 0] == 1.0), bool(out[0, 0, 1, 0, 0] < 1.0)
    (True, True)

Source: Open-Sora branch opensora/v1.2, opensora/schedulers/rf/__init__.py and rectified_flow.py; golden data
`opensora12_rflow_loop`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NUM_TIMESTEPS = 1000
"""Time step of pure noise. Source: rf/__init__.py, num_timesteps."""

_VAE_FRAMES, _VAE_LATENTS = 17, 5
"""Frames and latent frames of one stretch of the autoencoder. Source: rectified_flow.py, timestep_transform."""

Velocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(latents [B, C, T, h, w], time steps [B], live frames, bool [B, T] or None) -> velocity [B, C, T, h, w]."""


def transform_timesteps(timesteps: Tensor, height: float, width: float, num_frames: int) -> Tensor:
    """Returns time steps moved towards noise, the more so the larger the video; same shape, in 0..1000.

    t' = 1000 r s / (1 + (r - 1) s) with s = t / 1000 and r = sqrt(height width / 512^2) sqrt(5 floor(frames / 17)),
    the second root being 1 for a single frame. Source: rectified_flow.py, timestep_transform. Rounding may carry the
    first step a hair above 1000, where no frame would count as live; the minimum prevents that and nothing else.

    Raises:
        ValueError: a video of 2..16 frames, for which the formula gives r = 0.
    """
    if 1 < num_frames < _VAE_FRAMES:
        raise ValueError(f"Open-Sora makes 1 frame or at least {_VAE_FRAMES}, not {num_frames}; ask for more frames")
    latent_frames = 1 if num_frames == 1 else num_frames // _VAE_FRAMES * _VAE_LATENTS
    ratio = math.sqrt(height * width / 512**2) * math.sqrt(latent_frames)
    share = timesteps / NUM_TIMESTEPS
    return (ratio * share / (1 + (ratio - 1) * share) * NUM_TIMESTEPS).clamp(max=NUM_TIMESTEPS)


def transformed_timesteps(num_inference_steps: int, *, height: float, width: float, num_frames: int) -> Tensor:
    """Returns the time steps of one sampling run, [num_inference_steps], falling from 1000.

    Source: rf/__init__.py, RFLOW.sample with use_timestep_transform and without use_discrete_timesteps.
    """
    steps = [(1.0 - i / num_inference_steps) * NUM_TIMESTEPS for i in range(num_inference_steps)]
    return transform_timesteps(torch.tensor(steps), height, width, num_frames)


def guided_velocity(
    network: Callable[[Tensor, Tensor, Tensor | None], Tensor], guidance_scale: float
) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Returns a velocity with classifier-free guidance, null + guidance_scale (conditional - null).

    Args:
        network: sees every latent twice, first half with the prompt, second half with the empty text, and gives at
            least as many channels as the latents have; those beyond are ignored.
        guidance_scale: 1 gives the conditional velocity; the released setting is 7.
    """

    def velocity(z: Tensor, t: Tensor, live: Tensor | None) -> Tensor:
        doubled = None if live is None else live.repeat(2, 1)
        out = network(z.repeat(2, 1, 1, 1, 1), t.repeat(2), doubled)[:, : z.shape[1]]
        conditional, null = out.chunk(2)
        return null + guidance_scale * (conditional - null)

    return velocity


def sample(
    velocity: Velocity,
    z: Tensor,
    mask: Tensor | None,
    timesteps: Tensor,
    draw_noise: Callable[[Tensor], Tensor],
) -> Tensor:
    """Returns the latents of the finished video, [B, C, T, h, w].

    Args:
        velocity: data minus noise as the network sees it.
        z: start, [B, C, T, h, w]: given latents where the mask is below 1, noise elsewhere.
        mask: [B, T] in 0..1 (0 given, 1 to make), or None to make every frame.
        timesteps: falling, [S] or per sample [S, B].
        draw_noise: gives noise of the shape of its argument; called once per step where there is a mask, also when
            no frame needs it, so that a seed means the same video as in the original.
    """
    steps = timesteps if timesteps.ndim == 2 else timesteps[:, None].expand(-1, z.shape[0])
    steps = steps.to(z.device)
    after = torch.cat([steps[1:], torch.zeros_like(steps[:1])])
    noised = None if mask is None else mask == 1
    for t, t_next in zip(steps, after, strict=True):
        live = None
        if mask is not None and noised is not None:
            live = mask * NUM_TIMESTEPS >= t[:, None]
            share = (t / NUM_TIMESTEPS)[:, None, None, None, None]
            fresh = (1 - share) * z + share * draw_noise(z)
            z = torch.where(_per_frame(live & ~noised), fresh, z)
            noised = live
        moved = z + velocity(z, t, live) * ((t - t_next) / NUM_TIMESTEPS)[:, None, None, None, None]
        z = moved if live is None else torch.where(_per_frame(live), moved, z)
    return z


def _per_frame(flags: Tensor) -> Tensor:
    """Returns [B, T] as [B, 1, T, 1, 1]."""
    return flags[:, None, :, None, None]
