"""OpenSora and OpenSoraPlan end to end over random tiny networks, stored in the layout of the released ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from baselines.networks.text_embeddings import PromptEncoder
from baselines.opensora.method import OpenSora
from baselines.opensora.stdit3 import STDiT3, STDiT3Config
from baselines.opensora.vae import OpenSoraVAE
from baselines.opensora_plan.method import OpenSoraPlan
from baselines.opensora_plan.transformer import InpaintConfig, InpaintTransformer
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig
from generators.api import Request, Start
from generators.weights import MissingWeightsError

SIZE = 16
TEXT_WIDTH = 16


def randomised(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every parameter drawn at random, also those that start at zero, so that every input reaches the output."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
    return network


def store(folder: Path, config: dict[str, Any], network: torch.nn.Module, name: str = "model.safetensors") -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / name)


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 encoder with its tokenizer."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    from generators.pipelines import silenced

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("text")
    letters = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz0123456789.:,()"]
    with silenced():
        T5Tokenizer(vocab=[(letter, -1.0) for letter in letters], extra_ids=0).save_pretrained(folder)
        encoder = T5EncoderModel(
            T5Config(vocab_size=64, d_model=TEXT_WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        )
        randomised(encoder, 1)
        encoder.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def opensora_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `transformer` and `vae`, as the two released repositories."""
    folder = tmp_path_factory.mktemp("opensora")
    config = {
        "depth": 1, "hidden_size": 24, "num_heads": 2, "caption_channels": TEXT_WIDTH, "model_max_length": 40,
        "qk_norm": True, "model_type": "STDiT3",
    }  # fmt: skip
    store(folder / "transformer", config, randomised(STDiT3(STDiT3Config.from_json(config)), 2))
    vae_config = {
        "vae_2d": {"block_out_channels": [4, 4, 4, 4], "layers_per_block": 1, "norm_num_groups": 2},
        "vae_temporal": {"filters": 4, "num_res_blocks": 1, "channel_multipliers": [1, 1, 1, 1], "num_groups": 2},
    }
    store(folder / "vae", vae_config, randomised(OpenSoraVAE.from_json(vae_config), 3))
    return folder


