"""The released configurations, built without memory on the meta device: parameter counts as published or counted.

Networks that are ours alone are counted in test_networks_lvdm_seine.py and test_networks_opensora_parts.py.
"""

from __future__ import annotations

import diffusers
import pytest
import torch

from generators.streaming_t2v.checkpoint import refiner_module
from generators.streaming_t2v.denoising import parameter_table
from generators.streaming_t2v.network import NetworkConfig, StreamingNetwork
from generators.streaming_t2v.refiner import pad_rows_when_downsampling

HEADS = {"cross_attention_dim": 1024, "attention_head_dim": 64}
IMAGE_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
SPARSE = {"cross_attention_dim": 768, "concat_conditioning_mask": True, "use_simplified_condition_embedding": True}


@pytest.mark.parametrize(
    ("network", "settings", "millions"),
    [
        ("UNetSpatioTemporalConditionModel", {"num_attention_heads": (5, 10, 20, 20), "num_frames": 25}, 1524.6),
        ("AutoencoderKLTemporalDecoder", {**IMAGE_VAE, "down_block_types": ("DownEncoderBlock2D",) * 4}, 97.7),
        ("I2VGenXLUNet", HEADS, 1420.5),
        ("UNet3DConditionModel", HEADS, 1411.2),
        ("UNet2DConditionModel", {"cross_attention_dim": 768}, 859.5),
        ("MotionAdapter", {"use_motion_mid_block": False, "motion_max_seq_length": 32}, 417.1),
        ("SparseControlNetModel", SPARSE, 496.7),
    ],
)
def test_parameter_counts(network: str, settings: dict[str, object], millions: float) -> None:
    with torch.device("meta"):
        built = getattr(diffusers, network)(**settings)
    assert sum(parameter.numel() for parameter in built.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_streaming_t2v_has_the_parts_of_the_paper_at_their_sizes() -> None:
    with torch.device("meta"):
        network = StreamingNetwork(NetworkConfig())
    millions = {row.part: row.parameters / 1e6 for row in parameter_table(network)}
    base = millions["base model: spatial layers"] + millions["base model: temporal layers"]
    assert base == pytest.approx(1411.2, abs=0.05)
    assert millions["CAM: mergers"] == pytest.approx(68.9, abs=0.05)
    assert millions["CAM: frame encoder"] + millions["CAM: encoder half"] == pytest.approx(622.0, abs=0.05)
    assert millions["APM: anchor MLP"] == pytest.approx(22.3, abs=0.05)
    assert millions["APM: projection blocks"] == pytest.approx(0.38, abs=0.005)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(sum(millions.values()))


def test_the_refiner_has_the_size_of_its_base() -> None:
    refiner = pad_rows_when_downsampling(refiner_module())
    assert sum(parameter.numel() for parameter in refiner.parameters()) / 1e6 == pytest.approx(1411.2, abs=0.05)
