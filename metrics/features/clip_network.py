"""CLIP features of frames and prompt: any model of open_clip, exact preprocessing on tensors, float32 reduction.

Towers may run in half precision; features are normalised, multiplied and averaged in float32, because half precision
alone would move a score by as much as the published curves differ.

Example:
    >>> pixels = torch.zeros(1, 3, 90, 160, dtype=torch.uint8)
    >>> [tuple(fit(pixels, 64, mode, "bicubic").shape[-2:]) for mode in ("crop", "squash", "pad")]
    [(64, 64), (64, 64), (64, 64)]
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.api import ChangingText, Frames
from metrics.errors import WeightsError
from metrics.features.base import Arrays, FrameBuffer
from metrics.features.float_resize import middle, normalised, short_side
from metrics.features.rows import FrameRows

FRAMES_PER_BATCH = 16
"""Frames that go through the image tower together, always: batches of one size make scores independent of chunking."""

OPEN_CLIP_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class ClipNetwork:
    """A loaded CLIP and what it needs around it."""

    def __init__(
        self,
        model: str,
        pretrained: str,
        weights: str,
        preprocess: str = "crop",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        """Loads a model; the arguments are the settings of `metrics.features.clip.ClipFeatures`.

        Raises:
            WeightsError: if its weights are not there.
        """
        import open_clip

        self._preprocess, self._dtype, self._device = preprocess, dtype, device
        name = f"local-dir:{weights}" if weights else model
        try:
            with _quiet():
                self._model = open_clip.create_model(
                    name,
                    pretrained=None if weights else pretrained,
                    precision=OPEN_CLIP_PRECISIONS[dtype],
                    device=device,
                    require_pretrained=True,
                ).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise WeightsError(f"CLIP {name} {pretrained} cannot be loaded: {error}. {_advice(weights)}") from error
        self._tokenizer = open_clip.get_tokenizer(name)
        self._preprocessing = self._model.visual.preprocess_cfg
        self._size = _side(self._model.visual.image_size)
        self._texts: dict[str, tuple[Tensor, bool]] = {}

    def begin(self, prompt: str) -> ClipFeaturesPass:
        """Returns a fresh pass for one video."""
        return ClipFeaturesPass(self, prompt)

    def preprocess(self, frames: Frames) -> Tensor:
        """Returns frames [T, H, W, 3] as normalised float32 [T, 3, side, side] on the CPU or the model's device."""
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).to(self._device)
        if self._preprocess == "vbench":
            scaled = short_side(pixels.float(), self._size, self._preprocessing["interpolation"], antialias=False)
            return normalised(middle(scaled, self._size), self._preprocessing["mean"], self._preprocessing["std"])
        fitted = fit(pixels, self._size, self._preprocess, self._preprocessing["interpolation"])
        mean = torch.tensor(self._preprocessing["mean"], device=fitted.device).view(3, 1, 1)
        std = torch.tensor(self._preprocessing["std"], device=fitted.device).view(3, 1, 1)
        return fitted.float().div_(255).sub_(mean).div_(std)

    def images(self, frames: Frames) -> Tensor:
        """Returns the raw image features float32 [T, D]; not normalised."""
        pixels = self.preprocess(frames).to(getattr(torch, self._dtype))
        with torch.inference_mode():
            features: Tensor = self._model.encode_image(pixels)
        return features.float()

    def text(self, prompt: str) -> tuple[Tensor, bool]:
        """Returns the raw text features float32 [D], and whether the prompt was too long and its end cut off."""
        if prompt not in self._texts:
            tokens = self._tokenizer([prompt])
            with torch.inference_mode():
                features = self._model.encode_text(tokens.to(self._device))[0].float()
            self._texts[prompt] = features, self._is_cut(prompt, tokens)
        return self._texts[prompt]

    def _is_cut(self, prompt: str, tokens: Tensor) -> bool:
        """Returns whether room for one token more shows more of the prompt; padding may share the id of the end."""
        room = tokens.shape[1] + 1
        longer, empty = self._tokenizer([prompt, ""], context_length=room)
        return _without_padding(tokens[0], empty[-1]) != _without_padding(longer, empty[-1])

    def activation(self) -> str:
        """Returns the name of the activation in the image tower's blocks: the released weights need QuickGELU."""
        named = (type(m).__name__ for m in self._model.visual.modules())
        return next((name for name in named if "GELU" in name), "other")


