"""StreamingT2V on OpenSora: equal to OpenSora at initialisation, remembering afterwards, trained and stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from baselines.opensora.continuation import as_video, load_opensora_vae, load_stdit3
from baselines.opensora.method import OpenSora
from baselines.opensora.stdit3 import STDiT3, STDiT3Config
from baselines.streaming_opensora import windows
from baselines.streaming_opensora.method import StreamingOpenSora
from baselines.streaming_opensora.network import (
    LatentMerger,
    Memory,
    MemoryConfig,
    StreamingSTDiT3,
    Text,
    VideoFormat,
    known_frames,
)
from baselines.streaming_opensora.training import FlowObjective, choose_memories, miniature_sizes, spoil_given
from baselines.streaming_opensora.windows import FlowWindows, encode_before, encode_window, load_windows, render_before
from generators.api import Request, Start
from generators.mini.denoising import WEIGHTS
from generators.mini.latents import SHARED, Library
from generators.mini.rendered import scene_of
from generators.mini.windows import Views
from generators.streaming_t2v.network import CheckpointError
from generators.streaming_t2v.training import TrainingConfig, draws, train_streaming
from generators.weights import MissingWeightsError, resolve_weights

BASE = STDiT3Config(depth=3, hidden_size=48, num_heads=2, caption_channels=8, model_max_length=6, input_sq_size=64)
SIZES = MemoryConfig(BASE, pairs=2, image_tokens=2, image_width=7, anchor_hidden_width=10)
VIDEO = VideoFormat(torch.full((2,), 10.0), 64, 64)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps its settings for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def base() -> STDiT3:
    torch.manual_seed(0)
    return STDiT3(BASE).eval()


def fresh(sizes: MemoryConfig = SIZES) -> StreamingSTDiT3:
    """A network at initialisation."""
    return StreamingSTDiT3.from_base(sizes, base().state_dict()).eval()


def woken(sizes: MemoryConfig = SIZES) -> StreamingSTDiT3:
    """A network whose zero-initialised parts are random."""
    network = fresh(sizes)
    torch.manual_seed(1)
    with torch.no_grad():
        for merger in network.mergers:
            assert isinstance(merger, LatentMerger)
            merger.proj_out.weight.normal_(std=0.1)
        for projection in network.projections:
            assert isinstance(projection.alpha, Tensor)
            projection.alpha.fill_(1.0)
    return network


def some_text() -> Text:
    mask = torch.ones(2, 6)
    mask[1, 4:] = 0
    return Text(draw(2, 1, 6, 8, seed=5), mask)


def remembered(network: StreamingSTDiT3, latents: Tensor, image: Tensor) -> Memory:
    return network.remember(latents, image, some_text(), VIDEO)


@pytest.mark.parametrize("given", [0, 3, 5])
@torch.no_grad()
def test_at_initialisation_it_is_opensora_bit_for_bit(given: int) -> None:
    x, times, text = draw(2, 4, 10, 8, 8, seed=2), torch.tensor([900.0, 20.0]), some_text()
    live = torch.ones(2, 10, dtype=torch.bool)
    live[:, :given] = False
    network = fresh()
    memory = remembered(network, draw(2, 4, 5, 8, 8), draw(2, 7))
    expected = base()(x, times, text.tokens, text.mask, VIDEO.fps, 64, 64, x_mask=live)
    assert torch.equal(network(x, times, memory, live), expected)


@torch.no_grad()
def test_both_memories_reach_the_prediction() -> None:
    network, x, times = woken(), draw(2, 4, 10, 8, 8, seed=2), torch.tensor([900.0, 20.0])
    latents, image = draw(2, 4, 5, 8, 8, seed=3), draw(2, 7, seed=4)
    known = network(x, times, remembered(network, latents, image))
    assert not torch.equal(known, network(x, times, remembered(network, latents + 1, image)))
    assert not torch.equal(known, network(x, times, remembered(network, latents, image + 1)))
    other = torch.cat([latents[:1], latents[1:] + 1])  # the samples of a batch do not see each other
    torch.testing.assert_close(known[0], network(x, times, remembered(network, other, image))[0])


@torch.no_grad()
def test_padding_of_the_text_takes_no_part_in_the_mix() -> None:
    network, x, times = woken(), draw(2, 4, 10, 8, 8, seed=2), torch.tensor([900.0, 20.0])
    latents, image, text = draw(2, 4, 5, 8, 8, seed=3), draw(2, 7, seed=4), some_text()
    changed = text.tokens.clone()
    changed[1, :, 4:] += 1
    plain, padded = (
        network(x, times, network.remember(latents, image, Text(tokens, text.mask), VIDEO))
        for tokens in (text.tokens, changed)
    )
    torch.testing.assert_close(plain, padded)


@torch.no_grad()
def test_a_merger_attends_per_position_and_knows_frames_by_number() -> None:
    torch.manual_seed(0)
    merger, rotary = LatentMerger(48, 2), base().rope
    torch.nn.init.eye_(merger.proj_out.weight)
    tokens, feature = draw(1, 4 * 3, 48), draw(1, 5 * 3, 48, seed=1)
    out = merger(tokens, feature, (4, 5), rotary, 2)
    elsewhere = feature.clone().view(5, 3, 48)
    elsewhere[:, 1] += draw(5, 48, seed=2)
    moved = (merger(tokens, elsewhere.view(1, 15, 48), (4, 5), rotary, 2) - out).view(4, 3, 48).abs().amax((0, 2))
    assert moved[1] > 0
    assert moved[0] == moved[2] == 0
    turned = feature.view(5, 3, 48).flip(0).reshape(1, 15, 48)
    torch.testing.assert_close(merger(tokens, turned, (4, 5), None, 2), merger(tokens, feature, (4, 5), None, 2))
    assert not torch.allclose(merger(tokens, turned, (4, 5), rotary, 2), out, atol=1e-3)
    shown = merger(feature, feature, (5, 5), rotary, 0) - feature  # a token finds its own frame
    normed = torch.nn.functional.layer_norm(feature, (48,), eps=1e-6)
    assert torch.nn.functional.cosine_similarity(shown, normed, dim=-1).min() > 0.9


def test_full_size() -> None:
    """1,208 million of OpenSora's; CAM copies 14 of its 28 pairs, and a merger has 6 C^2 parameters."""
    with torch.device("meta"):
        network = StreamingSTDiT3(MemoryConfig())
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    width = 1152
    assert counts["base"] == 1_207_643_972
    block = sum(p.numel() for p in network.cam.spatial_blocks[0].parameters())
    assert counts["cam"] == 28 * block + 4 * 4 * width + width == 595_179_072
    assert counts["mergers"] == 14 * (5 * width**2 + 2 * width) == 92_929_536
    assert counts["anchor_tokens"] == 1024 * 1280 + 1280 + 1280 * 16 * width + 16 * width == 24_923_392
    assert counts["projections"] == 56 * (316 * 300 * 3 + 300 + 2 * width + 1) == 16_072_280
    assert sum(counts.values()) == 1_936_748_252


