"""The method on tiny random networks: frames, seeds, resuming, refinement, errors."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from generators.api import Request, Start, TextChange
from generators.frames import resize, to_frames
from generators.streaming_t2v import method
from generators.streaming_t2v.method import StreamingT2V, StreamingT2VNoApm, StreamingT2VRefined
from generators.streaming_t2v.network import CheckpointError, NetworkConfig, StreamingNetwork
from generators.streaming_t2v.pipeline import StreamState, tensor_frames
from generators.streaming_t2v.refiner import Placement, check_latent_size
from generators.streaming_t2v.unet import VideoUNetConfig
from generators.weights import MissingWeightsError

SIZES = NetworkConfig(
    unet=VideoUNetConfig(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4, cross_attention_dim=8
    ),
    text_tokens=12, image_tokens=2, image_width=6, anchor_hidden_width=10, merger_head_dim=4, merger_norm_groups=4,
    frame_encoder_channels=(4, 4, 4, 4),
)  # fmt: skip
VARIANTS = {
    "streaming_t2v": SIZES,
    "no_apm": replace(SIZES, long_term=False),
    "no_cam": replace(SIZES, short_term="none"),
    "concat": replace(SIZES, short_term="concat"),
    "sparse": replace(SIZES, short_term="sparse"),
}
REFINED = {"refined_height": 64, "refined_width": 64, "canvas_width": 64}
METHODS = {
    "streaming_t2v": method.StreamingT2V,
    "no_apm": method.StreamingT2VNoApm,
    "no_cam": method.StreamingT2VNoCam,
    "concat": method.StreamingT2VConcat,
    "sparse": method.StreamingT2VSparse,
}


def alive(network: torch.nn.Module) -> torch.nn.Module:
    """The network with parameters that start at zero moved, so that every path matters."""
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny weights in the layout of real ones."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, config in VARIANTS.items():
        network = alive(StreamingNetwork(config))
        assert isinstance(network, StreamingNetwork)
        network.save(root / name / "network")
    base = root / "base"
    AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, latent_channels=4, layers_per_block=1,
    ).save_pretrained(base / "vae")  # fmt: skip
    alphabet = [*"abcdefghijklmnopqrstuvwxyz", *(letter + "</w>" for letter in "abcdefghijklmnopqrstuvwxyz,")]
    vocabulary = {token: index for index, token in enumerate([*alphabet, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(base / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=12, bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"], pad_token_id=vocabulary["<|endoftext|>"],
    )  # fmt: skip
    alive(CLIPTextModel(text)).save_pretrained(base / "text_encoder")  # type: ignore[operator]
    DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing",
        clip_sample=False,
    ).save_pretrained(base / "scheduler")  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16,
        projection_dim=6,
    )  # fmt: skip
    alive(CLIPVisionModelWithProjection(vision)).save_pretrained(root / "image_tower" / "image_encoder")  # type: ignore[operator]
    refiner = UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4, cross_attention_dim=8,
    )  # fmt: skip
    alive(refiner).save_pretrained(root / "refiner" / "unet")  # type: ignore[operator]
    return root


def build(weights: Path, name: str = "streaming_t2v", **settings: Any) -> StreamingT2V:
    values: dict[str, Any] = {
        "weights": str(weights / name), "base_weights": str(weights / "base"),
        "image_weights": str(weights / "image_tower"),
        "refiner_weights": str(weights / "refiner"), "base_height": 32, "base_width": 32, "num_inference_steps": 2,
        "refiner_steps": 2, "refiner_chunk": 10, "refiner_overlap": 4, "canvas_height": 64, "canvas_width": 96,
    }  # fmt: skip
    return METHODS[name](**(values | settings))


def request(num_frames: int = 29, prompt: str = "a red ball", seed: int = 3, size: int = 32) -> Request:
    return Request(prompt, seed, num_frames, size, size, 8.0)


def start(size: int = 32, frames: int = 16) -> Start:
    base = np.random.default_rng(0).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)
    return Start(np.repeat(np.repeat(base, size // 32, 1), size // 32, 2), base)


@pytest.mark.parametrize("name", METHODS)
def test_exact_frames_that_seed_and_prompt_fix(weights: Path, name: str) -> None:
    runner = build(weights, name)
    chunks = list(runner.generate(request(), start()))
    assert [chunk.shape for chunk in chunks] == [(8, 32, 32, 3), (5, 32, 32, 3)]
    assert all(chunk.dtype == np.uint8 for chunk in chunks)
    frames = np.concatenate(chunks)
    assert np.array_equal(frames, np.concatenate(list(build(weights, name).generate(request(), start()))))
    for other in (request(seed=4), request(prompt="blue sky")):
        assert not np.array_equal(chunks[0], next(runner.generate(other, start())))


def test_only_methods_with_memory_see_the_first_chunk(weights: Path) -> None:
    """The anchor is frame 0 and CAM reads the last eight; frame 3 reaches neither."""
    first = start()
    runners = {name: build(weights, name) for name in ("streaming_t2v", "no_apm", "no_cam")}
    plain = {name: next(runner.generate(request(), first)) for name, runner in runners.items()}
    for frame, sees in ((0, {"streaming_t2v", "no_cam"}), (15, {"streaming_t2v", "no_apm"}), (3, set())):
        changed = first.base.copy()
        changed[frame] = 255 - changed[frame]
        for name, runner in runners.items():
            other = next(runner.generate(request(), Start(changed, changed)))
            assert np.array_equal(plain[name], other) == (name not in sees), (frame, name)


def test_no_new_frames(weights: Path) -> None:
    assert list(build(weights).generate(request(16), start())) == []


def test_a_stopped_stream_goes_on_from_its_last_state(weights: Path) -> None:
    stage = build(weights)._stage
    begun = stage.begin(tensor_frames(torch.from_numpy(start().base)), seed=7)
    whole = list(stage.stream("a red ball", begun, 24))
    stored = whole[0].state
    again = StreamState(stored.windows, stored.frames.clone(), stored.anchor.clone(), stored.generator.clone())
    rest = list(stage.stream("a red ball", again, 16))
    assert [window.state.windows for window in whole] == [1, 2, 3]
    assert torch.equal(torch.cat([w.frames for w in rest]), torch.cat([w.frames for w in whole[1:]]))


def test_nothing_is_computed_twice(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = build(weights, num_inference_steps=3)._stage
    calls: dict[str, list[int]] = {}

    def count(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any) -> Any:
            calls.setdefault(name, []).append(len(arguments[0]) if len(arguments) else 0)
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)

    vae, network = stage.codec.vae, stage.network
    assert network.cam is not None
    assert stage.encode_image is not None
    for owner, name in ((vae, "encode"), (vae, "decode"), (network, "forward"), (network.cam, "embed")):
        count(owner, name)
    count(network.cam, "forward")
    monkeypatch.setattr(stage.encode_text.model, "forward", _counting(stage.encode_text.model.forward, calls, "text"))
    monkeypatch.setattr(
        stage.encode_image.model, "forward", _counting(stage.encode_image.model.forward, calls, "image")
    )
    list(stage.stream("a ball", stage.begin(tensor_frames(torch.from_numpy(start().base)), 0), 16))
    assert "encode" not in calls
    assert calls["decode"] == [8, 8]  # new frames only
    assert calls["embed"] == [1, 1]
    assert calls["text"] == [1]
    assert calls["image"] == [1]
    assert len(calls["forward"]) == 2 * 3 * 2  # windows x steps x (network, CAM); guidance in one batch


def test_without_guidance_there_is_one_branch(weights: Path) -> None:
    """The prompt alone; a scale a hair above one takes both branches and says almost the same."""
    plain, near = (build(weights, guidance_scale=scale)._stage for scale in (1.0, 1.000001))
    begun = plain.begin(tensor_frames(torch.from_numpy(start().base)), 0)
    sizes: list[int] = []
    plain.network.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    one, two = (next(stage.stream("a ball", begun, 8)).frames for stage in (plain, near))
    assert set(sizes) == {1}
    assert torch.allclose(one, two, atol=1e-3)


def _counting(original: Any, calls: dict[str, list[int]], name: str) -> Any:
    def counted(*arguments: Any, **settings: Any) -> Any:
        calls.setdefault(name, []).append(1)
        return original(*arguments, **settings)

    return counted


@pytest.mark.parametrize("blending", ["released", "paper", "shared_noise", "independent"])
def test_larger_videos_are_refined_without_losing_a_frame(weights: Path, blending: str) -> None:
    runner = build(weights, blending=blending)
    chunks = list(runner.generate(request(29, size=64), start(64)))
    assert sum(len(chunk) for chunk in chunks) == 13
    assert {chunk.shape[1:] for chunk in chunks} == {(64, 64, 3)}


def test_refinement_is_fixed_by_the_seed(weights: Path) -> None:
    wanted = request(21, size=64)
    one, same = (np.concatenate(list(build(weights).generate(wanted, start(64)))) for _ in range(2))
    assert np.array_equal(one, same)
    other = np.concatenate(list(build(weights).generate(replace(wanted, seed=9), start(64))))
    assert not np.array_equal(one, other)


def refined(weights: Path, **settings: Any) -> StreamingT2VRefined:
    plain = build(weights)
    shared = {field.name: getattr(plain, field.name) for field in fields(plain)}
    return StreamingT2VRefined(**(shared | REFINED | settings))


def test_the_enhanced_method_refines_a_video_of_any_size(weights: Path) -> None:
    """At its refiner's size it is what the plain method is there; at another one its frames are resized."""
    wanted = request(21, size=64)
    large = np.concatenate(list(refined(weights).generate(wanted, start(64))))
    assert np.array_equal(large, np.concatenate(list(build(weights, canvas_width=64).generate(wanted, start(64)))))
    small = np.concatenate(list(refined(weights).generate(request(21), start())))
    assert small.shape == (5, 32, 32, 3)
    known = Start(resize(start().frames, 64, 64), start().base)
    large = np.concatenate(list(refined(weights).generate(wanted, known)))
    assert np.array_equal(small, resize(large, 32, 32))
    assert not np.array_equal(small, np.concatenate(list(build(weights).generate(request(21), start()))))