class ClipFeaturesPass:
    """CLIP features of one video.

    Arrays:
        image: float32 [T, D], raw image features.
        text: float32 [D], raw text features of the prompt; [K, D] of each of K texts where it changes.
        truncated: bool [1], whether the prompt was cut off.
        activation: str [1].
    """

    def __init__(self, network: ClipNetwork, prompt: str) -> None:
        self._network, self._prompt = network, prompt
        self._buffer = FrameBuffer(FRAMES_PER_BATCH)
        self._features = FrameRows(np.float32)

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        self._take(self._buffer.push(frames))

    def arrays(self) -> Arrays:
        """Returns the features."""
        self._take(self._buffer.rest())
        changing = isinstance(self._prompt, ChangingText)
        texts = self._prompt.texts if isinstance(self._prompt, ChangingText) else (self._prompt,)
        encoded, cut = zip(*(self._network.text(text) for text in texts), strict=True)
        text, truncated = (torch.stack(encoded) if changing else encoded[0]), any(cut)
        return {
            "image": self._features.array((0, text.shape[-1])),
            "text": text.cpu().numpy(),
            "truncated": np.array([truncated]),
            "activation": np.array([self._network.activation()]),
        }

    def _take(self, batches: Sequence[Frames]) -> None:
        for batch in batches:
            self._features.append(self._network.images(batch).cpu().numpy())


def fit(pixels: Tensor, side: int, mode: str, interpolation: str) -> Tensor:
    """Returns pictures uint8 [N, 3, side, side].

    Resizing is antialiased and rounded to whole grey levels. On a CPU it is PIL's own, as in the reference; on another
    device it is torch's, within one grey level of it.

    Args:
        pixels: uint8 [N, 3, H, W].
        side: of the model's square input, pixels.
        mode: "crop" scales the short side and crops the middle, "squash" ignores the aspect, "pad" scales the long
            side and puts the picture on black.
        interpolation: "bicubic" or "bilinear".

    Source: openai/CLIP `clip/clip.py:79-86`; open_clip `transform.py:324-433` (resize_mode).
    """
    height, width = pixels.shape[-2:]
    if mode == "squash":
        return _resize(pixels, side, side, interpolation)
    scaled_side = max if mode == "pad" else min
    reference = scaled_side(height, width)
    new_height = side if height == reference else int(side * height / reference)
    new_width = side if width == reference else int(side * width / reference)
    resized = _resize(pixels, max(new_height, 1), max(new_width, 1), interpolation)
    if mode == "pad":
        top, left = (side - resized.shape[-2]) // 2, (side - resized.shape[-1]) // 2
        bottom, right = side - resized.shape[-2] - top, side - resized.shape[-1] - left
        return functional.pad(resized, (left, right, top, bottom))
    top, left = round((resized.shape[-2] - side) / 2), round((resized.shape[-1] - side) / 2)
    return resized[..., top : top + side, left : left + side]


def _resize(pixels: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    if tuple(pixels.shape[-2:]) == (height, width):
        return pixels
    if pixels.device.type == "cpu":
        return _resize_pil(pixels, height, width, interpolation)
    return resize_tensor(pixels, height, width, interpolation)


def _resize_pil(pixels: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    pictures = (Image.fromarray(p).resize((width, height), filters[interpolation]) for p in _channels_last(pixels))
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)


def _channels_last(pixels: Tensor) -> Frames:
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def resize_tensor(pixels: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Returns pictures uint8 [N, 3, height, width], resized on their own device within one grey level of PIL."""
    resized = functional.interpolate(
        pixels.float(), size=(height, width), mode=interpolation, antialias=True, align_corners=False
    )
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _without_padding(tokens: Tensor, padding: Tensor) -> list[int]:
    """Returns the tokens from the first to the last that is none of padding.

    Example: the end (9) pads, too.
        >>> _without_padding(torch.tensor([8, 4, 9, 5, 9, 9]), torch.tensor(9))
        [8, 4, 9, 5]
    """
    places = (tokens != padding).nonzero().flatten().tolist()
    kept: list[int] = tokens[places[0] : places[-1] + 1].tolist() if places else []
    return kept


def _side(image_size: Any) -> int:
    """Returns the side of a model's square input."""
    height, width = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    if height != width:
        raise WeightsError(f"CLIP models with square input are supported, not {height} x {width}")
    return int(height)


def _advice(weights: str) -> str:
    if weights:
        return f"{Path(weights)} must hold open_clip_config.json and open_clip_model.safetensors"
    return (
        "Run `python -m bench fetch clip` where there is a network (open_clip keeps the weights in the hub cache), "
        "or name a folder with open_clip_config.json and open_clip_model.safetensors as `weights`"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps open_clip's log lines about what it loads off the terminal: what fails is raised."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
