"""The loop that trains every miniature network: seeded, resumable, with an averaged copy of the weights and a log.

A task says what is learned (network, batches, loss, export); this file says how. Every step draws its data from a
generator seeded by (task, step), so a run that is killed and started again sees the same batches as one that was not.

Example:
    >>> from generators.mini.tasks.autoencoder import AutoencoderTask
    >>> train_task(AutoencoderTask(), Path("generators/mini/cache"), Path("generators/mini/weights"))  # doctest: +SKIP
"""

from __future__ import annotations

import copy
import json
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How long and how hard a network is trained.

    Attributes:
        steps: optimiser steps.
        batch: samples per step.
        learning_rate: peak of the one-cycle schedule (linear warm-up over 4 % of the steps, then cosine to 1 %).
        weight_decay: of AdamW, on matrices and kernels only.
        average: decay of the exponential moving average that is exported.
        half: compute convolutions and products in bfloat16: faster where tensors are large, slower where small.
        save_minutes: minutes between two checkpoints.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01
    average: float = 0.999
    half: bool = False
    save_minutes: float = 2.0


@dataclass(frozen=True)
class StepRandom:
    """Randomness of one training step: numpy for scenes, torch for noise, on the default device."""

    step: int
    scenes: np.random.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, name: str, step: int) -> StepRandom:
        """Returns the randomness of one step of one task; the same pair always gives the same on one kind of device."""
        seed = (zlib.crc32(name.encode()), step)
        noise = torch.Generator(torch.get_default_device())
        noise.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        return cls(step, np.random.default_rng(seed), noise)


class TrainingTask(Protocol):
    """One network to train."""

    name: str
    recipe: Recipe
    compiled: tuple[str, ...]
    """Submodules worth compiling, by attribute path ("" = the whole network)."""

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        ...

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Returns the loss of one fresh batch and figures for the log, numbers or tensors of one."""
        ...

    def export(self, network: Any, weights: Path) -> None:
        """Writes the finished (averaged, evaluation mode, float32) network into the weights folder in float16."""
        ...


def train_task(task: TrainingTask, folder: Path, weights: Path, until: int | None = None) -> nn.Module:
    """Trains a task to its last step (or to step `until`), exports it and returns the averaged network.

    Everything happens on torch's default device: there the task makes its tensors, too.

    Args:
        task: what to learn.
        folder: where `NAME.ckpt` and `NAME.jsonl` are kept; a checkpoint found there is continued.
        weights: the weights folder the finished network is exported to.
        until: stop (with a checkpoint, without export) after this many steps in all; None = to the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / f"{task.name}.ckpt", folder / f"{task.name}.jsonl"
    device = torch.get_default_device()
    torch.manual_seed(zlib.crc32(task.name.encode()))
    network = task.build().to(device)
    average = copy.deepcopy(network).requires_grad_(False)
    groups = _decay_groups(network, task.recipe.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99), fused=device.type == "cuda")
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, seconds = state["step"], state["seconds"]
    for part in task.compiled:
        network.get_submodule(part).compile()
    last = task.recipe.steps if until is None else min(until, task.recipe.steps)
    began, saved = time.monotonic() - seconds, time.monotonic()

    def save() -> None:
        state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save(state | {"step": step, "seconds": time.monotonic() - began}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    with log.open("a") as lines:
        while step < last:
            for group in optimiser.param_groups:
                group["lr"] = task.recipe.learning_rate * one_cycle(step / task.recipe.steps)
            network.train()
            with torch.autocast(device.type, torch.bfloat16, enabled=task.recipe.half):
                loss, figures = task.loss(network, StepRandom.of(task.name, step))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
            update_average(average, network, min(task.recipe.average, (1 + step) / (10 + step)))
            if step % 20 == 0 or step == last:
                entry = {"step": step, "seconds": round(time.monotonic() - began, 1), "loss": loss.item()}
                read = {name: float(figure) for name, figure in {"norm": norm, **figures}.items()}
                lines.write(json.dumps(entry | read) + "\n")
                lines.flush()
            if time.monotonic() - saved > 60 * task.recipe.save_minutes or step == last:
                save()
                saved = time.monotonic()
    average.eval()
    if step == task.recipe.steps:
        task.export(average, weights)
    return average


def one_cycle(progress: float) -> float:
    """Returns the learning rate as a fraction of its peak at `progress` in 0..1 through the run."""
    warm = 0.04
    if progress < warm:
        return max(progress / warm, 0.02)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the network's: average = decay * average + (1 - decay) * network."""
    pairs = zip(average.parameters(), network.parameters(), strict=True)
    mine, theirs = zip(*pairs, strict=True)
    torch._foreach_lerp_(list(mine), list(theirs), 1 - decay)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)


def _decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
