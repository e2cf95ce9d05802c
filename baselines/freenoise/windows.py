"""What FreeNoise adds to a video network so that it makes long videos: shared noise and windows in time.

All noise comes from the first window, repeated in shuffled order, so that distant frames agree; every temporal
attention sees only windows of the length the network was trained on, and overlapping windows are blended.

Example:
    >>> order = shuffled_indices(num_frames=24, window=16, stride=4, generator=torch.Generator().manual_seed(0))
    >>> noise = reschedule_noise(torch.randn(1, 4, 24, 8, 8), order, window=16)
    >>> bool((noise[:, :, 16] == noise[:, :, order[0, 0]]).all())
    True
"""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

WINDOW, STRIDE = 16, 4
"""Released settings. Source: FreeNoise scripts/run_text2video_freenoise_512.sh."""


def shuffled_indices(num_frames: int, window: int, stride: int, generator: torch.Generator) -> Tensor:
    """Which earlier frame each frame beyond the first window takes its noise from, [K, stride] integers.

    Row k is a permutation of frames k * stride ... (k + 1) * stride - 1 and serves frames window + k * stride ....

    Raises:
        ValueError: if the frames beyond the first window are not a multiple of the stride.

    Source: FreeNoise, arXiv:2310.15169, section 3.2 (local noise shuffling).
    """
    groups = _count_windows(num_frames, window, stride) - 1
    rows = [k * stride + torch.randperm(stride, generator=generator) for k in range(groups)]
    return torch.stack(rows) if rows else torch.empty(0, stride, dtype=torch.long)


def reschedule_noise(noise: Tensor, indices: Tensor, window: int) -> Tensor:
    """The noise [B, C, N, h, w] in which all frames beyond the first window repeat earlier ones.

    Args:
        noise: [B, C, N, h, w] independent noise; only the first window of it is used.
        indices: [K, stride] as from `shuffled_indices`; later rows may point at frames that earlier rows wrote.
        window: frames of the first window.

    Source: FreeNoise scripts/evaluation/inference_freenoise.py lines 98-102.
    """
    rescheduled = noise.clone()
    stride = indices.shape[1]
    for k, sources in enumerate(indices):
        first = window + k * stride
        rescheduled[:, :, first : first + stride] = rescheduled[:, :, sources]
    return rescheduled


class WindowedAttention:
    """Attention processor: softmax within windows of frames, outputs of overlapping windows blended.

    The weights rise towards the middle of a window (1, 2, ..., 2, 1) and are normalised per frame. Queries, keys and
    values are computed once for all frames; windows only limit who attends to whom.

    Source: FreeNoise lvdm/modules/attention_freenoise.py lines 21-29, 111-162.
    """

    def __init__(self, window: int = WINDOW, stride: int = STRIDE) -> None:
        self.window = window
        self.stride = stride

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
    ) -> Tensor:
        """Returns the attended states [N, F, C]; `hidden_states` has the same shape, one row per pixel.

        Raises:
            ValueError: if the windows don't end with the last frame.
        """
        query, key, value = (
            project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # [N, heads, F, C / heads]
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        rising = torch.arange(1, self.window + 1, device=query.device)
        weights = torch.minimum(rising, rising.flip(0)).to(query.dtype)[:, None]
        blended, total = torch.zeros_like(query), torch.zeros_like(query[0, 0, :, :1])
        for k in range(_count_windows(query.shape[2], self.window, self.stride)):
            part = slice(k * self.stride, k * self.stride + self.window)
            attended = nn.functional.scaled_dot_product_attention(query[:, :, part], key[:, :, part], value[:, :, part])
            blended[:, :, part] += weights * attended
            total[part] += weights
        merged: Tensor = attn.to_out[0]((blended / total).transpose(1, 2).flatten(2))
        return merged


def attend_in_windows(network: nn.Module, window: int = WINDOW, stride: int = STRIDE) -> None:
    """Gives every temporal attention of the network windows; the network has to be built from diffusers' 3D blocks."""
    for module in network.modules():
        if isinstance(module, TransformerTemporalModel):
            for block in module.transformer_blocks:
                block.attn1.set_processor(WindowedAttention(window, stride))
                block.attn2.set_processor(WindowedAttention(window, stride))


def _count_windows(num_frames: int, window: int, stride: int) -> int:
    beyond = num_frames - window
    if beyond < 0 or beyond % stride:
        raise ValueError(
            f"FreeNoise needs {window} frames plus a multiple of {stride}, but {num_frames} were asked for; "
            f"{window + max(0, -(-beyond // stride)) * stride} would do"
        )
    return beyond // stride + 1
