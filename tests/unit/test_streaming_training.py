"""Training: samples, loss, what is trained, and runs that go on where they were stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import DDIMScheduler, UNet3DConditionModel
from torch import Tensor

from generators.api import Frames
from generators.streaming_t2v.clips import EncodedClips
from generators.streaming_t2v.denoising import (
    DenoisingObjective,
    WindowTask,
    choose_trained,
    denoising_loss,
    parameter_table,
)
from generators.streaming_t2v.network import NetworkConfig, ShortTerm, StreamingNetwork
from generators.streaming_t2v.train import chosen_sizes, load_function, parser
from generators.streaming_t2v.training import TrainingConfig, draws, learning_rate, train_streaming, training_mode
from generators.streaming_t2v.unet import VideoUNetConfig
from generators.streaming_t2v.warm_up import warm_up_frame_encoder

SIZES = NetworkConfig(
    unet=VideoUNetConfig(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4, cross_attention_dim=8
    ),
    text_tokens=5, image_tokens=2, image_width=3, anchor_hidden_width=10, merger_head_dim=4, merger_norm_groups=4,
    frame_encoder_channels=(4, 4, 4, 4),
)  # fmt: skip


class Clips:
    """Frame t of clip i is grey level 10 i + t, so that a sample says where it was cut."""

    def __init__(self, length: int = 20) -> None:
        self.length = length

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Frames, str]:
        levels = (40 * index + np.arange(self.length)).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (self.length, 32, 32, 3)).copy(), f"clip {index}"


class Codec:
    """Stands for the autoencoder: latents are mean colours."""

    calls = 0

    def encode(self, frames: Tensor, noise: Tensor | None = None) -> Tensor:
        self.calls += 1
        small = torch.nn.functional.avg_pool2d(frames, 8)
        return torch.cat([small, small[:, :1]], dim=1)


def encode_text(prompts: list[str]) -> Tensor:
    return torch.full((len(prompts), 5, 8), float(len(prompts[0])))


def encode_image(frames: Tensor) -> Tensor:
    return frames.mean(dim=(2, 3))


def clips(length: int = 20, dropout: float = 0.0, keep: bool = False, config: NetworkConfig = SIZES) -> EncodedClips:
    return EncodedClips(
        Clips(length), Codec(), encode_text, encode_image, config, dropout, keep  # type: ignore[arg-type]
    )  # fmt: skip


def base() -> UNet3DConditionModel:
    torch.manual_seed(0)
    return UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4, cross_attention_dim=8,
    )  # fmt: skip


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps its settings for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def grey(values: Tensor) -> Tensor:
    return ((values + 1) * 127.5).round()


def test_a_sample_is_cut_as_inference_sees_it() -> None:
    data = clips()
    for seed in range(20):
        sample = data.sample(np.random.default_rng(seed))
        window = grey(sample.latents[0, :, 0, 0])
        assert torch.equal(window, window[0] + torch.arange(16.0))
        assert torch.equal(grey(sample.frames[:, 0, 0, 0]), window[:8])
        clip = int(window[0]) // 40
        anchor = float(grey(sample.anchor)[0])
        assert 40 * clip <= anchor < float(window[0])  # the anchor lies before the window


def test_dropout_takes_caption_and_anchor_away_together() -> None:
    data = clips(dropout=0.5)
    samples = [data.sample(np.random.default_rng(seed)) for seed in range(60)]
    dropped = [bool((sample.text == 0).all()) for sample in samples]
    assert 15 < sum(dropped) < 45
    assert all(bool((s.anchor == 0).all()) == empty for s, empty in zip(samples, dropped, strict=True))


def test_encoded_clips_are_kept_only_on_request() -> None:
    for keep, calls in ((False, 12), (True, 3)):
        data = clips(keep=keep)
        for seed in range(12):
            data.sample(np.random.default_rng(seed))
        assert isinstance(data.codec, Codec)
        assert data.codec.calls == calls


def test_a_clip_that_is_too_short() -> None:
    with pytest.raises(ValueError, match="has 16 frames; training needs at least 17"):
        clips(length=16).sample(np.random.default_rng(0))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_the_error_of_the_prediction(prediction: str) -> None:
    """For a network that answers zero, the loss is the mean square of what it should have predicted."""

    class Zero(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, noisy: Tensor, *_: object) -> Tensor:
            return torch.zeros_like(noisy)

    schedule = DDIMScheduler(prediction_type=prediction)
    samples = [clips().sample(np.random.default_rng(seed)) for seed in range(2)]
    loss = denoising_loss(Zero(), SIZES, samples, schedule, torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(0)
    latents = torch.stack([sample.latents for sample in samples])
    noise = torch.randn(latents.shape, generator=random)
    times = torch.randint(1000, (2,), generator=random)
    target = noise if prediction == "epsilon" else schedule.get_velocity(latents, noise, times)
    assert float(loss) == pytest.approx(float(target.square().mean()))


def test_more_draws_mean_more_noise() -> None:
    class Seen(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))
            self.times: list[float] = []

        def forward(self, noisy: Tensor, timesteps: Tensor, *_: object) -> Tensor:
            self.times += timesteps.tolist()
            return torch.zeros_like(noisy)

    means = []
    for draws_of_noise in (1, 3):
        network, random = Seen(), torch.Generator().manual_seed(0)
        samples = [clips().sample(np.random.default_rng(0))] * 200
        denoising_loss(network, SIZES, samples, scheduler(), random, draws_of_noise)
        means.append(np.mean(network.times))
    assert means == [pytest.approx(500, abs=60), pytest.approx(750, abs=50)]


@pytest.mark.parametrize("short_term", ["cam", "sparse", "none"])
def test_the_frame_encoder_is_warmed_up_alone(short_term: ShortTerm) -> None:
    network = StreamingNetwork.from_base(replace(SIZES, short_term=short_term), base().state_dict())
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    errors = list(warm_up_frame_encoder(network, clips(), steps=30, batch=2, seed=0))
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    if short_term == "none":
        assert not errors
        assert not moved
    else:
        assert errors[-1] < 0.5 * errors[0]
        assert all(".controlnet_cond_embedding." in name for name in moved)


def test_what_is_trained() -> None:
    network = StreamingNetwork.from_base(SIZES, base().state_dict())
    choose_trained(network, "memories")
    for row in parameter_table(network):
        assert row.trained == (0 if row.part.startswith("base model") else row.parameters), row.part
    chosen = choose_trained(network, "released")
    rows = {row.part: row for row in parameter_table(network)}
    assert rows["base model: temporal layers"].trained == 0
    assert rows["base model: spatial layers"].trained == rows["base model: spatial layers"].parameters
    assert sum(parameter.numel() for parameter in chosen) == sum(row.trained for row in rows.values())
    concat = StreamingNetwork.from_base(replace(SIZES, short_term="concat"), base().state_dict())
    choose_trained(concat, "memories")
    assert concat.unet.conv_in.weight.requires_grad
    assert not concat.unet.conv_out.weight.requires_grad


def test_every_memory_learns_in_two_steps() -> None:
    """Zero-initialised projections move first; what lies behind them gets its gradient in the next step."""
    network = StreamingNetwork.from_base(SIZES, base().state_dict())
    chosen = choose_trained(network, "memories")
    task, optimiser = WindowTask(network), torch.optim.SGD(chosen, lr=0.5)
    data = clips()
    for call in range(3):
        rng, random = draws(0, call, 0)
        optimiser.zero_grad()
        loss = denoising_loss(task, SIZES, [data.sample(rng)], scheduler(), random)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for name in ("cam.controlnet_cond_embedding.conv_in", "cam.encoder.conv_in", "anchor_tokens.context_embedding.0"):
        gradient = network.get_submodule(name).weight.grad
        assert isinstance(gradient, Tensor)
        assert float(gradient.abs().max()) > 0, name


def run(out: Path, stop_after: int | None = None, **settings: object) -> StreamingNetwork:
    network = StreamingNetwork.from_base(SIZES, base().state_dict())
    config = replace(TrainingConfig(4, batch=1, accumulate=2, learning_rate=1e-2), **settings)  # type: ignore[arg-type]
    objective = DenoisingObjective(network, clips(dropout=0.2), scheduler(), "memories")
    for _ in train_streaming(objective, config, out, stop_after=stop_after):
        pass
    return network


def assert_same_network(one: Path, other: Path) -> None:
    whole, parts = (StreamingNetwork.load(folder / "network").state_dict() for folder in (one, other))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    AcceleratorState._reset_state(reset_partial_state=True)
    run(tmp_path / "parts", stop_after=2)
    AcceleratorState._reset_state(reset_partial_state=True)
    run(tmp_path / "parts")
    assert_same_network(tmp_path / "whole", tmp_path / "parts")
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert logs[0] == logs[1]
    assert [entry["step"] for entry in logs[0]] == [1, 2, 3, 4]


@pytest.mark.parametrize("killed", ["while writing", "between the moves"])
def test_a_kill_while_saving_loses_nothing(tmp_path: Path, killed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "whole")
    AcceleratorState._reset_state(reset_partial_state=True)
    run(tmp_path / "parts", stop_after=2)
    AcceleratorState._reset_state(reset_partial_state=True)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        return dies() if path.name == "checkpoint.new" else real(path, target)  # type: ignore[func-returns-value]

    with monkeypatch.context() as patched:
        if killed == "while writing":
            patched.setattr("accelerate.accelerator.save_custom_state", dies)
        else:
            patched.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop_after=3)
    AcceleratorState._reset_state(reset_partial_state=True)
    run(tmp_path / "parts")
    assert_same_network(tmp_path / "whole", tmp_path / "parts")
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_a_run_is_not_continued_as_another(tmp_path: Path) -> None:
    run(tmp_path, stop_after=1)
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(ValueError, match="holds a run with other learning_rate, seed"):
        run(tmp_path, seed=1, learning_rate=1e-3)
    AcceleratorState._reset_state(reset_partial_state=True)
    run(tmp_path, steps=5, stop_after=2)  # a run may become longer


def test_what_is_saved_is_the_average(tmp_path: Path) -> None:
    network = run(tmp_path, steps=2)
    saved = StreamingNetwork.load(tmp_path / "network").state_dict()
    own = network.state_dict()
    start = StreamingNetwork.from_base(SIZES, base().state_dict()).state_dict()
    name = "injector.middle.proj_out.bias"
    assert not torch.equal(saved[name], own[name])
    assert float((saved[name] - start[name]).norm()) < float((own[name] - start[name]).norm())
    assert torch.equal(saved["unet.conv_in.weight"], start["unet.conv_in.weight"])


def test_mixed_precision(tmp_path: Path) -> None:
    network = run(tmp_path, steps=1, mixed_precision="bf16")
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_the_name_of_a_data_set() -> None:
    assert load_function("json:loads", "--data") is json.loads
    for name in ("no.such.module:clips", "json:no_such_function", "json"):
        with pytest.raises(ValueError, match=r"--samples .*give module:function"):
            load_function(name, "--samples")


def test_what_is_trained_in_miniature() -> None:
    """Of a copied encoder half only CAM's input convolution; of the base model what reads the memories over time."""
    trained = {}
    for short_term in ("cam", "sparse", "concat", "none"):
        network = StreamingNetwork.from_base(replace(SIZES, short_term=short_term), base().state_dict())
        choose_trained(network, "miniature")
        trained[short_term] = {name for name, p in network.named_parameters() if p.requires_grad}
    copied = {name for names in trained.values() for name in names if ".encoder." in name}
    assert copied == {"cam.encoder.conv_in.weight", "cam.encoder.conv_in.bias"}
    layer = "temp_convs.0.conv1.0.weight"
    assert all(f"unet.up_blocks.0.{layer}" in names for names in trained.values())
    assert [kind for kind, names in trained.items() if f"unet.down_blocks.0.{layer}" in names] == ["concat"]
    assert not any("transformer_in" in name or "resnets" in name for names in trained.values() for name in names)
    assert all("anchor_tokens.context_embedding.0.weight" in names for names in trained.values())
    assert [kind for kind, names in trained.items() if "unet.conv_in.weight" in names] == ["concat"]


