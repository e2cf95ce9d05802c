"""OpenSoraPlan 1.2 against outputs of the original networks: inpainting transformer, mask fold, causal autoencoder."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.opensora_plan.transformer import InpaintConfig, InpaintTransformer, fold_mask, given_frames_mask
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig
from tests.parity.goldens import Golden, captured


@pytest.fixture(scope="module")
def inpaint() -> InpaintTransformer:
    golden = Golden("opensoraplan12_inpaint")
    network = InpaintTransformer(InpaintConfig.from_json(golden.constructor)).eval()
    network.load_state_dict(golden.weights())
    assert sum(p.numel() for p in network.parameters()) == golden.config["parameters"]
    return network


def test_inpaint_output_and_intermediates(inpaint: InpaintTransformer) -> None:
    golden = Golden("opensoraplan12_inpaint")
    io = golden.io
    batch, _, frames = io["latents"].shape[:3]
    seen = captured(
        {
            "mid.pos_embed_mask_projected": inpaint.pos_embed_mask[1],
            "mid.pos_embed_masked_video_projected": inpaint.pos_embed_masked_video[1],
            "mid.adaln_single": inpaint.adaln_single,
            "mid.block_0": inpaint.transformer_blocks[0],
        }
    )
    x = torch.cat([io["latents"], io["masked_video_latents"], io["folded_mask"]], dim=1)
    with torch.no_grad():
        seen["out"] = inpaint(x, io["timestep"], io["encoder_hidden_states"], io["encoder_attention_mask"])
    assert len(seen) == 5
    for name, ours in seen.items():
        by_sample = ours.unflatten(0, (batch, frames)).flatten(1, 2) if "projected" in name else ours
        golden.check(name, by_sample)


def test_inpaint_with_first_and_last_frame(inpaint: InpaintTransformer) -> None:
    golden = Golden("opensoraplan12_inpaint")
    io, frames = golden.io, golden.config["video_frames"]
    mask = fold_mask(given_frames_mask(frames, (0, frames - 1), *io["latents"].shape[3:]))
    mask = mask.expand(len(io["latents"]), -1, -1, -1, -1)
    x = torch.cat([io["latents"], io["masked_video_latents"], mask], dim=1)
    with torch.no_grad():
        out = inpaint(x, io["timestep"], io["encoder_hidden_states"], io["encoder_attention_mask"])
    golden.check("out_first_last", out)


def test_mask_fold_is_plane_major() -> None:
    golden = Golden("opensoraplan12_inpaint")
    recorded = load_file(golden.folder / "mask_folding.safetensors")
    frames, (height, width) = golden.config["video_frames"], golden.io["latents"].shape[3:]
    assert torch.equal(fold_mask(recorded["per_frame"]), recorded["per_frame_folded"])
    first = fold_mask(given_frames_mask(frames, (0,), height, width))
    assert torch.equal(first.expand_as(recorded["first_folded"]), recorded["first_folded"])
    assert torch.equal(golden.io["folded_mask"], recorded["first_folded"])
    both = fold_mask(given_frames_mask(frames, (0, frames - 1), height, width))
    assert torch.equal(both.expand_as(recorded["first_last_folded"]), recorded["first_last_folded"])


def causal_vae(golden: Golden, attention: str | None = None) -> CausalVAE:
    groups = int(golden.config["changed"].split("count ")[1].split()[0])
    values = golden.constructor | {"norm_groups": groups}
    if attention is not None:
        values |= {"encoder_attention": attention, "decoder_attention": attention}
    vae = CausalVAE(CausalVAEConfig.from_json(values)).eval()
    vae.load_state_dict(golden.weights())
    assert sum(p.numel() for p in vae.parameters()) == golden.config["parameters"]
    return vae


def test_causal_vae_of_every_length() -> None:
    golden = Golden("opensoraplan12_causal_vae")
    vae = causal_vae(golden)
    lengths = matches(golden.io, r"frames(\d+)\.x$")
    assert lengths
    for frames in lengths:
        with torch.no_grad():
            mean, log_variance = vae.encode(golden.io[f"frames{frames}.x"])
            decoded = vae.decode(golden.io[f"frames{frames}.z"])
        golden.check(f"frames{frames}.mean", mean)
        golden.check(f"frames{frames}.logvar", log_variance)
        golden.check(f"frames{frames}.decoded", decoded)


def test_causal_vae_intermediates() -> None:
    golden = Golden("opensoraplan12_causal_vae")
    vae = causal_vae(golden)
    (frames,) = matches(golden.io, r"frames(\d+)\.mid\.decoder_mid_attention$")
    levels = matches(golden.io, rf"frames{frames}\.mid\.encoder_down_(\d+)$")
    assert levels
    watched = {f"frames{frames}.mid.encoder_down_{level}": vae.encoder.down[level].downsample for level in levels}
    seen = captured(watched | {f"frames{frames}.mid.decoder_mid_attention": vae.decoder.mid.attn_1})
    with torch.no_grad():
        vae.encode(golden.io[f"frames{frames}.x"])
        vae.decode(golden.io[f"frames{frames}.z"])
    assert len(seen) == len(levels) + 1
    for name, ours in seen.items():
        golden.check(name, ours)


def test_causal_vae_with_the_older_attention() -> None:
    golden = Golden("opensoraplan12_causal_vae")
    vae = causal_vae(golden, "AttnBlock3D")
    lengths = matches(golden.io, r"frames(\d+)\.AttnBlock3D\.mean$")
    assert lengths
    for frames in lengths:
        with torch.no_grad():
            golden.check(f"frames{frames}.AttnBlock3D.mean", vae.encode(golden.io[f"frames{frames}.x"])[0])
            golden.check(f"frames{frames}.AttnBlock3D.decoded", vae.decode(golden.io[f"frames{frames}.z"]))


def matches(names: dict[str, Tensor], pattern: str) -> list[int]:
    """Returns the numbers that a pattern finds in names."""
    return sorted({int(match[1]) for match in map(re.compile(pattern).match, names) if match})
