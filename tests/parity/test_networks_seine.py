"""SEINE's network computes what the original computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from baselines.seine.network import SeineUNet, convert_seine_keys

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "baselines" / "seine_unet"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden data of the baselines is not beside the repository")


@torch.no_grad()
def test_seine() -> None:
    config = json.loads((GOLDEN / "config.json").read_text())
    sizes = config["constructor"]
    network = SeineUNet(
        block_out_channels=tuple(sizes["block_out_channels"]),
        attention_levels=tuple(kind.startswith("CrossAttn") for kind in sizes["down_block_types"]),
        layers_per_block=sizes["layers_per_block"],
        cross_attention_dim=sizes["cross_attention_dim"],
        num_attention_heads=tuple(sizes["attention_head_dim"]),
        norm_num_groups=sizes["norm_num_groups"],
    ).eval()
    weights = load_file(GOLDEN / "weights.safetensors")
    network.load_state_dict(convert_seine_keys({key: tensor.float() for key, tensor in weights.items()}))
    io = load_file(GOLDEN / "io.safetensors")
    entrance = network.unet.down_blocks[0].attentions[0]
    over_time = entrance.transformer_blocks[0].attn_temp
    seen: dict[str, torch.Tensor] = {}
    for name, module in {
        "mid.time_embedding": network.unet.time_embedding,
        "mid.down0_relative_bias": over_time.time_rel_pos_bias,
        "mid.down0_temporal_attention0": over_time,
        "mid.down0_attention0": entrance,
    }.items():
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
    seen["out"] = network(io["sample"], io["timestep"], io["encoder_hidden_states"])
    assert seen.keys() == io.keys() - {"sample", "timestep", "encoder_hidden_states"}
    frames = io["sample"].shape[2]
    seen["mid.time_embedding"] = seen["mid.time_embedding"][::frames]  # ours repeats it for every frame
    attended = seen["mid.down0_attention0"]
    attended = attended[0] if isinstance(attended, tuple) else attended
    seen["mid.down0_attention0"] = attended.unflatten(0, (-1, frames)).transpose(1, 2)
    for name, ours in seen.items():
        assert ours.shape == io[name].shape, name
        error = torch.linalg.vector_norm(ours - io[name]) / torch.linalg.vector_norm(io[name])
        assert error <= config["tolerance"]["rel_l2"], f"{name}: relative error {error:.1e}"
