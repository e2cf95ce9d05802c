"""I2VGen-XL in miniature: diffusers' own network, shown the conditioning frame on all four of its paths.

The frame reaches it as latents beside the noise (with the position of every later frame), as tokens made of those
latents, as tokens made of its image embedding, and with the text, which the image tokens join; the frame rate is heard
with the timestep. The branch of image latents counts twice, as in the released network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, I2VGenXLUNet
from torch import Tensor, nn

from baselines.i2vgen_xl.network import double_image_latents
from generators.mini.denoising import (
    CACHE,
    SCHEDULE,
    WEIGHTS,
    FrozenText,
    draw_from_looks,
    levels,
    start_from_image_model,
)
from generators.mini.latents import load_library
from generators.mini.tasks.text_to_video import CONFIG as TEXT_TO_VIDEO
from generators.mini.tasks.text_to_video import silence_temporal
from generators.mini.training import Recipe, StepRandom

CONFIG = TEXT_TO_VIDEO | {
    "attention_head_dim": 8,  # half the image model's, which costs it 2 % and makes the first temporal block affordable
}

TRAINING_FPS = 10
"""The one frame rate of the world; the pipeline has to be told the same."""


class I2vgenXlTask:
    """Denoising sixteen frames given the first and the text, with v-prediction.

    What guidance leaves out goes together, the text and the image embedding of one clip in ten; the latents stay.

    Source: Zhang et al., I2VGen-XL (arXiv:2311.04145), section 3.2; VGen tools/modules/unet/unet_i2vgen.py 263-323.
    """

    name = "i2vgen_xl"
    recipe = Recipe(steps=700, batch=8, learning_rate=1.5e-3, average=0.995)
    compiled: tuple[str, ...] = ()
    num_frames = 16

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.text = FrozenText()
        self.alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the network; before training it draws frames that know neither of each other nor of the first."""
        network: nn.Module = I2VGenXLUNet(**CONFIG)
        start_from_image_model(network)
        silence_temporal(network)
        double_image_latents(network)
        for kind in ("weight", "bias"):
            nn.init.zeros_(network.get_parameter(f"fps_embedding.2.{kind}"))
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        count = self.recipe.batch
        clips, captions, rows, columns = draw_from_looks(self.library, random, count, self.num_frames)
        clean = clips.transpose(1, 2)
        told = random.scenes.random(count) > 0.1
        context = self.text.encode(
            [text if t else "" for text, t in zip(captions, told, strict=True)], penultimate=True
        )
        shown = torch.as_tensor(told).float().view(-1, 1, 1)
        look = self.library.looks[rows, columns].float().unsqueeze(1) * shown
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, 1000, (count,), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        v = network(
            signal * clean + spread * noise,
            times,
            fps=torch.full((count,), TRAINING_FPS),
            image_latents=with_positions(clean[:, :, :1], self.num_frames),
            image_embeddings=look,
            encoder_hidden_states=context,
        ).sample
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `i2vgen_xl/{unet,scheduler}` and the index of the pipeline; encoders and autoencoder are shared."""
        folder = weights / "i2vgen_xl"
        network.half().save_pretrained(folder / "unet")
        DDIMScheduler(**SCHEDULE, clip_sample=False).save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "I2VGenXLPipeline",
            "scheduler": ["diffusers", "DDIMScheduler"],
            "unet": ["diffusers", "I2VGenXLUNet"],
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def with_positions(first: Tensor, num_frames: int) -> Tensor:
    """Returns image latents [B, 4, num_frames, h, w]: the first frame's [B, 4, 1, h, w], then planes k / (frames - 1).

    Source: diffusers' `I2VGenXLPipeline.prepare_image_latents`.
    """
    planes = torch.linspace(0, 1, num_frames).view(1, 1, -1, 1, 1).expand(*first.shape[:2], -1, *first.shape[3:])
    return torch.cat([first, planes[:, :, 1:]], dim=2)
