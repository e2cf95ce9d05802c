"""SDEdit with a high-resolution video model: noise level, solver and guidance of the refinement stage.

The refiner adds noise to an enlarged video up to a middle level and denoises it again, so that layout and motion stay
and detail is new. This file holds the arithmetic of the released refiner, free of networks and of chunks.

Example:
    >>> schedule = refiner_sigmas()
    >>> round(float(schedule[599]), 5)
    0.97236
    >>> len(solver_sigmas(schedule, start=599, steps=30))
    31
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from generators.streaming_t2v.blending import LatentChunk

RELEASED_START = 599
"""Noise level, a timestep of 1000, from which the released pipeline starts: `total_noise_levels` - 1."""

GuidedVelocity = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Network: scaled latents [C, F, h, w] and an integer timestep -> v-predictions (without prompt, with prompt)."""


def refiner_sigmas(count: int = 1000, low: float = -15.0, high: float = 15.0) -> Tensor:
    """Noise level sigma of every timestep of the refiner's training, [count], float32, ascending to exactly 1.

    The log signal-to-noise ratio falls along a cosine schedule, shifted by 2 at the clean end and by 4 at the noisy
    end; the whole is scaled so that the last level is pure noise.

    Source: Hoogeboom et al., simple diffusion (arXiv:2301.11093), eq. 4-6; ModelScope's video_to_video,
    schedules_sdedit.py.
    """
    time = torch.linspace(0, 1, count, dtype=torch.float64)
    first, last = math.atan(math.exp(-0.5 * high)), math.atan(math.exp(-0.5 * low))
    cosine = -2 * torch.log(torch.tan(first + time * (last - first)))
    log_snr = cosine - 2 * ((1 - time) * math.log(2) + time * math.log(4))
    sigmas = torch.sqrt(torch.sigmoid(-log_snr))
    return (sigmas / sigmas[-1]).float()


def _ratio(schedule: Tensor) -> Tensor:
    """Sigma / alpha of every timestep: noise against signal, infinite at the last level."""
    sigmas = schedule.double()
    return sigmas / torch.sqrt(1 - sigmas**2)


def solver_sigmas(schedule: Tensor, start: int, steps: int) -> Tensor:
    """Sigma / alpha at the solver's times, descending, the last one 0; one more entry than network calls.

    Times run down from `start` in equal parts, `steps` + 1 of them; the last but one is left out. Where rounding puts
    one more time at the lower end (as for 6 steps from 599), there is one more call, as in the released code.

    Source: ModelScope's video_to_video, diffusion_sdedit.py ("trailing" discretization).

    Raises:
        ValueError: no step, or a start that is no timestep of the schedule.
    """
    if steps < 1 or not 0 <= start < len(schedule) - 1:
        raise ValueError(f"{steps} steps from level {start}: need at least 1 step and 0 <= level < {len(schedule) - 1}")
    times = np.arange(start, -1, -((start + 1) / (steps + 1))).clip(0)
    levels = _ratio(schedule).log().numpy()
    below, above = np.floor(times).astype(int), np.ceil(times).astype(int)
    weight = times - below
    sigmas = np.exp((1 - weight) * levels[below] + weight * levels[above])
    return torch.from_numpy(np.append(sigmas[:-1], 0.0)).float()


def timestep_of(schedule: Tensor, sigma: float) -> int:
    """The timestep whose sigma / alpha is nearest, measured in its logarithm."""
    levels = _ratio(schedule).log().numpy()[:-1]  # the last is infinite
    return int(np.round(np.interp(math.log(sigma), levels, np.arange(len(levels)))))


