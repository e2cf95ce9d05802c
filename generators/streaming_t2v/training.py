"""Training of the streaming network: the denoising task on windows that continue a clip.

A clip is cut in three: an anchor frame from its first part, the conditioning frames, and the window, whose first frames
are the conditioning frames. The network learns to take the noise out of the window (eq. 3). At initialisation it
computes exactly what its base model computes, since what carries the memories in starts at zero.

Example:
    network = StreamingNetwork.from_base(config, base.state_dict())
    encoded = EncodedClips(clips, codec, encode_text, encode_image)
    train_streaming(network, encoded, TrainingConfig(steps=1000), Path("out"))
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from generators.streaming_t2v.clips import Sample, SampleSource
from generators.streaming_t2v.network import NetworkConfig, Prepared, StreamingNetwork

Trained = Literal["released", "memories", "miniature"]
"""Which parameters are trained.

released: everything but the temporal layers of the base model, as in the released last stage.
memories: CAM, mergers and APM only; the base model stays as it is.
miniature: as memories, but a copied encoder half stays the copy it is, apart from CAM's input convolution, which is
    what a small store of weights can hold; and the base model's temporal layers in the decoder half, which read what
    the memories bring. Concatenation brings it to the encoder half, and so trains those of the encoder half, too. The
    first temporal transformer, the largest layer, is always left alone.
"""

LearningRateSchedule = Literal["constant", "cosine"]
"""The learning rate after the warm-up: constant as released, or falling to zero along half a cosine."""

TEMPORAL = (".temp_attentions.", ".temp_convs.", ".transformer_in.")
"""Temporal layers of the base model: parts of their parameters' names, after `unet`."""


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
        noise_draws: a timestep is the largest of so many uniform ones; 1 as released. More of them spend a small budget
            where the memories matter: with little noise left, the base model needs none.
        trained: which parameters are trained.
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
    noise_draws: int = 1
    trained: Trained = "released"
    mixed_precision: str = "no"
    seed: int = 0
    save_every: int = 500


@dataclass(frozen=True)
class ParameterRow:
    """One row of the table of what is trained."""

    part: str
    parameters: int
    trained: int


NETWORK_PARTS = {
    "CAM: frame encoder": ("cam.controlnet_cond_embedding.",),
    "CAM: encoder half": ("cam.encoder.",),
    "CAM: mergers": ("injector.",),
    "sparse encoder": ("sparse.",),
    "APM: anchor MLP": ("anchor_tokens.",),
    "APM: projection blocks": (".attn2.processor.",),
    "base model: temporal layers": TEMPORAL,
    "base model: spatial layers": ("unet.",),
}
"""Parts of the network (what their parameters' names contain); the first that matches counts."""


def network_part_of(name: str) -> str:
    """The part of the network a parameter belongs to."""
    return next(part for part, marks in NETWORK_PARTS.items() if any(mark in f".{name}" for mark in marks))


def choose_trained(network: StreamingNetwork, trained: Trained) -> list[nn.Parameter]:
    """The parameters that are trained; all others are frozen in place.

    The input convolution of a network that reads conditioning frames by concatenation is always trained.
    """
    concat = network.config.short_term == "concat"
    chosen = []
    for name, parameter in network.named_parameters():
        on = (concat and name.startswith("unet.conv_in.")) or _is_trained(name, trained, concat)
        parameter.requires_grad_(on)
        if on:
            chosen.append(parameter)
    return chosen


def _is_trained(name: str, trained: Trained, concat: bool) -> bool:
    part = network_part_of(name)
    if trained == "released":
        return part != "base model: temporal layers"
    if trained == "memories":
        return not part.startswith("base model")
    if part == "base model: temporal layers":
        return name.startswith("unet.up_blocks.") or (concat and not name.startswith("unet.transformer_in."))
    if ".encoder." in name:
        return name.startswith("cam.encoder.conv_in.")
    return not part.startswith("base model")


