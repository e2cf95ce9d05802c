"""SparseCtrl in miniature: a sparse encoder beside the frozen AnimateDiff network, told which frames are given.

Needs the motion adapter that `animatediff` exports.

Example:
    >>> clips = torch.ones(2, 4, 16, 8, 8)
    >>> shown, mask = sparse(clips, torch.tensor([1, 4]))
    >>> mask[:, 0, :, 0, 0].sum(dim=1), shown.sum().item() == 5 * 4 * 64
    (tensor([1., 4.]), True)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, MotionAdapter, SparseControlNetModel
from torch import Tensor, nn

from baselines.animatediff.training import NUM_FRAMES, moving
from generators.mini.denoising import (
    CACHE,
    SCHEDULE,
    WEIGHTS,
    FrozenText,
    draw_clips,
    left_out,
    levels,
    start_from_image_model,
)
from generators.mini.latents import load_library
from generators.mini.training import Recipe, StepRandom

CONFIG = {
    "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 96,
    "num_attention_heads": (2, 4),
    "use_linear_projection": True,
    "motion_num_attention_heads": (2, 4),
}

GIVEN_COUNTS = (1, 4, 4, 8)
"""Numbers of given frames, drawn evenly: the three that are sensible at use, the released recipe's four most often."""


class SparseCtrlTask:
    """Denoising clips of which the first frames are given; base and motion are frozen, the sparse encoder is trained.

    Source: Guo et al., SparseCtrl (arXiv:2311.16933), section 3.2: the encoder sees no noise, only the given frames and
        a mask, and its motion layers carry them to the other frames.
    """

    name = "sparsectrl"
    recipe = Recipe(steps=700, batch=8, learning_rate=1.5e-3, average=0.995)
    compiled: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.library = load_library(CACHE, WEIGHTS)
        self.text = FrozenText()
        self.alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod

    def build(self) -> nn.Module:
        """Returns the frozen network and the sparse encoder, which starts as the network's own first half.

        Its outputs start at zero, as in every ControlNet. The given latents enter through the image network's first
        kernel, whose place the noisy ones leave empty.
        """
        adapter = MotionAdapter.from_pretrained(WEIGHTS / "motion_adapter", torch_dtype=torch.float32)
        base = moving(adapter).requires_grad_(False)
        encoder = SparseControlNetModel(**CONFIG)
        start_from_image_model(encoder, rename=lambda name: name.replace("conv_in", "controlnet_cond_embedding"))
        state = encoder.state_dict()
        with torch.no_grad():
            for name, tensor in adapter.state_dict().items():
                if name in state:  # the first half: the encoder has no way up, and no motion in its middle
                    state[name].copy_(tensor)
        return nn.ModuleDict({"base": base, "encoder": encoder})

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the mean squared error of v on one batch."""
        clean, captions = draw_clips(self.library, random, self.recipe.batch, NUM_FRAMES)
        clean = clean.transpose(1, 2)
        shown, mask = sparse(clean, torch.as_tensor(random.scenes.choice(GIVEN_COUNTS, size=len(clean))))
        context = self.text.encode(left_out(captions, random)).repeat_interleave(NUM_FRAMES, dim=0)
        noise = torch.randn(clean.shape, generator=random.noise)
        times = torch.randint(0, 1000, (len(clean),), generator=random.noise)
        signal, spread = levels(self.alphas, times, clean.ndim)
        noisy = signal * clean + spread * noise
        skips, middle = network["encoder"](
            noisy, times, context, controlnet_cond=shown, conditioning_mask=mask, return_dict=False
        )
        v = network["base"](
            noisy, times, context, down_block_additional_residuals=skips, mid_block_additional_residual=middle
        ).sample
        return (v - (signal * noise - spread * clean)).square().mean(), {}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `sparsectrl`, the encoder alone."""
        network["encoder"].half().save_pretrained(weights / "sparsectrl")


def sparse(clips: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the clips with zeros for what is not given, and the mask [B, 1, F, h, w], 1 where it is.

    Args:
        clips: latents [B, C, F, h, w].
        given: frames given at the head of each, [B].
    """
    batch, _, frames, height, width = clips.shape
    mask = (torch.arange(frames) < given[:, None]).to(clips)[:, None, :, None, None]
    mask = mask.expand(batch, 1, frames, height, width)
    return clips * mask, mask
