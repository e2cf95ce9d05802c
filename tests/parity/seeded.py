"""Small networks whose weights and inputs come from a seed, and what they computed when parity was last proven.

The originals' golden data of the large networks does not fit the repository. What travels instead are the outputs of
our networks at small sizes, written by this command on a commit whose networks agreed with the originals' golden data:

    python -m tests.parity.seeded

So a stranger sees that a network still computes what the proven one did; that the proven one computes what its original
does is shown by the tests beside this file wherever the originals' golden data is at hand.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import I2VGenXLUNet, UNet3DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
from baselines.freenoise.windows import attend_in_windows
from baselines.i2vgen_xl.network import double_image_latents
from baselines.networks.videocrafter import VideoCrafterUNet
from baselines.opensora.stdit3 import STDiT3, STDiT3Config
from baselines.opensora.vae import TemporalVAE, TemporalVAEConfig
from baselines.opensora_plan.transformer import InpaintConfig, InpaintTransformer, fold_mask, given_frames_mask
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig
from baselines.seine.network import SeineUNet
from generators.streaming_t2v.network import NetworkConfig, StreamingNetwork
from generators.streaming_t2v.refiner import pad_rows_when_downsampling
from generators.streaming_t2v.unet import VideoUNetConfig
from tests.parity.goldens import block_types

FILE = Path(__file__).resolve().parents[1] / "golden" / "seeded" / "outputs.safetensors"

LEVELS = (True, False)
SMALL = {"block_out_channels": (16, 32), "layers_per_block": 1, "cross_attention_dim": 16}


def draw(name: str, *shape: int) -> Tensor:
    """Returns float32 normals that depend on the name alone; NumPy keeps `RandomState`'s stream for good."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def fill(network: nn.Module, seed: str) -> nn.Module:
    """Returns the network in evaluation mode, every parameter drawn, also those that start at zero.

    Matrices and kernels are N(0, 1) / sqrt(fan in), scales of norms 1 + 0.2 N(0, 1), all else 0.1 N(0, 1).
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            normal = draw(f"{seed}:{name}", *parameter.shape)
            if parameter.ndim > 1:
                normal /= float(np.sqrt(parameter[0].numel()))
            elif name.endswith("weight"):
                normal = 1 + 0.2 * normal
            else:
                normal *= 0.1
            parameter.copy_(normal)
    return network.eval()


def videocrafter() -> VideoCrafterUNet:
    return VideoCrafterUNet(**SMALL, attention_levels=LEVELS, head_channels=8, norm_num_groups=4)


def videocrafter2() -> Tensor:
    network = fill(videocrafter(), "videocrafter2")
    return network(draw("x", 2, 4, 5, 8, 6), torch.tensor([7, 640]), draw("text", 2, 77, 16), torch.tensor([8, 16]))


def freenoise() -> Tensor:
    network = fill(videocrafter(), "videocrafter2")
    attend_in_windows(network, 4, 2)
    return network(draw("x", 1, 4, 8, 8, 6), torch.tensor([300]), draw("text", 1, 77, 16), torch.tensor([8]))


def dynamicrafter() -> Tensor:
    sizes = SMALL | {"attention_levels": LEVELS, "head_channels": 8, "norm_num_groups": 4, "frame_tokens": 2}
    network = fill(DynamiCrafterUNet(**sizes), "dynamicrafter")
    image = draw("image", 2, 2 * 5, 16)
    return network(draw("x", 2, 8, 5, 8, 6), torch.tensor([7, 640]), draw("text", 2, 77, 16), image)


def seine() -> Tensor:
    # One head is 40 channels wide in the original too: the rotary embedding takes the first 32 of them.
    sizes = SMALL | {"block_out_channels": (40, 80), "attention_levels": LEVELS, "num_attention_heads": (1, 2)}
    network = fill(SeineUNet(**sizes, norm_num_groups=8, num_frames=5), "seine")
    return network(draw("x", 2, 9, 5, 8, 6), torch.tensor([7, 640]), draw("text", 2, 77, 16))


def i2vgen_xl() -> Tensor:
    network = I2VGenXLUNet(**SMALL, **block_types(LEVELS), attention_head_dim=8, norm_num_groups=4)
    double_image_latents(fill(network, "i2vgen_xl"))
    steps, fps = torch.tensor([7, 640]), torch.tensor([8, 16])
    latents, text = draw("image latents", 2, 4, 5, 32, 32), draw("text", 2, 77, 16)
    return network(draw("x", 2, 4, 5, 32, 32), steps, fps, latents, draw("image", 2, 1, 16), text, return_dict=False)[0]


def refiner() -> Tensor:
    network = UNet3DConditionModel(**SMALL, **block_types(LEVELS), attention_head_dim=8, norm_num_groups=4)
    pad_rows_when_downsampling(fill(network, "refiner"))
    return network(draw("x", 2, 4, 5, 10, 6), torch.tensor([7, 640]), draw("text", 2, 77, 16)).sample


def streaming_t2v() -> Tensor:
    unet = VideoUNetConfig(
        **SMALL, attention_levels=LEVELS, norm_num_groups=4, attention_head_dim=8, transformer_in_heads=2,
        transformer_in_norm_groups=4, temporal_conv_norm_groups=4,
    )  # fmt: skip
    config = NetworkConfig(
        unet=unet, window=6, conditioning_frames=3, image_tokens=4, image_width=16, anchor_hidden_width=20,
        merger_head_dim=8, merger_norm_groups=4, frame_encoder_channels=(4, 6, 8, 10),
    )  # fmt: skip
    network = fill(StreamingNetwork(config), "streaming_t2v")
    assert isinstance(network, StreamingNetwork)
    prepared = network.prepare(draw("text", 2, 77, 16), draw("anchor", 2, 1, 16), draw("frames", 2, 3, 3, 64, 48))
    return network(draw("x", 2, 4, 6, 8, 6), torch.tensor(501), prepared)


def stdit3() -> Tensor:
    sizes = {"depth": 2, "hidden_size": 32, "num_heads": 2, "caption_channels": 12, "model_max_length": 6}
    network = fill(STDiT3(STDiT3Config.from_json(sizes)), "stdit3")
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])[:, None, None]
    live = torch.tensor([[False, True, True], [True, True, True]])
    text, fps = draw("text", 2, 1, 6, 12), torch.tensor([8.0, 16.0])
    out = network(draw("x", 2, 4, 3, 7, 6), torch.tensor([40.5, 700.0]), text, mask, fps, 56.0, 48.0, live)
    return out.transpose(1, 2)[live]


def temporal_vae() -> Tensor:
    sizes = {"filters": 8, "num_res_blocks": 1, "channel_multipliers": [1, 1, 2, 2], "num_groups": 4}
    network = fill(TemporalVAE(TemporalVAEConfig.from_json(sizes)), "temporal_vae")
    assert isinstance(network, TemporalVAE)
    mean, _ = network.encode(draw("x", 1, 4, 9, 4, 6))
    return network.decode(mean, 9)


def inpaint() -> Tensor:
    sizes = {
        "num_attention_heads": 2, "attention_head_dim": 24, "num_layers": 2, "cross_attention_dim": 48,
        "caption_channels": 16, "sample_size": [4, 6], "sample_size_t": 3,
    }  # fmt: skip
    network = fill(InpaintTransformer(InpaintConfig.from_json(sizes)), "inpaint")
    mask = fold_mask(given_frames_mask(9, (0,), 4, 6)).expand(2, -1, -1, -1, -1)
    x = torch.cat([draw("x", 2, 4, 3, 4, 6), draw("masked", 2, 4, 3, 4, 6), mask], dim=1)
    kept = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])[:, None]
    return network(x, torch.tensor([7, 640]), draw("text", 2, 1, 5, 16), kept)


def causal_vae() -> Tensor:
    sizes = {"hidden_size": 8, "hidden_size_mult": [1, 1, 2, 2], "num_res_blocks": 1, "norm_groups": 4}
    network = fill(CausalVAE(CausalVAEConfig.from_json(sizes)), "causal_vae")
    assert isinstance(network, CausalVAE)
    mean, _ = network.encode(draw("x", 1, 3, 5, 16, 24))
    return network.decode(mean)


NETWORKS: Mapping[str, Callable[[], Tensor]] = {
    function.__name__: function
    for function in (
        videocrafter2, freenoise, dynamicrafter, seine, i2vgen_xl, refiner, streaming_t2v, stdit3, temporal_vae,
        inpaint, causal_vae,
    )
}  # fmt: skip


@torch.no_grad()
def compute(name: str) -> Tensor:
    """Returns the output of a network of `NETWORKS` on its own inputs."""
    return NETWORKS[name]().contiguous()


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: compute(name) for name in NETWORKS}, FILE)
