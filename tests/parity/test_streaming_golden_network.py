"""The modules of the streaming stage against recorded outputs of the official ones, through the same key map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor

from generators.streaming_t2v.appearance import AnchoredCrossAttention, clip_pixels
from generators.streaming_t2v.checkpoint import map_anchor_tokens, map_base_model, map_cam
from generators.streaming_t2v.encoders import LatentCodec
from generators.streaming_t2v.network import NetworkConfig, StreamingNetwork, load_exactly
from generators.streaming_t2v.pipeline import StreamingStage
from generators.streaming_t2v.unet import VideoUNetConfig, encode, text_attentions
from tests.conftest import golden_folders
from tests.parity.goldens import relative

FOLDERS = golden_folders("streamingt2v*/unet.safetensors", travels=False)

MODULE, NOISE, WINDOW = 1e-5, 1e-4, 5e-4  # relative L2 of modules, predicted noise, latents of a whole window


def config_of(meta: dict[str, Any]) -> NetworkConfig:
    """The network the golden describes; every size comes from its meta.json."""
    unet = meta["unet"]
    return NetworkConfig(
        unet=VideoUNetConfig(
            block_out_channels=tuple(unet["block_out_channels"]),
            attention_levels=tuple(name.startswith("CrossAttn") for name in unet["down_block_types"]),
            layers_per_block=unet["layers_per_block"],
            norm_num_groups=unet["norm_num_groups"],
            attention_head_dim=unet["attention_head_dim"],
            cross_attention_dim=unet["cross_attention_dim"],
            transformer_in_heads=meta["transformer_in_heads"],
            transformer_in_norm_groups=meta["transformer_in_norm_groups"],
            temporal_conv_norm_groups=meta["temp_conv_norm_groups"],
        ),
        window=meta["num_frames"],
        conditioning_frames=meta["num_cam_frames"],
        image_tokens=meta["resampler"]["expansion_factor"],
        image_width=meta["resampler"]["cross_attention_dim"],
        anchor_hidden_width=meta["resampler"]["inner_dim"],
        merger_head_dim=meta["merger_attention_head_dim"],
        merger_norm_groups=meta["merger_norm_groups"],
        frame_encoder_channels=tuple(meta["conditioning_embedding_out_channels"]),
    )


class Golden:
    """One golden folder: the network with its weights, inputs, intermediates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = json.loads((folder / "meta.json").read_text())["config"]
        self.inputs = load_file(folder / "inputs.safetensors")
        self.inside = load_file(folder / "intermediates.safetensors")
        self.eps = load_file(folder / "outputs.safetensors")["eps"]
        state: dict[str, Tensor] = {}
        for name, translate in (("unet", map_base_model), ("cam", map_cam), ("resampler", map_anchor_tokens)):
            for key, tensor in load_file(folder / f"{name}.safetensors").items():
                state |= translate(key, tensor)
        self.network = StreamingNetwork(config_of(self.meta)).eval()
        load_exactly(self.network, state, str(folder))
        self.batch = self.inputs["sample"].shape[0]
        self.frames = self.inputs["controlnet_cond"].unflatten(0, (self.batch, -1))
        self.images = self.inputs["clip_image_embeds"].unflatten(0, (self.batch, -1))
        self.prepared = self.network.prepare(self.inputs["text_tokens"], self.images, self.frames)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@torch.no_grad()
def test_image_tokens_and_context(golden: Golden) -> None:
    tokens = golden.prepared.context[:, golden.inputs["text_tokens"].shape[1] :]
    assert relative(tokens, golden.inside["resampler.image_tokens"]) < MODULE
    assert relative(golden.prepared.context, golden.inputs["encoder_hidden_states"]) < MODULE


@torch.no_grad()
def test_conditional_attention_module(golden: Golden) -> None:
    cam = golden.network.cam
    assert cam is not None
    assert golden.prepared.frames is not None
    assert relative(golden.prepared.frames, golden.inside["cam.cond_embedding"]) < MODULE
    features = cam(
        golden.inputs["sample"], golden.inputs["timestep"], golden.inputs["text_tokens"], golden.prepared.frames
    )
    for index, feature in enumerate(features.skips):
        assert relative(feature, golden.inside[f"cam.feature.{index}"]) < MODULE, index
    assert f"cam.feature.{len(features.skips)}" not in golden.inside
    assert relative(features.middle, golden.inside["cam.feature.mid"]) < MODULE