@pytest.fixture(scope="module")
def plan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `93x480p_i2v` and `vae`, as the released repository."""
    folder = tmp_path_factory.mktemp("plan")
    config = {
        "num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 12, "cross_attention_dim": 24,
        "caption_channels": TEXT_WIDTH, "use_rope": True,
    }  # fmt: skip
    network = randomised(InpaintTransformer(InpaintConfig.from_json(config)), 4)
    store(folder / "93x480p_i2v", config, network, "diffusion_pytorch_model.safetensors")
    vae_config = {"hidden_size": 4, "hidden_size_mult": [1, 1, 1, 1], "num_res_blocks": 1, "norm_groups": 2}
    vae = randomised(CausalVAE(CausalVAEConfig.from_json(vae_config)), 5)
    store(folder / "vae", vae_config, vae)
    (folder / "vae" / "model.safetensors").unlink()
    averaged = {f"module.{name}": value for name, value in vae.state_dict().items()}
    torch.save({"ema_state_dict": averaged}, folder / "vae" / "checkpoint.ckpt")
    return folder


def opensora(folder: Path, text: Path, **changes: Any) -> OpenSora:
    settings = {
        "weights": str(folder / "transformer"), "vae": str(folder / "vae"), "text_encoder": str(text),
        "num_frames": 34, "num_inference_steps": 2, "dtype": "float32", "text_dtype": "float32",
    }  # fmt: skip
    return OpenSora(**(settings | changes))


def plan(folder: Path, text: Path, **changes: Any) -> OpenSoraPlan:
    settings = {
        "weights": str(folder), "text_encoder": str(text), "num_frames": 9, "height": SIZE, "width": SIZE,
        "num_inference_steps": 4, "max_text_tokens": 64, "dtype": "float32", "text_dtype": "float32",
    }  # fmt: skip
    return OpenSoraPlan(**(settings | changes))


def start(size: int = SIZE, seed: int = 0) -> Start:
    noise = np.random.default_rng(seed).integers(0, 256, (16, 4, 4, 3)).astype(np.uint8)
    frames = noise.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return Start(frames, frames)


def request_(prompt: str = "a red circle", seed: int = 0, num_frames: int = 40, size: int = SIZE) -> Request:
    return Request(prompt, seed, num_frames, size, size, 8.0)


def run(method: Any, request: Request, begin: Start) -> list[np.ndarray]:
    chunks = list(method.generate(request, begin))
    assert all(chunk.dtype == np.uint8 for chunk in chunks)
    assert all(chunk.shape[1:] == (request.height, request.width, 3) for chunk in chunks)
    return chunks


def assert_contract(method: Any, again: Any, seams: list[int]) -> None:
    chunks = run(method, request_(), start())
    assert [len(chunk) for chunk in chunks] == seams
    video = np.concatenate(chunks)
    assert video.std() > 1
    np.testing.assert_array_equal(video, np.concatenate(run(again, request_(), start())))
    np.testing.assert_array_equal(video, np.concatenate(run(method, request_(), start())))
    for other in (
        run(method, request_(seed=1), start()),
        run(method, request_("a blue square"), start()),
        run(method, request_(), start(seed=1)),
    ):
        assert (video != np.concatenate(other)).any()


def test_opensora(opensora_folder: Path, text_folder: Path) -> None:
    ours, again = (opensora(opensora_folder, text_folder) for _ in range(2))
    assert_contract(ours, again, seams=[17, 7])


def test_opensora_plan(plan_folder: Path, text_folder: Path) -> None:
    ours, again = (plan(plan_folder, text_folder) for _ in range(2))
    assert_contract(ours, again, seams=[8, 8, 8])


def test_paper_chunks() -> None:
    """240 frames: 7 chunks of OpenSora, 3 of OpenSoraPlan, cut by 14 and 52. Source: the recipe sheet's table."""
    assert (OpenSora().num_frames, OpenSora().conditioning_frames) == (51, 17)
    assert (OpenSoraPlan().num_frames, OpenSoraPlan().conditioning_frames) == (93, 1)
    for method, chunks, cut in ((OpenSora(), 7, 14), (OpenSoraPlan(), 3, 52)):
        new = method.num_frames - method.conditioning_frames
        assert (-(-224 // new), -224 % new) == (chunks, cut)


def test_opensora_repeats_the_first_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def begin(self: OpenSora, prompt: str) -> Any:
        def extend(conditioning: np.ndarray, seed: int) -> np.ndarray:
            seen.append(conditioning)
            new = np.full((17, SIZE, SIZE, 3), len(seen), np.uint8)
            return np.concatenate([conditioning, new + np.arange(17, dtype=np.uint8)[:, None, None, None]])

        return extend

    monkeypatch.setattr(OpenSora, "begin", begin)
    chunks = run(OpenSora(num_frames=34), request_(num_frames=60), start())
    assert [len(chunk) for chunk in chunks] == [17, 17, 10]
    first = start().frames
    np.testing.assert_array_equal(seen[0], np.concatenate([first[:1], first]))
    np.testing.assert_array_equal(seen[1], chunks[0])


@pytest.mark.parametrize(
    "change",
    [
        {"conditioning_frames": 1}, {"guidance_scale": 1.0}, {"fps": 8.0}, {"prompt_suffix": ""},
        {"num_inference_steps": 3}, {"height": 24, "width": 24},
    ],
)  # fmt: skip
def test_opensora_settings_reach_the_network(opensora_folder: Path, text_folder: Path, change: dict[str, Any]) -> None:
    plain = np.concatenate(run(opensora(opensora_folder, text_folder), request_(num_frames=20), start()))
    changed = run(opensora(opensora_folder, text_folder, **change), request_(num_frames=20), start())
    assert (plain != np.concatenate(changed)).any()


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 1.0}, {"negative_prompt": "nothing"}, {"prompt_template": "{}"}, {"num_inference_steps": 5},
        {"width": 32},
    ],
)  # fmt: skip
def test_opensora_plan_settings_reach_the_network(plan_folder: Path, text_folder: Path, change: dict[str, Any]) -> None:
    plain = np.concatenate(run(plan(plan_folder, text_folder), request_(num_frames=20), start()))
    changed = run(plan(plan_folder, text_folder, **change), request_(num_frames=20), start())
    assert (plain != np.concatenate(changed)).any()


def test_opensora_plan_pads_and_unpads(plan_folder: Path, text_folder: Path) -> None:
    videos = [
        np.concatenate(run(plan(plan_folder, text_folder, width=32, pad=pad, unpad=unpad), request_(), start()))
        for pad, unpad in (("once", True), ("every_chunk", True), ("once", False))
    ]
    np.testing.assert_array_equal(videos[0][:8], videos[1][:8])
    assert (videos[0][8:] != videos[1][8:]).any()
    assert (videos[0] != videos[2]).any()


