"""One window of StreamingT2V on OpenSora: the frames before it in, its new frames out.

Given latents are held fixed by the masked rectified flow, as in OpenSora; where fewer latents are given than a stretch
of the autoencoder has, the window is decoded whole and the frames that were given are dropped, so that the join lies
inside of a stretch.

Example:
    >>> new_frames(51, known_latents=3), new_frames(51, known_latents=5)
    (42, 34)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from baselines.networks.text_embeddings import TextEmbedding
from baselines.opensora.continuation import OpenSoraSampling, as_frames, as_video, beside_empty_text, draw_latents
from baselines.opensora.vae import STRETCH_FRAMES, STRETCH_LATENTS, OpenSoraVAE
from baselines.streaming_opensora.network import StreamingSTDiT3, Text, VideoFormat, known_frames
from generators.api import Frames


def new_frames(num_frames: int, known_latents: int) -> int:
    """Returns how many frames a window adds to the video."""
    return num_frames - known_frames(known_latents)


@torch.no_grad()
def continue_history(
    network: StreamingSTDiT3,
    vae: OpenSoraVAE,
    text: TextEmbedding,
    images: Tensor,
    history: Frames,
    settings: OpenSoraSampling,
    generator: torch.Generator,
) -> Frames:
    """Returns the new frames of a window, [T, H, W, 3].

    With all of the memory's latents given, and a network at initialisation, these are OpenSora's, bit for bit.

    Args:
        network: the transformer with its memories.
        vae: the autoencoder.
        text: the prompt; guidance sets the empty text beside it.
        images: embeddings of the anchor frame and of mid grey, [2, W]; grey stands beside the empty text.
        history: the last 17 frames of the video; H and W multiples of 8.
        settings: how the window is drawn.
        generator: all noise of the window, on the CPU.
    """
    sizes, base = network.config, network.base
    weight = base.x_embedder.proj.weight
    known = history[-known_frames(sizes.known_latents) :]
    given = vae.encode(as_video(known).to(weight), generator).float()
    seen = vae.encode(as_video(history).to(weight))  # the posterior's mean: no draw, so that OpenSora's draws stay
    height, width = history.shape[1:3]
    tokens, keep = beside_empty_text(base, text)
    video = VideoFormat(torch.full((2,), settings.fps, device=weight.device), height, width)
    memory = network.remember(seen.repeat(2, 1, 1, 1, 1), images.to(weight), Text(tokens, keep), video)

    def predict(latents: Tensor, t: Tensor, live: Tensor | None) -> Tensor:
        out: Tensor = network(latents, t, memory, live)
        return out

    finished = draw_latents(predict, given, settings, (height, width), generator)
    whole = given.shape[2] // STRETCH_LATENTS
    fresh = finished[:, :, whole * STRETCH_LATENTS :].to(weight.dtype)
    drawn = as_frames(vae.decode(fresh, settings.num_frames - whole * STRETCH_FRAMES))
    return np.ascontiguousarray(drawn[-new_frames(settings.num_frames, sizes.known_latents) :])
