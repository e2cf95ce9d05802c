"""The tasks of OpenSora and OpenSoraPlan: what they show their networks, and that every part of them is trained."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from baselines.networks import miniature_t5
from baselines.networks.text_embeddings import PromptEncoder
from baselines.opensora import training as opensora_training
from baselines.opensora import vae_training as opensora_vae_training
from baselines.opensora.continuation import load_opensora_vae
from baselines.opensora.method import OpenSora
from baselines.opensora_plan import training as opensora_plan_training
from baselines.opensora_plan import vae_training as opensora_plan_vae_training
from baselines.opensora_plan.continuation import load_causal_vae
from baselines.opensora_plan.method import OpenSoraPlan
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig
from baselines.train import BASELINE_TASKS
from generators.api import Request, Start
from generators.mini.data import as_pixels
from generators.mini.denoising import WEIGHTS
from generators.mini.grammar import caption, random_scene
from generators.mini.latents import SHARED, Library
from generators.mini.rendered import Rendered, scene_of
from generators.mini.train import load_task
from generators.mini.training import StepRandom, train_task

PLAN = opensora_plan_training.CONFIG["in_channels"]

TRANSFORMERS = ["opensora", "opensora_plan"]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def pixels(count: int, frames: int) -> Tensor:
    """Returns rendered clips [count, frames, 64, 64, 3] uint8 that no training sees."""
    clips = [scene_of(number, "test") for number in range(count)]
    return torch.stack([torch.as_tensor(clip.render_at(begin + np.arange(frames))) for clip, _, begin in clips])


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in place of the encoded clips, which do not travel with the repository."""
    noise = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise).half()

    texts = ["a red circle on grass"] * 30
    library = Library(draw(30, 51, 4, 8, 8), texts, draw(30, 11, 96), draw(30, 4, 8, 8), texts, 0.5)
    latents = {
        "stills": draw(30, PLAN, 1, 8, 8), "chunks": draw(4, PLAN, 13, 8, 8), "masked": draw(4, PLAN, 13, 8, 8),
        "grey_still": draw(1, PLAN, 1, 8, 8), "grey_chunk": draw(1, PLAN, 13, 8, 8),
    }  # fmt: skip
    rendered = Rendered(pixels(4, 51), texts, pixels(4, 1)[:, 0], texts)
    for module in (opensora_training, opensora_vae_training):
        monkeypatch.setattr(module, "load_library", lambda *_: library)
    monkeypatch.setattr(opensora_plan_vae_training, "load_rendered", lambda cache: rendered)
    monkeypatch.setattr(
        opensora_plan_training, "load_latents", lambda cache, weights: (latents, dict.fromkeys(latents, texts))
    )


class Seen(nn.Module):
    """A transformer that predicts zero and keeps what it was shown."""

    def __init__(self, like: nn.Module) -> None:
        super().__init__()
        self.y_embedder = getattr(like, "y_embedder", None)
        self.channels = like.config.in_channels
        self.arguments: tuple[Tensor, ...] = ()
        self.x_mask = torch.zeros(0)

    def forward(self, *arguments: Tensor, x_mask: Tensor | None = None) -> Tensor:
        self.arguments = arguments
        if x_mask is not None:
            self.x_mask = x_mask
        return torch.zeros_like(arguments[0][:, : self.channels])


def shown(task: Any, step: int) -> tuple[Seen, StepRandom]:
    """Returns what the task's network is shown at one step."""
    network = task.build()
    seen = Seen(network["transformer"])
    with torch.no_grad():
        task.loss(nn.ModuleDict({"transformer": seen, "text": network["text"]}), StepRandom.of(task.name, step))
    return seen, StepRandom.of(task.name, step)


def test_given_latents_are_shown_clean() -> None:
    task = opensora_training.OpenSoraTask()
    kinds = set()
    for step in range(task.still_steps, task.still_steps + 8):
        seen, random = shown(task, step)
        noisy, live = seen.arguments[0], seen.x_mask
        clean = task.chunks[random.scenes.integers(len(task.chunks), size=task.recipe.batch)]
        same = (noisy == clean).flatten(3).all(-1).all(1)
        assert torch.equal(same, ~live)
        kinds |= set((~live).sum(1).tolist())
    assert kinds == {0, 1, 5}


def test_single_frames_are_all_to_make() -> None:
    task = opensora_training.OpenSoraTask()
    seen, _ = shown(task, 0)
    assert seen.arguments[0].shape == (task.recipe.batch * task.stills_each, 4, 1, 8, 8)
    assert bool(seen.x_mask.all())


