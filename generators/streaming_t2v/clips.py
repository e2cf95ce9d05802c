"""Training samples of the streaming network, cut out of captioned clips as inference will see them.

Example:
    data = EncodedClips(clips, codec, encode_text, encode_image, config)   # clips: len() and [i] -> (frames, caption)
    sample = data.sample(np.random.default_rng(0))                         # window, conditioning frames, text, anchor
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from generators.api import Frames
from generators.streaming_t2v.encoders import ImageEncoder, LatentCodec, TextEncoder
from generators.streaming_t2v.network import NetworkConfig
from generators.streaming_t2v.pipeline import tensor_frames


class ClipDataset(Protocol):
    """Captioned clips; any object with these two functions can be trained on."""

    def __len__(self) -> int:
        """Number of clips."""
        ...

    def __getitem__(self, index: int) -> tuple[Frames, str]:
        """A clip [T, H, W, 3] of at least one frame more than a window, and its caption."""
        ...


@dataclass(frozen=True)
class Sample:
    """One training sample, all tensors without batch dimension.

    Attributes:
        latents: window [C, F, h, w].
        frames: conditioning frames [K, 3, H, W] in -1..1: the window's first frames, as streaming will see them.
        known: their latents [C, K, h, w].
        text: text tokens [N, D], of the empty prompt where the caption is dropped.
        anchor: CLIP embedding [W] of the anchor frame, of mid grey where it is dropped.
    """

    latents: Tensor
    frames: Tensor
    known: Tensor
    text: Tensor
    anchor: Tensor


class SampleSource(Protocol):
    """Where training gets its samples; `EncodedClips`, or anything that has them ready."""

    def sample(self, rng: np.random.Generator) -> Sample:
        """A sample that depends on the generator's state only."""
        ...


@dataclass
class EncodedClips:
    """Training samples from clips, through the frozen networks.

    Attributes:
        clips: the data.
        codec: the autoencoder.
        encode_text: the text encoder.
        encode_image: the CLIP image encoder.
        config: sizes of the network that is trained.
        dropout: share of samples without caption and anchor, which teaches the unconditional branch of guidance.
        keep: remember what the frozen networks made of a clip; for small data sets that are seen many times.
    """

    clips: ClipDataset
    codec: LatentCodec
    encode_text: TextEncoder
    encode_image: ImageEncoder | None
    config: NetworkConfig
    dropout: float = 0.1
    keep: bool = False

    def __post_init__(self) -> None:
        """Encodes what stands for no caption and no anchor."""
        self._kept: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        self._empty = self.encode_text([""])[0].cpu()

    def sample(self, rng: np.random.Generator) -> Sample:
        """A sample that depends on the generator's state only.

        Raises:
            ValueError: a clip is not longer than a window.
        """
        index = int(rng.integers(len(self.clips)))
        latents, frames, text, anchors = self._clip(index)
        before = len(frames) - self.config.window
        start = int(rng.integers(1, before + 1))
        anchor = int(rng.integers(start))
        window = latents[start : start + self.config.window].transpose(0, 1)
        count = self.config.conditioning_frames
        shown, known = frames[start : start + count], window[:, :count]
        if rng.random() < self.dropout:
            return Sample(window, shown, known, self._empty, anchors[-1])
        return Sample(window, shown, known, text, anchors[anchor])

    def _clip(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents [T, C, h, w], frames [T, 3, H, W], text [N, D] and embeddings [T - window + 1, W], grey last."""
        if index in self._kept:
            return self._kept[index]
        pixels, caption = self.clips[index]
        possible = len(pixels) - self.config.window
        if possible < 1:
            raise ValueError(
                f"clip {index} has {len(pixels)} frames; training needs at least {self.config.window + 1}: a window "
                "and one frame before it"
            )
        frames = tensor_frames(torch.from_numpy(pixels))
        with torch.autocast(
            torch.get_default_device().type, enabled=False
        ):  # the trained network's precision, not ours
            latents = self.codec.encode(frames).float().cpu()
            text = self.encode_text([caption])[0].cpu()
            anchors = torch.zeros(possible + 1, 0)
            if self.encode_image is not None:
                anchors = self.encode_image(torch.cat([frames[:possible], torch.zeros_like(frames[:1])])).float().cpu()
        encoded = (latents, frames, text, anchors)
        if self.keep:
            self._kept[index] = encoded
        return encoded
