"""diffusers' I2VGen-XL network with the image branch counted twice computes what VGen computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import I2VGenXLUNet
from safetensors.torch import load_file
from torch import Tensor, nn

from baselines.i2vgen_xl.network import convert_vgen_keys, double_image_latents

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "baselines" / "i2vgen_xl_unet"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden data of the baselines is not beside the repository")


@torch.no_grad()
def test_i2vgen_xl() -> None:
    config = json.loads((GOLDEN / "config.json").read_text())
    sizes = config["constructor"]
    unet = I2VGenXLUNet(
        block_out_channels=tuple(sizes["dim"] * factor for factor in sizes["dim_mult"]),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=sizes["num_res_blocks"],
        cross_attention_dim=sizes["context_dim"],
        attention_head_dim=sizes["head_dim"],
    ).eval()
    weights = {key: tensor.float() for key, tensor in load_file(GOLDEN / "weights.safetensors").items()}
    unet.load_state_dict(convert_vgen_keys(weights))
    encoder = unet.image_latents_temporal_encoder
    modules: dict[str, nn.Module] = {
        "mid.image_concat_stack": unet.image_latents_proj_in,
        "mid.image_temporal_encoder": encoder,
        "mid.image_local_tokens_map": unet.image_latents_context_embedding,
        "mid.image_global_tokens": unet.context_embedding,
        "mid.fps_embedding_mlp_out": unet.fps_embedding,
        "mid.time_embedding_mlp_out": unet.time_embedding,
        "mid.middle_block_last_resblock": unet.mid_block,
    }
    seen: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
    io = load_file(GOLDEN / "io.safetensors")
    frames = io["x"].shape[2]
    planes = torch.arange(1, frames) / (frames - 1)
    later = planes[None, None, :, None, None].expand(1, 4, -1, *io["x"].shape[3:])
    image_latents = torch.cat([io["local_image"][:, :, None], later], dim=2)

    def run() -> Tensor:
        return unet(io["x"], io["t"], io["fps"], image_latents, io["image"], io["y"], return_dict=False)[0]

    def error(name: str, ours: Tensor) -> float:
        return float(torch.linalg.vector_norm(ours - io[name]) / torch.linalg.vector_norm(io[name]))

    handle = double_image_latents(unet)
    seen["out"] = run()
    assert seen.keys() == io.keys() - {"x", "t", "y", "image", "local_image", "fps"}
    for name, ours in seen.items():
        assert ours.shape == io[name].shape, name
        assert error(name, ours) <= config["tolerance"]["rel_l2"], name
    handle.remove()
    assert error("out", run()) == pytest.approx(config["sensitivity_rel_l2"]["image_branch_added_only_once"], rel=0.01)
