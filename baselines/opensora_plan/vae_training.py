"""OpenSoraPlan's causal autoencoder in miniature: 4k + 1 frames of pixels to k + 1 latent frames and back.

It learns from rendered clips of every length that the transformer may ask for, single images included, because its
group norms see a whole clip at once.

Example:
    >>> OpenSoraPlanVaeTask.lengths
    ((1, 32), (5, 8), (9, 4), (17, 2), (49, 1))
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.opensora.vae import drawn
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig
from generators.mini.data import as_pixels
from generators.mini.denoising import CACHE, consecutive_frames
from generators.mini.rendered import load_rendered
from generators.mini.training import Recipe, StepRandom

# The decoder's two finest levels work frame by frame, as the encoder's do in the original: 3D kernels there would take
# most of the time, and what moves is already in place when time has been unfolded below them.
CONFIG = {
    "hidden_size": 16,
    "hidden_size_mult": [1, 2, 2, 2],
    "embed_dim": 4,
    "num_res_blocks": 1,
    "decoder_resnet_blocks": ["ResnetBlock2D", "ResnetBlock2D", "ResnetBlock3D", "ResnetBlock3D"],
    "norm_groups": 8,
}

DIVERGENCE = 1e-4
"""Weight of the divergence from the unit normal, which keeps latents smooth."""


class OpenSoraPlanVaeTask:
    """Reconstruction of rendered clips: L1 + 2 MSE, and a little divergence."""

    name = "opensora_plan_vae"
    recipe = Recipe(steps=3000, batch=36, learning_rate=2e-3, average=0.995, half=True)
    compiled: tuple[str, ...] = ()
    lengths = ((1, 32), (5, 8), (9, 4), (17, 2), (49, 1))
    """(frames, clips) of a step, drawn by `shares`; `recipe.batch` is about how many frames that is."""

    shares = (0.1, 0.5, 0.25, 0.1, 0.05)

    def __init__(self) -> None:
        self.rendered = load_rendered(CACHE)

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        return CausalVAE(CausalVAEConfig.from_json(CONFIG))

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the loss of one batch and, for the log, the PSNR in dB."""
        frames, count = self.lengths[random.scenes.choice(len(self.lengths), p=self.shares)]
        video = self._draw(random.scenes, count, frames)
        mean, log_variance = network.encode(video)
        mean, log_variance = mean.float(), log_variance.float()
        error = network.decode(drawn(mean, log_variance, random.noise)).float() - video
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        mse = error.square().mean()
        psnr = 10 * torch.log10(4 / mse.detach())
        figures = {"frames": frames, "psnr": psnr, "divergence": divergence.detach()}
        return error.abs().mean() + 2 * mse + DIVERGENCE * divergence, figures

    def _draw(self, rng: np.random.Generator, count: int, frames: int) -> Tensor:
        """Returns `count` random clips [count, 3, frames, 64, 64] in -1..1; single frames are of many more scenes."""
        if frames == 1:
            rows = rng.integers(len(self.rendered.stills), size=count)
            return as_pixels(self.rendered.stills[torch.as_tensor(rows)])[:, :, None]
        rows = rng.integers(len(self.rendered.clips), size=count)
        starts = rng.integers(self.rendered.clips.shape[1] - frames + 1, size=count)
        return as_pixels(consecutive_frames(self.rendered.clips, rows, starts, frames)).transpose(1, 2).contiguous()

    @torch.no_grad()
    def export(self, network: Any, weights: Path) -> None:
        """Writes `opensora_plan/vae` with the scaling factor that gives latents unit variance."""
        rng = StepRandom.of("opensora_plan_vae-scale", 0).scenes
        latents = torch.cat([network.encode(self._draw(rng, 1, 25))[0] for _ in range(32)])
        config = CONFIG | {"scaling_factor": round(1 / latents.std().item(), 5)}
        folder = weights / "opensora_plan" / "vae"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
        save_file(state, folder / "model.safetensors")
