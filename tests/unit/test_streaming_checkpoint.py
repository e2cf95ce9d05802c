"""Opening released files: hashes, damage, pickles that would run code; conversion of the refiner's names."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from diffusers import UNet3DConditionModel
from torch import Tensor

from generators.streaming_t2v import checkpoint
from generators.streaming_t2v.checkpoint import convert_refiner, convert_streaming, map_vae, read_pickle
from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys
from generators.streaming_t2v.network import CheckpointError, NetworkConfig, StreamingNetwork
from generators.streaming_t2v.unet import VideoUNetConfig


def write(path: Path, state: object) -> Path:
    torch.save({"state_dict": state}, path)
    return path


def test_tensors_come_back(tmp_path: Path) -> None:
    file = write(tmp_path / "a.ckpt", OrderedDict(a=torch.arange(3)))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert torch.equal(read_pickle(file, digest.upper())["a"], torch.arange(3))


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_pickle(tmp_path / "none.ckpt")
    good = write(tmp_path / "good.ckpt", {"a": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"has SHA-256 .* not 00ff"):
        read_pickle(good, "00ff")
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(good.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="damaged"):
        read_pickle(torn)
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        read_pickle(tmp_path / "text.ckpt")
    torch.save({"weights": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match='no entry "state_dict"'):
        read_pickle(tmp_path / "other.ckpt")


class Mischief:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("mischief",)


def test_a_pickle_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "bad.ckpt", {"a": torch.zeros(1), "b": Mischief()})
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_pickle(file)
    assert not (tmp_path / "mischief").exists()


def lvdm_name(key: str) -> str:
    """The first name of a diffusers tensor of a network with levels (with, without attention), one block each."""
    for new, old in (
        ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in.", "input_blocks.0.0."), ("transformer_in.", "input_blocks.0.1."), ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"), ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.op"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.1.1.conv"),
    ):  # fmt: skip
        if key.startswith(new):
            return old + key[len(new) :]
    for place, (block, layers) in {
        "down_blocks.0": ("input_blocks.1.", 1), "down_blocks.1": ("input_blocks.3.", 1),
        "mid_block": ("middle_block.", 0), "up_blocks.0": ("output_blocks.", 2), "up_blocks.1": ("output_blocks.", 2),
    }.items():  # fmt: skip
        if not key.startswith(place):
            continue
        kind, layer, rest = key[len(place) + 1 :].split(".", 2)
        if place == "mid_block":
            part = {"attentions": "1", "temp_attentions": "2"}.get(kind, "03"[int(layer)])
        else:
            part = {"attentions": "1", "temp_attentions": "2"}.get(kind, "0")
            if layers == 2:
                block = f"output_blocks.{2 * int(place[-1]) + int(layer)}."
        inner = rest
        if kind == "temp_convs":
            inner = f"temopral_conv.{rest}"
        elif kind == "resnets":
            module, _, parameter = rest.rpartition(".")
            names = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
                     "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
            inner = f"{names[module]}.{parameter}"
        return f"{block}{part}.{inner}"
    raise AssertionError(key)


def tiny_unet() -> UNet3DConditionModel:
    return UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4, cross_attention_dim=8,
    )  # fmt: skip


def test_first_names_become_diffusers_names() -> None:
    own = tiny_unet().state_dict()
    first = {lvdm_name(key): value for key, value in own.items()}
    assert len(first) == len(own)
    first["input_blocks.0.1.proj_in.weight"] = first["input_blocks.0.1.proj_in.weight"][..., None]
    converted = convert_lvdm_keys(first)
    assert converted.keys() == own.keys()
    assert all(torch.equal(converted[key], own[key]) for key in own)
    with pytest.raises(ValueError, match=r"2 tensors are not .*: ema\.decay, input_blocks\.1\.7\.x"):
        convert_lvdm_keys(first | {"ema.decay": torch.zeros(1), "input_blocks.1.7.x": torch.zeros(1)})


def test_the_refiner_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tiny_unet().state_dict()
    file = write(tmp_path / "refiner.pth", {lvdm_name(key): value for key, value in own.items()})
    monkeypatch.setattr(checkpoint, "refiner_module", tiny_unet)
    out = convert_refiner(file, tmp_path / "out")
    assert json.loads((out / "source.json").read_text())["file"] == "refiner.pth"
    again = UNet3DConditionModel.from_pretrained(out / "unet", use_safetensors=True).state_dict()
    assert all(torch.equal(again[key], own[key]) for key in own)
    written = (out / "unet" / "config.json").stat().st_mtime_ns
    convert_refiner(file, tmp_path / "out")
    assert (out / "unet" / "config.json").stat().st_mtime_ns == written


def test_a_misshapen_refiner_is_not_written(tmp_path: Path) -> None:
    file = write(tmp_path / "refiner.pth", {lvdm_name(key): value for key, value in tiny_unet().state_dict().items()})
    with pytest.raises(CheckpointError, match=r"missing: .*misshapen: conv_in\.weight \[8, 4, 3, 3\] instead of \[320"):
        convert_refiner(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_streaming_checkpoint_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = NetworkConfig(
        unet=VideoUNetConfig(
            block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
            cross_attention_dim=8,
        ),
        text_tokens=5, image_tokens=2, image_width=6, anchor_hidden_width=10, merger_head_dim=4, merger_norm_groups=4,
        frame_encoder_channels=(4, 4),
    )  # fmt: skip
    network = StreamingNetwork(config)
    monkeypatch.setattr(checkpoint, "released_modules", lambda: {"network": StreamingNetwork(config)})
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        name = key.replace(".attn2.processor.", ".attn2.")
        for ours, theirs in (
            ("injector.middle.", "base_model.cross_attention_merger_mid_block.temporal_transformer."),
            ("cam.encoder.", "unet."), ("cam.", "unet."), ("anchor_tokens.", "resampler."), ("unet.", "base_model."),
        ):  # fmt: skip
            if name.startswith(ours):
                name = theirs + name[len(ours) :]
                break
        if name.startswith("injector.skips."):
            _, _, index, rest = name.split(".", 3)
            name = f"base_model.cross_attention_merger_down_blocks.{index}.temporal_transformer.{rest}"
        state[name] = value
    file = write(tmp_path / "streaming_t2v.ckpt", state)
    out = convert_streaming(file, tmp_path / "out")
    again = StreamingNetwork.load(out / "network")
    own = network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in again.state_dict().items())


def test_older_names_of_the_autoencoder() -> None:
    for old, new in (("query.weight", "to_q.weight"), ("proj_attn.bias", "to_out.0.bias")):
        key = f"decoder.mid_block.attentions.0.{old}"
        assert list(map_vae(key, torch.zeros(1))) == [f"decoder.mid_block.attentions.0.{new}"]
    assert list(map_vae("quant_conv.bias", torch.zeros(1))) == ["quant_conv.bias"]
