"""What StreamingT2V's miniature learns from: windows of latents with the frames that condition them while streaming.

While streaming, the conditioning frames are decoded latents of the network's own making, and they are a little worse
with every window. So the frames learned from are decoded, too, from latents that were spoiled by a random amount first,
while the window to be made stays clean: the network learns to go on from such frames without adding to their faults.
Anchor frames lie anywhere in the 220 frames before the window. All of it is made once and kept.

Example:
    >>> source = windows(config)                             # doctest: +SKIP
    >>> source.sample(np.random.default_rng(0)).frames.shape # doctest: +SKIP
    torch.Size([8, 3, 64, 64])
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from generators.mini.data import random_clip, to_tensor
from generators.mini.denoising import CACHE, WEIGHTS, FrozenText
from generators.mini.latents import CLIP_FRAMES, Library, load_library
from generators.mini.training import StepRandom
from generators.streaming_t2v.clips import Sample
from generators.streaming_t2v.encoders import ImageEncoder, LatentCodec
from generators.streaming_t2v.network import NetworkConfig

ANCHORS, REACH = 4, 220
"""Anchor frames of each clip, and how many frames before it they may lie."""

SPOILT = 0.3
"""Largest standard deviation of what is added to latents (of unit variance) before they are decoded."""


@dataclass(frozen=True)
class Views:
    """What the frozen networks make of every clip of the library.

    Attributes:
        spoilt: [clips, n, 4, 8, 8], latents of the first n frames of each clip with faults added.
        frames: [clips, n, 3, 64, 64] uint8, decoded from them.
        anchors: [clips, ANCHORS, 96], image embeddings of earlier frames.
        grey: [96], image embedding of mid grey, which stands for no anchor.
    """

    spoilt: Tensor
    frames: Tensor
    anchors: Tensor
    grey: Tensor


@dataclass(frozen=True)
class Windows:
    """Training samples of the streaming network from the library of latents.

    Attributes:
        library: clips of latents with captions.
        views: their frames and anchors.
        text: the frozen text encoder.
        config: sizes of the network that is trained.
        dropout: share of samples without caption and anchor.
    """

    library: Library
    views: Views
    text: FrozenText
    config: NetworkConfig
    dropout: float = 0.1

    def sample(self, rng: np.random.Generator) -> Sample:
        """Returns a sample that depends on the generator's state only."""
        clip = int(rng.integers(len(self.library.clips)))
        start = int(rng.integers(self.library.clips.shape[1] - self.config.window + 1))
        anchor, told = self.views.anchors[clip, rng.integers(ANCHORS)], rng.random() >= self.dropout
        known = slice(start, start + self.config.conditioning_frames)
        return Sample(
            latents=self.library.clips[clip, start : start + self.config.window].float().transpose(0, 1),
            frames=self.views.frames[clip, known].float() / 127.5 - 1,
            known=self.views.spoilt[clip, known].transpose(0, 1),
            text=self.text.encode([self.library.clip_captions[clip] if told else ""])[0],
            anchor=anchor if told else self.views.grey,
        )


def windows(config: NetworkConfig) -> Windows:
    """Returns the training samples for a network of these sizes."""
    library = load_library(CACHE, WEIGHTS)
    shown = CLIP_FRAMES - config.window + config.conditioning_frames
    return Windows(library, load_views(library, shown), FrozenText(), config)


def load_views(library: Library, shown: int, cache: Path = CACHE, weights: Path = WEIGHTS) -> Views:
    """Returns the views of the library's clips, made (in some minutes) if not in `cache`.

    Args:
        library: the clips.
        shown: frames of each clip that are decoded.
        cache: where they are kept.
        weights: folder of the miniature weights: autoencoder and image encoder.
    """
    path = cache / f"views_{shown}.safetensors"
    if not path.exists():
        _make(path, library, shown, weights)
    state = load_file(path)
    return Views(spoil_clips(library, shown), state["frames"], state["anchors"], state["grey"])


def spoil_clips(library: Library, shown: int) -> Tensor:
    """Returns the spoilt latents [clips, shown, 4, 8, 8] of the library's clips, always the same."""
    noise = StepRandom.of("views", 0).noise
    return torch.stack([spoil_latents(latents[:shown].float(), noise) for latents in library.clips])


@torch.no_grad()
def _make(path: Path, library: Library, shown: int, weights: Path) -> None:
    vae = AutoencoderKL.from_pretrained(weights / "text_to_video" / "vae", torch_dtype=torch.float32).eval()
    codec = LatentCodec(vae.to(memory_format=torch.channels_last), batch=shown)
    encoder = CLIPVisionModelWithProjection.from_pretrained(
        weights / "svd" / "image_encoder", torch_dtype=torch.float32
    )
    look = ImageEncoder(encoder.eval())
    frames = torch.empty(len(library.clips), shown, 3, 64, 64, dtype=torch.uint8)
    anchors = torch.empty(len(library.clips), ANCHORS, encoder.config.projection_dim)
    replayed, random = StepRandom.of("library", 0).scenes, StepRandom.of("views", 0)
    for number, spoilt in enumerate(spoil_clips(library, shown)):
        clip, text = random_clip(replayed)
        time = replayed.uniform(0, 200)
        if text != library.clip_captions[number]:
            raise ValueError(f"clip {number} of the library is not what its seed gives: delete {path.parent} to remake")
        with torch.autocast("cpu", torch.bfloat16):
            decoded = codec.decode(spoilt.contiguous(memory_format=torch.channels_last))
        frames[number] = ((decoded.float() + 1) * 127.5).round().to(torch.uint8)
        earlier = time - random.scenes.uniform(1, REACH, ANCHORS)
        anchors[number] = look(to_tensor(clip.render_at(earlier)))
    grey = look(torch.zeros(1, 3, 64, 64))[0]
    save_file({"frames": frames, "anchors": anchors, "grey": grey}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def spoil_latents(latents: Tensor, noise: torch.Generator) -> Tensor:
    """Returns latents [T, C, h, w] with faults like a generator's: of every frame, of all frames, and of the colour.

    The amount is random, and small for most clips.
    """
    amount = SPOILT * float(torch.rand(1, generator=noise)) ** 2
    each, all_alike, colour = (
        torch.randn(shape, generator=noise)
        for shape in (latents.shape, (1, *latents.shape[1:]), (1, latents.shape[1], 1, 1))
    )
    return latents + amount * (each + all_alike + colour) / 3**0.5