@pytest.mark.parametrize(
    ("wrong", "words"), [({"pairs": 4}, "must be 1 to 3"), ({"known_latents": 6}, "must be 1 to 5, the memory's")]
)
def test_sizes_that_do_not_fit(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SIZES, **wrong)


def test_only_what_differs_is_stored(tmp_path: Path) -> None:
    network, state = woken(), base().state_dict()
    with torch.no_grad():
        next(network.cam.temporal_blocks[1].parameters()).add_(1)
    network.save(tmp_path, base=state)
    again = StreamingSTDiT3.load(tmp_path, torch.float32, "cpu", state)
    assert again.config == SIZES
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    stored = torch.tensor((tmp_path / "diffusion_pytorch_model.safetensors").stat().st_size)
    own = sum(p.numel() for name, p in network.named_parameters() if name.split(".")[0] not in ("base", "cam"))
    assert stored < 4 * own + 40_000  # names and the one changed tensor
    with pytest.raises(CheckpointError, match="give the base model"):
        StreamingSTDiT3.load(tmp_path, torch.float32, "cpu")
    other = {name: value + 1 for name, value in state.items()}
    with pytest.raises(CheckpointError, match="was trained over a base model with fingerprint"):
        StreamingSTDiT3.load(tmp_path, torch.float32, "cpu", other)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="nobody has released such a network"):
        StreamingSTDiT3.load(tmp_path, torch.float32, "cpu")
    fresh().save(tmp_path)
    (tmp_path / "config.json").write_text('{"pairs": 2}')
    with pytest.raises(CheckpointError, match="is not the configuration of a streaming transformer"):
        StreamingSTDiT3.load(tmp_path, torch.float32, "cpu")


def miniature(sizes: MemoryConfig | None = None) -> tuple[StreamingSTDiT3, dict[str, Tensor]]:
    """The miniature at initialisation and the state of its base."""
    transformer = load_stdit3(WEIGHTS / "opensora" / "transformer", "cpu", torch.float32)
    state = transformer.state_dict()
    torch.manual_seed(0)
    return StreamingSTDiT3.from_base(sizes or miniature_sizes(transformer.config), state), state


