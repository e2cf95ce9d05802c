"""SEINE and DynamiCrafter-XL end to end over tiny networks, and their released files on the way to the cache."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from huggingface_hub import constants
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from baselines.dynamicrafter_xl.method import DynamiCrafterXl
from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
from baselines.dynamicrafter_xl.resampler import Resampler
from baselines.networks import checkpoints
from baselines.networks.checkpoints import network_folder, split_lvdm
from baselines.networks.clip_encoders import (
    PIXEL_DEVIATION,
    PIXEL_MEAN,
    encode_image,
    encode_text,
    load_image_tower,
)
from baselines.seine import checkpoint as seine_checkpoint
from baselines.seine.checkpoint import write_seine
from baselines.seine.method import Seine
from baselines.seine.network import SeineUNet
from generators.api import Request, Start
from generators.pipelines import clip_token_ids
from generators.weights import MissingWeightsError

SIZE = 32
FRAMES = 4
NEW = 5  # frames beyond the start: two chunks, the second one cut
WIDTHS = {"block_out_channels": (8, 16), "attention_levels": (True, False), "layers_per_block": 1, "norm_num_groups": 4}
SEINE_UNET = {**WIDTHS, "cross_attention_dim": 32, "num_attention_heads": 2, "num_frames": FRAMES}
AUTOENCODER = {
    "block_out_channels": [8, 8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokenizer, text_encoder, image_encoder and vae."""
    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in codes] + [chr(256 + i) for i in range(256 - len(codes))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder / "tokenizer")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    ids = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    CLIPTextModel(CLIPTextConfig(vocab_size=514, **size, **ids)).save_pretrained(folder / "text_encoder")
    vision = CLIPVisionConfig(**size, image_size=64, patch_size=32, projection_dim=32)
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    AutoencoderKL(**AUTOENCODER).save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="module")
def seine_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seine")
    torch.manual_seed(0)
    SeineUNet(**SEINE_UNET).save_pretrained(folder / "unet")
    return folder


@pytest.fixture(scope="module")
def dynamicrafter_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dynamicrafter")
    torch.manual_seed(0)
    DynamiCrafterUNet(**WIDTHS, cross_attention_dim=32, head_channels=4).save_pretrained(folder / "unet")
    sizes = {"width": 16, "depth": 1, "head_channels": 8, "heads": 2, "image_width": 32, "context_width": 32}
    Resampler(**sizes, num_frames=FRAMES).save_pretrained(folder / "image_projection")
    return folder


def seine(weights: Path, base: Path, **settings: Any) -> Seine:
    small = {"num_frames": FRAMES, "height": SIZE, "width": SIZE, "num_inference_steps": 3}
    return Seine(**{"weights": str(weights), "base": str(base), **small, **settings})


def dynamicrafter(weights: Path, encoders: Path, **settings: Any) -> DynamiCrafterXl:
    small = {"num_frames": FRAMES, "height": SIZE, "width": SIZE, "num_inference_steps": 3, "variant": ""}
    places = {"weights": str(weights), "encoders": str(encoders), "vae": str(encoders / "vae")}
    return DynamiCrafterXl(**{**places, **small, **settings})


def start() -> Start:
    noise = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3)).astype(np.uint8)
    video = noise.repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)
    return Start(video, video)


