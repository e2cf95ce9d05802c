"""SEINE's released checkpoint, converted into folders that `from_pretrained` opens."""

from __future__ import annotations

from pathlib import Path

from baselines.networks.checkpoints import read_state_dict, write_network
from baselines.seine.network import SeineUNet, convert_seine_keys


def write_seine(checkpoint: Path, folder: Path) -> None:
    """Writes `unet/` from `seine.pt`. Source: SEINE sample_scripts/with_mask_sample.py (entry `ema`)."""
    write_network(SeineUNet, convert_seine_keys(read_state_dict(checkpoint, "ema")), folder / "unet")
