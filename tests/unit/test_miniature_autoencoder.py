"""The narrow autoencoder takes the place of the wide one: the same latents, frames from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import interpolate

from generators.mini.data import to_tensor
from generators.mini.grammar import parse
from generators.mini.latents import SHARED, Library
from generators.mini.rendered import Rendered
from generators.mini.tasks import autoencoder as tasks
from generators.mini.training import StepRandom, train_task
from generators.mini.world import Clip

CAPTION = "a red circle sliding left and right on sand"


def shrunk(frames: Tensor) -> Tensor:
    """Returns latents [N, 4, 8, 8] of no autoencoder: the halved colours of frames [N, 3, 64, 64], red twice."""
    small = interpolate(frames, (8, 8), mode="area") / 2
    return torch.cat([small, small[:, :1]], dim=1)


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> Library:
    """Returns two clips of five frames with latents that no autoencoder made."""
    frames = np.stack([Clip(parse(CAPTION), seed).render(0, 5) for seed in (1, 2)])
    latents = shrunk(to_tensor(frames.reshape(-1, 64, 64, 3))).unflatten(0, (2, 5)).half()
    texts = [CAPTION] * 2
    library = Library(latents, texts, torch.zeros(2, 1, 96), latents[:, 0], texts, 0.5)
    rendered = Rendered(torch.from_numpy(frames), texts, torch.from_numpy(frames[:, 0]), texts)
    monkeypatch.setattr(tasks, "load_library", lambda *_: library)
    monkeypatch.setattr(tasks, "load_rendered", lambda *_: rendered)
    return library


def test_it_learns_latents_and_frames_and_keeps_the_scaling_factor(clips: Library, tmp_path: Path) -> None:
    task = tasks.NarrowAutoencoderTask()
    task.recipe = tasks.Recipe(steps=12, batch=4, learning_rate=2e-3, average=0.5)
    _, before = task.loss(task.build(), StepRandom.of("test", 0))
    trained = train_task(task, tmp_path, tmp_path).float()  # its export is in half precision
    _, after = task.loss(trained, StepRandom.of("test", 0))
    assert float(after["apart"]) < 0.7 * float(before["apart"])
    assert float(after["psnr"]) > float(before["psnr"])
    exported = AutoencoderKL.from_pretrained(tmp_path / SHARED)
    assert exported.config.scaling_factor == clips.scaling_factor


@dataclass
class Known:
    """A network that encodes as the latents of `clips` were made, and decodes to grey."""

    factor: float
    shown: list[Tensor] = field(default_factory=list)

    def encode(self, frames: Tensor) -> Any:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=shrunk(frames) / self.factor))

    def decode(self, latents: Tensor) -> Any:
        self.shown.append(latents * self.factor)
        return SimpleNamespace(sample=torch.zeros(len(latents), 3, 64, 64))


def test_frames_and_latents_of_a_batch_belong_together(clips: Library) -> None:
    task, network = tasks.NarrowAutoencoderTask(), Known(clips.scaling_factor)
    _, figures = task.loss(network, StepRandom.of("test", 1))
    assert float(figures["apart"]) < 1e-6
    known = clips.clips.flatten(0, 1).float()
    nearest = torch.cdist(network.shown[0].flatten(1), known.flatten(1)).min(dim=1).values
    assert 0 < nearest.max() <= 4 * task.most_noise * known[0].numel() ** 0.5