def test_without_a_refiner_a_larger_video_is_enlarged(weights: Path) -> None:
    plain = np.concatenate(list(build(weights).generate(request(), start())))
    large = np.concatenate(list(build(weights, refiner_weights="").generate(request(size=64), start(64))))
    assert np.array_equal(large, resize(plain, 64, 64))


@pytest.mark.parametrize("own", [(), ("vae",), ("text_encoder", "tokenizer")])
def test_what_a_refiner_lacks_is_the_base_model_s(weights: Path, tmp_path: Path, own: tuple[str, ...]) -> None:
    folder = shutil.copytree(weights / "refiner", tmp_path / "refiner")
    for name in own:
        shutil.copytree(weights / "base" / name, folder / name)
    runner = build(weights, refiner_weights=str(folder))
    refiner, stage = runner._refiner, runner._stage
    assert (refiner.codec.vae is stage.codec.vae) == ("vae" not in own)
    assert (refiner.encode_text is stage.encode_text) == ("text_encoder" not in own)


@pytest.mark.parametrize("change", [{"refiner_start": 300}, {"refiner_guidance_scale": 1.0}])
def test_settings_of_the_refiner_reach_it(weights: Path, change: dict[str, Any]) -> None:
    wanted = request(21, size=64)
    plain, changed = (
        np.concatenate(list(build(weights, **settings).generate(wanted, start(64)))) for settings in ({}, change)
    )
    assert not np.array_equal(plain, changed)


