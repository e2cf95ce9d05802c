"""The refiner's network against recorded outputs of MS-Vid2Vid-XL's UNet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet3DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys
from generators.streaming_t2v.network import load_exactly
from generators.streaming_t2v.refiner import pad_rows_when_downsampling
from generators.streaming_t2v.unet import decode, encode, share_text_between_frames

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "baselines" / "ms_vid2vid_xl"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="golden data of MS-Vid2Vid-XL is not beside this repository"
)


def relative(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm())


@torch.no_grad()
def test_refiner_network() -> None:
    described = json.loads((FOLDER / "config.json").read_text())
    sizes, limit = described["constructor"], described["tolerance"]["rel_l2"]
    unet = UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=tuple(sizes["dim"] * factor for factor in sizes["dim_mult"]),
        layers_per_block=sizes["num_res_blocks"],
        attention_head_dim=sizes["head_dim"],
        cross_attention_dim=sizes["context_dim"],
    ).eval()
    weights = {key: tensor.float() for key, tensor in load_file(FOLDER / "weights.safetensors").items()}
    load_exactly(unet, convert_lvdm_keys(weights), str(FOLDER))
    pad_rows_when_downsampling(unet)
    data = load_file(FOLDER / "io.safetensors")

    plain = unet(data["x"], data["t"], data["y"]).sample
    assert relative(plain, data["out"]) < limit

    share_text_between_frames(unet)
    encoded = encode(unet, data["x"], data["t"], data["y"])
    batch, channels, frames = data["mid.initial_temporal_transformer"].shape[:3]
    first = encoded.skips[0].reshape(batch, frames, *encoded.skips[0].shape[1:]).transpose(1, 2)
    assert first.shape[1] == channels
    assert relative(first, data["mid.initial_temporal_transformer"]) < limit
    assert relative(encoded.skips[2], data["mid.first_downsample"]) < limit
    assert relative(encoded.middle, data["mid.middle_block_last_resblock"]) < limit
    assert relative(decode(unet, encoded, data["y"]), data["out"]) < limit
