"""What the miniature learns from: windows of latents with the frames before them, made once and kept on the device.

While streaming, the given frames are decoded latents of the network's own making. So what is learned from has passed
through the temporal autoencoder once more than the window has, and is spoilt by a random amount in every step, while
the window to be made stays clean: the network learns to go on from such frames without adding to their faults.

Example:
    >>> windows = load_windows(sizes, cache, weights)   # doctest: +SKIP
    >>> windows.latents.shape                           # doctest: +SKIP
    torch.Size([4000, 4, 15, 8, 8])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import T5EncoderModel

from baselines.networks.miniature_t5 import build_t5_tokenizer, encode_captions
from baselines.opensora.continuation import load_opensora_vae
from baselines.opensora.training import NUM_FRAMES
from baselines.opensora.vae import STRETCH_FRAMES, OpenSoraVAE
from baselines.streaming_opensora.network import MemoryConfig, known_frames
from generators.api import Frames
from generators.mini.data import as_pixels
from generators.mini.latents import SHARED, kept_in, load_library
from generators.mini.rendered import by_all_cores, scene_of
from generators.mini.windows import load_views

TOGETHER = 100
"""Clips that are encoded together."""

GIVEN_SPOILT = 0.2
"""Largest standard deviation of what is added to given latents (of unit variance) in a training step."""


@dataclass(frozen=True)
class FlowWindows:
    """Training windows, all tensors on the default device.

    Attributes:
        latents: windows [N, 4, T, 8, 8], normalised as the transformer takes them.
        known: what is given of their first frames, likewise, [N, 4, known latents, 8, 8].
        memory: what CAM reads of the frames before, likewise, [N, 4, memory latents, 8, 8].
        tokens: captions [N, L, C].
        mask: [N, L], 1 for a token, 0 for padding.
        anchors: [N, ANCHORS, W], image embeddings of earlier frames.
        grey: [W], image embedding of mid grey, which stands for no anchor.
    """

    latents: Tensor
    known: Tensor
    memory: Tensor
    tokens: Tensor
    mask: Tensor
    anchors: Tensor
    grey: Tensor


def load_windows(sizes: MemoryConfig, cache: Path, weights: Path) -> FlowWindows:
    """Returns the windows of the library's clips that have anchors; their latents are made if not in `cache`.

    A window is the library's clip, and what lies before it is rendered and encoded here.

    Args:
        sizes: of the network that is trained.
        cache: where they are kept.
        weights: folder of the miniature weights.
    """
    library = load_library(cache, weights)
    views = load_views(library, cache, weights)
    count = len(views.anchors)
    networks = (weights / "opensora" / "vae", weights / SHARED)
    path = kept_in(cache, f"streaming_opensora_{sizes.known_latents}", *networks)
    if not path.exists():
        _make(path, weights, library.clips[:count], STRETCH_FRAMES - known_frames(sizes.known_latents))
    state = load_file(path, device=str(torch.get_default_device()))
    tokens, mask = _read_captions(library.clip_captions[:count], weights / "opensora" / "text_encoder")
    return FlowWindows(**state, tokens=tokens, mask=mask, anchors=views.anchors.float(), grey=views.grey.float())


def render_before(numbers: Sequence[int], frames: int) -> Frames:
    """Returns the `frames` frames before each of those clips of the library, [len(numbers), frames, 64, 64, 3]."""
    return np.stack([clip.render_at(begin + np.arange(-frames, 0)) for clip, _, begin in map(scene_of, numbers)])


@torch.no_grad()
def _make(path: Path, weights: Path, clips: Tensor, before: int) -> None:
    vae = load_opensora_vae(
        weights / "opensora" / "vae",
        str(torch.get_default_device()),
        torch.float32,
        frame_vae=weights / SHARED,
    )
    earlier = np.concatenate(by_all_cores(partial(render_before, frames=before), len(clips))) if before else None
    parts: dict[str, list[Tensor]] = {"latents": [], "known": [], "memory": []}
    for begin in range(0, len(clips), TOGETHER):
        images = clips[begin : begin + TOGETHER, :NUM_FRAMES].float().transpose(1, 2)
        if earlier is not None:
            images = torch.cat([encode_before(vae, torch.as_tensor(earlier[begin : begin + TOGETHER])), images], dim=2)
        for name, value in encode_window(vae, images, before).items():
            parts[name].append(value.half())
    state = {name: torch.cat(values).contiguous() for name, values in parts.items()}
    save_file(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def encode_before(vae: OpenSoraVAE, frames: Tensor) -> Tensor:
    """Returns image latents [B, 4, T, 8, 8], as in the library, of uint8 frames [B, T, 64, 64, 3]; all at once."""
    half = vae.spatial_vae
    mean: Tensor = half.module.encode(as_pixels(frames).flatten(0, 1)).latent_dist.mean
    return torch.unflatten(mean * half.config.scaling_factor, 0, frames.shape[:2]).transpose(1, 2)


def encode_window(vae: OpenSoraVAE, images: Tensor, before: int) -> dict[str, Tensor]:
    """Returns `latents`, `known` and `memory` of image latents [B, 4, before + frames of a window, h, w].

    Args:
        vae: its temporal half is used.
        images: image latents of the frames.
        before: frames of the memory's stretch that lie before the window.
    """

    def encode(frames: Tensor) -> Tensor:
        mean: Tensor = vae.temporal_vae.encode(frames)[0]
        return (mean - vae.shift) / vae.scale

    shown = vae.temporal_vae.decode(vae.temporal_vae.encode(images[:, :, :STRETCH_FRAMES])[0], STRETCH_FRAMES)
    stretches = torch.split(images[:, :, before:], STRETCH_FRAMES, dim=2)
    return {
        "latents": torch.cat([encode(stretch) for stretch in stretches], dim=2),
        "known": encode(shown[:, :, before:]),
        "memory": encode(shown),
    }


@torch.no_grad()
def _read_captions(captions: list[str], folder: Path) -> tuple[Tensor, Tensor]:
    encoder = T5EncoderModel.from_pretrained(folder, torch_dtype=torch.float32).eval().to(torch.get_default_device())
    tokenizer = build_t5_tokenizer()
    parts = [encode_captions(encoder, tokenizer, captions[i : i + 500]) for i in range(0, len(captions), 500)]
    return torch.cat([tokens for tokens, _ in parts]), torch.cat([mask for _, mask in parts])
