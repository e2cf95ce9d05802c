"""Released checkpoint files, converted once into folders that `from_pretrained` opens.

SEINE, DynamiCrafter and VideoCrafter2 were released as single pickled files under names of their own. The first use
writes their networks as safetensors (`generators.converted`); from then on released and miniature weights are opened
alike. Pickles are read as data only (`weights_only`), so a file can't run code.

Example:
    >>> folder = network_folder(Path("weights/SEINE"), "seine.pt", "", write_seine)  # doctest: +SKIP
    >>> SeineUNet.from_pretrained(folder / "unet")  # doctest: +SKIP
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from baselines.networks.videocrafter import VideoCrafterUNet, convert_videocrafter_keys
from generators.converted import converted
from generators.weights import MissingWeightsError

UNET, VAE, IMAGE_PROJECTION = "model.diffusion_model.", "first_stage_model.", "image_proj_model."

UNUSED_PARTS = {
    "cond_stage_model.": "OpenCLIP ViT-H text encoder, frozen in training: opened through transformers",
    "embedder.": "OpenCLIP ViT-H image encoder, frozen in training: opened through transformers",
}
"""Parts of lvdm checkpoints that are not converted, with the reason; names without a dot are noise schedule tables."""

DEEPSPEED_PREFIX = len("_forward_module.")

AUTOENCODER = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "scaling_factor": 0.18215,
}
"""Stable Diffusion's autoencoder. Source: DynamiCrafter configs/inference_1024_v1.0.yaml (first_stage_config)."""


def network_folder(location: Path, name: str, weights_dir: str, write: Callable[[Path, Path], None]) -> Path:
    """The folder with subfolder `unet` for a location: the location itself, or its converted copy.

    Args:
        location: a folder with `unet/`, a folder with the released file, or that file.
        name: file name of the released checkpoint.
        weights_dir: as for `generators.converted`, which says where the copy lies.
        write: writes the networks of a checkpoint (first argument) into a folder (second).

    Raises:
        MissingWeightsError: neither is there, the file is not what it should be, or the copy cannot be written.
    """
    if (location / "unet" / "config.json").is_file():
        return location
    checkpoint = location / name if location.is_dir() else location
    if not checkpoint.is_file():
        raise MissingWeightsError(f"{location} holds neither unet/config.json nor {name}: fetch the weights again")
    return converted(checkpoint, weights_dir, write)


def write_videocrafter(checkpoint: Path, folder: Path) -> None:
    """Writes `unet/` and `vae/` from VideoCrafter2's `model.ckpt`."""
    parts = split_lvdm(read_state_dict(checkpoint, "state_dict", "module"))
    write_network(VideoCrafterUNet, convert_videocrafter_keys(parts[UNET]), folder / "unet")
    write_autoencoder(parts[VAE], folder / "vae")


def split_lvdm(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each network of an lvdm checkpoint, by prefix (`UNET`, `VAE`, `IMAGE_PROJECTION`), prefix removed.

    Raises:
        ValueError: tensors that are of no known part.
    """
    parts: dict[str, dict[str, Tensor]] = {UNET: {}, VAE: {}, IMAGE_PROJECTION: {}}
    unknown = []
    for key, tensor in state_dict.items():
        prefix = next((prefix for prefix in parts if key.startswith(prefix)), None)
        if prefix is not None:
            parts[prefix][key[len(prefix) :]] = tensor
        elif "." in key and not key.startswith(tuple(UNUSED_PARTS)):
            unknown.append(key)
    if unknown:
        raise ValueError(f"{len(unknown)} tensors belong to no known part of an lvdm checkpoint: {unknown[:10]}")
    return parts


def read_state_dict(checkpoint: Path, *entries: str) -> dict[str, Tensor]:
    """Returns the state dict under the first of these entries that there is; `module` is DeepSpeed's, longer prefix."""
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise MissingWeightsError(
            f"{checkpoint} can't be read as plain tensors ({str(error).splitlines()[0]}): it is damaged or not the "
            "released file; fetch it again"
        ) from error
    entry = next((entry for entry in entries if entry in content), None)
    if entry is None:
        raise MissingWeightsError(f"{checkpoint} has no entry {' or '.join(entries)}: it is not the released file")
    state: dict[str, Tensor] = content[entry]
    return {key[DEEPSPEED_PREFIX:]: tensor for key, tensor in state.items()} if entry == "module" else state


def write_network(network_class: Any, state_dict: Mapping[str, Tensor], folder: Path) -> None:
    """Saves a network at its released size; every tensor must have its place and every place its tensor."""
    with torch.device("meta"):
        network = network_class()
    network.load_state_dict(state_dict, assign=True)
    network.save_pretrained(folder)


def write_autoencoder(state_dict: Mapping[str, Tensor], folder: Path) -> None:
    """Saves the autoencoder of an lvdm checkpoint, its prefix removed, in diffusers' names."""
    with torch.device("meta"):
        network = AutoencoderKL(**AUTOENCODER)
    network.load_state_dict(convert_ldm_vae_checkpoint(dict(state_dict), AUTOENCODER), assign=True)
    network.save_pretrained(folder)
