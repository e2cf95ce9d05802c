"""What the miniature refiner learns from: clips at its own size, each beside the same clip as a generator draws it.

A generator's video is small, a little blurred, grainy, and went through the autoencoder with faults in its latents. So
a clip is rendered twice: at 128 pixels, which is the truth, and at 64 pixels, which is spoilt in these ways and
enlarged. Rendering takes every core there is; the networks run on the device. Both are kept as latents.

Example:
    >>> pairs = load_pairs(3000, Path("cache"), Path("weights"), torch.device("cpu"))  # doctest: +SKIP
    >>> pairs.clean.shape  # doctest: +SKIP
    torch.Size([3000, 24, 4, 16, 16])
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from generators.api import Frames
from generators.mini.data import random_clip, to_tensor
from generators.mini.latents import LIGHT, kept_in
from generators.mini.rendered import map_by_all_cores
from generators.mini.training import StepRandom
from generators.mini.windows import spoil_latents
from generators.streaming_t2v.encoders import LatentCodec

LARGE = 128
"""Side of a refined frame in pixels."""

FRAMES = 24
"""Frames of a refiner's chunk."""

BLUR, GRAIN = 1.2, 0.1
"""Largest standard deviation of the blur, in pixels of a small frame, and of its grain, in units of -1..1."""


@dataclass(frozen=True)
class Pairs:
    """Latents of both versions at unit variance.

    Attributes:
        clean: [clips, FRAMES, 4, LARGE / 8, LARGE / 8] float16, of the clip rendered at full size.
        spoilt: the same shape, of the spoilt small clip enlarged.
        captions: one per clip.
    """

    clean: Tensor
    spoilt: Tensor
    captions: list[str]


def load_pairs(clips: int, cache: Path, weights: Path, device: torch.device) -> Pairs:
    """Returns the pairs on the CPU, made if not in `cache`.

    Args:
        clips: how many.
        cache: where they are kept.
        weights: folder of the miniature weights, for the autoencoder.
        device: where the autoencoder runs; the noise that spoils is drawn there.
    """
    path = kept_in(cache, f"pairs_{clips}", weights / LIGHT)
    if not path.exists():
        with device:
            _make(path, clips, weights, device)
    with safe_open(path, framework="pt") as file:
        return Pairs(file.get_tensor("clean"), file.get_tensor("spoilt"), json.loads(file.metadata()["captions"]))


def render_both(number: int) -> tuple[Frames, Frames, str]:
    """Returns clip `number` of the pairs at both sizes, [FRAMES, side, side, 3], and its caption."""
    rng = StepRandom.of("pairs", number).scenes
    clip, caption = random_clip(rng)
    times = np.arange(FRAMES) + rng.uniform(0, 200)
    return clip.render_at(times, LARGE), clip.render_at(times), caption


def worsened(frames: Tensor, codec: LatentCodec, random: StepRandom) -> Tensor:
    """Returns small frames [T, 3, h, w] in -1..1 as a generator would draw them; most are spoilt a little only."""
    blur, grain = np.array([BLUR, GRAIN]) * random.scenes.random(2) ** 2
    frames = blurred(frames, float(blur))
    frames = frames + float(grain) * torch.randn(frames.shape, generator=random.noise, device=random.noise.device)
    decoded = codec.decode(spoil_latents(codec.encode(frames.clamp(-1, 1)), random.noise))
    return ((decoded + 1) * 127.5).round() / 127.5 - 1


def blurred(frames: Tensor, sigma: float) -> Tensor:
    """Returns frames [T, C, H, W] under a Gaussian of standard deviation `sigma` pixels."""
    reach = max(1, math.ceil(4 * sigma))
    places = torch.arange(-reach, reach + 1, device=frames.device, dtype=frames.dtype)
    kernel = torch.exp(-places.square() / (2 * max(sigma, 1e-3) ** 2))
    kernel = (kernel / kernel.sum()).expand(frames.shape[1], 1, 1, -1)
    for shape in (kernel, kernel.transpose(2, 3)):
        rows, columns = shape.shape[2] // 2, shape.shape[3] // 2
        wide = pad(frames, (columns, columns, rows, rows), mode="replicate")
        frames = conv2d(wide, shape, groups=frames.shape[1])
    return frames


def enlarged_clip(frames: Tensor, random: StepRandom) -> Tensor:
    """Returns frames [T, 3, LARGE, LARGE] in -1..1, by the refiner's bicubic filter or a bilinear one."""
    mode = "bicubic" if random.scenes.random() < 0.5 else "bilinear"
    return interpolate(frames, size=(LARGE, LARGE), mode=mode, antialias=True).clamp(-1, 1)


@torch.no_grad()
def _make(path: Path, clips: int, weights: Path, device: torch.device) -> None:
    vae = AutoencoderKL.from_pretrained(weights / LIGHT, torch_dtype=torch.float32).eval()
    codec = LatentCodec(vae.to(device, memory_format=torch.channels_last), batch=FRAMES)
    noise = torch.Generator(device).manual_seed(0)
    clean, spoilt, captions = [], [], []
    for number, (large, small, caption) in enumerate(map_by_all_cores(render_both, range(clips))):
        random = StepRandom(number, StepRandom.of("pairs-spoilt", number).scenes, noise)
        clean.append(codec.encode(to_tensor(large)).half().cpu())
        worse = enlarged_clip(worsened(to_tensor(small).to(device), codec, random), random)
        spoilt.append(codec.encode(worse).half().cpu())
        captions.append(caption)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"clean": torch.stack(clean).contiguous(), "spoilt": torch.stack(spoilt).contiguous()}
    save_file(tensors, path.with_suffix(".tmp"), {"captions": json.dumps(captions)})
    path.with_suffix(".tmp").replace(path)
