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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from generators.api import Frames
from generators.mini.data import to_tensor
from generators.mini.denoising import CACHE, WEIGHTS, FrozenText
from generators.mini.latents import Library, kept_in, load_library
from generators.mini.rendered import by_all_cores, scene_of
from generators.mini.training import StepRandom
from generators.streaming_t2v.clips import Sample
from generators.streaming_t2v.encoders import ImageEncoder, LatentCodec
from generators.streaming_t2v.network import NetworkConfig

CLIPS, SHOWN = 4000, 24
"""Clips of the library that are decoded, and how many of their first frames are."""

ANCHORS, REACH = 4, 220
"""Anchor frames of each clip, and how many frames before it they may lie."""

SPOILT = 0.3
"""Largest standard deviation of what is added to latents (of unit variance) before they are decoded."""


@dataclass(frozen=True)
class Views:
    """What the frozen networks make of clips of the library, the first of them in their order.

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
        clip = int(rng.integers(len(self.views.frames)))
        start = int(rng.integers(self.views.frames.shape[1] - self.config.conditioning_frames + 1))
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
    library, text = load_library(CACHE, WEIGHTS), FrozenText()
    views = load_views(library)
    text.encode(library.clip_captions[: len(views.frames)])  # all at once, so that no step waits for it
    return Windows(library, views, text, config)


def load_views(library: Library, cache: Path = CACHE, weights: Path = WEIGHTS) -> Views:
    """Returns the views of the library's clips, made (in some minutes) if not in `cache`.

    Args:
        library: the clips.
        cache: where they are kept.
        weights: folder of the miniature weights: autoencoder and image encoder.
    """
    networks = (weights / library.autoencoder, weights / "svd" / "image_encoder")
    path = kept_in(cache, f"views_{library.autoencoder.replace('/', '_')}", *networks)
    if not path.exists():
        _make(path, library, weights)
    state = load_file(path, str(torch.get_default_device()))
    return Views(state["spoilt"], state["frames"], state["anchors"], state["grey"])


@torch.no_grad()
def _make(path: Path, library: Library, weights: Path) -> None:
    device = torch.get_default_device()
    vae = AutoencoderKL.from_pretrained(weights / library.autoencoder, torch_dtype=torch.float32).eval().to(device)
    codec = LatentCodec(vae.to(memory_format=torch.channels_last), batch=10 * SHOWN)
    encoder = CLIPVisionModelWithProjection.from_pretrained(
        weights / "svd" / "image_encoder", torch_dtype=torch.float32
    )
    look = ImageEncoder(encoder.eval().to(device))
    noise = StepRandom.of("views", 0).noise
    spoilt = torch.stack([spoil_latents(clip[:SHOWN].float(), noise) for clip in library.clips[:CLIPS]])
    frames = [
        ((codec.decode(part.flatten(0, 1)) + 1) * 127.5).round().to(torch.uint8) for part in torch.split(spoilt, 10)
    ]
    earlier = np.concatenate(by_all_cores(_render_anchors, len(spoilt)))
    anchors = [look(to_tensor(part).to(device)) for part in np.array_split(earlier, len(spoilt))]
    state = {
        "spoilt": spoilt,
        "frames": torch.unflatten(torch.cat(frames), 0, spoilt.shape[:2]),
        "anchors": torch.stack(anchors),
        "grey": look(torch.zeros(1, 3, 64, 64))[0],
    }
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def _render_anchors(numbers: Sequence[int]) -> Frames:
    """Returns the anchor frames of those clips, [len(numbers) * ANCHORS, 64, 64, 3]."""
    frames = []
    for number in numbers:
        clip, _, begin = scene_of(number)
        frames.append(clip.render_at(begin - StepRandom.of("anchors", number).scenes.uniform(1, REACH, ANCHORS)))
    return np.concatenate(frames)


def spoil_latents(latents: Tensor, noise: torch.Generator) -> Tensor:
    """Returns latents [T, C, h, w] with faults like a generator's: of every frame, of all frames, and of the colour.

    The amount is random, and small for most clips.
    """
    amount = SPOILT * torch.rand(1, generator=noise) ** 2
    each, all_alike, colour = (
        torch.randn(shape, generator=noise)
        for shape in (latents.shape, (1, *latents.shape[1:]), (1, latents.shape[1], 1, 1))
    )
    return latents + amount * (each + all_alike + colour) / 3**0.5
