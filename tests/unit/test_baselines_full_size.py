"""The released configurations, built without memory on the meta device: parameter counts as published or counted."""

from __future__ import annotations

import diffusers
import pytest
import torch

HEADS = {"cross_attention_dim": 1024, "attention_head_dim": 64}
SPARSE = {"cross_attention_dim": 768, "concat_conditioning_mask": True, "use_simplified_condition_embedding": True}


@pytest.mark.parametrize(
    ("network", "settings", "millions"),
    [
        ("UNetSpatioTemporalConditionModel", {"num_attention_heads": (5, 10, 20, 20), "num_frames": 25}, 1524.6),
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
