"""VideoCrafter2 in miniature: the text-to-video network that FreeNoise runs on, and the start DynamiCrafter shares.

FreeNoise itself needs no training: it changes noise and attention of a network that knows windows of sixteen frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from baselines.networks.ddim import TRAIN_STEPS, trailing_schedule
from baselines.networks.videocrafter import VideoCrafterUNet
from generators.mini.denoising import (
    CACHE,
    WEIGHTS,
    FrozenText,
    draw_clips,
    left_out,
    levels,
    start_from_image_model,
)
from generators.mini.latents import load_library
from generators.mini.tasks.text_to_video import silence_temporal
from generators.mini.training import Recipe, StepRandom

CONFIG = {
    "block_out_channels": (32, 64),
    "attention_levels": (True, False),
    "layers_per_block": 1,
    "cross_attention_dim": 96,
    "head_channels": 8,  # half the image model's, which costs it 2 % and makes the first temporal block affordable
    "norm_num_groups": 8,
}

TRAINING_FPS = 10
"""The one frame rate of the world; the methods have to be told the same."""

TERMINAL_SCALE = 1.0
"""Clean latents keep their scale: its fall, made for large frames, would be left over after a few solver steps."""


class FreeNoiseTask:
    """Denoising sixteen frames given the text and the frame rate, with v-prediction down to zero signal.

    The released network predicts noise on a schedule that never reaches pure noise. On latents this small the colour of
    the ground would leak through it, so the miniature has DynamiCrafter's schedule (the adapter's "trailing").
    """

    name = "freenoise"
    recipe = Recipe(steps=700, batch=8, learning_rate=1.5e-3, average=0.995)
    compiled: tuple[str, ...] = ()
    num_frames = 16

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.text = FrozenText()
        self.alphas = trailing_alphas()

    def build(self) -> nn.Module:
        """Returns the network; before training it draws sixteen frames that do not know of each other."""
        network: nn.Module = VideoCrafterUNet(**CONFIG)
        start_video_network(network)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch; one caption in ten is left out, for guidance."""
        count = self.recipe.batch
        clips, captions = draw_clips(self.library, random, count, self.num_frames)
        clean = clips.transpose(1, 2)
        context = self.text.encode(left_out(captions, random), penultimate=True)
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, TRAIN_STEPS, (count,), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        v = network(signal * clean + spread * noise, times, context, torch.full((count,), TRAINING_FPS))
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `freenoise/unet`; text encoder and autoencoder are shared."""
        network.half().save_pretrained(weights / "freenoise" / "unet")


def trailing_alphas() -> Tensor:
    """Returns the cumulative alphas [1000] of the schedule with zero terminal signal that DynamiCrafter samples on."""
    return torch.tensor(trailing_schedule(TRAIN_STEPS, TERMINAL_SCALE).signal[::-1])


def start_video_network(network: nn.Module) -> None:
    """Starts VideoCrafter2's or DynamiCrafter's network from the image model; temporal and fps parts start silent."""
    start_from_image_model(network, rename=_name_in_video_network)
    silence_temporal(network)
    for kind in ("weight", "bias"):
        nn.init.zeros_(network.get_parameter(f"unet.time_embedding.fps.linear_2.{kind}"))


def _name_in_video_network(name: str) -> str:
    return f"unet.{name}".replace("time_embedding.", "time_embedding.time.")
