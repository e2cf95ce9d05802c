"""CLIP's two towers as latent video models read them: one vector per text token, one per image patch.

The text tower is loaded, used and freed: it runs once per prompt and would otherwise fill the GPU beside the denoiser.

Example:
    >>> text = encode_text(Path("encoders"), ["a dog"], skip_last=True, fill="zero", settings=s)  # doctest: +SKIP
    >>> text.shape  # doctest: +SKIP
    torch.Size([1, 77, 1024])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from generators.pipelines import clip_token_ids, silenced, torch_dtype
from generators.weights import MissingWeightsError

if TYPE_CHECKING:
    from generators.pipelines import PipelineSettings

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the images CLIP was trained on. Source: openai/CLIP clip/clip.py (`_transform`)."""


@torch.no_grad()
def encode_text(
    encoders: Path, texts: Sequence[str], *, skip_last: bool, fill: str, settings: PipelineSettings
) -> Tensor:
    """Returns the token vectors [B, L, D] after the final norm, on the device and in the dtype of the settings.

    Args:
        encoders: folder with subfolders `tokenizer` and `text_encoder`.
        texts: B texts; longer ones are cut at the tokenizer's length L.
        skip_last: read the last but one layer, as models on OpenCLIP do, instead of the last.
        fill: what stands behind a short text, one of `generators.pipelines.TEXT_FILLS`.
        settings: device, dtype and file variant.
    """
    with silenced():
        tokenizer = CLIPTokenizer.from_pretrained(encoders / "tokenizer", local_files_only=True)
        tower = _tower(CLIPTextModel, encoders / "text_encoder", settings)
        ids = clip_token_ids(tokenizer, texts, fill)
    states = tower(ids.to(settings.device), output_hidden_states=True)
    vectors: Tensor = tower.final_layer_norm(states.hidden_states[-2]) if skip_last else states.last_hidden_state
    return vectors


def load_image_tower(encoders: Path, settings: PipelineSettings) -> CLIPVisionModel:
    """Returns the image tower in subfolder `image_encoder`, on its device; it runs once per chunk and may stay."""
    with silenced():
        return _tower(CLIPVisionModel, encoders / "image_encoder", settings)


@torch.no_grad()
def encode_image(tower: CLIPVisionModel, images: Tensor) -> Tensor:
    """Returns all token vectors [B, N, D] after the last layer, without the final norm.

    Args:
        tower: CLIP's image tower.
        images: [B, 3, H, W], -1..1; squashed to the tower's square.

    Source: DynamiCrafter lvdm/modules/encoders/condition.py lines 322-331 (resize, then normalise).
    """
    side = tower.config.image_size
    squares = (_resize_with_antialiasing(images.float(), (side, side)) + 1) / 2
    mean, deviation = torch.tensor(PIXEL_MEAN).view(3, 1, 1), torch.tensor(PIXEL_DEVIATION).view(3, 1, 1)
    pixels = (squares - mean.to(squares)) / deviation.to(squares)
    vectors: Tensor = tower(pixels.to(tower.device, tower.dtype)).last_hidden_state
    return vectors


def _tower(tower_class: Any, folder: Path, settings: PipelineSettings) -> Any:
    if not (folder / "config.json").is_file():
        raise MissingWeightsError(f"{folder} holds no config.json, so it is not an encoder's folder: fetch it again")
    tower = tower_class.from_pretrained(
        folder,
        dtype=torch_dtype(settings.dtype),
        variant=settings.variant or None,
        use_safetensors=True,
        local_files_only=True,
    )
    return tower.to(settings.device)
