"""diffusers' I2VGen-XL network with the image branch counted twice computes what VGen computes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from diffusers import I2VGenXLUNet
from torch import Tensor

from baselines.i2vgen_xl.network import double_image_latents
from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys
from tests.parity.goldens import Golden, attention_levels, block_types, captured, relative

_OWN_PARTS = {
    "context_embedding.": "context_embedding.",
    "fps_embedding.": "fps_embedding.",
    "local_image_concat.": "image_latents_proj_in.",
    "local_image_embedding.": "image_latents_context_embedding.",
    "local_temporal_encoder.layers.0.0.norm.": "image_latents_temporal_encoder.norm1.",
    "local_temporal_encoder.layers.0.0.fn.to_out.": "image_latents_temporal_encoder.attn1.to_out.",
    "local_temporal_encoder.layers.0.1.net.0.0.": "image_latents_temporal_encoder.ff.net.0.proj.",
    "local_temporal_encoder.layers.0.1.net.2.": "image_latents_temporal_encoder.ff.net.2.",
}
_ENCODER_QKV = "local_temporal_encoder.layers.0.0.fn.to_qkv.weight"


def convert_vgen_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of VGen's `i2vgen_xl` checkpoint under the names of `I2VGenXLUNet`; none is left out.

    Args:
        state_dict: the entry `state_dict` of the released `.pth` file.

    Raises:
        ValueError: names that are not of this network.
    """
    converted: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        own = next((prefix for prefix in _OWN_PARTS if key.startswith(prefix)), None)
        if own is not None:
            converted[_OWN_PARTS[own] + key[len(own) :]] = tensor
        elif key == _ENCODER_QKV:
            for name, rows in zip(("to_q", "to_k", "to_v"), tensor.chunk(3), strict=True):
                converted[f"image_latents_temporal_encoder.attn1.{name}.weight"] = rows
        else:
            shared[key] = tensor
    return converted | convert_lvdm_keys(shared)


@torch.no_grad()
def test_i2vgen_xl() -> None:
    golden = Golden("i2vgen_xl_unet")
    sizes, io = golden.constructor, golden.io
    unet = I2VGenXLUNet(
        block_out_channels=tuple(sizes["dim"] * factor for factor in sizes["dim_mult"]),
        **block_types(attention_levels(sizes)),
        layers_per_block=sizes["num_res_blocks"],
        cross_attention_dim=sizes["context_dim"],
        attention_head_dim=sizes["head_dim"],
    ).eval()
    unet.load_state_dict(convert_vgen_keys(golden.weights()))
    watched = {
        "mid.image_concat_stack": unet.image_latents_proj_in,
        "mid.image_temporal_encoder": unet.image_latents_temporal_encoder,
        "mid.image_local_tokens_map": unet.image_latents_context_embedding,
        "mid.image_global_tokens": unet.context_embedding,
        "mid.fps_embedding_mlp_out": unet.fps_embedding,
        "mid.time_embedding_mlp_out": unet.time_embedding,
        "mid.middle_block_last_resblock": unet.mid_block,
    }
    seen = captured(watched)
    frames = io["x"].shape[2]
    planes = torch.arange(1, frames) / (frames - 1)
    later = planes[None, None, :, None, None].expand(*io["x"].shape[:2], -1, *io["x"].shape[3:])
    image_latents = torch.cat([io["local_image"][:, :, None], later], dim=2)

    def run() -> Tensor:
        return unet(io["x"], io["t"], io["fps"], image_latents, io["image"], io["y"], return_dict=False)[0]

    handle = double_image_latents(unet)
    seen["out"] = run()
    assert seen.keys() == io.keys() - {"x", "t", "y", "image", "local_image", "fps"}
    for name, ours in seen.items():
        golden.check(name, ours)
    handle.remove()
    once = golden.config["sensitivity_rel_l2"]["image_branch_added_only_once"]
    assert relative(run(), io["out"]) == pytest.approx(once, rel=0.01)
