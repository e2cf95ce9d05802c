"""OpenSora's temporal autoencoder in miniature: 17 frames of image latents to 5 latent frames and back.

The image autoencoder under it is the miniature world's own, frozen, as the released one stands on Stable Diffusion
XL's; so only the temporal half is trained and stored, and it never sees a pixel.

Example:
    >>> network = TemporalVAE(TemporalVAEConfig.from_json(CONFIG))
    >>> sum(parameter.numel() for parameter in network.parameters())
    731208
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.opensora.vae import STRETCH_FRAMES, TemporalVAE, TemporalVAEConfig, drawn
from generators.mini.denoising import CACHE, WEIGHTS, draw_clips
from generators.mini.latents import load_library
from generators.mini.training import Recipe, StepRandom

CONFIG = {"filters": 32, "num_res_blocks": 1, "channel_multipliers": [1, 1, 1, 1], "num_groups": 8}

DIVERGENCE = 1e-4
"""Weight of the divergence from the unit normal, which keeps latents smooth."""


class OpenSoraVaeTask:
    """Reconstruction of stretches of image latents: L1 + 2 MSE, and a little divergence."""

    name = "opensora_vae"
    recipe = Recipe(steps=1150, batch=32, learning_rate=2e-3, average=0.995, half=True)
    compiled: tuple[str, ...] = ()
    single_every = 8
    """Every eighth step sees single frames, which the transformer learns looks from."""

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        return TemporalVAE(TemporalVAEConfig.from_json(CONFIG))

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the loss of one batch and, for the log, the mean squared error."""
        frames = 1 if random.step % self.single_every == 0 else STRETCH_FRAMES
        clips, _ = draw_clips(self.library, random, self.recipe.batch, frames)
        video = clips.transpose(1, 2)
        mean, log_variance = network.encode(video)
        mean, log_variance = mean.float(), log_variance.float()
        error = network.decode(drawn(mean, log_variance, random.noise), frames).float() - video
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        mse = error.square().mean()
        loss = error.abs().mean() + 2 * mse + DIVERGENCE * divergence
        return loss, {"frames": frames, "mse": mse.detach(), "divergence": divergence.detach()}

    @torch.no_grad()
    def export(self, network: Any, weights: Path) -> None:
        """Writes `opensora/vae`: the temporal half, and what makes latents unit normal in each channel."""
        video = self.library.clips[:256, :STRETCH_FRAMES].float().transpose(1, 2)
        mean = torch.cat([network.encode(part)[0] for part in torch.split(video, 16)])
        spread, centre = torch.std_mean(mean, dim=(0, 2, 3, 4))
        config = {
            "vae_temporal": CONFIG,
            "shift": [round(value, 4) for value in centre.tolist()],
            "scale": [round(value, 4) for value in spread.tolist()],
        }
        folder = weights / "opensora" / "vae"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        state = {f"temporal_vae.{name}": value.half().contiguous() for name, value in network.state_dict().items()}
        save_file(state, folder / "model.safetensors")