def test_guidance_of_one_is_no_guidance(weights: Path) -> None:
    """Both give what the prompt alone predicts, one of them at half the cost."""
    refiner, small = build(weights)._refiner, tensor_frames(torch.from_numpy(start().base))
    off, barely = (
        torch.cat(list(replace(refiner, guidance_scale=scale).refine(small, "a ball", 64, 96, seed=0)))
        for scale in (1.0, 1.0 + 1e-6)
    )
    assert torch.allclose(off, barely, atol=1e-3)


def test_refining_one_clip_alone(weights: Path) -> None:
    refiner = build(weights)._refiner
    small = tensor_frames(torch.from_numpy(start().base))
    pieces = list(refiner.refine(small, "a ball", 64, 96, seed=0))
    assert torch.cat(pieces).shape == (16, 3, 64, 96)
    known = tensor_frames(torch.from_numpy(np.repeat(np.repeat(start().base, 2, 1), 3, 2)))
    pinned = torch.cat(list(refiner.refine(small, "a ball", 64, 96, seed=0, known=known)))
    decoded = (refiner.codec.decode(refiner.codec.encode(known)) + 1) / 2
    assert torch.allclose(pinned, decoded, atol=1e-4)


def test_the_refiner_goes_on_with_the_text_in_force(weights: Path) -> None:
    refiner = build(weights)._refiner
    small = tensor_frames(torch.from_numpy(np.concatenate([start().base] * 2)))  # chunks of 10 begin at 0, 6, 12 ...

    def refined(prompt: str | list[tuple[int, str]]) -> Tensor:
        return torch.cat(list(refiner.refine(small, prompt, 64, 96, seed=0)))

    plain = refined("a ball")
    assert torch.equal(plain, refined([(0, "a ball")]))
    changed = refined([(0, "a ball"), (28, "a storm")])
    assert torch.equal(plain[:12], changed[:12])
    assert not torch.equal(plain[28:], changed[28:])
    wanted = request(32, prompt="a ball", size=64)
    videos = [
        np.concatenate(list(build(weights).generate(replace(wanted, changes=changes), start(64))))
        for changes in ((), (TextChange(24, "a storm"),))
    ]
    assert not np.array_equal(videos[0][-8:], videos[1][-8:])


