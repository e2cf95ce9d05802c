"""SEINE's network computes what the original computes."""

from __future__ import annotations

import torch

from baselines.seine.network import SeineUNet, convert_seine_keys
from tests.parity.goldens import Golden, captured


@torch.no_grad()
def test_seine() -> None:
    golden = Golden("seine_unet")
    sizes, io = golden.constructor, golden.io
    frames = io["sample"].shape[2]
    network = SeineUNet(
        block_out_channels=tuple(sizes["block_out_channels"]),
        attention_levels=tuple(kind.startswith("CrossAttn") for kind in sizes["down_block_types"]),
        layers_per_block=sizes["layers_per_block"],
        cross_attention_dim=sizes["cross_attention_dim"],
        num_attention_heads=tuple(sizes["attention_head_dim"]),
        norm_num_groups=sizes["norm_num_groups"],
        num_frames=frames,
    ).eval()
    network.load_state_dict(convert_seine_keys(golden.weights()))
    entrance = network.unet.down_blocks[0].attentions[0]
    over_time = entrance.transformer_blocks[0].attn_temp
    watched = {
        "mid.time_embedding": network.unet.time_embedding,
        "mid.down0_relative_bias": over_time.time_rel_pos_bias,
        "mid.down0_temporal_attention0": over_time,
        "mid.down0_attention0": entrance,
    }
    seen = captured(watched)
    seen["out"] = network(io["sample"], io["timestep"], io["encoder_hidden_states"])
    assert seen.keys() == io.keys() - {"sample", "timestep", "encoder_hidden_states"}
    seen["mid.time_embedding"] = seen["mid.time_embedding"][::frames]  # ours repeats it for every frame
    seen["mid.down0_attention0"] = seen["mid.down0_attention0"].unflatten(0, (-1, frames)).transpose(1, 2)
    for name, ours in seen.items():
        golden.check(name, ours)
