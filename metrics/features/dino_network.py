"""The networks behind DINO features: released transformers, and any image encoder of transformers in their place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metrics.api import Frames
from metrics.errors import WeightsError
from metrics.features.base import Arrays, FrameBuffer
from metrics.features.dino_files import weights_file
from metrics.features.float_resize import middle, normalised, short_side
from metrics.features.rows import FrameRows
from metrics.features.tensors import read_tensors
from metrics.features.vit import VisionTransformer, shape_of

FRAMES_PER_BATCH = 8
"""Frames that go through the network together, always: batches of one size make features independent of chunking."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels. Source: facebookresearch/dino, `eval_knn.py`."""

Network = Callable[[Tensor], Tensor]


class DinoNetwork:
    """A loaded network and what it needs around it."""

    def __init__(self, weights: str, preprocess: str, device: str) -> None:
        """Loads a network; the arguments are the settings of `metrics.features.dino.DinoFeatures`.

        Raises:
            WeightsError: if its weights are not there or are of another network.
        """
        self._preprocess, self._device = preprocess, device
        self._network = load_dino(weights, device)

    def begin(self, prompt: str) -> DinoPass:
        """Returns a fresh pass for one video."""
        return DinoPass(self)

    def pictures(self, frames: Frames) -> Tensor:
        """Returns frames [T, H, W, 3] as the network takes them, float32 [T, 3, h, w]."""
        pixels = torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2).float()
        if self._preprocess == "vbench":
            fitted = short_side(pixels, 224, "bilinear", antialias=False)
        else:
            fitted = middle(short_side(pixels, 256, "bicubic", antialias=True), 224)
        return normalised(fitted, MEAN, STD)

    def features(self, frames: Frames) -> Tensor:
        """Returns float32 [T, D]; not normalised."""
        with torch.inference_mode():
            return self._network(self.pictures(frames)).float()


class DinoPass:
    """Features of one video.

    Arrays:
        image: float32 [T, D], raw features.
    """

    def __init__(self, network: DinoNetwork) -> None:
        self._network = network
        self._buffer = FrameBuffer(FRAMES_PER_BATCH)
        self._features = FrameRows(np.float32)

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        self._take(self._buffer.push(frames))

    def arrays(self) -> Arrays:
        """Returns the features."""
        self._take(self._buffer.rest())
        return {"image": self._features.array((0, 1))}

    def _take(self, batches: Sequence[Frames]) -> None:
        for batch in batches:
            self._features.append(self._network.features(batch).cpu().numpy())


def load_dino(weights: str, device: str) -> Network:
    """Returns a network in evaluation mode, pictures [N, 3, H, W] in, features [N, D] out.

    A folder whose `config.json` says "clip_vision_model" holds an image encoder of transformers (the miniature one
    stands in for DINO so); everything else is a transformer under DINO's names.

    Raises:
        WeightsError: if there is none.
    """
    file = weights_file(weights)
    if not file.is_file():
        raise WeightsError(
            f'no DINO weights at "{weights}": run `python -m bench fetch vbench`, or name a folder with '
            "model.safetensors as `weights`"
        )
    config = file.parent / "config.json"
    described = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    if described.get("model_type") == "clip_vision_model":
        return _image_encoder(file.parent, device)
    return _transformer(file, int(described.get("num_heads", 0)), device)


def _transformer(file: Path, heads: int, device: str) -> Network:
    state = {name: tensor for name, tensor in read_tensors(file).items() if name != "mask_token"}
    try:
        network = VisionTransformer(shape_of(state, heads))
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{file} does not hold a DINO transformer: {error}") from error
    return network.eval().to(device)


def _image_encoder(folder: Path, device: str) -> Network:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    # Built and filled here: the library's own loading draws a progress bar into the terminal.
    network = CLIPVisionModelWithProjection(CLIPVisionConfig.from_pretrained(folder, local_files_only=True)).float()
    try:
        network.load_state_dict(read_tensors(folder / "model.safetensors"))
    except RuntimeError as error:
        raise WeightsError(f"{folder} does not hold the image encoder its config.json describes: {error}") from error
    network = network.eval().to(device)

    def features(pictures: Tensor) -> Tensor:
        image: Tensor = network(pixel_values=pictures, interpolate_pos_encoding=True).image_embeds
        return image

    return features