SETTINGS: dict[str, Any] = {
    "weights": "mini:opensora/transformer", "vae": "mini:opensora/vae", "frame_vae": "mini:text_to_video/vae",
    "text_encoder": "mini:opensora/text_encoder", "text_dtype": "float32", "dtype": "float32", "num_frames": 34,
    "num_inference_steps": 1, "guidance_scale": 2.0, "prompt_suffix": "", "fps": 10.0,
}  # fmt: skip


def start() -> Start:
    frames = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    return Start(frames, frames)


def made(adapter: Any, num_frames: int = 60) -> list[np.ndarray]:
    return list(adapter.generate(Request("a red circle", 3, num_frames, 64, 64, 10.0), start()))


def test_at_initialisation_the_method_makes_opensoras_video(tmp_path: Path) -> None:
    """With all of the memory's latents given, as OpenSora gives them."""
    transformer = load_stdit3(WEIGHTS / "opensora" / "transformer", "cpu", torch.float32)
    network, state = miniature(miniature_sizes(transformer.config, known_latents=5))
    network.save(tmp_path / "network", base=state)
    ours = made(StreamingOpenSora(**SETTINGS, memories=str(tmp_path), image_weights="mini:svd"))
    theirs = made(OpenSora(**SETTINGS))
    assert [len(chunk) for chunk in ours] == [len(chunk) for chunk in theirs]
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_image_encoder_may_be_in_the_released_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streaming_t2v.ckpt").touch()
    asked = []

    def converted(location: str, weights_dir: str) -> Path:
        asked.append(location)
        return resolve_weights("mini:svd")

    monkeypatch.setattr("generators.streaming_t2v.loading.streaming_folder", converted)
    made = StreamingOpenSora(**SETTINGS, memories=str(tmp_path), image_weights=str(tmp_path))
    assert made._image_encoder(torch.zeros(1, 3, 64, 64)).shape[0] == 1
    assert asked == [str(tmp_path)]


def test_nobody_has_released_weights() -> None:
    with pytest.raises(MissingWeightsError, match="nobody has released weights of StreamingT2V on OpenSora"):
        made(StreamingOpenSora(**SETTINGS))


def test_what_cam_reads_is_no_setting() -> None:
    with pytest.raises(ValueError, match="must be 17, the frames CAM reads"):
        StreamingOpenSora(conditioning_frames=1)


def data(count: int = 6) -> FlowWindows:
    """Windows whose latents are smooth in time, so that there is something to learn."""
    steady = draw(count, 4, 1, 8, 8, seed=7)
    mask = torch.ones(count, 28)
    return FlowWindows(
        (steady + 0.1 * draw(count, 4, 15, 8, 8, seed=8)).half(), steady.expand(-1, -1, 3, -1, -1).half(),
        steady.expand(-1, -1, 5, -1, -1).half(), draw(count, 28, 64, seed=9), mask, draw(count, 4, 96), draw(96),
    )  # fmt: skip


def test_only_the_last_temporal_blocks_of_the_base_are_trained() -> None:
    network, _ = miniature()
    chosen = choose_memories(network)
    on = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    of_base = {".".join(name.split(".")[:3]) for name in on if name.startswith("base.")}
    assert of_base == {"base.temporal_blocks.1", "base.temporal_blocks.2"}
    memories = {name for name, _ in network.named_parameters() if not name.startswith("base.")}
    assert memories < on
    assert 2 * sum(parameter.numel() for parameter in chosen) <= 2.5e6  # bytes in half precision


def test_it_learns_is_exported_and_makes_a_video(tmp_path: Path) -> None:
    network, state = miniature()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    objective = FlowObjective(network, data())
    config = TrainingConfig(12, batch=6, accumulate=1, learning_rate=2e-3, ema_decay=0.5)
    losses = [loss for _, loss in train_streaming(objective, config, tmp_path)]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    trained = StreamingSTDiT3.load(tmp_path / "network", torch.float32, "cpu")
    after = trained.state_dict()
    chosen = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {name for name in before if not torch.equal(before[name], after[name])} == chosen
    trained.save(tmp_path / "export" / "network", torch.float16, state)
    adapter = StreamingOpenSora(**SETTINGS, memories=str(tmp_path / "export"), image_weights="mini:svd")
    chunks = made(adapter)
    assert [len(chunk) for chunk in chunks] == [25, 19]  # 34 frames, of which 9 are given, and the rest
    assert all(np.array_equal(a, b) for a, b in zip(chunks, made(adapter), strict=True))


