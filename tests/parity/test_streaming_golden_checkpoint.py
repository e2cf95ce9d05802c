"""Every tensor of the released checkpoint has a place or a reason; every place has a tensor of its shape."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from generators.streaming_t2v.checkpoint import UNUSED, map_checkpoint, map_image_encoder, released_modules
from generators.streaming_t2v.denoising import choose_trained, parameter_table
from generators.streaming_t2v.network import CheckpointError, StreamingNetwork, check_fit
from tests.conftest import golden

FILE = golden("streamingt2v", "checkpoint_keys.json")


@pytest.fixture(scope="module")
def listed() -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(FILE.read_text())["keys"]
    return keys


@pytest.fixture(scope="module")
def released(listed: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {entry["key"]: torch.empty(entry["shape"], device="meta") for entry in listed}


@pytest.fixture(scope="module")
def modules() -> dict[str, torch.nn.Module]:
    return released_modules()


def test_every_tensor_is_used_or_named_with_a_reason(
    released: dict[str, Tensor], modules: dict[str, torch.nn.Module]
) -> None:
    assert len(released) == 3407
    mapped = map_checkpoint(released)
    for name, module in modules.items():
        check_fit(module.state_dict(), mapped.components[name], name)
    expected = {
        f"image_encoder.model.{name}"
        for name in (
            "positional_embedding", "token_embedding.weight", "ln_final.weight", "ln_final.bias", "text_projection",
            "logit_scale",
        )
    }  # fmt: skip
    assert set(mapped.unused) == expected
    assert set(mapped.unused.values()) <= set(UNUSED.values())
    attention_parts = 32 * 2 * 2  # in_proj weight and bias of 32 layers become three tensors each
    assert sum(map(len, mapped.components.values())) + len(expected) - attention_parts == len(released)


def test_trained_parameters_are_the_released_ones(listed: list[dict[str, Any]], modules: dict[str, Any]) -> None:
    network = modules["network"]
    assert isinstance(network, StreamingNetwork)
    choose_trained(network, "released")
    rows = {row.part: row for row in parameter_table(network)}
    counts: Counter[str] = Counter()
    for entry in listed:
        if entry["trained"]:
            counts[entry["key"].split(".")[0]] += torch.Size(entry["shape"]).numel()
    assert rows["APM: anchor MLP"].trained == counts["resampler"] == 22_299_904
    assert rows["CAM: frame encoder"].trained + rows["CAM: encoder half"].trained == counts["unet"]
    assert rows["CAM: mergers"].trained == 68_867_200
    assert rows["APM: projection blocks"].trained == 377_744
    assert rows["base model: temporal layers"].trained == 0
    assert rows["base model: temporal layers"].parameters == 545_323_136
    assert sum(row.trained for row in rows.values()) == sum(counts.values())


def test_a_wrong_checkpoint_is_named(released: dict[str, Tensor], modules: dict[str, torch.nn.Module]) -> None:
    with pytest.raises(CheckpointError, match=r"1 tensors belong to no part of StreamingT2V: optimizer\.state"):
        map_checkpoint(released | {"optimizer.state": torch.zeros(1)})
    damaged = dict(released)
    del damaged["base_model.cross_attention_merger_mid_block.temporal_transformer.norm.bias"]
    damaged["unet.conv_in.weight"] = torch.empty(320, 8, 3, 3, device="meta")
    damaged["base_model.down_blocks.9.what.weight"] = torch.empty(1, device="meta")
    with pytest.raises(CheckpointError) as error:
        check_fit(modules["network"].state_dict(), map_checkpoint(damaged).components["network"], "the file")
    for part in ("1 missing: injector.middle.norm.bias", "1 extra: unet.down_blocks.9.what.weight", "[320, 8, 3, 3]"):
        assert part in str(error.value)


@torch.no_grad()
def test_the_image_encoder_is_open_clips() -> None:
    """The same tiny tower built by both libraries gives the same embedding through the key map."""
    torch.manual_seed(0)
    theirs = open_clip.transformer.VisionTransformer(
        image_size=32, patch_size=16, width=32, layers=2, heads=4, mlp_ratio=2, output_dim=12
    ).eval()
    config = CLIPVisionConfig(
        image_size=32, patch_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        projection_dim=12, hidden_act="gelu",
    )  # fmt: skip
    ours = CLIPVisionModelWithProjection(config).eval()
    state: dict[str, Tensor] = {}
    for key, tensor in theirs.state_dict().items():
        state |= map_image_encoder(f"model.visual.{key}", tensor)
    check_fit(ours.state_dict(), state, "open_clip")
    ours.load_state_dict(state)
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(pixels).image_embeds, theirs(pixels), atol=1e-5, rtol=1e-4)
