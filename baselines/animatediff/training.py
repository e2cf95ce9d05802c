"""AnimateDiff in miniature: motion modules taught to the frozen text-to-image network.

SparseCtrl and FreeNoise's AnimateDiff variant both run on the exported adapter.

Example:
    >>> network = AnimateDiffTask().build()  # doctest: +SKIP
    >>> all("motion_modules" in name for name, p in network.named_parameters() if p.requires_grad)  # doctest: +SKIP
    True
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

from generators.mini.denoising import CACHE, SCHEDULE, WEIGHTS, FrozenText, draw_clips, left_out, levels
from generators.mini.latents import load_library
from generators.mini.training import Recipe, StepRandom

NUM_FRAMES = 16

CONFIG = {
    "block_out_channels": (32, 64),
    "motion_layers_per_block": 1,
    "motion_num_attention_heads": (2, 4),
    "motion_norm_num_groups": 8,
    "motion_max_seq_length": 32,
    "use_motion_mid_block": True,
}


class AnimateDiffTask:
    """Denoising clips with v-prediction, the motion modules alone being trained.

    Source: Guo et al., AnimateDiff (arXiv:2307.04725), section 4.2 (frozen image layers, zero-initialised output
        projections).
    """

    name = "animatediff"
    recipe = Recipe(steps=700, batch=8, learning_rate=1.5e-3, average=0.995)
    compiled: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.text = FrozenText()
        self.alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the image network with motion modules that do nothing yet; only these are trainable."""
        adapter = MotionAdapter(**CONFIG)
        for name, tensor in adapter.named_parameters():
            if ".proj_out." in name:
                nn.init.zeros_(tensor)
        network: nn.Module = moving(adapter)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        clean, captions = draw_clips(self.library, random, self.recipe.batch, NUM_FRAMES)
        clean = clean.transpose(1, 2)
        context = self.text.encode(left_out(captions, random)).repeat_interleave(NUM_FRAMES, dim=0)
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, 1000, (len(clean),), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        v = network(signal * clean + spread * noise, times, context).sample
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `motion_adapter`; the image network stays where it is."""
        adapter = MotionAdapter(**CONFIG)
        motion = {name: tensor for name, tensor in network.state_dict().items() if name in adapter.state_dict()}
        adapter.load_state_dict(motion)
        adapter.half().save_pretrained(weights / "motion_adapter")


def moving(adapter: MotionAdapter) -> UNetMotionModel:
    """Returns the frozen text-to-image network with the adapter's motion modules, which are trainable."""
    image = UNet2DConditionModel.from_pretrained(WEIGHTS / "text_to_image" / "unet", torch_dtype=torch.float32)
    network = UNetMotionModel.from_unet2d(image, adapter)
    network.freeze_unet2d_params()
    return network