def training_mode(network: nn.Module) -> None:
    """Puts a network into training mode, except what is frozen: that runs as it will when frames are made."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def parameter_table(network: StreamingNetwork) -> list[ParameterRow]:
    """How many parameters each part has and how many of them are trained, parts without any left out."""
    counts = {part: [0, 0] for part in NETWORK_PARTS}
    for name, parameter in network.named_parameters():
        count = counts[network_part_of(name)]
        count[0] += parameter.numel()
        count[1] += parameter.numel() * parameter.requires_grad
    return [ParameterRow(part, total, on) for part, (total, on) in counts.items() if total]


def denoising_loss(
    network: nn.Module,
    config: NetworkConfig,
    samples: list[Sample],
    scheduler: DDIMScheduler,
    random: torch.Generator,
    noise_draws: int = 1,
) -> Tensor:
    """Mean squared error of the network's prediction for noisy windows.

    Args:
        network: a `StreamingNetwork`, wrapped for several processes or not, called through `WindowTask`.
        config: its configuration.
        samples: the batch.
        scheduler: noise schedule; its prediction_type says whether noise or velocity is predicted.
        random: draws timesteps and noise.
        noise_draws: a timestep is the largest of so many uniform ones.

    Source: StreamingT2V eq. 3.
    """
    device = next(network.parameters()).device
    latents = torch.stack([sample.latents for sample in samples]).to(device)
    noise = torch.randn(latents.shape, generator=random).to(device)
    steps = scheduler.config.num_train_timesteps
    timesteps = torch.randint(steps, (noise_draws, len(samples)), generator=random).amax(dim=0).to(device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    kind = scheduler.config.prediction_type
    target = scheduler.get_velocity(latents, noise, timesteps) if kind == "v_prediction" else noise
    text = torch.stack([sample.text for sample in samples]).to(device)
    anchors = torch.stack([sample.anchor for sample in samples])[:, None].to(device) if config.long_term else None
    frames = torch.stack([sample.frames for sample in samples]).to(device)
    known = torch.stack([sample.known for sample in samples]).to(device)
    predicted = network(noisy, timesteps, text, anchors, frames, known)
    return mse_loss(predicted.float(), target)


class WindowTask(nn.Module):
    """The network with its conditioning in one call, so that wrappers for several GPUs see every parameter."""

    def __init__(self, network: StreamingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, noisy: Tensor, timesteps: Tensor, text: Tensor, anchors: Tensor | None, frames: Tensor, known: Tensor
    ) -> Tensor:
        """The prediction [B, C, F, h, w]; arguments as `StreamingNetwork.prepare` and `.forward`."""
        prepared: Prepared = self.network.prepare(text, anchors, frames, known)
        predicted: Tensor = self.network(noisy, timesteps, prepared)
        return predicted


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
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.lerp_(parameter, 1 - decay)

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
    """Generators for the data and the noise of one network call, the same whenever that call is made."""
    data, noise = np.random.SeedSequence((seed, call, process)).spawn(2)
    random = torch.Generator(torch.get_default_device())
    return np.random.default_rng(data), random.manual_seed(int(noise.generate_state(1)[0]))


def train_streaming(
    network: StreamingNetwork,
    data: SampleSource,
    scheduler: DDIMScheduler,
    config: TrainingConfig,
    out: Path,
    *,
    stop_after: int | None = None,
) -> Iterator[tuple[int, float]]:
    """Yields (step, loss) of each optimiser step; goes on from `out`/checkpoint if there is one.

    Writes `out`/network with the averaged weights at every checkpoint and at the end, and `out`/log.jsonl.

    Args:
        network: the network, changed in place.
        data: training samples.
        scheduler: noise schedule.
        config: how to train.
        out: folder of this run.
        stop_after: stop, with a checkpoint, after this many steps of the run; None for all.
    """
    out.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, gradient_accumulation_steps=config.accumulate, cpu=_on_cpu(network)
    )
    chosen = choose_trained(network, config.trained)
    optimiser = torch.optim.AdamW(chosen, lr=config.learning_rate)
    torch.manual_seed(config.seed)
    task, optimiser = accelerator.prepare(WindowTask(network), optimiser)
    training_mode(task)
    average, progress = Average(chosen, config.ema_decay), Progress()
    accelerator.register_for_checkpointing(average, progress)
    if (out / "checkpoint").is_dir():
        accelerator.load_state(str(out / "checkpoint"))
    last = config.steps if stop_after is None else min(stop_after, config.steps)
    while progress.step < last:
        loss = _step(accelerator, task, optimiser, data, network.config, scheduler, config, progress.step)
        average.update()
        progress.step += 1
        if progress.step % config.save_every == 0 or progress.step == last:
            _save(accelerator, network, average, out)
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


def _on_cpu(network: nn.Module) -> bool:
    return next(network.parameters()).device.type == "cpu"


def _step(
    accelerator: Accelerator,
    task: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: SampleSource,
    sizes: NetworkConfig,
    scheduler: DDIMScheduler,
    config: TrainingConfig,
    step: int,
) -> float:
    """One optimiser step of `config.accumulate` network calls; returns the mean loss of this process."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(config, step)
    total = 0.0
    for call in range(step * config.accumulate, (step + 1) * config.accumulate):
        rng, random = draws(config.seed, call, accelerator.process_index)
        samples = [data.sample(rng) for _ in range(config.batch)]
        with accelerator.accumulate(task), accelerator.autocast():
            loss = denoising_loss(task, sizes, samples, scheduler, random, config.noise_draws)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(task.parameters(), config.gradient_clip)
            optimiser.step()
            optimiser.zero_grad()
        total += loss.item()
    return total / config.accumulate


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The learning rate of an optimiser step, counted from 0."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / config.steps)) if config.schedule == "cosine" else 1.0
    return config.learning_rate * warm * fall


def _save(accelerator: Accelerator, network: StreamingNetwork, average: Average, out: Path) -> None:
    accelerator.save_state(str(out / "checkpoint"))
    if accelerator.is_main_process:
        average.swap()
        network.save(out / "network")
        average.swap()


def _log(out: Path, step: int, loss: float) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": step, "loss": round(loss, 6)}) + "\n")
