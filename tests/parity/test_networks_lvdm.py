"""VideoCrafter2, FreeNoise and DynamiCrafter compute what their originals compute."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
from baselines.dynamicrafter_xl.resampler import Resampler, convert_resampler_keys
from baselines.freenoise.windows import attend_in_windows, reschedule_noise
from baselines.networks.videocrafter import VideoCrafterUNet, convert_videocrafter_keys
from tests.parity.goldens import Golden, captured


def lvdm_arguments(constructor: dict[str, object]) -> dict[str, object]:
    levels = constructor["channel_mult"]
    return {
        "block_out_channels": tuple(constructor["model_channels"] * factor for factor in levels),
        "attention_levels": tuple(2**level in constructor["attention_resolutions"] for level in range(len(levels))),
        "layers_per_block": constructor["num_res_blocks"],
        "cross_attention_dim": constructor["context_dim"],
        "head_channels": constructor["num_head_channels"],
    }


def videocrafter(golden: Golden) -> VideoCrafterUNet:
    network = VideoCrafterUNet(**lvdm_arguments(golden.constructor)).eval()
    network.load_state_dict(convert_videocrafter_keys(golden.weights()))
    return network


@torch.no_grad()
def test_videocrafter2() -> None:
    golden = Golden("videocrafter2_unet")
    network = videocrafter(golden)
    unet, attends = network.unet, lvdm_arguments(golden.constructor)["attention_levels"]
    finest, coarsest = unet.down_blocks[0], unet.up_blocks[0]
    seen = captured(
        {
            "mid.time_and_fps_embedding_mlp_out": unet.time_embedding.time,
            "mid.initial_temporal_transformer": unet.transformer_in,
            "mid.input_block_1": (finest.temp_attentions if attends[0] else finest.temp_convs)[0],
            "mid.middle_block": unet.mid_block,
            "mid.output_block_0": (coarsest.temp_attentions if attends[-1] else coarsest.temp_convs)[0],
        }
    )
    io = golden.io
    seen["out"] = network(io["x"], io["timesteps"], io["context"], io["fps"])
    for name in sorted(golden.io.keys() - {"x", "timesteps", "context", "fps"}):
        golden.check(name, seen[name])


@torch.no_grad()
def test_freenoise_windows() -> None:
    golden = Golden("freenoise")
    network = videocrafter(Golden("videocrafter2_unet"))
    io = golden.io
    golden.check("out_without_windows", network(io["x"], io["timesteps"], io["context"], io["fps"]))
    attend_in_windows(network, golden.config["window"], golden.config["stride"])
    seen = captured(
        {
            "mid.initial_temporal_transformer": network.unet.transformer_in,
            "mid.middle_block": network.unet.mid_block,
        }
    )
    seen["out"] = network(io["x"], io["timesteps"], io["context"], io["fps"])
    for name, ours in seen.items():
        golden.check(name, ours)


def test_freenoise_noise_rescheduling_is_exact() -> None:
    golden = Golden("freenoise", holds="noise_rescheduling.safetensors", travels=True)
    noise = load_file(golden.folder / "noise_rescheduling.safetensors")
    ours = reschedule_noise(noise["noise"], noise["shuffled_indices"], golden.config["window"])
    assert torch.equal(ours, noise["rescheduled"])


@torch.no_grad()
def test_dynamicrafter() -> None:
    golden = Golden("dynamicrafter_unet")
    network = DynamiCrafterUNet(
        **lvdm_arguments(golden.constructor), default_fps=golden.constructor["default_fs"]
    ).eval()
    network.load_state_dict(convert_videocrafter_keys(golden.weights()))
    seen = captured(
        {
            "mid.time_and_fps_embedding_mlp_out": network.unet.time_embedding.time,
            "mid.middle_block": network.unet.mid_block,
        }
    )
    io = golden.io
    text, image = io["context"].tensor_split([77], dim=1)
    out = network(io["x"], io["timesteps"], text, image, io["fs"])
    for name, ours in {**seen, "out": out}.items():
        golden.check(name, ours)
    shared = network(io["x"], io["timesteps"], text, image[:, :16], io["fs"])
    golden.check("out_shared_image_tokens", shared)
    golden.check("out_default_fs", network(io["x"], io["timesteps"], text, image))


@torch.no_grad()
def test_dynamicrafter_resampler() -> None:
    golden = Golden("dynamicrafter_resampler", travels=True)
    sizes = golden.constructor
    network = Resampler(
        width=sizes["dim"],
        depth=sizes["depth"],
        head_channels=sizes["dim_head"],
        heads=sizes["heads"],
        frame_tokens=sizes["num_queries"],
        num_frames=sizes["video_length"],
        image_width=sizes["embedding_dim"],
        context_width=sizes["output_dim"],
    ).eval()
    network.load_state_dict(convert_resampler_keys(golden.weights()))
    projection = network.projection
    seen = captured({"mid.proj_in": projection.proj_in, "mid.layer0_attention": projection.layers[0].attn})
    golden.check("image_tokens", network(golden.io["clip_tokens"]))
    for name, ours in seen.items():
        golden.check(name, ours)
