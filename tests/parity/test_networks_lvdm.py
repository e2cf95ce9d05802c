"""VideoCrafter2, FreeNoise, DynamiCrafter and I2VGen-XL compute what their originals compute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
from baselines.dynamicrafter_xl.resampler import Resampler, convert_resampler_keys
from baselines.freenoise.windows import attend_in_windows, reschedule_noise
from baselines.networks.videocrafter import VideoCrafterUNet, convert_videocrafter_keys

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "baselines"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden data of the baselines is not beside the repository")


class Golden:
    """One folder of golden data."""

    def __init__(self, name: str) -> None:
        self.config = json.loads((GOLDEN / name / "config.json").read_text())
        self.constructor = self.config["constructor"]
        self.tensors = load_file(GOLDEN / name / "io.safetensors")
        self.folder = GOLDEN / name

    def weights(self) -> dict[str, Tensor]:
        return {key: tensor.float() for key, tensor in load_file(self.folder / "weights.safetensors").items()}

    def check(self, name: str, ours: Tensor) -> None:
        theirs = self.tensors[name]
        assert ours.shape == theirs.shape, name
        error = torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(theirs)
        assert error <= self.config["tolerance"]["rel_l2"], f"{name}: relative error {error:.1e}"


def captured(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """A dict that holds each module's latest output once the network has run."""
    outputs: dict[str, Tensor] = {}
    for name, module in modules.items():

        def keep(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...], name: str = name) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) else output

        module.register_forward_hook(keep)
    return outputs


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
    unet = network.unet
    seen = captured(
        {
            "mid.time_and_fps_embedding_mlp_out": unet.time_embedding.time,
            "mid.initial_temporal_transformer": unet.transformer_in,
            "mid.input_block_1": unet.down_blocks[0].temp_attentions[0],
            "mid.middle_block": unet.mid_block,
            "mid.output_block_0": unet.up_blocks[0].temp_convs[0],
        }
    )
    io = golden.tensors
    seen["out"] = network(io["x"], io["timesteps"], io["context"], io["fps"])
    for name in sorted(golden.tensors.keys() - {"x", "timesteps", "context", "fps"}):
        golden.check(name, seen[name])


@torch.no_grad()
def test_freenoise_windows() -> None:
    golden = Golden("freenoise")
    network = videocrafter(Golden("videocrafter2_unet"))
    io = golden.tensors
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
    golden = Golden("freenoise")
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
    io = golden.tensors
    text, image = io["context"].tensor_split([77], dim=1)
    out = network(io["x"], io["timesteps"], text, image, io["fs"])
    for name, ours in {**seen, "out": out}.items():
        golden.check(name, ours)
    shared = network(io["x"], io["timesteps"], text, image[:, :16], io["fs"])
    golden.check("out_shared_image_tokens", shared)
    golden.check("out_default_fs", network(io["x"], io["timesteps"], text, image))


@torch.no_grad()
def test_dynamicrafter_resampler() -> None:
    golden = Golden("dynamicrafter_resampler")
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
    golden.check("image_tokens", network(golden.tensors["clip_tokens"]))
    for name, ours in seen.items():
        golden.check(name, ours)
