"""The denoising task of the streaming network: which of its parameters learn, and the error of its prediction (eq. 3).

A clip is cut in three: an anchor frame from its first part, the conditioning frames, and the window, whose first frames
are the conditioning frames. The network learns to take the noise out of the window. At initialisation it computes
exactly what its base model computes, since what carries the memories in starts at zero.

Example:
    network = StreamingNetwork.from_base(config, base.state_dict())
    objective = DenoisingObjective(network, EncodedClips(clips, codec, encode_text, encode_image), scheduler)
    train_streaming(objective, TrainingConfig(steps=1000), Path("out"))
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from generators.streaming_t2v.clips import Sample, SampleSource
from generators.streaming_t2v.network import NetworkConfig, Prepared, StreamingNetwork

Trained = Literal["released", "memories", "miniature"]
"""Which parameters are trained.

released: everything but the temporal layers of the base model, as in the released last stage.
memories: CAM, mergers and APM only; the base model stays as it is.
miniature: as memories, but a copied encoder half stays the copy it is, apart from CAM's input convolution, which is
    what a small store of weights can hold; and the base model's temporal layers in the decoder half, which read what
    the memories bring. Concatenation brings it to the encoder half, and so trains those of the encoder half, too. The
    first temporal transformer, the largest layer, is always left alone.
"""

TEMPORAL = (".temp_attentions.", ".temp_convs.", ".transformer_in.")
"""Temporal layers of the base model: parts of their parameters' names, after `unet`."""


@dataclass(frozen=True)
class ParameterRow:
    """One row of the table of what is trained."""

    part: str
    parameters: int
    trained: int


NETWORK_PARTS = {
    "CAM: frame encoder": ("cam.controlnet_cond_embedding.",),
    "CAM: encoder half": ("cam.encoder.",),
    "CAM: mergers": ("injector.",),
    "sparse encoder": ("sparse.",),
    "APM: anchor MLP": ("anchor_tokens.",),
    "APM: projection blocks": (".attn2.processor.",),
    "base model: temporal layers": TEMPORAL,
    "base model: spatial layers": ("unet.",),
}
"""Parts of the network (what their parameters' names contain); the first that matches counts."""


def network_part_of(name: str) -> str:
    """The part of the network a parameter belongs to."""
    return next(part for part, marks in NETWORK_PARTS.items() if any(mark in f".{name}" for mark in marks))


def choose_trained(network: StreamingNetwork, trained: Trained) -> list[nn.Parameter]:
    """The parameters that are trained; all others are frozen in place.

    The input convolution of a network that reads conditioning frames by concatenation is always trained.
    """
    concat = network.config.short_term == "concat"
    chosen = []
    for name, parameter in network.named_parameters():
        on = (concat and name.startswith("unet.conv_in.")) or _is_trained(name, trained, concat)
        parameter.requires_grad_(on)
        if on:
            chosen.append(parameter)
    return chosen


def _is_trained(name: str, trained: Trained, concat: bool) -> bool:
    part = network_part_of(name)
    if trained == "released":
        return part != "base model: temporal layers"
    if trained == "memories":
        return not part.startswith("base model")
    if part == "base model: temporal layers":
        return name.startswith("unet.up_blocks.") or (concat and not name.startswith("unet.transformer_in."))
    if ".encoder." in name:
        return name.startswith("cam.encoder.conv_in.")
    return not part.startswith("base model")


def parameter_table(network: StreamingNetwork) -> list[ParameterRow]:
    """How many parameters each part has and how many of them are trained, parts without any left out."""
    counts = {part: [0, 0] for part in NETWORK_PARTS}
    for name, parameter in network.named_parameters():
        count = counts[network_part_of(name)]
        count[0] += parameter.numel()
        count[1] += parameter.numel() * parameter.requires_grad
    return [ParameterRow(part, total, on) for part, (total, on) in counts.items() if total]


def denoising_loss(
    network: nn.Module,
    config: NetworkConfig,
    samples: list[Sample],
    scheduler: DDIMScheduler,
    random: torch.Generator,
    noise_draws: int = 1,
) -> Tensor:
    """Mean squared error of the network's prediction for noisy windows.

    Args:
        network: a `StreamingNetwork`, wrapped for several processes or not, called through `WindowTask`.
        config: its configuration.
        samples: the batch.
        scheduler: noise schedule; its prediction_type says whether noise or velocity is predicted.
        random: draws timesteps and noise, on its own device.
        noise_draws: a timestep is the largest of so many uniform ones.

    Source: StreamingT2V eq. 3.
    """
    device = next(network.parameters()).device
    latents = torch.stack([sample.latents for sample in samples]).to(device)
    noise = torch.randn(latents.shape, generator=random, device=random.device).to(device)
    steps = scheduler.config.num_train_timesteps
    drawn = torch.randint(steps, (noise_draws, len(samples)), generator=random, device=random.device)
    timesteps = drawn.amax(dim=0).to(device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    kind = scheduler.config.prediction_type
    target = scheduler.get_velocity(latents, noise, timesteps) if kind == "v_prediction" else noise
    text = torch.stack([sample.text for sample in samples]).to(device)
    anchors = torch.stack([sample.anchor for sample in samples])[:, None].to(device) if config.long_term else None
    frames = torch.stack([sample.frames for sample in samples]).to(device)
    known = torch.stack([sample.known for sample in samples]).to(device)
    predicted = network(noisy, timesteps, text, anchors, frames, known)
    return mse_loss(predicted.float(), target)


class WindowTask(nn.Module):
    """The network with its conditioning in one call, so that wrappers for several GPUs see every parameter."""

    def __init__(self, network: StreamingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, noisy: Tensor, timesteps: Tensor, text: Tensor, anchors: Tensor | None, frames: Tensor, known: Tensor
    ) -> Tensor:
        """The prediction [B, C, F, h, w]; arguments as `StreamingNetwork.prepare` and `.forward`."""
        prepared: Prepared = self.network.prepare(text, anchors, frames, known)
        predicted: Tensor = self.network(noisy, timesteps, prepared)
        return predicted


@dataclass
class DenoisingObjective:
    """What the loop of `training` needs of a streaming network that learns.

    Attributes:
        network: changed in place.
        data: training samples.
        scheduler: noise schedule.
        trained: which parameters are trained.
        noise_draws: a timestep is the largest of so many uniform ones; 1 as released. More of them spend a small budget
            where the memories matter: with little noise left, the base model needs none.
    """

    network: StreamingNetwork
    data: SampleSource
    scheduler: DDIMScheduler
    trained: Trained = "released"
    noise_draws: int = 1

    @cached_property
    def module(self) -> nn.Module:
        """The network with its conditioning in one call."""
        return WindowTask(self.network)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained; all others are frozen in place."""
        return choose_trained(self.network, self.trained)

    def loss(self, module: nn.Module, rng: np.random.Generator, random: torch.Generator, batch: int) -> Tensor:
        """The loss of a batch of fresh samples."""
        samples = [self.data.sample(rng) for _ in range(batch)]
        return denoising_loss(module, self.network.config, samples, self.scheduler, random, self.noise_draws)

    def sizes(self) -> dict[str, Any]:
        """Returns the configuration of the network."""
        return asdict(self.network.config)

    def save(self, folder: Path) -> None:
        """Writes the network as it is."""
        self.network.save(folder)