def test_half_precision(opensora_folder: Path, plan_folder: Path, text_folder: Path) -> None:
    half = {"dtype": "bfloat16", "text_dtype": "bfloat16"}
    for method in (opensora(opensora_folder, text_folder, **half), plan(plan_folder, text_folder, **half)):
        assert np.concatenate(run(method, request_(num_frames=18), start())).std() > 1


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: OpenSora(dtype="int8"), "dtype"),
        (lambda: OpenSora(conditioning_frames=16), "conditioning_frames"),
        (lambda: OpenSora(num_frames=50), "multiple of 17"),
        (lambda: OpenSora(num_frames=17), "multiple of 17"),
        (lambda: OpenSora(height=100), "multiples of 8"),
        (lambda: list(OpenSora().generate(request_(size=20), start(20))), "multiples of 8"),
        (lambda: OpenSoraPlan(text_dtype="int8"), "text_dtype"),
        (lambda: OpenSoraPlan(num_frames=92), "num_frames"),
        (lambda: OpenSoraPlan(width=648), "multiples of 16"),
        (lambda: OpenSoraPlan(num_inference_steps=3), "num_inference_steps"),
        (lambda: OpenSoraPlan(prompt_template="no place"), "prompt_template"),
        (lambda: list(OpenSoraPlan(height=0, width=0).generate(request_(size=24), start(24))), "multiples of 16"),
    ],
)
def test_settings_are_checked(build: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build()


def test_missing_weights_are_named(tmp_path: Path, text_folder: Path) -> None:
    with pytest.raises(MissingWeightsError, match="nowhere"):
        run(OpenSora(weights=str(tmp_path / "nowhere")), request_(), start())
    with pytest.raises(MissingWeightsError, match=r"93x480p_i2v.*config\.json"):
        run(plan(tmp_path, text_folder), request_(), start())


def encoder(location: str, weights_dir: Path | str = "", max_tokens: int = 8) -> PromptEncoder:
    return PromptEncoder(location, str(weights_dir), max_tokens, "float32", "cpu")


def test_texts_are_padded_and_kept_in_memory(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = encoder(str(text_folder))
    short, long = texts.encode(["ab", "abcdefghijklmnop"])
    assert short.tokens.shape == long.tokens.shape == (1, 8, TEXT_WIDTH)
    assert short.mask.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]
    assert bool(long.mask.all())
    monkeypatch.setattr(PromptEncoder, "_run", lambda *_: pytest.fail("encoded twice"))
    assert texts.encode(["ab"])[0] is short


def test_embeddings_of_released_encoders_are_kept_on_disk(text_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "t5").symlink_to(text_folder)
    (fresh,) = encoder("hub:owner/t5", tmp_path).encode(["ab"])
    (file,) = (tmp_path / "text-embeddings").iterdir()
    file_time = file.stat().st_mtime_ns
    (kept,) = encoder("hub:owner/t5", tmp_path).encode(["ab"])
    assert torch.equal(fresh.tokens, kept.tokens)
    assert torch.equal(fresh.mask, kept.mask)
    assert file.stat().st_mtime_ns == file_time
    encoder("hub:owner/t5", tmp_path, max_tokens=9).encode(["ab"])
    assert len(list((tmp_path / "text-embeddings").iterdir())) == 2


def test_a_cache_of_embeddings_never_costs_the_video(
    text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(text_folder, tmp_path / "owner" / "t5")
    (fresh,) = encoder("hub:owner/t5", tmp_path).encode(["ab"])
    (file,) = (tmp_path / "text-embeddings").iterdir()
    file.write_bytes(b"torn")
    assert torch.equal(encoder("hub:owner/t5", tmp_path).encode(["ab"])[0].tokens, fresh.tokens)
    assert file.stat().st_size > 100  # written anew
    (weights,) = (tmp_path / "owner" / "t5").glob("*.safetensors")
    os.utime(weights, ns=(1, 1))  # another encoder in the same place
    encoder("hub:owner/t5", tmp_path).encode(["ab"])
    assert len(list((tmp_path / "text-embeddings").iterdir())) == 2

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("baselines.networks.text_embeddings.save_file", full)
    assert encoder("hub:owner/t5", tmp_path).encode(["cd"])[0].tokens.shape == fresh.tokens.shape


def test_sentencepiece_is_asked_for_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spiece.model").write_bytes(b"")
    monkeypatch.setattr("baselines.networks.text_embeddings._installed", lambda _name: False)
    with pytest.raises(MissingWeightsError, match="pip install sentencepiece"):
        encoder(str(tmp_path)).encode(["ab"])


def test_adapters_import_without_torch() -> None:
    modules = "baselines.opensora.method, baselines.opensora_plan.method"
    code = f"import sys, {modules}; print({{'torch', 'diffusers'}} & set(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip() == "set()"
