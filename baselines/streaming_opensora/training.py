"""The masked rectified flow of windows that go on from given frames, as an objective of StreamingT2V's training loop.

Example:
    >>> base = STDiT3Config(depth=3, hidden_size=96, num_heads=4, caption_channels=64, model_max_length=28)
    >>> network = StreamingSTDiT3(miniature_sizes(base))
    >>> sum(parameter.numel() for parameter in choose_memories(network))
    1054158
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.opensora.rectified_flow import transform_timesteps
from baselines.opensora.stdit3 import STDiT3Config
from baselines.opensora.training import FPS, NUM_FRAMES, SIZE
from baselines.streaming_opensora.network import MemoryConfig, StreamingSTDiT3, Text, VideoFormat
from baselines.streaming_opensora.windows import GIVEN_SPOILT, FlowWindows


def miniature_sizes(base: STDiT3Config, known_latents: int = 3) -> MemoryConfig:
    """Returns the miniature's sizes: half of the pairs (two of three), and image tokens as in the U-Net's miniature."""
    return MemoryConfig(
        base,
        pairs=(base.depth + 1) // 2,
        known_latents=known_latents,
        image_tokens=4,
        image_width=96,
        anchor_hidden_width=96,
    )


def choose_memories(network: StreamingSTDiT3) -> list[nn.Parameter]:
    """Returns the parameters that are trained; all others are frozen in place.

    Both memories, and of the base model the temporal blocks of the attending pairs, which read what CAM brings: the
    counterpart of what the U-Net's miniature trains of its base.
    """
    first = network.config.base.depth - network.config.pairs
    own = {f"temporal_blocks.{number}" for number in range(first, network.config.base.depth)}
    chosen = []
    for name, parameter in network.named_parameters():
        part, _, rest = name.partition(".")
        on = part != "base" or ".".join(rest.split(".")[:2]) in own
        parameter.requires_grad_(on)
        if on:
            chosen.append(parameter)
    return chosen


class MemoryTask(nn.Module):
    """The network with its conditioning in one call, so that wrappers for several GPUs see every parameter."""

    def __init__(self, network: StreamingSTDiT3) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, noisy: Tensor, times: Tensor, live: Tensor, latents: Tensor, image: Tensor, text: Text, video: VideoFormat
    ) -> Tensor:
        """Returns the velocity [B, C, T, h, w]; arguments as `StreamingSTDiT3.remember` and `.forward`."""
        memory = self.network.remember(latents, image, text, video)
        velocity: Tensor = self.network(noisy, times, memory, live)[:, : noisy.shape[1]]
        return velocity


@dataclass
class FlowObjective:
    """What the loop of `generators.streaming_t2v.training` needs of a streaming transformer that learns.

    Attributes:
        network: changed in place.
        data: training windows, on the network's device.
        dropout: share of samples without caption and anchor, for classifier-free guidance.
    """

    network: StreamingSTDiT3
    data: FlowWindows
    dropout: float = 0.1

    @cached_property
    def module(self) -> nn.Module:
        """The network with its conditioning in one call."""
        return MemoryTask(self.network)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained; all others are frozen in place."""
        return choose_memories(self.network)

    def loss(self, module: nn.Module, rng: np.random.Generator, random: torch.Generator, batch: int) -> Tensor:
        """Returns the mean squared error of the velocity of what is not given, of a batch of fresh windows.

        Source: Open-Sora branch opensora/v1.2, opensora/schedulers/rf/rectified_flow.py (training_losses).
        """
        data, device = self.data, random.device
        rows = torch.as_tensor(rng.integers(len(data.latents), size=batch), device=device)
        anchors = torch.as_tensor(rng.integers(data.anchors.shape[1], size=batch), device=device)
        clean = data.latents[rows].float()
        known, memory = spoil_given(data.known[rows].float(), data.memory[rows].float(), random)
        times = 1000 * torch.rand(batch, generator=random, device=device)
        times = transform_timesteps(times, SIZE, SIZE, NUM_FRAMES)
        noise = torch.randn(clean.shape, generator=random, device=device)
        share = times.view(-1, 1, 1, 1, 1) / 1000
        noisy = (1 - share) * clean + share * noise
        noisy[:, :, : known.shape[2]] = known
        live = torch.ones(batch, clean.shape[2], dtype=torch.bool, device=device)
        live[:, : known.shape[2]] = False
        dropped = torch.rand(batch, generator=random, device=device) < self.dropout
        empty = self.network.base.y_embedder.y_embedding
        tokens = torch.where(dropped[:, None, None], empty, data.tokens[rows])[:, None]
        image = torch.where(dropped[:, None], data.grey, data.anchors[rows, anchors])
        video = VideoFormat(torch.full((batch,), FPS, device=device), SIZE, SIZE)
        velocity = module(noisy, times, live, memory, image, Text(tokens, data.mask[rows]), video)
        error: Tensor = (velocity.float() - (clean - noise)).square()
        return error[:, :, known.shape[2] :].mean()

    def sizes(self) -> dict[str, Any]:
        """Returns the configuration of the network."""
        return asdict(self.network.config)

    def save(self, folder: Path) -> None:
        """Writes the network as it is."""
        self.network.save(folder)


def spoil_given(known: Tensor, memory: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns both with faults like a generator's: of every latent frame, of all of them alike, and of the colour.

    The amount is random, and small for most samples; what all frames share is the same in both, as both are the same
    frames. As `generators.mini.windows.spoil_latents`, for a batch.
    """
    batch, channels = memory.shape[:2]

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=random.device)

    amount = GIVEN_SPOILT * torch.rand(batch, 1, 1, 1, 1, generator=random, device=random.device).square() / 3**0.5
    shared = draw(batch, channels, 1, *memory.shape[3:]) + draw(batch, channels, 1, 1, 1)
    return known + amount * (draw(*known.shape) + shared), memory + amount * (draw(*memory.shape) + shared)
