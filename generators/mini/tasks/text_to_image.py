"""The text-to-image model of the miniature world: its Stable Diffusion, from which every U-Net of the project starts.

Looks are learned here, where they are cheap: a frame costs an eighth of what it costs in a video network. The text
encoder is trained with it and frozen afterwards; one trained to match single frames with captions forgets the words
that single frames do not show, and motion is most of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from generators.mini.denoising import CACHE, SCHEDULE, WEIGHTS, draw_stills, left_out, levels, read_tokens
from generators.mini.latents import load_library
from generators.mini.tasks.clip import IMAGE_ENCODER_TEXT
from generators.mini.tokenizer import LENGTH, build_tokenizer
from generators.mini.training import Recipe, StepRandom

CONFIG = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 96,
    "attention_head_dim": (2, 4),  # heads, whatever the name says: 16 channels in each
    "use_linear_projection": True,  # as in Stable Diffusion 2, whose family the video networks' blocks belong to
}

TEXT = IMAGE_ENCODER_TEXT | {"max_position_embeddings": LENGTH}


class TextToImageTask:
    """Denoising single frames with v-prediction; one caption in ten is left out, for guidance."""

    name = "text_to_image"
    recipe = Recipe(steps=5000, batch=96, learning_rate=2e-3, average=0.998)
    compiled: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.tokenizer = build_tokenizer()
        self.alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the denoiser and its text encoder at initialisation."""
        return nn.ModuleDict({"unet": UNet2DConditionModel(**CONFIG), "text": CLIPTextModel(CLIPTextConfig(**TEXT))})

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        clean, captions = draw_stills(self.library, random, self.recipe.batch)
        told = left_out(captions, random)
        context = network["text"](read_tokens(self.tokenizer, told)).last_hidden_state
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, 1000, (len(clean),), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        v = network["unet"](signal * clean + spread * noise, times, context).sample
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `text_to_image/unet` and, for every method to share, `text_to_video/{text_encoder,tokenizer}`."""
        network["unet"].half().save_pretrained(weights / "text_to_image" / "unet")
        network["text"].half().save_pretrained(weights / "text_to_video" / "text_encoder")
        self.tokenizer.save_pretrained(weights / "text_to_video" / "tokenizer")
