"""OpenSoraPlan 1.2 against outputs of the original networks: inpainting transformer, mask fold, causal autoencoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.opensora_plan.transformer import InpaintConfig, InpaintTransformer, fold_mask, given_frames_mask
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "baselines"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="golden data of the baseline networks is not beside the repository"
)


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    error = float((ours - theirs).norm() / theirs.norm())
    assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.0e}"


def read(folder: str) -> tuple[dict, dict[str, Tensor], float]:
    config = json.loads((GOLDEN / folder / "config.json").read_text())
    return config, load_file(GOLDEN / folder / "io.safetensors"), config["tolerance"]["rel_l2"]


@pytest.fixture(scope="module")
def inpaint() -> InpaintTransformer:
    config, _, _ = read("opensoraplan12_inpaint")
    network = InpaintTransformer(InpaintConfig.from_json(config["constructor"])).eval()
    network.load_state_dict(load_file(GOLDEN / "opensoraplan12_inpaint" / "weights.safetensors"))
    assert sum(p.numel() for p in network.parameters()) == config["parameters"]
    return network


def test_inpaint_output_and_intermediates(inpaint: InpaintTransformer) -> None:
    _, io, tolerance = read("opensoraplan12_inpaint")
    seen: dict[str, Tensor] = {}
    batch, _, frames = io["latents"].shape[:3]

    def by_sample(x: Tensor) -> Tensor:
        return x.unflatten(0, (batch, frames)).flatten(1, 2)

    watched = {
        "mid.pos_embed_mask_projected": (inpaint.pos_embed_mask[1], by_sample),
        "mid.pos_embed_masked_video_projected": (inpaint.pos_embed_masked_video[1], by_sample),
        "mid.adaln_single": (inpaint.adaln_single, lambda out: out[0]),
        "mid.block_0": (inpaint.transformer_blocks[0], lambda out: out),
    }
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name, pick=pick: seen.update({name: pick(out)}))
        for name, (module, pick) in watched.items()
    ]
    x = torch.cat([io["latents"], io["masked_video_latents"], io["folded_mask"]], dim=1)
    with torch.no_grad():
        seen["out"] = inpaint(x, io["timestep"], io["encoder_hidden_states"], io["encoder_attention_mask"])
    for hook in hooks:
        hook.remove()
    assert len(seen) == 5
    for name, value in seen.items():
        assert_near(value, io[name], tolerance)


def test_inpaint_with_first_and_last_frame(inpaint: InpaintTransformer) -> None:
    config, io, tolerance = read("opensoraplan12_inpaint")
    frames, (height, width) = config["video_frames"], io["latents"].shape[3:]
    mask = fold_mask(given_frames_mask(frames, (0, frames - 1), height, width)).expand(2, -1, -1, -1, -1)
    x = torch.cat([io["latents"], io["masked_video_latents"], mask], dim=1)
    with torch.no_grad():
        out = inpaint(x, io["timestep"], io["encoder_hidden_states"], io["encoder_attention_mask"])
    assert_near(out, io["out_first_last"], tolerance)


def test_mask_fold_is_plane_major() -> None:
    config, io, _ = read("opensoraplan12_inpaint")
    golden = load_file(GOLDEN / "opensoraplan12_inpaint" / "mask_folding.safetensors")
    frames, (height, width) = config["video_frames"], io["latents"].shape[3:]
    assert torch.equal(fold_mask(golden["per_frame"]), golden["per_frame_folded"])
    first = fold_mask(given_frames_mask(frames, (0,), height, width))
    assert torch.equal(first.expand_as(golden["first_folded"]), golden["first_folded"])
    assert torch.equal(io["folded_mask"], golden["first_folded"])
    both = fold_mask(given_frames_mask(frames, (0, frames - 1), height, width))
    assert torch.equal(both.expand_as(golden["first_last_folded"]), golden["first_last_folded"])


def causal_vae(attention: str | None = None) -> CausalVAE:
    config, _, _ = read("opensoraplan12_causal_vae")
    groups = int(config["changed"].split("count ")[1].split()[0])
    values = config["constructor"] | {"norm_groups": groups}
    if attention is not None:
        values |= {"encoder_attention": attention, "decoder_attention": attention}
    vae = CausalVAE(CausalVAEConfig.from_json(values)).eval()
    vae.load_state_dict(load_file(GOLDEN / "opensoraplan12_causal_vae" / "weights.safetensors"))
    assert sum(p.numel() for p in vae.parameters()) == config["parameters"]
    return vae


@pytest.mark.parametrize("frames", [9, 5, 1])
def test_causal_vae(frames: int) -> None:
    _, io, tolerance = read("opensoraplan12_causal_vae")
    vae = causal_vae()
    with torch.no_grad():
        mean, log_variance = vae.encode(io[f"frames{frames}.x"])
        decoded = vae.decode(io[f"frames{frames}.z"])
    assert_near(mean, io[f"frames{frames}.mean"], tolerance)
    assert_near(log_variance, io[f"frames{frames}.logvar"], tolerance)
    assert_near(decoded, io[f"frames{frames}.decoded"], tolerance)


def test_causal_vae_intermediates() -> None:
    _, io, tolerance = read("opensoraplan12_causal_vae")
    vae = causal_vae()
    seen: dict[str, Tensor] = {}
    watched = {
        "frames9.mid.encoder_down_1": vae.encoder.down[1].downsample,
        "frames9.mid.decoder_mid_attention": vae.decoder.mid.attn_1,
    }
    for name, module in watched.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        vae.encode(io["frames9.x"])
        vae.decode(io["frames9.z"])
    assert seen.keys() == watched.keys()
    for name, value in seen.items():
        assert_near(value, io[name], tolerance)


def test_causal_vae_with_the_older_attention() -> None:
    _, io, tolerance = read("opensoraplan12_causal_vae")
    vae = causal_vae("AttnBlock3D")
    with torch.no_grad():
        assert_near(vae.encode(io["frames9.x"])[0], io["frames9.AttnBlock3D.mean"], tolerance)
        assert_near(vae.decode(io["frames9.z"]), io["frames9.AttnBlock3D.decoded"], tolerance)
