"""Clips of the world encoded once to latents, so that training a video model renders and encodes nothing.

The file holds two sets: whole clips for motion, and single frames of many more clips for looks.

Example:
    >>> library = load_library(Path("generators/mini/cache"), Path("generators/mini/weights"))  # doctest: +SKIP
    >>> library.clips.shape  # doctest: +SKIP
    torch.Size([8000, 51, 4, 8, 8])
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import CLIPVisionModelWithProjection

from generators.mini.data import as_pixels
from generators.mini.rendered import CLIPS, STILLS, load_captions, load_rendered
from generators.mini.tasks.clip import normalise

SHARED, LIGHT = "text_to_video/vae", "refiner/vae"
"""Folders of the two autoencoders in `weights/` (see `generators.mini.tasks.autoencoder`)."""

LOOK_EVERY = 5
"""Every how many frames of a clip its image embedding is kept."""


@dataclass(frozen=True)
class Library:
    """Latents at unit variance (posterior mean times the scaling factor) with their captions, on the default device.

    Attributes:
        clips: [CLIPS, CLIP_FRAMES, 4, 8, 8] float16.
        clip_captions: one per clip.
        looks: [CLIPS, n, 96] float16, image embeddings of frames 0, LOOK_EVERY, 2 LOOK_EVERY ... of each clip.
        stills: [STILLS, 4, 8, 8] float16.
        still_captions: one per still.
        scaling_factor: of the autoencoder; latents divided by it are what the encoder gives.
        autoencoder: its folder in `weights/`.
    """

    clips: Tensor
    clip_captions: list[str]
    looks: Tensor
    stills: Tensor
    still_captions: list[str]
    scaling_factor: float
    autoencoder: str = SHARED


def kept_in(cache: Path, name: str, *networks: Path) -> Path:
    """Returns the file that keeps what these networks make of the rendered frames.

    Its name ends in a hash of their files: a network that is trained anew never meets what its predecessor made.
    """
    digest = hashlib.sha256()
    for file in sorted(file for folder in networks for file in folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return cache / f"{name}_{digest.hexdigest()[:8]}.safetensors"


def load_library(cache: Path, weights: Path, autoencoder: str = SHARED) -> Library:
    """Returns the latents, made (from rendered frames and two networks in `weights`) if not in `cache`."""
    networks = (weights / autoencoder, weights / "svd" / "image_encoder")
    path = kept_in(cache, f"latents_{autoencoder.replace('/', '_')}", *networks)
    if not path.exists():
        _make(path, weights, autoencoder)
    with safe_open(path, framework="pt", device=str(torch.get_default_device())) as file:
        return Library(
            file.get_tensor("clips"),
            load_captions(cache, "clip", CLIPS),
            file.get_tensor("looks"),
            file.get_tensor("stills"),
            load_captions(cache, "still", STILLS),
            float(file.metadata()["scaling_factor"]),
            autoencoder,
        )


@torch.no_grad()
def _make(path: Path, weights: Path, autoencoder: str) -> None:
    device = torch.get_default_device()
    vae = AutoencoderKL.from_pretrained(weights / autoencoder, torch_dtype=torch.float32).eval().to(device)
    vae.to(memory_format=torch.channels_last)
    encoder = CLIPVisionModelWithProjection.from_pretrained(
        weights / "svd" / "image_encoder", torch_dtype=torch.float32
    )
    encoder.eval().to(device)
    factor = float(vae.config.scaling_factor)

    def encode(frames: Tensor) -> Tensor:
        mean: Tensor = vae.encode(frames.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        return mean.mul(factor).half()

    rendered = load_rendered(path.parent)
    clips, looks = [], []
    for part in torch.split(rendered.clips, 4):
        frames = as_pixels(part)
        clips.append(torch.unflatten(encode(frames.flatten(0, 1)), 0, frames.shape[:2]))
        seen = frames[:, ::LOOK_EVERY]
        looks.append(encoder(image_encoder_pixels(seen.flatten(0, 1))).image_embeds.half().unflatten(0, seen.shape[:2]))
    tensors = {
        "clips": torch.cat(clips),
        "looks": torch.cat(looks),
        "stills": torch.cat([encode(as_pixels(part)) for part in torch.split(rendered.stills, 200)]),
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        path.with_suffix(".tmp"),
        {"scaling_factor": str(factor)},
    )
    path.with_suffix(".tmp").replace(path)


def image_encoder_pixels(frames: Tensor) -> Tensor:
    """Returns frames [N, 3, H, W] in -1..1 as the image encoder expects them, [N, 3, 224, 224]."""
    large = interpolate(frames, size=(224, 224), mode="bicubic", align_corners=False, antialias=True)
    return normalise(large / 2 + 0.5)
