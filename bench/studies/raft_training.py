"""`python -m bench.studies.raft_training raft`: trains the flow network of the miniature world on its exact flow.

It is torchvision's RAFT, small. It is trained here and not beside the generators because it is a part of the metrics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from generators.mini.data import random_clip, to_tensor
from generators.mini.train import train_named
from generators.mini.training import Recipe, StepRandom
from metrics.flow.raft import RAFT_MINI, build_raft, save_raft

PAIR_SIZE = 128
"""Side of the frames the network sees, as the mini profile's MAWE resizes them."""

UPDATES = 4
"""Recurrent updates in training: one more than in use, and a fifth cheaper than six."""


class RaftTask:
    """Flow between two frames of a clip: L1 over all updates, later ones weighing more."""

    name = "raft"
    recipe = Recipe(steps=18000, batch=6, learning_rate=9e-4, weight_decay=1e-4, average=0.998, half=True)
    compiled = ()

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        network: nn.Module = build_raft(RAFT_MINI)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the sequence loss of one batch and its end-point error in pixels at 128 x 128.

        Source: Teed and Deng, RAFT (arXiv:2003.12039), eq. 7 with gamma 0.8.
        """
        first, second, truth, weight = flow_batch(random.scenes, self.recipe.batch)
        flows = network(augment(first, random.noise), augment(second, random.noise), num_flow_updates=UPDATES)
        errors = [((flow.float() - truth).abs() * weight).mean() for flow in flows]
        loss = torch.stack([0.8 ** (UPDATES - 1 - i) * error for i, error in enumerate(errors)]).sum()
        epe = (flows[-1].float() - truth).norm(dim=1).mean()
        return loss, {"epe": epe.item(), "motion": truth.norm(dim=1).mean().item()}

    def export(self, network: Any, weights: Path) -> None:
        """Writes `raft`."""
        save_raft(network, RAFT_MINI, weights / "raft")


def flow_batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns frame pairs [count, 3, 128, 128] in -1..1, their exact flow [count, 2, 128, 128] in pixels, and weights.

    Weights [count, 1, 128, 128] of mean 1 count a pixel of a thing twice as much as one of the ground, which is five
    times as large and easier.
    Of twenty pairs seventeen are neighbouring frames, the others up to three frames apart in either direction of time.
    """
    pairs, flows, things = [], [], []
    for _ in range(count):
        clip, _ = random_clip(rng, two_things=0.4)
        t = rng.uniform(0, 200)
        step = 1.0 if rng.random() < 0.85 else rng.uniform(-3, 3)
        pairs.append(clip.render_at(np.array([t, t + step])))
        flows.append(clip.flow(t, step, PAIR_SIZE)[0])
        things.append(clip.layers(t, PAIR_SIZE) > 0)
    frames = interpolate(
        to_tensor(np.concatenate(pairs)), size=(PAIR_SIZE, PAIR_SIZE), mode="bilinear", align_corners=False
    )
    weight = 1 + torch.from_numpy(np.stack(things)).float().unsqueeze(1)
    return frames[::2], frames[1::2], torch.from_numpy(np.stack(flows)), weight / weight.mean()


def augment(frames: Tensor, noise: torch.Generator) -> Tensor:
    """Returns frames, every second one on average with the defects of generated video: noise, a change of brightness.

    The others stay clean: where a ground has little texture, a defect hides motions of a tenth of a pixel.
    """
    count = frames.shape[0]
    spoilt = (torch.rand(count, 1, 1, 1, generator=noise) < 0.5).float()
    strength = 0.03 * torch.rand(count, 1, 1, 1, generator=noise)
    light = 0.03 * torch.randn(count, 1, 1, 1, generator=noise)
    return (frames + spoilt * (strength * torch.randn(frames.shape, generator=noise) + light)).clamp(-1, 1)


if __name__ == "__main__":
    train_named(
        {"raft": "bench.studies.raft_training:RaftTask"}, "python -m bench.studies.raft_training", __doc__ or ""
    )
