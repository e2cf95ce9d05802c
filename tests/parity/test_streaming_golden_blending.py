"""Refinement arithmetic and randomized blending against the released sampler with a toy denoiser."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from generators.streaming_t2v.blending import Blender, LatentChunk, cut, lock_step, wavefront
from generators.streaming_t2v.sdedit import SDEdit, refiner_sigmas, solver_sigmas, timestep_of
from tests.conftest import golden_folders
from tests.parity.goldens import relative

FOLDERS = golden_folders("streamingt2v*/blending.safetensors")


class Recorded:
    """One golden: recorded draws, and a blender that uses them with the README's toy network."""

    def __init__(self, folder: Path) -> None:
        self.data = load_file(folder / "blending.safetensors")
        meta = json.loads((folder / "meta.json").read_text())["blending"]
        self.chunk, self.overlap = meta["chunk"], meta["overlap"]
        self.denoiser = SDEdit(
            self.toy, self.noise, refiner_sigmas(), start=int(self.data["t_start"]), steps=meta["steps"],
            guidance_scale=meta["guide_scale"], guidance_rescale=meta["guide_rescale"],
        )  # fmt: skip
        self.blender = Blender(self.denoiser, "released", self.overlap, self.threshold)

    def toy(self, latents: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
        position = torch.linspace(-1, 1, latents.shape[1])[:, None, None]
        base = 0.7 * latents + 0.5 * latents.mean(1, keepdim=True) + 0.1 * position
        texts = (self.data["y_neg"], self.data["y"])
        without, with_prompt = (torch.tanh(base + y[:, None, None, None]) * math.cos(timestep / 300) for y in texts)
        return without, with_prompt

    def noise(self, step: int, chunk: LatentChunk) -> Tensor:
        whole: Tensor = self.data["noise"][0] if step < 0 else self.data["sde_noise"][step]
        return whole[:, chunk.start : chunk.start + chunk.latents.shape[1]]

    def threshold(self, step: int, boundary: int) -> int:
        return int(self.data["offsets"][step, boundary])

    def chunks(self) -> Iterator[LatentChunk]:
        for chunk in cut(self.data["x0_input"][0].unbind(1), self.chunk, self.overlap):
            self.denoiser.begin(chunk)
            yield chunk


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def recorded(request: pytest.FixtureRequest) -> Recorded:
    return Recorded(request.param)


def test_schedule(recorded: Recorded) -> None:
    data, schedule = recorded.data, refiner_sigmas()
    torch.testing.assert_close(schedule, data["schedule_sigmas"], atol=1e-6, rtol=0)
    sigmas = solver_sigmas(schedule, recorded.denoiser.start, recorded.denoiser.steps)
    assert relative(sigmas, data["solver_sigmas"]) < 1e-5
    assert [timestep_of(schedule, float(sigma)) for sigma in sigmas[:-1]] == data["model_t"].tolist()


def test_first_network_call(recorded: Recorded) -> None:
    chunk = next(recorded.chunks())
    frames = chunk.latents.shape[1]
    scaled = chunk.latents / math.sqrt(1 + recorded.denoiser.sigmas[0] ** 2)
    assert relative(scaled, recorded.data["model_input"][0][:, :frames]) < 1e-5
    assert relative(recorded.denoiser.predict(chunk, 0), recorded.data["chunk_x0"][0, 0]) < 1e-5


@pytest.mark.parametrize("run", [lock_step, wavefront])
def test_refined_latents(recorded: Recorded, run: Callable[[Iterable[LatentChunk], Blender], Iterator[Tensor]]) -> None:
    result = torch.cat(list(run(recorded.chunks(), recorded.blender)), dim=1)
    assert relative(result, recorded.data["result"][0]) < 1e-5