def test_frozen_parts_run_as_they_will_when_frames_are_made() -> None:
    network = StreamingNetwork.from_base(SIZES, base().state_dict())
    choose_trained(network, "memories")
    training_mode(network)
    assert network.cam is not None
    assert network.cam.encoder.down_blocks[0].temp_convs[0].conv2[2].training  # dropout
    assert not network.unet.down_blocks[0].temp_convs[0].conv2[2].training


def test_learning_rates() -> None:
    config = TrainingConfig(100, learning_rate=2.0, warmup=10)
    assert [learning_rate(config, step) for step in (0, 4, 9, 99)] == [0.2, 1.0, 2.0, 2.0]
    falling = replace(config, schedule="cosine")
    assert learning_rate(falling, 50) == pytest.approx(1.0)
    assert learning_rate(falling, 99) < 0.001


def test_settings_from_a_file(tmp_path: Path) -> None:
    """The miniature's settings are kept as a file of arguments, and every one of them is an option."""
    stored = Path(__file__).parents[2] / "generators" / "mini" / "streaming_t2v.args"
    options = parser().parse_args([f"@{stored}", "--out", str(tmp_path), "--short-term", "concat"])
    assert (options.short_term, options.trained, options.batch) == ("concat", "miniature", 8)


def test_what_the_command_line_leaves_out_is_the_configurations() -> None:
    given = replace(SIZES, short_term="concat", long_term=False, cam_positions=True)
    assert (
        chosen_sizes(given, parser().parse_args(["--base", "b", "--data", "d", "--out", "o", "--steps", "1"])) == given
    )
    words = ["--base", "b", "--data", "d", "--out", "o", "--steps", "1", "--short-term", "none", "--no-long-term"]
    changed = chosen_sizes(SIZES, parser().parse_args(words))
    assert (changed.short_term, changed.long_term, changed.cam_positions) == ("none", False, False)


def test_data_is_encoded_in_its_own_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, encode = [], Codec.encode

    def watched(codec: Codec, frames: Tensor, noise: Tensor | None = None) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return encode(codec, frames, noise)

    monkeypatch.setattr(Codec, "encode", watched)
    kept = clips()
    with torch.autocast("cpu", torch.bfloat16):
        kept.sample(np.random.default_rng(0))
    assert seen == [False]
