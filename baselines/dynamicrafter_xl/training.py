"""DynamiCrafter in miniature: VideoCrafter's network shown the first frame twice, and its resampler, trained together.

The frame's latents stand beside the noise of every frame, and its tokens, four for each frame of the clip, reach the
cross attention through keys and values of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPVisionModel

from baselines.dynamicrafter_xl.network import DynamiCrafterUNet, ImageCrossAttention
from baselines.dynamicrafter_xl.resampler import Resampler
from baselines.freenoise.training import CONFIG, TRAINING_FPS, start_video_network, trailing_alphas
from baselines.networks.clip_encoders import encode_image, load_image_tower
from baselines.networks.ddim import TRAIN_STEPS
from generators.mini.denoising import CACHE, WEIGHTS, FrozenText, draw_from_looks, levels
from generators.mini.latents import LOOK_EVERY, Library, load_library
from generators.mini.tokenizer import LENGTH as TEXT_TOKENS
from generators.mini.training import Recipe, StepRandom
from generators.pipelines import PipelineSettings

NUM_FRAMES, FRAME_TOKENS = 16, 4
"""Frames of a clip, and image tokens that each of them sees: a quarter of the released 16, for fewer patches."""

RESAMPLER = {
    "width": 48,
    "depth": 1,
    "head_channels": 16,
    "heads": 4,
    "frame_tokens": FRAME_TOKENS,
    "num_frames": NUM_FRAMES,
    "image_width": 96,
    "context_width": 96,
}

IMAGE_LEFT_OUT = 0.05
"""Share of clips without text, without image and without both. Source: DynamiCrafter's configs (`uncond_prob`)."""


class DynamiCrafterXlTask:
    """Denoising sixteen frames given the first and the text, with v-prediction down to zero signal.

    Without image means the tokens of a grey one, as at inference; the latents beside the noise always stay.
    """

    name = "dynamicrafter_xl"
    recipe = Recipe(steps=700, batch=8, learning_rate=1.5e-3, average=0.995)
    compiled: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.text = FrozenText()
        self.first_frames = FirstFrames(self.library)
        self.alphas = trailing_alphas()

    def build(self) -> nn.Module:
        """Returns the network and its resampler; before training it draws what the image model draws."""
        unet = DynamiCrafterUNet(**CONFIG, text_tokens=TEXT_TOKENS, frame_tokens=FRAME_TOKENS, default_fps=TRAINING_FPS)
        start_video_network(unet)
        for module in unet.modules():
            if isinstance(module, ImageCrossAttention):
                nn.init.zeros_(module.to_v_ip.weight)
        return nn.ModuleDict({"unet": unet, "image_projection": Resampler(**RESAMPLER)})

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        count = self.recipe.batch
        # From few places of a clip, so that few different first frames have to be decoded and looked at.
        clips, captions, rows, columns = draw_from_looks(self.library, random, count, NUM_FRAMES)
        clean = clips.transpose(1, 2)
        chance = random.scenes.random(count)
        told = [text if c >= 2 * IMAGE_LEFT_OUT else "" for text, c in zip(captions, chance, strict=True)]
        shown = [c < IMAGE_LEFT_OUT or c >= 3 * IMAGE_LEFT_OUT for c in chance]
        places = zip(rows.tolist(), (LOOK_EVERY * columns).tolist(), shown, strict=True)
        tokens = self.first_frames.tokens([(row, frame) if known else None for row, frame, known in places])
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, TRAIN_STEPS, (count,), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        noisy = torch.cat([signal * clean + spread * noise, clean[:, :, :1].expand_as(clean)], dim=1)
        text = self.text.encode(told, penultimate=True)
        image = network["image_projection"](tokens)
        v = network["unet"](noisy, times, text, image, torch.full((count,), TRAINING_FPS))
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `dynamicrafter_xl/{unet,image_projection}`; encoders and autoencoder are shared."""
        for part in ("unet", "image_projection"):
            network[part].half().save_pretrained(weights / "dynamicrafter_xl" / part)


class FirstFrames:
    """What the image encoder sees in frames of the library, decoded when first asked for and kept."""

    def __init__(self, library: Library, weights: Path = WEIGHTS) -> None:
        self._library = library
        device = torch.get_default_device()
        vae = AutoencoderKL.from_pretrained(weights / library.autoencoder, torch_dtype=torch.float32).eval()
        self._vae = vae.to(device)
        self._tower: CLIPVisionModel = load_image_tower(weights / "svd", PipelineSettings(device=str(device)))
        self._known: dict[tuple[int, int] | None, Tensor] = {}

    @torch.no_grad()
    def tokens(self, places: Sequence[tuple[int, int] | None]) -> Tensor:
        """Returns the image tokens [len(places), 65, 96] of frames given as (clip, frame); None is a grey frame."""
        missing = [place for place in dict.fromkeys(places) if place not in self._known]
        if missing:
            seen = encode_image(self._tower, self._frames(missing))
            self._known.update(zip(missing, seen, strict=True))
        return torch.stack([self._known[place] for place in places])

    def _frames(self, places: Sequence[tuple[int, int] | None]) -> Tensor:
        rows, columns = zip(*(place or (0, 0) for place in places), strict=True)
        latents = self._library.clips[list(rows), list(columns)].float() / self._library.scaling_factor
        frames: Tensor = self._vae.decode(latents).sample.clamp(-1, 1)
        grey = torch.as_tensor([place is None for place in places])
        return frames.masked_fill(grey[:, None, None, None], 0.0)
