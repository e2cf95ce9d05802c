"""The loop that trains a network with memories, whatever its backbone and its noise: an objective says what is learned.

Gradient accumulation, moving average, mixed precision, several processes, a log, and checkpoints from which a stopped
run goes on with the same numbers as one that was not stopped.

Example:
    for step, loss in train_streaming(objective, TrainingConfig(steps=1000), Path("out")):
        print(step, loss)
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

LearningRateSchedule = Literal["constant", "cosine"]
"""The learning rate after the warm-up: constant as released, or falling to zero along half a cosine."""


class Objective(Protocol):
    """What is learned: `denoising.DenoisingObjective`, or anything else with these five."""

    @property
    def module(self) -> nn.Module:
        """What is called, and wrapped where there are several processes."""
        ...

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained; all others are frozen in place."""
        ...

    def loss(self, module: nn.Module, rng: np.random.Generator, random: torch.Generator, batch: int) -> Tensor:
        """The loss of fresh samples.

        Args:
            module: `module`, perhaps wrapped.
            rng: draws the data.
            random: draws the noise, on the default device, where the network is.
            batch: samples.
        """
        ...

    def sizes(self) -> dict[str, Any]:
        """Returns the configuration of the network, for JSON: a run is continued only with the same."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the network with its present parameters."""
        ...


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; defaults as released where known.

    Attributes:
        steps: optimiser steps.
        batch: samples in one network call of one process.
        accumulate: network calls in one optimiser step.
        learning_rate: of AdamW.
        warmup: optimiser steps until the learning rate is reached.
        gradient_clip: largest norm of the gradient.
        ema_decay: decay of the averaged weights, which are what is saved.
        schedule: the learning rate after the warm-up.
        mixed_precision: "no", "fp16" or "bf16".
        seed: fixes the run.
        save_every: optimiser steps between two checkpoints.

    Source: Picsart-AI-Research/StreamingT2V, configs/text_to_video/config.yaml (learning rate, clip, accumulation).
    """

    steps: int
    batch: int = 1
    accumulate: int = 8
    learning_rate: float = 5e-5
    warmup: int = 0
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    schedule: LearningRateSchedule = "constant"
    mixed_precision: str = "no"
    seed: int = 0
    save_every: int = 500


def training_mode(network: nn.Module) -> None:
    """Puts a network into training mode, except what is frozen: that runs as it will when frames are made."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


class Average:
    """Exponential moving average of the trained parameters, part of every checkpoint."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.parameters = parameters
        self.averages = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the parameters; faster in the first steps."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.averages, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges averages and parameters; a second call undoes the first."""
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, object]:
        """State for a checkpoint."""
        return {"steps": self.steps, "averages": self.averages}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restores `state_dict`."""
        steps, averages = state["steps"], state["averages"]
        assert isinstance(steps, int)
        assert isinstance(averages, list)
        self.steps = steps
        for own, stored in zip(self.averages, averages, strict=True):
            own.copy_(stored)


def draws(seed: int, call: int, process: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators for the data and, on the default device, the noise of one network call: the same whenever it is made.

    The same on one kind of device, that is.
    """
    data, noise = np.random.SeedSequence((seed, call, process)).spawn(2)
    random = torch.Generator(torch.get_default_device())
    return np.random.default_rng(data), random.manual_seed(int(noise.generate_state(1)[0]))