def video_of(method: Any, prompt: str = "a red circle", seed: int = 0, begin: Start | None = None) -> Any:
    chunks = list(method.generate(Request(prompt, seed, 16 + NEW, SIZE, SIZE, 8.0), begin or start()))
    new = method.num_frames - method.conditioning_frames
    assert [len(chunk) for chunk in chunks] == [new] * (NEW // new) + [NEW % new] * (NEW % new > 0)
    return np.concatenate(chunks)


def check_contract(method: Any, again: Any) -> None:
    video = video_of(method)
    assert video.shape == (NEW, SIZE, SIZE, 3)
    assert video.dtype == np.uint8
    assert video.std() > 0
    np.testing.assert_array_equal(video, video_of(method))
    np.testing.assert_array_equal(video, video_of(again))
    inverted = Start(255 - start().frames, 255 - start().base)
    for other in (video_of(method, seed=1), video_of(method, "a blue square"), video_of(method, begin=inverted)):
        assert (video != other).any()


@pytest.mark.parametrize("settings", [{}, {"sampler": "ddim"}, {"conditioning_frames": 2}, {"guidance_scale": 1.0}])
def test_seine(seine_weights: Path, encoders: Path, settings: dict[str, Any]) -> None:
    check_contract(*(seine(seine_weights, encoders, **settings) for _ in range(2)))


def test_seine_steps_are_the_samplers_own_unless_set() -> None:
    assert (Seine().steps, Seine(sampler="ddim").steps, Seine(num_inference_steps=7).steps) == (250, 50, 7)
    with pytest.raises(ValueError, match="sampler"):
        Seine(sampler="euler")


def test_seine_says_when_the_clip_does_not_fit_the_network(seine_weights: Path, encoders: Path) -> None:
    with pytest.raises(ValueError, match="makes 4 frames at a time, but the clip has 5"):
        video_of(seine(seine_weights, encoders, num_frames=5))


def test_seine_masks_what_is_missing(seine_weights: Path, encoders: Path) -> None:
    model = seine(seine_weights, encoders)
    mask, given = model._condition(start().frames[-1:], torch.Generator().manual_seed(0))
    assert mask[0, 0].amax(dim=(1, 2)).tolist() == [0, 1, 1, 1]
    assert given.shape == (1, 4, FRAMES, 4, 4)
    assert not torch.allclose(given[:, :, 0], given[:, :, 1], atol=0.1)


@pytest.mark.parametrize("settings", [{}, {"guidance_scale": 1.0, "eta": 0.0}])
def test_dynamicrafter(dynamicrafter_weights: Path, encoders: Path, settings: dict[str, Any]) -> None:
    check_contract(*(dynamicrafter(dynamicrafter_weights, encoders, **settings) for _ in range(2)))


def test_dynamicrafter_settings_reach_the_sampler(dynamicrafter_weights: Path, encoders: Path) -> None:
    plain = video_of(dynamicrafter(dynamicrafter_weights, encoders))
    for change in [
        {"fps": 5},
        {"eta": 0.0},
        {"guidance_rescale": 0.0},
        {"terminal_scale": 1.0},
        {"negative_prompt": "x"},
        {"text_fill": "tokenizer"},
    ]:
        assert (plain != video_of(dynamicrafter(dynamicrafter_weights, encoders, **change))).any(), change


def test_adapters_pad_to_another_shape(dynamicrafter_weights: Path, encoders: Path, seine_weights: Path) -> None:
    wide = {"width": 2 * SIZE}
    for once, every in [
        (seine(seine_weights, encoders, **wide), seine(seine_weights, encoders, **wide, pad="every_chunk")),
        (
            dynamicrafter(dynamicrafter_weights, encoders, **wide),
            dynamicrafter(dynamicrafter_weights, encoders, **wide, pad="every_chunk"),
        ),
    ]:
        ours, theirs = video_of(once), video_of(every)
        np.testing.assert_array_equal(ours[:3], theirs[:3])
        assert (ours[3:] != theirs[3:]).any()


def test_towers_give_what_transformers_gives(encoders: Path) -> None:
    settings = DynamiCrafterXl(variant="")
    tower = CLIPVisionModelWithProjection.from_pretrained(encoders / "image_encoder")
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1  # the size of the tower: no resizing
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_DEVIATION))
    expected = tower(((pixels + 1) / 2 - mean) / deviation).last_hidden_state
    torch.testing.assert_close(encode_image(load_image_tower(encoders, settings), pixels), expected)
    text_tower = CLIPTextModel.from_pretrained(encoders / "text_encoder")
    tokens = CLIPTokenizer.from_pretrained(encoders / "tokenizer")(
        ["a dog", ""], padding="max_length", max_length=77, return_tensors="pt"
    )
    states = text_tower(tokens.input_ids, output_hidden_states=True)
    last, skipped = (
        encode_text(encoders, ["a dog", ""], skip_last=skip, fill="tokenizer", settings=settings)
        for skip in (False, True)
    )
    torch.testing.assert_close(last, states.last_hidden_state)
    torch.testing.assert_close(skipped, text_tower.final_layer_norm(states.hidden_states[1]))


