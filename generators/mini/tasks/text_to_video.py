"""The text-to-video model of the miniature world: diffusers' `UNet3DConditionModel` on 8x8 latents of 16 frames.

It draws the shared first chunk and is the base model of StreamingT2V. It starts from the text-to-image model, whose
tensors are its spatial part, and learns motion from whole clips, with single frames between so that looks stay sharp.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet3DConditionModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from numpy.typing import NDArray
from torch import Tensor, nn

from generators.mini.denoising import (
    CACHE,
    SCHEDULE,
    WEIGHTS,
    FrozenText,
    draw_clips,
    draw_stills,
    left_out,
    levels,
    start_from_image_model,
)
from generators.mini.grammar import parse
from generators.mini.latents import load_library
from generators.mini.training import Recipe, StepRandom

CONFIG = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 96,
    "attention_head_dim": 16,
}


class TextToVideoTask:
    """Denoising with v-prediction; one caption in ten is left out, for guidance.

    What single frames cannot teach is weighted up: clips are drawn by `odds_of`, and their noise levels as the square
    root of a uniform draw, since motion and camera are decided where noise is strong.
    """

    name = "text_to_video"
    recipe = Recipe(steps=4018, batch=32, learning_rate=1.5e-3)
    compiled: tuple[str, ...] = ()
    still_every = 4
    """Every how many steps single frames are drawn in place of clips: as many samples as a clip batch has frames."""

    num_frames = 16

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.odds = odds_of(self.library.clip_captions)
        self.text = FrozenText()
        self.alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the denoiser; before training it draws sixteen frames that do not know of each other."""
        network: nn.Module = UNet3DConditionModel(**CONFIG)
        start_from_image_model(network)
        silence_temporal(network)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch of stills or clips."""
        if random.step % self.still_every == 0:
            stills, captions = draw_stills(self.library, random, self.recipe.batch * self.num_frames)
            clean = stills.unsqueeze(2)
        else:
            clips, captions = draw_clips(self.library, random, self.recipe.batch, self.num_frames, self.odds)
            clean = clips.transpose(1, 2)
        context = self.text.encode(left_out(captions, random))
        noise = torch.randn(clean.shape, generator=random.noise)
        drawn = torch.rand(len(clean), generator=random.noise)
        times = (1000 * (drawn if clean.shape[2] == 1 else drawn.sqrt())).long()
        signal, spread = levels(self.alphas, times, clean.ndim)
        v = network(signal * clean + spread * noise, times, context).sample
        return (v - (signal * noise - spread * clean)).square().mean(), {"frames": float(clean.shape[2])}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `text_to_video/{unet,scheduler}` and the index of the pipeline."""
        folder = weights / "text_to_video"
        network.half().save_pretrained(folder / "unet")
        DPMSolverMultistepScheduler(**SCHEDULE, algorithm_type="dpmsolver++").save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "TextToVideoSDPipeline",
            "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet3DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def odds_of(captions: Sequence[str]) -> NDArray[np.float64]:
    """Returns how likely each clip is to be drawn: thrice if the camera moves, twice if there are two things.

    Of the library's 8,000 clips, 3,381 have a camera that stays and 6,409 one thing.
    """
    scenes = [parse(text) for text in captions]
    return np.array([(1.0 if s.camera == "stays" else 3.0) * len(s.things) for s in scenes])


def silence_temporal(network: nn.Module) -> None:
    """Sets the last layer of every temporal transformer to zero, so that it passes on what it reads."""
    for module in network.modules():
        if isinstance(module, TransformerTemporalModel):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