def train_streaming(
    objective: Objective, config: TrainingConfig, out: Path, *, stop_after: int | None = None
) -> Iterator[tuple[int, float]]:
    """Yields (step, loss) of each optimiser step; goes on from `out`/checkpoint if there is one.

    Writes `out`/network with the averaged weights at every checkpoint and at the end, and `out`/log.jsonl.

    Args:
        objective: what is learned; its network is changed in place, on the device where it is.
        config: how to train.
        out: folder of this run.
        stop_after: stop, with a checkpoint, after this many steps of the run; None for all.
    """
    out.mkdir(parents=True, exist_ok=True)
    chosen = objective.parameters()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulate,
        cpu=chosen[0].device.type == "cpu",
    )
    optimiser = torch.optim.AdamW(chosen, lr=config.learning_rate)
    torch.manual_seed(config.seed)
    module, optimiser = accelerator.prepare(objective.module, optimiser)
    training_mode(module)
    average, progress = Average(chosen, config.ema_decay), Progress()
    accelerator.register_for_checkpointing(average, progress)
    if accelerator.is_main_process:
        _same_run(out, config, objective)
    checkpoint = latest_checkpoint(out)
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
        if accelerator.is_main_process:
            _forget_later(out, progress.step)
    last = config.steps if stop_after is None else min(stop_after, config.steps)
    while progress.step < last:
        loss = _step(accelerator, module, optimiser, objective, config, progress.step)
        average.update()
        progress.step += 1
        if progress.step % config.save_every == 0 or progress.step == last:
            _save(accelerator, objective, average, out)
        if accelerator.is_main_process:
            _log(out, progress.step, loss)
        yield progress.step, loss


class Progress:
    """How many optimiser steps a run has made."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        """State for a checkpoint."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restores `state_dict`."""
        self.step = state["step"]


def _step(
    accelerator: Accelerator,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    config: TrainingConfig,
    step: int,
) -> float:
    """One optimiser step of `config.accumulate` network calls; returns the mean loss of this process."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(config, step)
    total = 0.0
    for call in range(step * config.accumulate, (step + 1) * config.accumulate):
        rng, random = draws(config.seed, call, accelerator.process_index)
        with accelerator.accumulate(module), accelerator.autocast():
            loss = objective.loss(module, rng, random, config.batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(module.parameters(), config.gradient_clip)
            optimiser.step()
            optimiser.zero_grad()
        total += loss.item()
    return total / config.accumulate


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The learning rate of an optimiser step, counted from 0."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / config.steps)) if config.schedule == "cosine" else 1.0
    return config.learning_rate * warm * fall


def _save(accelerator: Accelerator, objective: Objective, average: Average, out: Path) -> None:
    """Writes a checkpoint beside the old one and then puts it in its place: a kill at any moment leaves a whole one."""
    fresh, kept = out / "checkpoint.new", out / "checkpoint"
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        old = out / "checkpoint.old"
        if kept.is_dir():  # else the old one is all there is, left by a kill between these two moves
            shutil.rmtree(old, ignore_errors=True)
            kept.rename(old)
        fresh.rename(kept)
        shutil.rmtree(old, ignore_errors=True)
        average.swap()
        objective.save(out / "network")
        average.swap()


def latest_checkpoint(out: Path) -> Path | None:
    """Returns the newest whole checkpoint: the one before, if a kill came between its move and the new one's."""
    return next((out / name for name in ("checkpoint", "checkpoint.old") if (out / name).is_dir()), None)


def _same_run(out: Path, config: TrainingConfig, objective: Objective) -> None:
    """Writes down what a run is, or refuses to continue another one.

    Raises:
        ValueError: the folder holds a run of other settings or sizes; only its length may change.
    """
    asked = {name: value for name, value in asdict(config).items() if name not in ("steps", "save_every")}
    asked |= {"sizes": objective.sizes()}
    file = out / "run.json"
    if latest_checkpoint(out) is not None and file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        other = sorted(name for name, value in json.loads(json.dumps(asked)).items() if known.get(name) != value)
        if other:
            raise ValueError(
                f"{out} holds a run with other {', '.join(other)}: continue it as it began, or name another"
            )
    file.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")


def _forget_later(out: Path, step: int) -> None:
    """Takes the steps after the checkpoint out of the log, and a torn last line: they are made again."""
    log = out / "log.jsonl"
    if log.is_file():
        whole = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = log.with_suffix(".new")
        kept.write_text("".join(line for line in whole if json.loads(line)["step"] <= step), encoding="utf-8")
        kept.replace(log)


def _log(out: Path, step: int, loss: float) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": step, "loss": round(loss, 6)}) + "\n")