def test_short_texts_are_filled_up_with_token_0_or_the_tokenizer_s_own(encoders: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(encoders / "tokenizer")
    texts = ["a dog", "", "a dog " * 40]
    zero, own = (clip_token_ids(tokenizer, texts, fill) for fill in ("zero", "tokenizer"))
    lengths = [len(tokenizer(text).input_ids) for text in texts[:2]]
    for text, length in enumerate(lengths):
        assert torch.equal(zero[text, :length], own[text, :length])
        assert zero[text, length - 1] == tokenizer.eos_token_id
        assert not zero[text, length:].any()
        assert set(own[text, length:].tolist()) == {tokenizer.pad_token_id}
    assert torch.equal(zero[2], own[2])
    vectors = [
        encode_text(encoders, ["a dog"], skip_last=True, fill=fill, settings=DynamiCrafterXl(variant=""))
        for fill in ("zero", "tokenizer")
    ]
    assert torch.equal(vectors[0][:, : lengths[0]], vectors[1][:, : lengths[0]])  # the tower looks back only
    assert not torch.equal(*vectors)


def test_half_precision_runs(dynamicrafter_weights: Path, encoders: Path, seine_weights: Path) -> None:
    assert video_of(seine(seine_weights, encoders, dtype="bfloat16")).std() > 0
    assert video_of(dynamicrafter(dynamicrafter_weights, encoders, dtype="bfloat16")).std() > 0


def test_defaults_match_the_sheet() -> None:
    xl, masked = DynamiCrafterXl(), Seine()
    for model in (xl, masked):
        assert (model.num_frames, model.conditioning_frames, -(-224 // (16 - 1))) == (16, 1, 15)
    assert (xl.height, xl.width, masked.height, masked.width) == (576, 1024, 512, 512)


def test_adapters_import_without_torch() -> None:
    modules = "baselines.seine.method, baselines.dynamicrafter_xl.method"
    code = f"import sys, {modules}; print({{'torch', 'diffusers'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_missing_weights_are_named(tmp_path: Path, encoders: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"neither unet/config\.json nor seine\.pt"):
        video_of(seine(tmp_path, encoders))


def test_seine_file_is_converted_once(
    tmp_path: Path, seine_weights: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(seine_checkpoint, "SeineUNet", partial(SeineUNet, **SEINE_UNET))
    network = SeineUNet.from_pretrained(seine_weights / "unet")
    released = {key.removeprefix("unet."): tensor for key, tensor in network.state_dict().items()}
    torch.save({"ema": released}, tmp_path / "seine.pt")
    np.testing.assert_array_equal(video_of(seine(tmp_path, encoders)), video_of(seine(seine_weights, encoders)))

    def refuse(checkpoint: Path, folder: Path) -> None:
        raise AssertionError("converted twice")

    folder = network_folder(tmp_path, "seine.pt", "", refuse)
    assert network_folder(tmp_path / "seine.pt", "seine.pt", "", refuse) == folder
    assert list((tmp_path / "cache" / "longvideo-bench").glob("[!.]*")) == [folder]


class Harmful:
    """Would run code when unpickled without care."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("ran",))


@pytest.mark.parametrize("content", [{"ema": Harmful()}, {"model": {}}])
def test_files_that_are_not_the_released_one_leave_nothing_behind(
    tmp_path: Path, content: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    torch.save(content, tmp_path / "seine.pt")
    with pytest.raises(MissingWeightsError, match=r"seine\.pt"):
        network_folder(tmp_path, "seine.pt", "", write_seine)
    assert capsys.readouterr().out == ""
    assert list((tmp_path / "cache" / "longvideo-bench").glob("[!.]*")) == []


def test_lvdm_checkpoints_are_split_by_network() -> None:
    tensor = torch.zeros(1)
    keys = ["model.diffusion_model.out.0.bias", "first_stage_model.a.b", "image_proj_model.c", "embedder.d", "betas"]
    parts = split_lvdm(dict.fromkeys([*keys, "cond_stage_model.e"], tensor))
    assert {prefix: list(part) for prefix, part in parts.items()} == {
        "model.diffusion_model.": ["out.0.bias"],
        "first_stage_model.": ["a.b"],
        "image_proj_model.": ["c"],
    }
    with pytest.raises(ValueError, match=r"adapter\.weight"):
        split_lvdm({"adapter.weight": tensor})


def ldm_name(key: str) -> str:
    """The name a latent-diffusion autoencoder gives to a tensor of diffusers' one."""
    key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets", lambda match: f"up.{3 - int(match[1])}.block", key)
    key = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda match: f"up.{3 - int(match[1])}.upsample", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", key)
    key = key.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_norm_out", "norm_out")
    for ours, theirs in [("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"), ("group_norm", "norm")]:
        key = key.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    return key.replace("conv_shortcut", "nin_shortcut")


def test_deepspeed_file_of_dynamicrafter_is_converted(
    tmp_path: Path, dynamicrafter_weights: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = AutoencoderKL.from_pretrained(encoders / "vae")

    def as_released(key: str, tensor: Tensor) -> Tensor:
        return tensor[..., None, None] if "attentions" in key and tensor.ndim == 2 else tensor

    first_stage = {ldm_name(key): as_released(key, tensor) for key, tensor in vae.state_dict().items()}
    state = {f"_forward_module.first_stage_model.{key}": tensor for key, tensor in first_stage.items()}
    torch.save({"module": state}, tmp_path / "model.ckpt")
    read = checkpoints.split_lvdm(checkpoints.read_state_dict(tmp_path / "model.ckpt", "state_dict", "module"))
    monkeypatch.setattr(checkpoints, "AUTOENCODER", AUTOENCODER)
    checkpoints.write_autoencoder(read[checkpoints.VAE], tmp_path / "vae")
    loaded = AutoencoderKL.from_pretrained(tmp_path / "vae").state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in vae.state_dict().items())
