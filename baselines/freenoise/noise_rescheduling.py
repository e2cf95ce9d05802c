"""How both FreeNoise systems start: one window of noise, repeated in shuffled order over the whole video.

Example:
    >>> covering(240, window=16, stride=4), covering(239, window=16, stride=4), covering(5, window=16, stride=4)
    (240, 240, 16)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baselines.padding import letterbox
from generators.api import Start

if TYPE_CHECKING:
    import torch

SHARED_STARTS = ("none", "noised")
"""Where the first window of noise comes from: random numbers (text only, as published), or the noised first chunk."""


def covering(num_frames: int, window: int, stride: int) -> int:
    """Returns the fewest frames, num_frames or more, that windows of this length and stride cover exactly."""
    return window + -(-max(num_frames - window, 0) // stride) * stride


def long_noise(first: torch.Tensor, num_frames: int, stride: int, generator: torch.Generator) -> torch.Tensor:
    """Returns noise [1, C, num_frames, h, w] whose every frame is one of the frames of `first` [1, C, window, h, w]."""
    import torch

    from baselines.freenoise.windows import reschedule_noise, shuffled_indices

    window = first.shape[2]
    noise = torch.cat([first, first.new_zeros(*first.shape[:2], num_frames - window, *first.shape[3:])], dim=2)
    return reschedule_noise(noise, shuffled_indices(num_frames, window, stride, generator), window)


def encode_start(vae: Any, start: Start, window: int, height: int, width: int, device: str) -> torch.Tensor:
    """Returns scaled latents [1, C, window, height / 8, width / 8] of the first frames of the shared first chunk.

    Raises:
        ValueError: the first chunk is shorter than the window.
    """
    import torch

    if len(start.frames) < window:
        raise ValueError(
            f'shared_start = "noised" needs {window} frames and the first chunk has {len(start.frames)}: set '
            f"context_length = {len(start.frames)}"
        )
    pixels = torch.from_numpy(letterbox(start.frames[:window], height, width)).permute(0, 3, 1, 2)
    with torch.no_grad():
        images = pixels.to(device, vae.dtype) / 127.5 - 1
        latents = torch.cat([vae.encode(image[None]).latent_dist.mode() for image in images])
    scaled: torch.Tensor = (latents * vae.config.scaling_factor).transpose(0, 1)[None]
    return scaled