@torch.no_grad()
def test_every_merged_skip_and_the_middle(golden: Golden) -> None:
    network, inside = golden.network, golden.inside
    assert network.injector is not None
    encoded = encode(network.unet, golden.inputs["sample"], golden.inputs["timestep"], golden.prepared.context)
    for index, skip in enumerate(encoded.skips):
        assert relative(skip, inside[f"unet.skip_before_merge.{index}"]) < MODULE, index
    assert relative(encoded.middle, inside["unet.mid_before_merge"]) < MODULE
    cam = network.cam
    assert cam is not None
    assert golden.prepared.frames is not None
    seen = cam(golden.inputs["sample"], golden.inputs["timestep"], golden.prepared.text, golden.prepared.frames)
    merged = network.injector(encoded, seen)
    for index, skip in enumerate(merged.skips):
        assert relative(skip, inside[f"unet.skip_after_merge.{index}"]) < MODULE, index
    assert relative(merged.middle, inside["unet.mid_after_merge"]) < MODULE


@torch.no_grad()
def test_projection_block_of_the_first_layer(golden: Golden) -> None:
    name, attention = text_attentions(golden.network.unet)[0]
    assert name.startswith("down_blocks.0.attentions.0")
    block = attention.processor
    assert isinstance(block, AnchoredCrossAttention)
    prefix = "unet.apm.down0_attn0"
    mixed = block.conv(golden.prepared.context)
    assert relative(mixed, golden.inside[f"{prefix}.conv_out"]) < MODULE
    assert relative(block.conv_ln(mixed), golden.inside[f"{prefix}.mixed"]) < MODULE
    assert relative(block.context(golden.prepared.context), golden.inside[f"{prefix}.context"]) < MODULE
    outputs: list[Tensor] = []
    handle = attention.register_forward_hook(lambda module, args, output: outputs.append(output))
    golden.network(golden.inputs["sample"], golden.inputs["timestep"], golden.prepared)
    handle.remove()
    assert relative(outputs[0], golden.inside[f"{prefix}.attn2_out"]) < MODULE


@torch.no_grad()
def test_predicted_noise(golden: Golden) -> None:
    eps = golden.network(golden.inputs["sample"], golden.inputs["timestep"], golden.prepared)
    assert relative(eps, golden.eps) < NOISE


@torch.no_grad()
def test_guidance_shares_the_clip_and_changes_nothing(golden: Golden) -> None:
    """One clip with two texts equals the clip given twice: what is shared really is the same in both branches."""
    inputs = golden.inputs
    one, text = inputs["sample"][:1], inputs["text_tokens"]
    shared = golden.network.prepare(text, golden.images, golden.frames[:1])
    doubled = golden.network.prepare(text, golden.images, golden.frames[:1].repeat(2, 1, 1, 1, 1))
    together = golden.network(one, inputs["timestep"], shared)
    apart = golden.network(one.repeat(2, 1, 1, 1, 1), inputs["timestep"], doubled)
    assert relative(together, apart) < MODULE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_clip_preprocessing(folder: Path) -> None:
    recorded = load_file(folder / "clip_preprocess.safetensors")
    pixels = clip_pixels(recorded["frame_u8"].float() / 127.5 - 1, 224)
    assert relative(pixels, recorded["preprocessed"]) < MODULE
    grey = clip_pixels(torch.zeros(1, 3, 256, 256), 224)
    expected = recorded["preprocessed_zeros_per_channel"][None, :, None, None].expand_as(grey)
    assert relative(grey, expected) < MODULE


def released_scheduler() -> DDIMScheduler:
    """DDIM over the noise schedule of the base model.

    Source: ali-vilab/text-to-video-ms-1.7b, scheduler/scheduler_config.json.
    """
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading",
        prediction_type="epsilon",
    )  # fmt: skip


@torch.no_grad()
def test_one_autoregressive_window_with_the_recorded_draws(golden: Golden) -> None:
    recorded = load_file(golden.folder / "ar_step.safetensors")
    meta = json.loads((golden.folder / "meta.json").read_text())["ar_step"]
    text = torch.cat([recorded["negative_prompt_embeds"], recorded["prompt_embeds"]])
    images = torch.cat([recorded["clip_image_embeds_zeros"], recorded["clip_image_embeds_anchor"]])[:, None]
    prepared = golden.network.prepare(text, images, recorded["controlnet_cond"])
    draws = iter([recorded["init_noise"], *recorded["step_noise"]])
    stage = StreamingStage(
        golden.network, released_scheduler(), LatentCodec(AutoencoderKL()), encode_text=Mock(),
        num_inference_steps=meta["steps"], eta=meta["eta"], guidance_scale=meta["guidance"],
    )  # fmt: skip
    torch.testing.assert_close(stage.scheduler.alphas_cumprod, recorded["alphas_cumprod"])
    latents = stage.denoise(prepared, tuple(recorded["init_noise"].shape), lambda shape: next(draws).reshape(shape))
    assert next(draws, None) is None
    assert stage.scheduler.timesteps.tolist() == recorded["timesteps"].tolist()
    assert relative(latents[0], recorded["latents_per_step"][-1]) < WINDOW
