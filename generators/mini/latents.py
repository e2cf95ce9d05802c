"""Clips of the world encoded once to latents, so that training a video model renders and encodes nothing.

The file holds two sets: whole clips for motion, and single frames of many more clips for looks.

Example:
    >>> library = load_library(Path("generators/mini/cache"), Path("generators/mini/weights"))  # doctest: +SKIP
    >>> library.clips.shape  # doctest: +SKIP
    torch.Size([2400, 25, 4, 8, 8])
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import CLIPVisionModelWithProjection

from generators.mini.data import random_clip, to_tensor
from generators.mini.tasks.clip import normalise
from generators.mini.training import StepRandom

CLIPS, CLIP_FRAMES, STILLS = 2400, 25, 15000
"""Whole clips, frames in each, and further single frames."""


@dataclass(frozen=True)
class Library:
    """Latents at unit variance (posterior mean times the scaling factor) with their captions.

    Attributes:
        clips: [CLIPS, LENGTH, 4, 8, 8] float16.
        clip_captions: one per clip.
        looks: [CLIPS, 96] float16, image embedding of each clip's first frame.
        stills: [STILLS, 4, 8, 8] float16.
        still_captions: one per still.
        scaling_factor: of the autoencoder; latents divided by it are what the encoder gives.
    """

    clips: Tensor
    clip_captions: list[str]
    looks: Tensor
    stills: Tensor
    still_captions: list[str]
    scaling_factor: float


def load_library(cache: Path, weights: Path) -> Library:
    """Returns the latents, made (in some minutes, from two networks in `weights`) if not in `cache`."""
    path = cache / "latents.safetensors"
    if not path.exists():
        _make(path, weights)
    with safe_open(path, framework="pt") as file:
        notes = file.metadata()
        return Library(
            file.get_tensor("clips"),
            json.loads(notes["clip_captions"]),
            file.get_tensor("looks"),
            file.get_tensor("stills"),
            json.loads(notes["still_captions"]),
            float(notes["scaling_factor"]),
        )


@torch.no_grad()
def _make(path: Path, weights: Path) -> None:
    vae = AutoencoderKL.from_pretrained(weights / "text_to_video" / "vae", torch_dtype=torch.float32).eval()
    vae.to(memory_format=torch.channels_last)
    vae.encoder.compile()
    encoder = CLIPVisionModelWithProjection.from_pretrained(
        weights / "svd" / "image_encoder", torch_dtype=torch.float32
    )
    rng = StepRandom.of("library", 0).scenes

    def encode(frames: Tensor) -> Tensor:
        frames = frames.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            mean: Tensor = vae.encode(frames).latent_dist.mean
        return mean.float().mul(float(vae.config.scaling_factor)).half()

    clips, clip_captions, looks, stills, still_captions = [], [], [], [], []
    for _ in range(CLIPS):
        clip, text = random_clip(rng)
        frames = to_tensor(clip.render_at(np.arange(CLIP_FRAMES) + rng.uniform(0, 200)))
        clips.append(encode(frames))
        clip_captions.append(text)
        looks.append(encoder(image_encoder_pixels(frames[:1])).image_embeds.half())
    for _ in range(STILLS // CLIP_FRAMES):  # the same batch as a clip, so that one compiled graph serves
        pairs = [random_clip(rng) for _ in range(CLIP_FRAMES)]
        frames = to_tensor(np.concatenate([clip.render_at(rng.uniform(0, 200, 1)) for clip, _ in pairs]))
        stills.append(encode(frames))
        still_captions += [text for _, text in pairs]
    tensors = {"clips": torch.stack(clips), "looks": torch.cat(looks), "stills": torch.cat(stills)}
    notes = {
        "clip_captions": json.dumps(clip_captions),
        "still_captions": json.dumps(still_captions),
        "scaling_factor": str(vae.config.scaling_factor),
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path.with_suffix(".tmp"), notes)
    path.with_suffix(".tmp").replace(path)


def image_encoder_pixels(frames: Tensor) -> Tensor:
    """Returns frames [N, 3, H, W] in -1..1 as the image encoder expects them, [N, 3, 224, 224]."""
    large = interpolate(frames, size=(224, 224), mode="bicubic", align_corners=False, antialias=True)
    return normalise(large / 2 + 0.5)