def test_the_plan_is_shown_the_masked_video_and_the_folded_mask() -> None:
    task = opensora_plan_training.OpenSoraPlanTask()
    seen, random = shown(task, task.still_steps)
    _, masked, mask = torch.split(seen.arguments[0], [PLAN, PLAN, 4], dim=1)
    rows = random.scenes.integers(len(task.latents["chunks"]), size=task.recipe.batch)
    told = mask.flatten(1).amin(1) == 0
    assert 0 < told.sum() < len(told)
    assert torch.equal(masked[told], task.latents["masked"][rows][told].float())
    assert torch.equal(masked[~told], task.latents["grey_chunk"].float().expand_as(masked)[~told])
    assert (mask[told][0] == 0).sum() == 4 * 8 * 8  # four planes, all in the first of the four channels
    assert bool((mask[told][0, 0, :4] == 0).all())


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_step_depends_on_its_random_numbers_only(name: str) -> None:
    task = load_task(BASELINE_TASKS[name])
    network = task.build()
    losses = [task.loss(network, StepRandom.of(name, step))[0].item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def trained(name: str, folder: Path, **recipe: int) -> list[str]:
    """Trains a task for a few steps, exports it and returns the names of the tensors that did not change."""
    task: Any = load_task(BASELINE_TASKS[name])
    task.recipe = replace(task.recipe, **recipe)
    if name in TRANSFORMERS:
        task.still_steps = 2
    torch.manual_seed(zlib.crc32(name.encode()))
    begun = task.build().state_dict()
    after = train_task(task, folder / "cache", folder).state_dict()
    return [key for key, tensor in after.items() if torch.equal(tensor, begun[key].to(tensor))]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_part_is_trained_and_exported(name: str, tmp_path: Path) -> None:
    fixed = {"transformer.rope.freqs", "transformer.y_embedder.y_embedding"} if name == "opensora" else set()
    assert set(trained(name, tmp_path, steps=5, batch=2)) == fixed
    text = str(tmp_path / name / "text_encoder")
    exact: dict[str, Any] = {"text_encoder": text, "dtype": "float32", "text_dtype": "float32"}
    adapter = sora_beside(tmp_path, exact) if name == "opensora" else plan_beside(tmp_path / name, exact)
    grey = np.full((16, 64, 64, 3), 128, np.uint8)
    video = np.concatenate(list(adapter.generate(Request("a red circle", 0, 18, 64, 64, 10.0), Start(grey, grey))))
    assert video.std() > 0


def sora_beside(folder: Path, settings: dict[str, Any]) -> OpenSora:
    """OpenSora with a transformer and the repository's autoencoders."""
    return OpenSora(
        weights=str(folder / "opensora" / "transformer"), vae="mini:opensora/vae", frame_vae="mini:text_to_video/vae",
        num_frames=34, num_inference_steps=1, **settings,
    )  # fmt: skip


def plan_beside(folder: Path, settings: dict[str, Any]) -> OpenSoraPlan:
    """OpenSoraPlan with a transformer and the repository's autoencoder."""
    (folder / "vae").symlink_to(WEIGHTS / "opensora_plan" / "vae")
    return OpenSoraPlan(
        weights=str(folder), transformer="transformer", num_frames=5, height=0, width=0, num_inference_steps=4,
        max_text_tokens=miniature_t5.T5_TOKENS, **settings,
    )  # fmt: skip


def test_the_temporal_autoencoder_is_trained_and_exported(tmp_path: Path) -> None:
    (tmp_path / SHARED).parent.mkdir()
    (tmp_path / SHARED).symlink_to(WEIGHTS / SHARED)
    assert trained("opensora_vae", tmp_path, steps=3, batch=2) == []
    vae = load_opensora_vae(tmp_path / "opensora" / "vae", "cpu", torch.float32, tmp_path / SHARED)
    clips = opensora_vae_training.OpenSoraVaeTask().library.clips
    latents = opensora_training.unit_latents(vae, clips[:, :17].transpose(1, 2))
    spread, centre = torch.std_mean(latents, dim=(0, 2, 3, 4))
    torch.testing.assert_close(spread, torch.ones(4), atol=0.01, rtol=0)
    torch.testing.assert_close(centre, torch.zeros(4), atol=0.01, rtol=0)


def test_the_causal_autoencoder_is_trained_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensora_plan_vae_training.OpenSoraPlanVaeTask, "lengths", ((1, 2), (5, 1)))
    monkeypatch.setattr(opensora_plan_vae_training.OpenSoraPlanVaeTask, "shares", (0.5, 0.5))
    assert trained("opensora_plan_vae", tmp_path, steps=3) == []
    vae = load_causal_vae(tmp_path / "opensora_plan" / "vae", "cpu", torch.float32)
    video = as_pixels(pixels(4, 9)).transpose(1, 2)
    latents = vae.encode(video)[0] * vae.config.scaling_factor
    assert latents.shape == (4, PLAN, 3, 8, 8)
    assert 0.7 < latents.std() < 1.4


