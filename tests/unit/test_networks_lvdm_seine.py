"""Released checkpoints fit the networks of SEINE, VideoCrafter2, DynamiCrafter and I2VGen-XL by name and by size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload
from diffusers import I2VGenXLUNet
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5Attention

from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
from baselines.dynamicrafter_xl.resampler import Resampler, convert_resampler_keys
from baselines.freenoise.windows import attend_in_windows, reschedule_noise, shuffled_indices
from baselines.networks.videocrafter import VideoCrafterUNet, convert_videocrafter_keys
from baselines.seine.network import SeineUNet, convert_seine_keys, distance_buckets
from tests.conftest import handed

TINY = {"block_out_channels": (32, 64), "attention_levels": (True, False), "layers_per_block": 1}


def full_size(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (SeineUNet, 909.1),
        (VideoCrafterUNet, 1413.3),
        (DynamiCrafterUNet, 1438.9),
        (Resampler, 48.8),
        (lambda: I2VGenXLUNet(cross_attention_dim=1024), 1420.5),
    ],
)
def test_parameters_of_the_released_size(build: Callable[[], nn.Module], millions: float) -> None:
    count = sum(parameter.numel() for parameter in full_size(build).parameters())
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("build", "convert", "listed"),
    [
        (SeineUNet, convert_seine_keys, "keys_seine_unet"),
        (VideoCrafterUNet, convert_videocrafter_keys, "keys_videocrafter2_unet"),
        (DynamiCrafterUNet, convert_videocrafter_keys, "keys_dynamicrafter_unet"),
        (Resampler, convert_resampler_keys, "keys_dynamicrafter_resampler"),
    ],
)
def test_every_released_tensor_has_its_place(
    build: Callable[[], nn.Module], convert: Callable[[dict[str, Tensor]], dict[str, Tensor]], listed: str
) -> None:
    shapes = json.loads((handed("reference", "keys") / f"{listed}.json").read_text())
    released = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    converted = {key: tensor.shape for key, tensor in convert(released).items()}
    assert converted == {key: tensor.shape for key, tensor in full_size(build).state_dict().items()}


def test_resampler_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"layers\.0\.0\.gate\.weight"):
        convert_resampler_keys({"layers.0.0.gate.weight": torch.zeros(1)})


def test_distance_buckets_are_those_of_t5() -> None:
    distances = torch.arange(-40, 41)
    theirs = T5Attention._relative_position_bucket(distances, bidirectional=True, num_buckets=32, max_distance=32)
    assert torch.equal(distance_buckets(distances), theirs)


@torch.no_grad()
def test_seine_frames_see_each_other_and_clips_do_not() -> None:
    torch.manual_seed(0)
    network = SeineUNet(**TINY, cross_attention_dim=8, num_attention_heads=2, norm_num_groups=4, num_frames=4).eval()
    clips, text = torch.randn(2, 9, 4, 8, 8), torch.randn(2, 77, 8)
    before = network(clips, torch.tensor([5, 5]), text)
    clips[0, :, 3] += 1
    after = network(clips, torch.tensor([5, 5]), text)
    assert not torch.allclose(before[0, :, 0], after[0, :, 0])
    assert torch.equal(before[1], after[1])
    with pytest.raises(ValueError, match="makes 4 frames at a time, but the clip has 3"):
        network(clips[:, :, :3], torch.tensor([5, 5]), text)


@torch.no_grad()
def test_seine_runs_layer_by_layer() -> None:
    """As the harness runs it after a second out-of-memory: between its turns a layer has no storage."""
    torch.manual_seed(0)
    network = SeineUNet(**TINY, cross_attention_dim=8, num_attention_heads=2, norm_num_groups=4, num_frames=4).eval()
    inputs = (torch.randn(1, 9, 4, 8, 8), torch.tensor([5]), torch.randn(1, 77, 8))
    whole = network(*inputs)
    cpu_offload(network, torch.device("cpu"))
    assert torch.equal(network(*inputs), whole)


@torch.no_grad()
def test_dynamicrafter_frames_read_their_own_image_tokens() -> None:
    torch.manual_seed(0)
    network = DynamiCrafterUNet(**TINY, cross_attention_dim=8, head_channels=8, frame_tokens=2).eval()
    sample, text, image = torch.randn(1, 8, 3, 8, 8), torch.randn(1, 77, 8), torch.randn(1, 2, 8)
    step = torch.tensor([7])
    shared = network(sample, step, text, image)
    assert torch.equal(shared, network(sample, step, text, image.repeat(1, 3, 1), torch.tensor([10])))
    assert not torch.allclose(shared, network(sample, step, text, torch.randn(1, 6, 8)))
    with pytest.raises(ValueError, match="3 frames need 77 text tokens and 3 x 2 image tokens"):
        network(sample, step, text, torch.randn(1, 4, 8))


@torch.no_grad()
def test_one_window_is_ordinary_attention() -> None:
    torch.manual_seed(0)
    network = VideoCrafterUNet(**TINY, cross_attention_dim=8, head_channels=8).eval()
    inputs = torch.randn(1, 4, 4, 8, 8), torch.tensor([7]), torch.randn(1, 77, 8), torch.tensor([16])
    plain = network(*inputs)
    attend_in_windows(network, window=4, stride=2)
    torch.testing.assert_close(network(*inputs), plain)
    with pytest.raises(ValueError, match="needs 4 frames plus a multiple of 2, but 7 were asked for; 8 would do"):
        network(torch.randn(1, 4, 7, 8, 8), *inputs[1:])


def test_rescheduled_noise_is_the_first_window_in_another_order() -> None:
    order = shuffled_indices(240, 16, 4, torch.Generator().manual_seed(1))
    assert torch.equal(order, shuffled_indices(240, 16, 4, torch.Generator().manual_seed(1)))
    assert order.sort().values.flatten().tolist() == list(range(224))
    noise = torch.arange(240.0).view(1, 1, 240, 1, 1)
    rescheduled = reschedule_noise(noise, order, 16)
    assert torch.equal(rescheduled[:, :, :16], noise[:, :, :16])
    assert torch.equal(rescheduled.view(15, 16).sort().values, torch.arange(16.0).repeat(15, 1))


def test_networks_come_back_from_disk(tmp_path: Path) -> None:
    network = DynamiCrafterUNet(**TINY, cross_attention_dim=8, head_channels=8)
    network.save_pretrained(tmp_path)
    loaded = DynamiCrafterUNet.from_pretrained(tmp_path, use_safetensors=True, torch_dtype=torch.float16)
    assert loaded.dtype == torch.float16
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert loaded.config.default_fps == 10
