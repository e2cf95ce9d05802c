"""The refiner's network against recorded outputs of MS-Vid2Vid-XL's UNet."""

from __future__ import annotations

import torch
from diffusers import UNet3DConditionModel

from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys
from generators.streaming_t2v.network import load_exactly
from generators.streaming_t2v.refiner import pad_rows_when_downsampling
from generators.streaming_t2v.unet import decode, encode, share_text_between_frames
from tests.parity.goldens import Golden, attention_levels, block_types


@torch.no_grad()
def test_refiner_network() -> None:
    golden = Golden("ms_vid2vid_xl")
    sizes, data = golden.constructor, golden.io
    unet = UNet3DConditionModel(
        **block_types(attention_levels(sizes)),
        block_out_channels=tuple(sizes["dim"] * factor for factor in sizes["dim_mult"]),
        layers_per_block=sizes["num_res_blocks"],
        attention_head_dim=sizes["head_dim"],
        cross_attention_dim=sizes["context_dim"],
    ).eval()
    load_exactly(unet, convert_lvdm_keys(golden.weights()), str(golden.folder))
    pad_rows_when_downsampling(unet)

    plain = unet(data["x"], data["t"], data["y"]).sample
    golden.check("out", plain)

    share_text_between_frames(unet)
    encoded = encode(unet, data["x"], data["t"], data["y"])
    batch, channels, frames = data["mid.initial_temporal_transformer"].shape[:3]
    first = encoded.skips[0].reshape(batch, frames, *encoded.skips[0].shape[1:]).transpose(1, 2)
    assert first.shape[1] == channels
    golden.check("mid.initial_temporal_transformer", first)
    golden.check("mid.first_downsample", encoded.skips[1 + sizes["num_res_blocks"]])
    golden.check("mid.middle_block_last_resblock", encoded.middle)
    golden.check("out", decode(unet, encoded, data["y"]))
