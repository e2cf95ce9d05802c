"""The text-to-video model of the miniature world: diffusers' `UNet3DConditionModel` on 8x8 latents of 16 frames.

It draws the shared first chunk and is the base model of StreamingT2V. Looks are learned from single frames first, then
motion from whole clips and looks by turns, as the large models do it. The text encoder is trained with it: one trained
to match single frames forgets the words that single frames do not show, and motion is most of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UNet3DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from generators.mini.latents import load_library
from generators.mini.tasks.clip import EYE_TEXT
from generators.mini.tokenizer import build_tokenizer
from generators.mini.training import Dice, Recipe

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

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
"""Nichol and Dhariwal's cosine schedule ends in pure noise, which small latents of bright and dark grounds need."""

HERE = Path(__file__).parents[1]


class TextToVideo:
    """Denoising with v-prediction; one caption in ten is left out, for guidance."""

    name = "text_to_video"
    recipe = Recipe(steps=4900, batch=8, learning_rate=1.5e-3, average=0.998)
    hot: tuple[str, ...] = ()
    still_steps = 1800
    """Steps on single frames before clips join, every second step; a step holds about as many frames of either."""

    num_frames = 16

    def __init__(self) -> None:
        self.library = load_library(HERE / "cache", HERE / "weights")
        self.tokenizer = build_tokenizer()
        self.alphas = DPMSolverMultistepScheduler(**SCHEDULE).alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the denoiser and its text encoder at initialisation."""
        return nn.ModuleDict(
            {"unet": UNet3DConditionModel(**CONFIG), "text": CLIPTextModel(CLIPTextConfig(**EYE_TEXT))}
        )

    def loss(self, network: Any, dice: Dice) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch of stills or clips."""
        stills = dice.step < self.still_steps or dice.step % 2 == 0
        clean, captions = self.stills(dice) if stills else self.clips(dice)
        told = [text if dice.scenes.random() > 0.1 else "" for text in captions]
        tokens = self.tokenizer(told, padding="max_length", truncation=True, return_tensors="pt").input_ids
        context = network["text"](tokens).last_hidden_state
        noise = torch.randn(clean.shape, generator=dice.noise)
        times = torch.randint(0, 1000, (len(clean),), generator=dice.noise)
        signal = self.alphas[times].sqrt().view(-1, 1, 1, 1, 1)
        spread = (1 - self.alphas[times]).sqrt().view(-1, 1, 1, 1, 1)
        v = network["unet"](signal * clean + spread * noise, times, context).sample.float()
        error = (v - (signal * noise - spread * clean)).square().mean(dim=(1, 2, 3, 4))
        return error.mean(), {"stills": float(stills)}

    def stills(self, dice: Dice) -> tuple[Tensor, list[str]]:
        """Returns single frames [batch * 12, 4, 1, 8, 8] and captions."""
        rows = dice.scenes.integers(len(self.library.stills), size=self.recipe.batch * 12)
        return self.library.stills[rows].float().unsqueeze(2), [self.library.still_captions[i] for i in rows]

    def clips(self, dice: Dice) -> tuple[Tensor, list[str]]:
        """Returns clips [batch, 4, 16, 8, 8] and captions."""
        rows = dice.scenes.integers(len(self.library.clips), size=self.recipe.batch)
        length = self.library.clips.shape[1]
        starts = dice.scenes.integers(length - self.num_frames + 1, size=self.recipe.batch)
        clips = [self.library.clips[i, s : s + self.num_frames] for i, s in zip(rows, starts, strict=True)]
        return torch.stack(clips).float().transpose(1, 2), [self.library.clip_captions[i] for i in rows]

    def export(self, network: Any, weights: Path) -> None:
        """Writes `text_to_video/{unet,text_encoder,tokenizer,scheduler}` and the index of the pipeline."""
        folder = weights / "text_to_video"
        network["unet"].half().save_pretrained(folder / "unet")
        network["text"].half().save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
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