def test_given_latents_are_shown_as_they_are_given() -> None:
    network, _ = miniature()
    objective, seen = FlowObjective(network, data()), {}

    class Spy(torch.nn.Module):
        def forward(self, noisy: Tensor, times: Tensor, live: Tensor, *rest: Any) -> Tensor:
            seen.update(noisy=noisy, live=live, memory=rest[0])
            return torch.zeros_like(noisy)

    loss = objective.loss(Spy(), *draws(0, 0, 0), batch=4)
    rng, random = draws(0, 0, 0)
    rows = torch.from_numpy(rng.integers(6, size=4))
    known, memory = spoil_given(data().known[rows].float(), data().memory[rows].float(), random)
    assert torch.equal(seen["noisy"][:, :, :3], known)
    assert torch.equal(seen["memory"], memory)
    assert not seen["live"][:, :3].any()
    assert seen["live"][:, 3:].all()
    assert 1 < float(loss) < 4  # the variance of clean latents and of noise


def test_what_frames_share_is_spoilt_alike() -> None:
    zeros = torch.zeros(400, 4, 3, 8, 8), torch.zeros(400, 4, 5, 8, 8)
    known, memory = spoil_given(*zeros, torch.Generator().manual_seed(0))
    assert 0.03 < float(known.std()) < windows.GIVEN_SPOILT
    both = torch.stack([known[:, :, 0].flatten(), memory[:, :, 0].flatten()])
    assert float(torch.corrcoef(both)[0, 1]) == pytest.approx(2 / 3, abs=0.05)


def test_windows_are_cut_where_streaming_cuts_them() -> None:
    vae = load_opensora_vae(WEIGHTS / "opensora" / "vae", "cpu", torch.float32, frame_vae=WEIGHTS / SHARED)
    images = draw(1, 4, 8 + 51, 8, 8)
    with torch.no_grad():
        parts = encode_window(vae, images, before=17 - known_frames(3))
        stretch = (vae.temporal_vae.encode(images[:, :, 8 + 17 : 8 + 34])[0] - vae.shift) / vae.scale
    assert {name: value.shape[2] for name, value in parts.items()} == {"latents": 15, "known": 3, "memory": 5}
    torch.testing.assert_close(parts["latents"][:, :, 5:10], stretch)


def test_windows_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two clips of a library, the frames before them rendered in this process."""
    vae = load_opensora_vae(WEIGHTS / "opensora" / "vae", "cpu", torch.float32, frame_vae=WEIGHTS / SHARED)
    scenes = [scene_of(number) for number in range(2)]
    video = torch.stack([torch.from_numpy(clip.render_at(begin + np.arange(51))) for clip, _, begin in scenes])
    with torch.no_grad():
        clips = encode_before(vae, video).transpose(1, 2).half()
        again = vae.spatial_vae.encode(as_video(video[1, :4].numpy()), None)
    torch.testing.assert_close(clips[1:, :4].float().transpose(1, 2), again, atol=1e-2, rtol=0)
    captions = [caption for _, caption, _ in scenes]
    library = Library(clips, captions, draw(2, 1, 96), draw(1, 4, 8, 8), [""], 1.0)
    views = Views(draw(0), draw(0), draw(2, 4, 96), draw(96))
    monkeypatch.setattr(windows, "load_library", lambda *_: library)
    monkeypatch.setattr(windows, "load_views", lambda library, cache, weights: views)
    monkeypatch.setattr(windows, "by_all_cores", lambda work, count: [work([i]) for i in range(count)])
    sizes = miniature_sizes(load_stdit3(WEIGHTS / "opensora" / "transformer", "cpu", torch.float32).config)
    made_once = load_windows(sizes, tmp_path, WEIGHTS)
    assert made_once.latents.shape == (2, 4, 15, 8, 8)
    assert made_once.tokens.shape == (2, 28, 64)
    assert 0.5 < float(made_once.latents.float().std()) < 1.5
    near = (made_once.known - made_once.latents[:, :, :3]).float().square().mean()
    assert float(near) < 0.5 * float(made_once.latents.float().var())  # the same frames, seen once more
    monkeypatch.setattr(windows, "load_opensora_vae", None)  # the second time nothing is encoded
    assert torch.equal(load_windows(sizes, tmp_path, WEIGHTS).memory, made_once.memory)


def test_what_lies_before_a_clip() -> None:
    clip, _, begin = scene_of(3)
    assert np.array_equal(render_before([2, 3], 4)[1], clip.render_at(begin - np.array([4.0, 3.0, 2.0, 1.0])))
