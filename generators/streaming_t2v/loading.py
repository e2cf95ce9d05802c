"""From weight locations to a ready streaming stage and refiner: the same folders whether miniature or released.

A folder of weights holds one sub-folder per network (`network`, `vae`, `text_encoder`, `image_encoder`, …). What the
method's own folder lacks is taken from the base model's, as the frozen networks are the base model's own. A folder that
holds the released checkpoint instead is converted once (`generators.converted`).

Example:
    >>> from pathlib import Path
    >>> find_component("vae", [Path("nowhere")])
    Traceback (most recent call last):
    generators.weights.MissingWeightsError: no folder "vae" with a config.json in nowhere: ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from generators.converted import converted
from generators.pipelines import PipelineSettings, load_network, silenced, torch_dtype
from generators.streaming_t2v.appearance import CLIP_MEAN, CLIP_STD
from generators.streaming_t2v.checkpoint import convert_refiner, convert_streaming
from generators.streaming_t2v.encoders import ImageEncoder, LatentCodec, TextEncoder
from generators.streaming_t2v.network import (
    CONFIG_FILE,
    NetworkConfig,
    StreamingNetwork,
    needs_base,
    read_network_config,
)
from generators.streaming_t2v.refiner import pad_rows_when_downsampling
from generators.weights import MissingWeightsError, resolve_weights

_CONFIG_FILES = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}

Convert = Callable[[Path, Path], Path]


def find_component(name: str, folders: Sequence[Path]) -> Path:
    """The first sub-folder `name` that holds a network.

    Raises:
        MissingWeightsError: none of the folders has it.
    """
    config = _CONFIG_FILES.get(name, "config.json")
    for folder in folders:
        if (folder / name / config).is_file():
            return folder / name
    searched = ", ".join(str(folder) for folder in folders)
    raise MissingWeightsError(f'no folder "{name}" with a {config} in {searched}: fetch or convert the weights again')


def streaming_folder(location: str, weights_dir: str) -> Path:
    """The folder of a streaming network; a released checkpoint found there is converted first."""
    folder = resolve_weights(location, weights_dir)
    return _opened(folder, "network", ("streaming_t2v.ckpt",), convert_streaming, weights_dir)


def refiner_folder(location: str, weights_dir: str) -> Path:
    """The folder of a refiner; a released file found there is converted first."""
    folder = resolve_weights(location, weights_dir)
    return _opened(folder, "unet", ("*.pth", "*.ckpt"), convert_refiner, weights_dir)


def _opened(folder: Path, ready: str, patterns: tuple[str, ...], convert: Convert, weights_dir: str) -> Path:
    if (folder / ready / "config.json").is_file():
        return folder
    file = next((file for pattern in patterns for file in sorted(folder.glob(pattern))), None)
    if file is None:
        raise MissingWeightsError(f'{folder} holds neither a folder "{ready}" nor a file {" or ".join(patterns)}')
    return converted(file, weights_dir, convert)


def streaming_config(folder: Path) -> NetworkConfig:
    """Sizes and memories of the network in a folder, which is not loaded for it."""
    place = find_component("network", [folder]) / CONFIG_FILE
    return read_network_config(place.read_text(encoding="utf-8"), place)


def load_streaming_network(folder: Path, settings: PipelineSettings, base: Sequence[Path] = ()) -> StreamingNetwork:
    """The network of a folder, on its device, in evaluation mode.

    Args:
        folder: holds `network`.
        settings: device and precision.
        base: folders of which one holds the base model's `unet`, for a network stored without what it shares with it.
    """
    place = find_component("network", [folder])
    shared = load_base(base, settings) if needs_base(place) else None
    return StreamingNetwork.load(place, torch_dtype(settings.dtype), settings.device, shared)


def load_base(folders: Sequence[Path], settings: PipelineSettings) -> dict[str, Tensor]:
    """The tensors of the base video model in full precision on the CPU, under diffusers' names."""
    exact = PipelineSettings(variant=settings.variant)
    unet = load_network(UNet3DConditionModel, find_component("unet", folders), exact)
    state: dict[str, Tensor] = unet.state_dict()
    return state


def load_text_encoder(folders: Sequence[Path], settings: PipelineSettings) -> TextEncoder:
    """Tokenizer and text encoder."""
    with silenced():
        tokenizer = CLIPTokenizer.from_pretrained(find_component("tokenizer", folders), local_files_only=True)
    model = load_network(CLIPTextModel, find_component("text_encoder", folders), settings)
    return TextEncoder(tokenizer, model.to(settings.device).eval())


def load_codec(folders: Sequence[Path], settings: PipelineSettings, batch: int) -> LatentCodec:
    """The autoencoder, taking `batch` frames at a time; channels lie last in memory, where convolutions are faster."""
    vae = load_network(AutoencoderKL, find_component("vae", folders), settings)
    return LatentCodec(vae.to(settings.device, memory_format=torch.channels_last).eval(), batch)


def load_image_encoder(folders: Sequence[Path], settings: PipelineSettings) -> ImageEncoder:
    """The CLIP image encoder with the mean and deviation its `feature_extractor` names, if there is one."""
    place = find_component("image_encoder", folders)
    model = load_network(CLIPVisionModelWithProjection, place, settings).to(settings.device).eval()
    described = place.parent / "feature_extractor" / "preprocessor_config.json"
    values: dict[str, Any] = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else {}
    return ImageEncoder(model, tuple(values.get("image_mean", CLIP_MEAN)), tuple(values.get("image_std", CLIP_STD)))


def load_scheduler(folders: Sequence[Path]) -> DDIMScheduler:
    """The noise schedule the base model was trained with, as DDIM; it never clips, as latents have no range."""
    with silenced():
        config = DDIMScheduler.load_config(find_component("scheduler", folders))
        return DDIMScheduler.from_config(config, clip_sample=False)


def load_refiner_parts(
    folder: Path,
    settings: PipelineSettings,
    vae: Callable[[], AutoencoderKL],
    text: Callable[[], TextEncoder],
    dtype: str = "",
) -> tuple[UNet3DConditionModel, LatentCodec, TextEncoder]:
    """The refiner's network, its autoencoder one frame at a time, and its text encoder.

    Args:
        folder: holds `unet`, and `vae` or `text_encoder` where the refiner has its own.
        settings: device and precision.
        vae: gives the base model's autoencoder, for a refiner without one.
        text: gives the base model's text encoder, for a refiner without one.
        dtype: precision of the network alone; empty for that of the settings.
    """

    def own(name: str) -> bool:
        return (folder / name / "config.json").is_file()

    return (
        load_refiner_unet(folder, replace(settings, dtype=dtype or settings.dtype)),
        LatentCodec(load_codec([folder], settings, 1).vae if own("vae") else vae(), batch=1),
        load_text_encoder([folder], settings) if own("text_encoder") else text(),
    )


def load_refiner_unet(folder: Path, settings: PipelineSettings) -> UNet3DConditionModel:
    """The refiner's network with its asymmetric downsampling."""
    unet = load_network(UNet3DConditionModel, find_component("unet", [folder]), settings)
    return pad_rows_when_downsampling(unet.to(settings.device).eval())
