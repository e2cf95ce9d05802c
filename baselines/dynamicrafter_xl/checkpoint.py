"""DynamiCrafter's released checkpoint, converted into folders that `from_pretrained` opens."""

from __future__ import annotations

from pathlib import Path

from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
from baselines.dynamicrafter_xl.resampler import Resampler, convert_resampler_keys
from baselines.networks.checkpoints import (
    IMAGE_PROJECTION,
    UNET,
    VAE,
    read_state_dict,
    split_lvdm,
    write_autoencoder,
    write_network,
)
from baselines.networks.videocrafter import convert_videocrafter_keys


def write_dynamicrafter(checkpoint: Path, folder: Path) -> None:
    """Writes `unet/`, `image_projection/` and `vae/` from DynamiCrafter's `model.ckpt`."""
    parts = split_lvdm(read_state_dict(checkpoint, "state_dict", "module"))
    write_network(DynamiCrafterUNet, convert_videocrafter_keys(parts[UNET]), folder / "unet")
    write_network(Resampler, convert_resampler_keys(parts[IMAGE_PROJECTION]), folder / "image_projection")
    write_autoencoder(parts[VAE], folder / "vae")