def test_only_a_larger_video_is_refined(weights: Path) -> None:
    runner = build(weights)
    assert [runner._refined_size(request(size=size)) for size in (16, 32, 64)] == [None, None, (64, 64)]


def test_placement_round_trip() -> None:
    place = Placement(720, 720, 720, 1280)
    assert place.top_left == (0, 280)
    frames = torch.rand(1, 3, 720, 720) * 2 - 1
    canvas = place.enlarge(frames)
    assert canvas.shape == (1, 3, 720, 1280)
    assert torch.equal(place.crop(canvas), frames)
    assert bool((canvas[..., :280] == -1).all())
    enlarged = place.crop(place.enlarge(torch.rand(1, 3, 256, 256) * 2 - 1))
    assert enlarged.shape == (1, 3, 720, 720)
    assert float(enlarged.abs().max()) <= 1


def test_sizes_the_refiner_cannot_take(weights: Path) -> None:
    check_latent_size(90, 160, 4)
    with pytest.raises(ValueError, match="even at each"):
        check_latent_size(92, 160, 4)  # 92 -> 47
    with pytest.raises(ValueError, match="do not fit"):
        list(build(weights, canvas_height=32).generate(request(29, size=64), start(64)))


@pytest.mark.parametrize(
    ("wanted", "first", "message"),
    [
        (request(12), start(), "num_frames = 12 is less than the 16 frames"),
        (request(), start(frames=12), "has 12 frames but a window has 16"),
        (request(), Start(start().frames, start().base[:, :16]), "is 32x16 pixels but this model continues 32x32"),
        (request(), Start(start().frames, start().base[:15]), "15 frames at base size but 16"),
    ],
)
def test_bad_first_chunks(weights: Path, wanted: Request, first: Start, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(build(weights).generate(wanted, first))


def test_a_size_the_networks_cannot_take(weights: Path) -> None:
    base = np.zeros((16, 24, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="multiples of 16"):
        list(build(weights, base_height=24).generate(request(), Start(base, base)))


def test_wrong_or_missing_weights(weights: Path) -> None:
    with pytest.raises(CheckpointError, match="StreamingT2VNoApm needs 'cam', False"):
        next(StreamingT2VNoApm(weights=str(weights / "streaming_t2v")).generate(
            Request("a", 0, 29, 256, 256, 8.0), Start(*(np.zeros((16, 256, 256, 3), np.uint8),) * 2)
        ))  # fmt: skip
    with pytest.raises(MissingWeightsError, match=r'neither a folder "network" nor a file streaming_t2v\.ckpt'):
        next(replace(build(weights), weights=str(weights / "image_tower")).generate(request(), start()))
    with pytest.raises(MissingWeightsError, match="image_encoder"):
        next(build(weights, image_weights="").generate(request(), start()))


def test_settings_it_cannot_follow() -> None:
    with pytest.raises(ValueError, match="keeps its networks on the device"):
        StreamingT2V(device="cuda", offload="model")


def test_the_refiner_can_run_in_another_precision(weights: Path) -> None:
    """As released: everything in full precision but the refiner's network."""
    mixed = build(weights, refiner_dtype="bfloat16")
    refiner, stage = mixed._refiner, mixed._stage
    assert {refiner.unet.dtype} == {torch.bfloat16}
    assert {next(stage.network.parameters()).dtype, refiner.codec.vae.dtype, refiner.encode_text.model.dtype} == {
        torch.float32
    }
    wanted = request(21, size=64)
    exact, half = (np.concatenate(list(runner.generate(wanted, start(64)))) for runner in (build(weights), mixed))
    assert 0 < np.abs(exact.astype(float) - half).mean() < 5
    assert build(weights, dtype="bfloat16")._refiner.unet.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="refiner_dtype"):
        build(weights, refiner_dtype="int8")


def test_half_precision_stays_close(weights: Path) -> None:
    exact = next(build(weights).generate(request(), start())).astype(float)
    half = next(build(weights, dtype="bfloat16").generate(request(), start())).astype(float)
    assert 0 < np.abs(exact - half).mean() < 5  # 3.1 measured; without guidance it is 9


def test_importing_the_method_does_not_import_torch() -> None:
    code = "import sys; import generators.streaming_t2v.method; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frames_survive_the_trip_through_tensors() -> None:
    frames = start().base
    assert np.array_equal(to_frames((tensor_frames(torch.from_numpy(frames)) + 1) / 2), frames)