def test_the_causal_autoencoder_starts_as_that_of_single_frames() -> None:
    """One frame has its latents of unit variance, with their noise; the last of a group decides what a group has."""
    image = AutoencoderKL.from_pretrained(WEIGHTS / SHARED, torch_dtype=torch.float32).eval()
    factor = image.config.scaling_factor
    causal = CausalVAE(CausalVAEConfig.from_json(opensora_plan_vae_training.CONFIG)).eval()
    opensora_plan_vae_training.start_from_images(causal, image.state_dict(), factor)
    frames = as_pixels(pixels(2, 5))
    with torch.no_grad():
        known = image.encode(frames[:, 0]).latent_dist
        mean, log_variance = causal.encode(frames[:, :1].transpose(1, 2))
        torch.testing.assert_close(mean[:, :4, 0], known.mean * factor, atol=1e-4, rtol=1e-4)
        least = [x.clamp(min=-20) for x in (log_variance[:, :4, 0], known.logvar + 2 * math.log(factor))]
        torch.testing.assert_close(*least, atol=1e-3, rtol=1e-3)
        changed = frames.clone()
        changed[:, 1:4] = -changed[:, 1:4]
        torch.testing.assert_close(*(causal.encode(x.transpose(1, 2))[0] for x in (frames, changed)))
        decoded = causal.decode(mean)[:, :, 0]
    assert 10 * torch.log10(4 / (decoded - frames[:, 0]).square().mean()) > 22


def test_both_autoencoders_show_the_world() -> None:
    """Weights of the repository on clips they have not seen: well above what a blurred frame gives."""
    video = as_pixels(pixels(4, 17)).transpose(1, 2)
    frame_vae = WEIGHTS / SHARED
    sora = load_opensora_vae(WEIGHTS / "opensora" / "vae", "cpu", torch.float32, frame_vae)
    plan = load_causal_vae(WEIGHTS / "opensora_plan" / "vae", "cpu", torch.float32)
    for again, least in ((sora.decode(sora.encode(video), 17), 22.0), (plan.decode(plan.encode(video)[0]), 26.0)):
        assert 10 * torch.log10(4 / (again - video).square().mean()) > least


def test_latents_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    rendered = Rendered(pixels(2, 51), ["a", "b"], pixels(3, 1)[:, 0], ["c", "d", "e"])
    monkeypatch.setattr(opensora_plan_training, "load_rendered", lambda cache: rendered)
    monkeypatch.setattr(opensora_plan_training, "load_captions", lambda cache, kind, count: [kind])
    latents, texts = opensora_plan_training.load_latents(tmp_path, WEIGHTS)
    assert {name: tuple(value.shape) for name, value in latents.items()} == {
        "stills": (3, PLAN, 1, 8, 8), "chunks": (2, PLAN, 13, 8, 8), "masked": (2, PLAN, 13, 8, 8),
        "grey_still": (1, PLAN, 1, 8, 8), "grey_chunk": (1, PLAN, 13, 8, 8),
    }  # fmt: skip
    assert texts == {"stills": ["still"], "chunks": ["clip"]}
    monkeypatch.setattr(opensora_plan_training, "load_causal_vae", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(opensora_plan_training.load_latents(tmp_path, WEIGHTS)[0]["masked"], latents["masked"])
    other = tmp_path / "weights" / "opensora_plan" / "vae"
    other.mkdir(parents=True)
    (other / "model.safetensors").write_bytes(b"trained anew")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        opensora_plan_training.load_latents(tmp_path, tmp_path / "weights")


def test_every_caption_fits_the_text_encoder(tmp_path: Path) -> None:
    tokenizer, rng = miniature_t5.build_t5_tokenizer(), np.random.default_rng(0)
    longest = 0
    for _ in range(2000):
        numbers = tokenizer(caption(random_scene(rng, two_things=1.0))).input_ids
        assert tokenizer.unk_token_id not in numbers
        longest = max(longest, len(numbers))
    assert longest == miniature_t5.T5_TOKENS
    assert max(tokenizer.get_vocab().values()) < miniature_t5.build_t5_encoder().config.vocab_size
    encoder = miniature_t5.build_t5_encoder()
    tokens, mask = miniature_t5.encode_captions(encoder, tokenizer, ["a red circle on grass"])
    miniature_t5.export_text(encoder, tokenizer, tmp_path)
    (read,) = PromptEncoder(str(tmp_path), "", miniature_t5.T5_TOKENS, "float32", "cpu").encode(
        ["a red circle on grass"]
    )
    assert torch.equal(read.mask, mask)
    torch.testing.assert_close(read.tokens, tokens, atol=2e-2, rtol=0)