def guided_prediction(negative: Tensor, positive: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance whose spread is pulled back towards that of the prompt's own prediction.

    Source: Lin et al., Common diffusion noise schedules (arXiv:2305.08891), eq. 15-16.
    """
    out = negative + scale * (positive - negative)
    return out * (rescale * positive.std() / out.std() + (1 - rescale))


class NoiseSource(Protocol):
    """Unit noise for the frames of a video."""

    def __call__(self, step: int, chunk: LatentChunk) -> Tensor:
        """Noise shaped like the chunk's latents; step -1 is the noise the video starts from."""
        ...


@dataclass(frozen=True)
class FrameNoise:
    """Noise that depends on nothing but seed, step and frame, so overlapping frames of two chunks get the same.

    Attributes:
        seed: >= 0.
        per_chunk: let it depend on the chunk, too: overlapping frames then differ (mode "independent").
    """

    seed: int
    per_chunk: bool = False

    def __call__(self, step: int, chunk: LatentChunk) -> Tensor:
        """See `NoiseSource`."""
        latents = chunk.latents
        shape = (latents.shape[0], *latents.shape[2:])
        frames = [self._frame(step, chunk, chunk.start + offset, shape) for offset in range(latents.shape[1])]
        return torch.stack(frames, dim=1).to(latents)

    def _frame(self, step: int, chunk: LatentChunk, frame: int, shape: tuple[int, ...]) -> Tensor:
        key = (self.seed, step + 1, frame, *((chunk.index,) if self.per_chunk else ()))
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class SDEdit:
    """DPM-Solver++(2M) SDE with midpoint correction over the released noise levels; a `ChunkDenoiser`.

    Latents are kept in the solver's variable x = latents / alpha.

    Attributes:
        velocity: the network.
        noise: start noise and the solver's noise.
        schedule: sigma of every training timestep.
        start: timestep up to which noise is added.
        steps: solver steps.
        guidance_scale: weight of guidance.
        guidance_rescale: how far its spread is pulled back, 0..1.
    """

    velocity: GuidedVelocity
    noise: NoiseSource
    schedule: Tensor
    start: int = RELEASED_START
    steps: int = 30
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.2

    @cached_property
    def sigmas(self) -> list[float]:
        """Sigma / alpha at every step and 0 at the end."""
        return [float(sigma) for sigma in solver_sigmas(self.schedule, self.start, self.steps)]

    @property
    def num_steps(self) -> int:
        """Number of network calls a chunk takes."""
        return len(self.sigmas) - 1

    def begin(self, chunk: LatentChunk) -> None:
        """Adds the start noise to a chunk of clean latents.

        The released code multiplies by sigma / alpha at the first time where 1 / alpha is meant, so that the network
        first sees its input scaled by sigma = 0.972; kept at the level it starts from, because its results are what the
        paper shows. At lower levels the mistake would grow (0.47 at 150), and there is nothing it would be true to.
        """
        sigma = self.schedule[self.start]
        alpha = torch.sqrt(1 - sigma**2)
        noisy = alpha * chunk.latents + sigma * self.noise(-1, chunk)
        chunk.latents = noisy * self.sigmas[0] if self.start == RELEASED_START else noisy / alpha

    def velocity_of(self, chunk: LatentChunk) -> GuidedVelocity:
        """Returns the network for a chunk: the same for all."""
        return self.velocity

    def predict(self, chunk: LatentChunk, step: int) -> Tensor:
        """See `ChunkDenoiser`; guidance is rescaled per chunk."""
        sigma = self.sigmas[step]
        timestep = timestep_of(self.schedule, sigma)
        scaled = chunk.latents / math.sqrt(1 + sigma**2)
        velocity = guided_prediction(
            *self.velocity_of(chunk)(scaled, timestep), self.guidance_scale, self.guidance_rescale
        )
        level = self.schedule[timestep]
        return torch.sqrt(1 - level**2) * scaled - level * velocity

    def advance(self, chunk: LatentChunk, predicted: Tensor, step: int) -> Tensor:
        """See `ChunkDenoiser`.

        Source: Lu et al., DPM-Solver++ (arXiv:2211.01095), SDE variant of algorithm 2 in k-diffusion's form
        ("dpmpp_2m_sde", solver_type "midpoint", eta 1).
        """
        sigma, following = self.sigmas[step], self.sigmas[step + 1]
        if following == 0:
            return predicted
        length = math.log(sigma / following)
        fresh = -math.expm1(-2 * length)
        latents = (following / sigma) * math.exp(-length) * chunk.latents + fresh * predicted
        if chunk.previous is not None:
            ratio = length / math.log(self.sigmas[step - 1] / sigma)
            latents = latents + 0.5 * fresh * ratio * (predicted - chunk.previous)
        return latents + following * math.sqrt(fresh) * self.noise(step, chunk)
