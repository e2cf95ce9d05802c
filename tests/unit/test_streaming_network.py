"""The streaming network: what it computes at initialisation, what its memories change, how it is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from diffusers import UNet3DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from generators.streaming_t2v.conditional_attention import FrameEncoder, TemporalMerger, frame_positions
from generators.streaming_t2v.network import (
    BASE_NOTE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    CheckpointError,
    NetworkConfig,
    Prepared,
    ShortTerm,
    StreamingNetwork,
    needs_base,
)
from generators.streaming_t2v.unet import VideoUNetConfig
from generators.weights import MissingWeightsError

SIZES = NetworkConfig(
    unet=VideoUNetConfig(
        block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=8, cross_attention_dim=12
    ),
    text_tokens=7,
    image_tokens=3,
    image_width=6,
    anchor_hidden_width=10,
    merger_head_dim=8,
    merger_norm_groups=4,
    frame_encoder_channels=(4, 4, 6, 8),
)


def base_model() -> UNet3DConditionModel:
    torch.manual_seed(0)
    unet = UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=8,
        cross_attention_dim=12,
    ).eval()  # fmt: skip
    for parameter in unet.parameters():  # temporal convolutions end in zeros otherwise
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return unet


def inputs() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    conditioning = {
        "text": torch.randn(2, 7, 12),
        "image_embeddings": torch.randn(2, 1, 6),
        "frames": torch.rand(2, 8, 3, 64, 32) * 2 - 1,
        "frame_latents": torch.randn(2, 4, 8, 8, 4),
    }
    return torch.randn(2, 4, 16, 8, 4), torch.tensor([501, 20]), conditioning


def shaken(network: StreamingNetwork) -> StreamingNetwork:
    """The network with every parameter that starts at zero moved away from it."""
    torch.manual_seed(2)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("short_term", get_args(ShortTerm))
@pytest.mark.parametrize("long_term", [True, False])
@torch.no_grad()
def test_at_initialisation_the_output_is_the_base_models_bit_for_bit(short_term: ShortTerm, long_term: bool) -> None:
    unet = base_model()
    config = replace(SIZES, short_term=short_term, long_term=long_term)
    network = StreamingNetwork.from_base(config, unet.state_dict()).eval()
    latents, timestep, conditioning = inputs()
    ours = network(latents, timestep, network.prepare(**conditioning))
    assert torch.equal(ours, unet(latents, timestep, conditioning["text"]).sample)


@pytest.mark.parametrize("short_term", get_args(ShortTerm))
@torch.no_grad()
def test_every_memory_reaches_the_output(short_term: ShortTerm) -> None:
    config = replace(SIZES, short_term=short_term)
    network = shaken(StreamingNetwork.from_base(config, base_model().state_dict()))
    latents, timestep, conditioning = inputs()
    plain = network(latents, timestep, network.prepare(**conditioning))
    for name, expected in {
        "text": True,
        "image_embeddings": True,
        "frames": short_term in ("cam", "sparse"),
        "frame_latents": short_term == "concat",
    }.items():
        other = network.prepare(**(conditioning | {name: conditioning[name].flip(1) * 0.5}))
        changed = not torch.equal(network(latents, timestep, other), plain)
        assert changed == expected, name


@torch.no_grad()
def test_sizes_unlike_the_released_ones() -> None:
    """Three levels, groups that differ between parts, oblong latents, several anchor frames, another window."""
    unet = VideoUNetConfig(
        block_out_channels=(32, 32, 64), norm_num_groups=16, attention_head_dim=8, cross_attention_dim=48,
        transformer_in_norm_groups=32, temporal_conv_norm_groups=8, transformer_in_heads=3,
    )  # fmt: skip
    config = replace(SIZES, unet=unet, window=10, conditioning_frames=4, merger_head_dim=16, merger_norm_groups=32)
    network = shaken(StreamingNetwork(config))
    assert network.injector is not None
    state = network.injector.state_dict()
    assert [len(state[f"skips.{index}.norm.weight"]) for index in range(9)] == list(unet.skip_channels)
    assert unet.skip_channels == (32, 32, 32, 32, 32, 32, 32, 64, 64)
    assert len(VideoUNetConfig().skip_channels) == 12
    prepared = network.prepare(torch.randn(2, 7, 48), torch.randn(2, 3, 6), torch.rand(1, 4, 3, 64, 32))
    out = network(torch.randn(1, 4, 10, 8, 4), torch.tensor(961), prepared)
    assert out.shape == (2, 4, 10, 8, 4)
    assert bool(out.isfinite().all())


def test_the_copied_encoder_is_a_copy() -> None:
    unet = base_model()
    network = StreamingNetwork.from_base(SIZES, unet.state_dict())
    assert network.cam is not None
    storages = {parameter.data_ptr() for parameter in network.parameters()}
    assert len(storages) == len(list(network.parameters()))
    assert not storages & {parameter.data_ptr() for parameter in unet.parameters()}
    copied = network.cam.encoder.state_dict()
    assert all(torch.equal(value, unet.state_dict()[key]) for key, value in copied.items())


def test_save_and_load(tmp_path: Path) -> None:
    network = shaken(StreamingNetwork(SIZES))
    network.save(tmp_path)
    again = StreamingNetwork.load(tmp_path)
    assert again.config == SIZES
    own = network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in again.state_dict().items())
    latents, timestep, conditioning = inputs()
    with torch.no_grad():
        prepared: Prepared = again.prepare(**conditioning)
        assert torch.equal(again(latents, timestep, prepared), network(latents, timestep, prepared))


def test_loading_names_what_does_not_fit(tmp_path: Path) -> None:
    StreamingNetwork(SIZES).save(tmp_path)
    state = load_file(tmp_path / WEIGHTS_FILE)
    del state["unet.conv_in.bias"]
    state["surprise"] = torch.zeros(1)
    state["unet.conv_out.bias"] = torch.zeros(5)
    save_file(state, tmp_path / WEIGHTS_FILE)
    with pytest.raises(CheckpointError) as error:
        StreamingNetwork.load(tmp_path)
    for part in ("1 missing: unet.conv_in.bias", "1 extra: surprise", "unet.conv_out.bias [5] instead of [4]"):
        assert part in str(error.value)


@pytest.mark.parametrize("short_term", get_args(ShortTerm))
def test_what_the_base_model_has_need_not_be_stored_twice(tmp_path: Path, short_term: ShortTerm) -> None:
    base = {key: value.half().float() for key, value in base_model().state_dict().items()}
    config = replace(SIZES, short_term=short_term)
    network = StreamingNetwork.from_base(config, base)
    for name, parameter in network.named_parameters():  # as after training: memories moved, the base model as it was
        if not name.startswith("unet.") or ".attn2.processor." in name:
            parameter.data = (parameter + 0.01 * torch.randn_like(parameter)).half().float()
    network.save(tmp_path / "whole")
    network.save(tmp_path / "small", torch.float16, base)
    stored = load_file(tmp_path / "small" / WEIGHTS_FILE)
    assert not any(key.startswith("unet.up_blocks.0.resnets") for key in stored)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert needs_base(tmp_path / "small")
    assert not needs_base(tmp_path / "whole")
    again = StreamingNetwork.load(tmp_path / "small", base=base).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.state_dict().items())


def test_a_network_without_its_base_model_or_over_another(tmp_path: Path) -> None:
    base = base_model().state_dict()
    StreamingNetwork.from_base(SIZES, base).save(tmp_path, base=base)
    with pytest.raises(CheckpointError, match="give the base model, too"):
        StreamingNetwork.load(tmp_path)
    other = base | {"conv_out.bias": base["conv_out.bias"] + 1}
    with pytest.raises(CheckpointError, match="was trained over a base model with fingerprint"):
        StreamingNetwork.load(tmp_path, base=other)
    state = load_file(tmp_path / WEIGHTS_FILE)
    del state["injector.middle.proj_in.bias"]
    save_file(state, tmp_path / WEIGHTS_FILE, {BASE_NOTE: needs_base(tmp_path)})
    with pytest.raises(CheckpointError, match=r"with its base model .* 1 missing: injector\.middle\.proj_in\.bias"):
        StreamingNetwork.load(tmp_path, base=base)


def test_only_the_first_ten_names_are_listed(tmp_path: Path) -> None:
    StreamingNetwork(SIZES).save(tmp_path)
    save_file({f"extra.{index:02}": torch.zeros(1) for index in range(12)}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match=r"12 extra: .*extra\.09, …") as error:
        StreamingNetwork.load(tmp_path)
    assert "extra.10" not in str(error.value)


def test_loading_from_an_empty_folder_and_a_torn_config(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"holds no config\.json"):
        StreamingNetwork.load(tmp_path)
    StreamingNetwork(SIZES).save(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="not the configuration"):
        StreamingNetwork.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"short_term": "none of these"}, "short_term"), ({"conditioning_frames": 16}, "leave new frames")],
)
def test_impossible_configurations(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SIZES, **changes)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_frame_encoder_starts_with_its_eyes_open() -> None:
    """What reaches its last, zero-initialised layer differs from frame to frame as much as the frames do."""
    torch.manual_seed(0)
    encoder = FrameEncoder((8, 16, 32, 64), 32)
    seen: list[Tensor] = []
    encoder.conv_out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    frames = torch.randn(8, 3, 64, 64)
    assert float(encoder(frames).abs().max()) == 0
    assert 0.2 < float(seen[0].std(dim=0).mean()) < 5


@torch.no_grad()
def test_each_frame_finds_its_counterpart_from_the_first_step_on() -> None:
    """With CAM reading the same frames and the zero-initialised projection opened, attention picks the right frame."""
    torch.manual_seed(0)
    merger = TemporalMerger(32, head_dim=16, norm_groups=8)
    torch.nn.init.eye_(merger.proj_out.weight)
    features = 2 * torch.randn(8, 32, 4, 4)
    read = merger(features, features, 8, 8) - features
    similar = torch.nn.functional.cosine_similarity(read[:, None], features[None], dim=2).mean((2, 3))
    assert torch.equal(similar.argmax(dim=1), torch.arange(8))
    assert float(similar.diagonal().min()) > 0.6


@torch.no_grad()
def test_positions_tell_frames_apart_that_look_alike() -> None:
    """Without them the order of the conditioning frames changes nothing; with them each frame finds its number."""
    torch.manual_seed(0)
    plain, numbered = (TemporalMerger(32, head_dim=16, norm_groups=8, positions=on) for on in (False, True))
    for merger in (plain, numbered):
        torch.nn.init.eye_(merger.proj_out.weight)
    features, memory = torch.randn(16, 32, 4, 4), torch.randn(8, 32, 4, 4)
    torch.testing.assert_close(plain(features, memory.flip(0), 16, 8), plain(features, memory, 16, 8))
    assert not torch.allclose(numbered(features, memory.flip(0), 16, 8), numbered(features, memory, 16, 8), atol=0.1)
    alike = torch.randn(1, 32, 4, 4).repeat(8, 1, 1, 1) + 0.01 * torch.randn(8, 32, 4, 4)
    read, places = (numbered(alike, alike, 8, 8) - alike).mean((2, 3)), frame_positions(8, torch.zeros(32))
    read, places = read - read.mean(dim=0), places - places.mean(dim=0)
    similar = torch.nn.functional.cosine_similarity(read[:, None], places[None], dim=2)
    assert torch.equal(similar.argmax(dim=1), torch.arange(8))


def test_at_initialisation_positions_change_nothing() -> None:
    state, (latents, times, conditioning) = base_model().state_dict(), inputs()
    torch.manual_seed(0)
    plain = StreamingNetwork.from_base(SIZES, state).eval()
    numbered = StreamingNetwork.from_base(replace(SIZES, cam_positions=True), state).eval()
    with torch.no_grad():
        expected = plain(latents, times, plain.prepare(**conditioning))
        assert torch.equal(numbered(latents, times, numbered.prepare(**conditioning)), expected)


def test_merger_sizes_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="merger_head_dim"):
        StreamingNetwork(replace(SIZES, merger_head_dim=5))
