"""Stable Video Diffusion in miniature: the temporal decoder and the image-to-video network of 25 frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from torch import Tensor, nn

from generators.mini.data import random_clip, to_tensor
from generators.mini.latents import load_library
from generators.mini.tasks.autoencoder import CONFIG as IMAGE_CONFIG
from generators.mini.training import Dice, Recipe

HERE = Path(__file__).parents[1]

DECODER_CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "sample_size": 64,
    "layers_per_block": 1,
    "block_out_channels": IMAGE_CONFIG["block_out_channels"],
    "down_block_types": IMAGE_CONFIG["down_block_types"],
    "force_upcast": False,
}

CONFIG = {
    "sample_size": 8,
    "in_channels": 8,
    "out_channels": 4,
    "num_frames": 25,
    "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
    "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    "block_out_channels": (32, 64),
    "num_attention_heads": (2, 4),
    "cross_attention_dim": 96,
    "layers_per_block": 1,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 96,
    "transformer_layers_per_block": 1,
}

SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "interpolation_type": "linear",
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}
"""The released scheduler's configuration."""

FPS_ID, MOTION_BUCKET, NOISE_AUG = 6.0, 127.0, 0.02
"""Micro-conditioning of the released model at its default call (the pipeline passes fps - 1)."""


class TemporalDecoder:
    """Fine-tunes the image decoder, widened by temporal layers, on short clips; the encoder stays as it is."""

    name = "svd_decoder"
    recipe = Recipe(steps=300, batch=16, learning_rate=1e-3, average=0.98, half=True)
    hot: tuple[str, ...] = ()
    num_frames = 8

    def build(self) -> nn.Module:
        """Returns the temporal autoencoder with the image autoencoder's weights."""
        image = AutoencoderKL.from_pretrained(HERE / "weights" / "text_to_video" / "vae", torch_dtype=torch.float32)
        video = AutoencoderKLTemporalDecoder(**DECODER_CONFIG)
        video.register_to_config(scaling_factor=image.config.scaling_factor)
        state = video.state_dict()
        with torch.no_grad():
            _fold_post_quant(image)
        for name, tensor in image.state_dict().items():
            if temporal_name(name) in state:  # all but the middle's second block, for which there is no room
                state[temporal_name(name)].copy_(tensor)
        for name, tensor in state.items():
            if name.endswith(("temporal_res_block.conv2.weight", "temporal_res_block.conv2.bias")):
                tensor.zero_()  # the temporal half of every block starts as the identity
        middle = state["decoder.time_conv_out.weight"]
        middle.zero_()
        middle[:, :, 1, 0, 0] = torch.eye(3)
        state["decoder.time_conv_out.bias"].zero_()
        video.encoder.requires_grad_(False)
        video.quant_conv.requires_grad_(False)
        network: nn.Module = video
        return network

    def loss(self, network: Any, dice: Dice) -> tuple[Tensor, dict[str, float]]:
        """Returns L1 + 2 MSE of clips decoded from their latents, and the PSNR in dB."""
        count = self.recipe.batch // self.num_frames
        clips = [random_clip(dice.scenes)[0] for _ in range(count)]
        times = np.arange(self.num_frames)
        frames = to_tensor(np.concatenate([clip.render_at(times + dice.scenes.uniform(0, 100)) for clip in clips]))
        with torch.no_grad():
            latents = network.encode(frames).latent_dist.mode()
        error = network.decode(latents, num_frames=self.num_frames).sample.float() - frames
        mse = error.square().mean()
        return error.abs().mean() + 2 * mse, {"psnr": 10 * torch.log10(4 / mse.detach()).item()}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `svd/vae`."""
        network.half().save_pretrained(weights / "svd" / "vae")


def temporal_name(name: str) -> str:
    """Returns where a tensor of `AutoencoderKL` goes in `AutoencoderKLTemporalDecoder`.

    The decoder's residual blocks become the spatial halves of spatio-temporal ones.
    """
    if not name.startswith("decoder."):
        return name
    head, mark, tail = name.partition(".resnets.")
    if not mark:
        return name
    index, _, rest = tail.partition(".")
    return f"{head}.resnets.{index}.spatial_res_block.{rest}"


def _fold_post_quant(image: AutoencoderKL) -> None:
    # The temporal autoencoder has no 1x1 convolution before its decoder, so it is multiplied into the first kernel;
    # exact inside, while the outermost pixels lose the bias that zero padding does not carry.
    before, after = image.post_quant_conv, image.decoder.conv_in
    after.bias += torch.einsum("omhw,m->o", after.weight, before.bias)
    after.weight.copy_(torch.einsum("omhw,mi->oihw", after.weight, before.weight[:, :, 0, 0]))


class Svd:
    """Denoises 25 frames given the first: EDM's preconditioning with v-prediction and log-normal noise levels.

    Source: Blattmann et al., Stable Video Diffusion (arXiv:2311.15127), appendix D; Karras et al., EDM
        (arXiv:2206.00364), table 1.
    """

    name = "svd"
    recipe = Recipe(steps=1900, batch=4, learning_rate=1.5e-3, average=0.998)
    hot: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(HERE / "cache", HERE / "weights")

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        network: nn.Module = UNetSpatioTemporalConditionModel(**CONFIG)
        return network

    def loss(self, network: Any, dice: Dice) -> tuple[Tensor, dict[str, float]]:
        """Returns the weighted squared error of the denoised clip, weight (1 + sigma^2) / sigma^2."""
        count = self.recipe.batch
        rows = dice.scenes.integers(len(self.library.clips), size=count)
        clean = self.library.clips[rows].float()
        told = torch.from_numpy(dice.scenes.random(count) > 0.1).float()
        look = self.library.looks[rows].float().unsqueeze(1) * told.view(-1, 1, 1)
        first = clean[:, :1] / self.library.scaling_factor * told.view(-1, 1, 1, 1, 1)
        sigma = torch.exp(0.7 + 1.6 * torch.randn(count, generator=dice.noise)).view(-1, 1, 1, 1, 1)
        noisy = clean + sigma * torch.randn(clean.shape, generator=dice.noise)
        scaled = noisy / (sigma.square() + 1).sqrt()
        ids = torch.tensor([[FPS_ID, MOTION_BUCKET, NOISE_AUG]]).repeat(count, 1)
        times = 0.25 * sigma.log().flatten()
        v = network(torch.cat([scaled, first.expand(-1, clean.shape[1], -1, -1, -1)], 2), times, look, ids).sample
        # In v the weight is 1: v - target = (denoised - clean) * sqrt(1 + sigma^2) / sigma, up to sign.
        target = (noisy / (sigma.square() + 1) - clean) * (sigma.square() + 1).sqrt() / sigma
        return (v.float() - target).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `svd/{unet,scheduler}` and the index of the pipeline."""
        folder = weights / "svd"
        network.half().save_pretrained(folder / "unet")
        EulerDiscreteScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "StableVideoDiffusionPipeline",
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
            "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
            "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
