"""Stable Video Diffusion in miniature: the image-to-video network of 25 frames; it shares the image autoencoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from torch import Tensor, nn

from generators.mini.denoising import draw_from_looks
from generators.mini.latents import load_library
from generators.mini.training import Recipe, StepRandom

HERE = Path(__file__).parents[1]

CONFIG: dict[str, Any] = {
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

SVD_SCHEDULE = {
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


class SvdTask:
    """Denoises 25 frames given the first: EDM's preconditioning with v-prediction and log-normal noise levels.

    Source: Blattmann et al., Stable Video Diffusion (arXiv:2311.15127), appendix D; Karras et al., EDM
        (arXiv:2206.00364), table 1.
    """

    name = "svd"
    recipe = Recipe(steps=8143, batch=8, learning_rate=1.5e-3)
    compiled: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(HERE / "cache", HERE / "weights")

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        network: nn.Module = UNetSpatioTemporalConditionModel(**CONFIG)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the weighted squared error of the denoised clip, weight (1 + sigma^2) / sigma^2."""
        count = self.recipe.batch
        clean, _, rows, columns = draw_from_looks(self.library, random, count, CONFIG["num_frames"])
        told = torch.as_tensor(random.scenes.random(count) > 0.1).float()
        look = self.library.looks[rows, columns].float().unsqueeze(1) * told.view(-1, 1, 1)
        first = clean[:, :1] / self.library.scaling_factor * told.view(-1, 1, 1, 1, 1)
        sigma = torch.exp(0.7 + 1.6 * torch.randn(count, generator=random.noise)).view(-1, 1, 1, 1, 1)
        noisy = clean + sigma * torch.randn(clean.shape, generator=random.noise)
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
        EulerDiscreteScheduler(**SVD_SCHEDULE).save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "StableVideoDiffusionPipeline",
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
            "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
