"""Open-Sora 1.2 and OpenSoraPlan 1.2: every released tensor has its place, sizes are the released ones, limits hold."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from baselines.networks.checkpoint_files import read_checkpoint, read_released_config
from baselines.opensora.rectified_flow import guided_velocity, sample, transform_timesteps, transformed_timesteps
from baselines.opensora.stdit3 import STDiT3, STDiT3Config, load_released_stdit3
from baselines.opensora.vae import FrameVAEConfig, OpenSoraVAE, TemporalVAE, TemporalVAEConfig, latent_frames
from baselines.opensora_plan.continuation import denoise
from baselines.opensora_plan.transformer import InpaintConfig, InpaintTransformer, fold_mask, given_frames_mask
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig, unwrapped
from baselines.opensora_plan.vae_tiling import Tiling, decoded_in_tiles, encoded_in_tiles, in_tiles
from generators.weights import MissingWeightsError
from tests.conftest import handed


def shapes(network: torch.nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def parameters(network: torch.nn.Module) -> float:
    """Millions of trained values."""
    return sum(p.numel() for p in network.parameters()) / 1e6


def test_every_released_tensor_has_its_place() -> None:
    with torch.device("meta"):
        stdit3 = STDiT3(STDiT3Config(depth=2, hidden_size=96, num_heads=4, caption_channels=24, model_max_length=10))
        temporal = TemporalVAE(TemporalVAEConfig())
        inpaint = InpaintTransformer(InpaintConfig(num_layers=1))
    assert shapes(stdit3) == json.loads((handed("reference", "keys") / "keys_opensora12_stdit3_tiny.json").read_text())
    assert shapes(temporal) == json.loads(
        (handed("reference", "keys") / "keys_opensora12_vae_temporal.json").read_text()
    )
    assert shapes(inpaint) == json.loads((handed("reference", "keys") / "keys_osp12_inpaint_1layer.json").read_text())


def test_released_sizes() -> None:
    with torch.device("meta"):
        stdit3, inpaint = STDiT3(STDiT3Config()), InpaintTransformer(InpaintConfig())
        vae = OpenSoraVAE(FrameVAEConfig(), TemporalVAEConfig())
    assert parameters(stdit3) == pytest.approx(1207.6, abs=0.05)
    assert parameters(inpaint) == pytest.approx(2782.6, abs=0.05)
    assert parameters(vae.temporal_vae) == pytest.approx(309.7, abs=0.05)
    assert parameters(vae.spatial_vae) == pytest.approx(83.7, abs=0.05)


@torch.no_grad()
def test_released_sizes_run_at_the_paper_s_resolution() -> None:
    with torch.device("meta"):
        stdit3, inpaint = STDiT3(STDiT3Config(depth=1)), InpaintTransformer(InpaintConfig(num_layers=1))
        vae = CausalVAE(CausalVAEConfig())
        two = torch.ones(2)
        live = torch.ones(2, 15, dtype=torch.bool)
        velocity = stdit3(
            torch.ones(2, 4, 15, 90, 90), two, torch.ones(2, 1, 300, 4096), torch.ones(2, 300), two, 720, 720, live
        )
        noise = inpaint(torch.ones(2, 12, 24, 60, 80), two, torch.ones(2, 1, 512, 4096), torch.ones(2, 512))
        mean, _ = vae.encode(torch.ones(1, 3, 93, 480, 640), Tiling())
        video = vae.decode(mean, Tiling())
    assert velocity.shape == (2, 8, 15, 90, 90)
    assert noise.shape == (2, 4, 24, 60, 80)
    assert mean.shape == (1, 4, 24, 60, 80)
    assert video.shape == (1, 3, 93, 480, 640)


def tiny_stdit3() -> STDiT3:
    torch.manual_seed(0)
    config = STDiT3Config(depth=1, hidden_size=24, num_heads=2, caption_channels=8, model_max_length=4)
    return STDiT3(config).eval()


def test_repeats_of_rotary_frequencies_are_the_only_tensors_left_out() -> None:
    network = tiny_stdit3()
    state = dict(network.state_dict())
    load_released_stdit3(network, state | {"temporal_blocks.0.rope.freqs": state["rope.freqs"].clone()})
    with pytest.raises(ValueError, match=r"temporal_blocks\.0\.rope\.freqs"):
        load_released_stdit3(network, state | {"temporal_blocks.0.rope.freqs": state["rope.freqs"] + 1})
    with pytest.raises(RuntimeError, match="mystery"):
        load_released_stdit3(network, state | {"mystery": torch.ones(1)})
    with pytest.raises(RuntimeError, match=r"final_layer\.linear\.bias"):
        load_released_stdit3(
            network, {name: value for name, value in state.items() if name != "final_layer.linear.bias"}
        )


def test_stdit3_reads_text_only_where_the_mask_keeps_it_and_every_condition() -> None:
    network = tiny_stdit3()
    x, y = torch.randn(1, 4, 3, 4, 4), torch.randn(1, 1, 4, 8)
    keep = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    known = {"x": x, "timestep": torch.tensor([500.0]), "y": y, "mask": keep, "fps": torch.tensor([24.0])}

    def run(**changes: object) -> Tensor:
        with torch.no_grad():
            return network(**({"height": 32, "width": 32} | known | changes))  # type: ignore[arg-type]

    plain = run()
    padding, token = y.clone(), y.clone()
    padding[:, :, 2:] = 9.0
    token[:, :, 0] = 9.0
    assert torch.equal(plain, run(y=padding))
    for change in (
        {"y": token}, {"fps": torch.tensor([8.0])}, {"height": 64}, {"timestep": torch.tensor([100.0])},
        {"x_mask": torch.tensor([[False, True, True]])},
    ):  # fmt: skip
        assert not torch.allclose(plain, run(**change), atol=1e-5), change


@pytest.mark.parametrize("flag", ["qk_norm", "pred_sigma"])
def test_stdit3_config_refuses_variants_nobody_released(flag: str) -> None:
    with pytest.raises(ValueError, match=flag):
        STDiT3Config.from_json({flag: False})
    assert STDiT3Config.from_json({"depth": 3, "patch_size": [1, 2, 2], "class_dropout_prob": 0.1}).depth == 3


@given(frames=st.integers(1, 60))
def test_latent_frames_is_what_the_autoencoder_makes(frames: int) -> None:
    stretches = [17] * (frames // 17) + ([frames % 17] if frames % 17 else [])
    assert latent_frames(frames) == sum(math.ceil(stretch / 4) for stretch in stretches)


@pytest.fixture(scope="module")
def vae() -> OpenSoraVAE:
    torch.manual_seed(0)
    return OpenSoraVAE(
        FrameVAEConfig(block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2),
        TemporalVAEConfig(filters=4, num_res_blocks=1, channel_multipliers=(1, 1, 1, 1), num_groups=2),
    ).eval()


@torch.no_grad()
def test_opensora_vae_works_stretch_by_stretch(vae: OpenSoraVAE) -> None:
    video = torch.rand(1, 3, 35, 16, 16) * 2 - 1
    latents = vae.encode(video)
    assert latents.shape == (1, 4, latent_frames(35), 2, 2)
    torch.testing.assert_close(latents[:, :, 5:10], vae.encode(video[:, :, 17:34]))
    assert vae.decode(latents, 35).shape == video.shape
    one, two = (vae.encode(video, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(one, two)
    assert torch.equal(one, vae.encode(video, torch.Generator().manual_seed(0)))


@torch.no_grad()
def test_sixteen_frames_are_not_seventeen(vae: OpenSoraVAE) -> None:
    video = torch.rand(1, 3, 17, 16, 16) * 2 - 1
    assert not torch.allclose(vae.encode(video)[:, :, 1:], vae.encode(video[:, :, 1:]), atol=1e-3)


def test_opensora_vae_reads_its_released_file(vae: OpenSoraVAE) -> None:
    config = {
        "vae_2d": {"type": "VideoAutoencoderKL", "block_out_channels": [4, 4, 4, 4], "layers_per_block": 1,
                   "norm_num_groups": 2},
        "vae_temporal": {"filters": 4, "num_res_blocks": 1, "channel_multipliers": [1, 1, 1, 1], "num_groups": 2},
        "shift": [0.0, 0.0, 0.0, 0.5],
    }  # fmt: skip
    other = OpenSoraVAE.from_json(config)
    state = vae.state_dict()
    assert {name.split(".")[0] for name in state} == {"spatial_vae", "temporal_vae", "shift", "scale"}
    assert any(name.startswith("spatial_vae.module.encoder.") for name in state)
    other.load_released({name: value for name, value in state.items() if name not in ("shift", "scale")})
    assert other.shift[0, 3] == 0.5
    other.load_released(state)
    assert other.shift[0, 3] == pytest.approx(0.98)
    with pytest.raises(RuntimeError, match=r"temporal_vae\.quant_conv"):
        other.load_released({n: v for n, v in state.items() if not n.startswith("temporal_vae.quant_conv")})


@given(
    steps=st.integers(1, 40), height=st.integers(64, 1280), width=st.integers(64, 1280), stretches=st.integers(1, 12)
)
def test_timesteps_fall_from_pure_noise(steps: int, height: int, width: int, stretches: int) -> None:
    t = transformed_timesteps(steps, height=height, width=width, num_frames=17 * stretches)
    assert t[0] == pytest.approx(1000.0, rel=1e-5)
    assert t[0] <= 1000.0, "a frame to be made must count as live from the first step"
    assert bool((t.diff() < 0).all())
    assert t[-1] > 0


def test_timesteps_need_a_stretch() -> None:
    with pytest.raises(ValueError, match="17"):
        transform_timesteps(torch.tensor([500.0]), 64, 64, 16)


def test_given_frames_never_move_and_guidance_mixes() -> None:
    z, mask = torch.randn(2, 4, 5, 2, 2), torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 1.0]])
    steps = transformed_timesteps(4, height=64, width=64, num_frames=17)
    out = sample(lambda z, t, live: torch.ones_like(z), z, mask, steps, torch.randn_like)
    given_frames = (mask == 0)[:, None, :, None, None].expand_as(z)
    assert torch.equal(out[given_frames], z[given_frames])
    torch.testing.assert_close(out[~given_frames], z[~given_frames] + float(steps[0]) / 1000)
    velocity = guided_velocity(lambda z, t, live: torch.cat([z[:1], 0 * z[1:]]).repeat(1, 2, 1, 1, 1), 7.0)
    torch.testing.assert_close(velocity(z[:1], steps[:1], None), 7.0 * z[:1])


@given(latents=st.integers(1, 6), where=st.data())
def test_mask_fold_moves_planes_and_loses_none(latents: int, where: st.DataObject) -> None:
    frames = 4 * (latents - 1) + 1
    frame = where.draw(st.integers(0, frames - 1))
    folded = fold_mask(given_frames_mask(frames, (frame,), 2, 2))
    assert folded.shape == (1, 4, latents, 2, 2)
    planes = range(4) if frame == 0 else [frame + 3]
    expected = torch.ones(4, latents)
    for plane in planes:
        expected[plane // latents, plane % latents] = 0.0
    assert torch.equal(folded[0, :, :, 0, 0], expected)


def test_mask_fold_needs_whole_latents() -> None:
    with pytest.raises(ValueError, match="8 frames"):
        fold_mask(torch.ones(1, 1, 8, 2, 2))


def test_inpaint_starts_without_knowing_what_is_given() -> None:
    torch.manual_seed(0)
    config = InpaintConfig(
        num_layers=1, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24, caption_channels=8
    )
    network = InpaintTransformer(config).eval()
    x, text = torch.randn(1, 12, 3, 4, 4), torch.randn(1, 5, 8)
    other = torch.cat([x[:, :4], torch.randn(1, 8, 3, 4, 4)], dim=1)
    with torch.no_grad():
        a, b = (network(value, torch.tensor([5]), text, torch.ones(1, 5)) for value in (x, other))
    assert torch.equal(a, b)


def test_inpaint_config_refuses_other_designs() -> None:
    with pytest.raises(ValueError, match="use_rope"):
        InpaintConfig.from_json({"use_rope": False})
    assert InpaintConfig.from_json({"num_layers": 2, "sample_size": [60, 80]}).num_layers == 2


def test_pndm_recovers_the_clean_latents_of_a_perfect_prediction() -> None:
    from diffusers import PNDMScheduler

    clean, calls = torch.full((1, 4, 2, 2, 2), 0.5), []
    alphas = PNDMScheduler().alphas_cumprod

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        calls.append(int(timestep))
        alpha = alphas[int(timestep)]
        return (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    out = denoise(predict, torch.randn(1, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0)), 20)
    assert len(calls) == 20 + 9, "three Runge-Kutta steps cost four calls each"
    torch.testing.assert_close(out, clean, atol=0.05, rtol=0)


def tiny_causal_config(**changes: object) -> CausalVAEConfig:
    return CausalVAEConfig.from_json(
        {"hidden_size": 4, "hidden_size_mult": [1, 1, 1, 1], "num_res_blocks": 1, "norm_groups": 2} | changes
    )


@torch.no_grad()
def test_causal_vae_sees_no_later_frame() -> None:
    torch.manual_seed(0)
    vae = CausalVAE(tiny_causal_config()).eval()
    video = torch.rand(1, 3, 9, 16, 16)
    other = video.clone()
    other[:, :, 5:] = 0.0
    # Group norms see the whole clip, so compare the convolutions alone: take the norms out.
    for module in vae.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x  # type: ignore[method-assign]
    ours, theirs = vae.encode(video)[0], vae.encode(other)[0]
    torch.testing.assert_close(ours[:, :, :2], theirs[:, :, :2])
    assert not torch.allclose(ours[:, :, 2], theirs[:, :, 2])


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("encoder_conv_in", "CausalConv3d"),
        ("decoder_attention", "LinAttnBlock"),
        ("encoder_temporal_downsample", ["", "TimeDownsample2x", "", ""]),
        ("attn_resolutions", [16]),
    ],
)
def test_causal_vae_config_names_what_it_cannot_build(entry: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"(?s)" + (value if isinstance(value, str) else entry)):
        CausalVAE(tiny_causal_config(**{entry: value}))


def test_training_checkpoints_are_unwrapped() -> None:
    weight = torch.ones(1)
    assert unwrapped({"ema_state_dict": {"module.a": weight}, "state_dict": {}}) == {"a": weight}
    assert unwrapped({"ema_state_dict": {}, "state_dict": {"gen_model": {"a": weight}}}) == {"a": weight}
    assert unwrapped({"state_dict": {"a": weight}}) == {"a": weight}
    assert unwrapped({"a": weight}) == {"a": weight}


@pytest.mark.parametrize(("frames", "height", "width"), [(93, 480, 64), (29, 512, 512), (1, 720, 1280), (33, 64, 520)])
def test_tiles_cover_the_video_once(frames: int, height: int, width: int) -> None:
    def shrink(x: Tensor) -> Tensor:
        return x[:, :, ::4, ::8, ::8]

    def grow(z: Tensor) -> Tensor:
        wide = z.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)
        return torch.cat([wide[:, :, :1], wide[:, :, 1:].repeat_interleave(4, dim=2)], dim=2)

    video = torch.zeros(1, 1, frames, height, width)
    video[0, 0] += torch.arange(frames)[:, None, None] + torch.arange(height)[:, None] // 8 + torch.arange(width) // 8
    latents = encoded_in_tiles(shrink, video, Tiling())
    torch.testing.assert_close(latents, shrink(video))
    torch.testing.assert_close(decoded_in_tiles(grow, latents, Tiling()), grow(latents))


def test_tiles_blend_where_they_overlap() -> None:
    levels = iter([0.0, 1.0, 1.0])
    row = in_tiles(lambda x: torch.full_like(x, next(levels)), torch.zeros(1, 1, 1, 4, 12), 5, 8, 0.5, 1.0)[0, 0, 0, 0]
    assert torch.equal(row, torch.tensor([0.0] * 4 + [0.0, 0.25, 0.5, 0.75] + [1.0] * 4))


def test_small_videos_are_not_tiled() -> None:
    seen: list[tuple[int, ...]] = []

    def watch(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    for run, size in ((encoded_in_tiles, (1, 3, 29, 512, 480)), (decoded_in_tiles, (1, 4, 8, 64, 60))):
        run(watch, torch.zeros(size), Tiling())
        run(watch, torch.zeros(size), None)
        assert seen[-2:] == [size, size]


def test_checkpoints_are_data(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="found none"):
        read_checkpoint(tmp_path)
    torch.save({"ema_state_dict": {"module.a": torch.ones(2)}}, tmp_path / "a.ckpt")
    assert torch.equal(read_checkpoint(tmp_path)["ema_state_dict"]["module.a"], torch.ones(2))
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(MissingWeightsError, match=r"a\.ckpt, b\.ckpt"):
        read_checkpoint(tmp_path)
    torch.save({"path": Path("x")}, tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").unlink()
    with pytest.raises(ValueError, match="more than tensors"):
        read_checkpoint(tmp_path)
    save_file({"a": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "model-00002-of-00002.safetensors")
    assert set(read_checkpoint(tmp_path)) == {"a", "b"}


def test_config_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"config\.json"):
        read_released_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        read_released_config(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="list"):
        read_released_config(tmp_path)
