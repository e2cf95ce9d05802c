"""OpenSoraPlan in miniature: the inpainting transformer over the latents of a causal 3D autoencoder.

Looks are learned from single frames first, then motion from chunks of 49 frames of which mostly the first is given.
The text encoder is trained with it.

Example:
    >>> sum(parameter.numel() for parameter in InpaintTransformer(InpaintConfig.from_json(CONFIG)).parameters())
    1040032
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import PNDMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from baselines.networks.miniature_t5 import WIDTH, build_t5_encoder, build_t5_tokenizer, encode_captions, export_text
from baselines.opensora_plan.continuation import load_causal_vae
from baselines.opensora_plan.transformer import (
    FRAMES_PER_LATENT,
    InpaintConfig,
    InpaintTransformer,
    fold_mask,
    given_frames_mask,
)
from baselines.opensora_plan.vae import CausalVAE
from baselines.opensora_plan.vae_training import CONFIG as VAE
from generators.mini.data import as_pixels
from generators.mini.denoising import CACHE, WEIGHTS, left_out, levels
from generators.mini.latents import kept_in
from generators.mini.rendered import CLIPS as CLIPS_RENDERED
from generators.mini.rendered import STILLS, Rendered, load_captions, load_rendered
from generators.mini.training import Recipe, StepRandom

CONFIG = {
    "num_layers": 6,
    "num_attention_heads": 4,
    "attention_head_dim": 24,
    "cross_attention_dim": 96,
    "caption_channels": WIDTH,
    "in_channels": VAE["embed_dim"],
}

NUM_FRAMES, SIDE = 49, 8
"""Frames of a chunk, and rows and columns of its latents."""

CLIPS = 4000
"""Chunks that are learned from."""

HEAVIEST = 100.0
"""Most that an error counts. Over the squared signal, an error of the noise weighs what that of v does (Salimans and
Ho, arXiv:2202.00512, appendix D): unweighted, hardly any of the loss is where noise is strong and layout is decided."""


class OpenSoraPlanTask:
    """The noise in latents, told the masked video; one caption in ten is left out, for guidance."""

    name = "opensora_plan"
    recipe = Recipe(steps=5500, batch=8, learning_rate=2e-3, average=0.995)
    compiled: tuple[str, ...] = ()
    still_steps = 1300
    """Steps on single frames, before those on chunks."""

    stills_each = 12
    """Single frames for each chunk of the batch, so that either kind of step holds about as many tokens."""

    given_share = 0.8
    """How often the first frame of a chunk is given; else the text alone says what to draw."""

    def __init__(self) -> None:
        self.latents, self.captions = load_latents(CACHE, WEIGHTS)
        self.tokenizer = build_t5_tokenizer()
        self.alphas = PNDMScheduler().alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the transformer and its text encoder at initialisation; at first, no noise is predicted."""
        network = InpaintTransformer(InpaintConfig.from_json(CONFIG))
        nn.init.zeros_(network.proj_out.weight)
        nn.init.zeros_(network.proj_out.bias)
        return nn.ModuleDict({"transformer": network, "text": build_t5_encoder()})

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the weighted squared error of the noise on one batch of single frames or chunks."""
        if random.step < self.still_steps:
            rows = random.scenes.integers(len(self.latents["stills"]), size=self.recipe.batch * self.stills_each)
            clean, captions = (
                self.latents["stills"][torch.as_tensor(rows)].float(),
                [self.captions["stills"][i] for i in rows],
            )
            masked = self.latents["grey_still"].float().expand_as(clean)
            mask = torch.ones_like(clean[:, :FRAMES_PER_LATENT])
        else:
            rows = random.scenes.integers(len(self.latents["chunks"]), size=self.recipe.batch)
            clean, captions = (
                self.latents["chunks"][torch.as_tensor(rows)].float(),
                [self.captions["chunks"][i] for i in rows],
            )
            masked, mask = self._given(rows, random)
        tokens, keep = encode_captions(network["text"], self.tokenizer, left_out(captions, random))
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, 1000, (len(clean),), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        seen = torch.cat([signal * clean + spread * noise, masked, mask], dim=1)
        error = network["transformer"](seen, times, tokens, keep) - noise
        weight = (1 / signal.square()).clamp(max=HEAVIEST)
        return (weight * error.square()).mean(), {"latent_frames": clean.shape[2]}

    def _given(self, rows: np.ndarray, random: StepRandom) -> tuple[Tensor, Tensor]:
        """Returns masked-video latents and folded masks [B, 4, T', 8, 8] of chunks: first frame given, or nothing."""
        told = torch.as_tensor(random.scenes.random(len(rows)) < self.given_share)[:, None, None, None, None]
        first = fold_mask(given_frames_mask(NUM_FRAMES, (0,), SIDE, SIDE))
        first_only = self.latents["masked"][torch.as_tensor(rows)].float()
        masked = torch.where(told, first_only, self.latents["grey_chunk"].float())
        return masked, torch.where(told, first, torch.ones_like(first))

    def export(self, network: Any, weights: Path) -> None:
        """Writes `opensora_plan/{transformer,text_encoder}`."""
        folder = weights / "opensora_plan" / "transformer"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")
        state = {name: value.half().contiguous() for name, value in network["transformer"].state_dict().items()}
        save_file(state, folder / "model.safetensors")
        export_text(network["text"], self.tokenizer, weights / "opensora_plan" / "text_encoder")


def load_latents(cache: Path, weights: Path) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Returns scaled latents and captions by name, made if not in `cache`.

    The latents are `stills` [STILLS, C, 1, 8, 8], `chunks` and `masked` (first frame, then grey) [CLIPS, C, 13, 8, 8],
    `grey_still` and `grey_chunk` (all grey) [1, C, T', 8, 8]; the captions are `stills` and `chunks`.
    """
    device = str(torch.get_default_device())
    path = kept_in(cache, "opensora_plan_latents", weights / "opensora_plan" / "vae")
    if not path.exists():
        vae = load_causal_vae(weights / "opensora_plan" / "vae", device, torch.float32)
        save_file(_make_latents(vae, load_rendered(cache)), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
    captions = {"stills": load_captions(cache, "still", STILLS), "chunks": load_captions(cache, "clip", CLIPS_RENDERED)}
    return load_file(path, device), captions


@torch.no_grad()
def _make_latents(vae: CausalVAE, rendered: Rendered) -> dict[str, Tensor]:
    def encoded(video: Tensor) -> Tensor:
        return vae.encode(video)[0].mul(vae.config.scaling_factor).half()

    chunks, masked = [], []
    for frames in torch.split(rendered.clips[:CLIPS, :NUM_FRAMES], 10):
        video = as_pixels(frames).transpose(1, 2).contiguous()
        grey = torch.zeros_like(video)
        chunks.append(encoded(video))
        masked.append(encoded(torch.cat([video[:, :, :1], grey[:, :, 1:]], dim=2)))
    stills = [encoded(as_pixels(frames)[:, :, None]) for frames in torch.split(rendered.stills, 500)]
    latents = {"stills": torch.cat(stills), "chunks": torch.cat(chunks), "masked": torch.cat(masked)}
    latents |= {"grey_still": encoded(grey[:1, :, :1]), "grey_chunk": encoded(grey[:1])}
    return {name: value.contiguous() for name, value in latents.items()}
