"""OpenSora in miniature: the masked rectified flow of STDiT3 over the latents of a 3D autoencoder.

Looks are learned from single frames first, then motion from chunks of 51 frames whose first latents are mostly given,
as the adapter gives them. The text encoder is trained with it.

Example:
    >>> from baselines.opensora.stdit3 import STDiT3
    >>> sum(parameter.numel() for parameter in STDiT3(STDiT3Config.from_json(CONFIG)).parameters())
    1040300
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.networks.miniature_t5 import (
    T5_TOKENS,
    WIDTH,
    build_t5_encoder,
    build_t5_tokenizer,
    encode_captions,
    export_text,
)
from baselines.opensora.continuation import load_opensora_vae
from baselines.opensora.rectified_flow import transform_timesteps
from baselines.opensora.stdit3 import STDiT3, STDiT3Config
from baselines.opensora.vae import STRETCH_FRAMES, STRETCH_LATENTS, OpenSoraVAE
from generators.mini.denoising import CACHE, WEIGHTS
from generators.mini.latents import SHARED, load_library
from generators.mini.training import Recipe, StepRandom

CONFIG = {
    "depth": 3,
    "hidden_size": 96,
    "num_heads": 4,
    "caption_channels": WIDTH,
    "model_max_length": T5_TOKENS,
    "input_sq_size": 64,  # positions have scale 1 at the size of the miniature world
}

NUM_FRAMES, SIZE, FPS = 51, 64, 10.0
"""A chunk: frames (as the released two seconds), rows and columns, frames per second."""

GIVEN_SHARES = ((STRETCH_LATENTS, 0.7), (1, 0.1), (0, 0.2))
"""Latents given at the start of a chunk, and how often: the adapter's 17 frames, one image, nothing.

Open-Sora draws among more masks (first, last, random frames ...); those no benchmark asks for are left out.
"""


class OpenSoraTask:
    """The velocity from noise to data of the latents that are not given; one caption in ten is the empty text."""

    name = "opensora"
    recipe = Recipe(steps=7000, batch=8, learning_rate=1.5e-3, average=0.998)
    compiled: tuple[str, ...] = ()
    still_steps = 2000
    """Steps on single frames, before those on chunks."""

    stills_each = 12
    """Single frames for each chunk of the batch, so that either kind of step holds about as many tokens."""

    def __init__(self) -> None:
        library = load_library(CACHE, WEIGHTS)
        vae = load_opensora_vae(
            WEIGHTS / "opensora" / "vae",
            str(torch.get_default_device()),
            torch.float32,
            frame_vae=WEIGHTS / SHARED,
        )
        self.stills, self.still_captions = unit_latents(vae, library.stills[:, :, None]), library.still_captions
        self.chunk_captions = library.clip_captions
        stretches = torch.split(library.clips[:, :NUM_FRAMES].transpose(1, 2), STRETCH_FRAMES, dim=2)
        self.chunks = torch.cat([unit_latents(vae, stretch) for stretch in stretches], dim=2)
        self.tokenizer = build_t5_tokenizer()

    def build(self) -> nn.Module:
        """Returns the transformer and its text encoder at initialisation; at first, no velocity is predicted."""
        network = STDiT3(STDiT3Config.from_json(CONFIG))
        nn.init.zeros_(network.final_layer.linear.weight)
        nn.init.zeros_(network.final_layer.linear.bias)
        return nn.ModuleDict({"transformer": network, "text": build_t5_encoder()})

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of the velocity on one batch of single frames or chunks."""
        if random.step < self.still_steps:
            rows = random.scenes.integers(len(self.stills), size=self.recipe.batch * self.stills_each)
            return self._error(
                network, random, self.stills[torch.as_tensor(rows)].float(), [self.still_captions[i] for i in rows], 1
            )
        rows = random.scenes.integers(len(self.chunks), size=self.recipe.batch)
        captions = [self.chunk_captions[i] for i in rows]
        return self._error(network, random, self.chunks[torch.as_tensor(rows)].float(), captions, NUM_FRAMES)

    def _error(
        self, network: Any, random: StepRandom, clean: Tensor, captions: list[str], num_frames: int
    ) -> tuple[Tensor, dict[str, float]]:
        count, frames = len(clean), clean.shape[2]
        live = torch.ones(count, frames, dtype=torch.bool)
        if num_frames > 1:
            kinds, odds = zip(*GIVEN_SHARES, strict=True)
            given = torch.as_tensor(random.scenes.choice(kinds, size=count, p=odds))
            live = torch.arange(frames) >= given[:, None]
        y, keep = self._text(network, random, captions)
        times = 1000 * torch.rand(count, generator=random.noise)
        if num_frames > 1:  # 64 x 64 stills would be moved to where hardly any noise is left
            times = transform_timesteps(times, SIZE, SIZE, num_frames)
        share = times.view(-1, 1, 1, 1, 1) / 1000
        noise = torch.randn(clean.shape, generator=random.noise)
        moving = live[:, None, :, None, None]
        noisy = torch.where(moving, (1 - share) * clean + share * noise, clean)
        fps = torch.full((count,), FPS)
        velocity = network["transformer"](noisy, times, y, keep, fps, SIZE, SIZE, x_mask=live)[:, : clean.shape[1]]
        error = (velocity - (clean - noise)).square() * moving
        return error.sum() / (moving.sum() * clean[0, :, 0].numel()), {"frames": num_frames}

    def _text(self, network: Any, random: StepRandom, captions: list[str]) -> tuple[Tensor, Tensor]:
        tokens, keep = encode_captions(network["text"], self.tokenizer, captions)
        dropped = torch.as_tensor(random.scenes.random(len(captions)) < 0.1)[:, None, None]
        empty = network["transformer"].y_embedder.y_embedding  # stands under the mask of the prompt, as when sampling
        return torch.where(dropped, empty, tokens)[:, None], keep

    def export(self, network: Any, weights: Path) -> None:
        """Writes `opensora/{transformer,text_encoder}`."""
        folder = weights / "opensora" / "transformer"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")
        state = {name: value.half().contiguous() for name, value in network["transformer"].state_dict().items()}
        save_file(state, folder / "model.safetensors")
        export_text(network["text"], self.tokenizer, weights / "opensora" / "text_encoder")


@torch.no_grad()
def unit_latents(vae: OpenSoraVAE, frames: Tensor) -> Tensor:
    """Returns latents [N, 4, T', 8, 8], normalised as the transformer takes them, of stretches [N, 4, T, 8, 8]."""
    parts = [vae.temporal_vae.encode(part.float())[0] for part in torch.split(frames, 500)]
    return (torch.cat(parts) - vae.shift) / vae.scale
