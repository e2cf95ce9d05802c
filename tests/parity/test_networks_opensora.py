"""Open-Sora 1.2 against outputs of the original networks: transformer, temporal autoencoder, sampling loop."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.opensora.rectified_flow import guided_velocity, sample, transform_timesteps, transformed_timesteps
from baselines.opensora.stdit3 import STDiT3, STDiT3Config, load_released_stdit3
from baselines.opensora.vae import TemporalVAE, TemporalVAEConfig
from tests.parity.goldens import Golden, assert_near, captured


@pytest.fixture(scope="module")
def transformer() -> STDiT3:
    golden = Golden("opensora12_stdit3")
    network = STDiT3(STDiT3Config.from_json(golden.constructor)).eval()
    load_released_stdit3(network, golden.weights())
    assert sum(value.numel() for value in network.state_dict().values()) == golden.config["parameters"]
    return network


def run_transformer(network: STDiT3, io: dict[str, Tensor], x_mask: Tensor | None) -> Tensor:
    with torch.no_grad():
        return network(
            io["x"],
            io["timestep"],
            io["y"],
            io["mask"],
            io["fps"],
            float(io["height"][0]),
            float(io["width"][0]),
            x_mask,
        )


def test_stdit3_output_and_intermediates(transformer: STDiT3) -> None:
    golden = Golden("opensora12_stdit3")
    seen = captured(
        {
            "mid.t_embedder": transformer.t_embedder,
            "mid.spatial_block_0": transformer.spatial_blocks[0],
            "mid.temporal_block_0": transformer.temporal_blocks[0],
        }
    )
    seen["out"] = run_transformer(transformer, golden.io, None)
    for name, ours in seen.items():
        golden.check(name, ours)


def test_stdit3_with_given_frames(transformer: STDiT3) -> None:
    golden = Golden("opensora12_stdit3")
    live = golden.io["x_mask"]
    ours = run_transformer(transformer, golden.io, live).transpose(1, 2)[live]
    assert_near(ours, golden.io["out_x_mask"].transpose(1, 2)[live], golden.limit)


def test_temporal_vae_of_every_length() -> None:
    golden = Golden("opensora12_vae_temporal")
    vae = TemporalVAE(TemporalVAEConfig.from_json(golden.constructor)).eval()
    vae.load_state_dict(golden.weights())
    assert sum(p.numel() for p in vae.parameters()) == golden.config["parameters"]
    lengths = sorted({int(match[1]) for match in map(re.compile(r"frames(\d+)\.x$").match, golden.io) if match})
    assert lengths
    for frames in lengths:
        with torch.no_grad():
            mean, log_variance = vae.encode(golden.io[f"frames{frames}.x"])
            decoded = vae.decode(golden.io[f"frames{frames}.z"], frames)
        golden.check(f"frames{frames}.mean", mean)
        golden.check(f"frames{frames}.logvar", log_variance)
        golden.check(f"frames{frames}.decoded", decoded)


def test_timestep_transform() -> None:
    golden = Golden("opensora12_rflow_loop", travels=True)
    recorded = load_file(golden.folder / "timestep_transform.safetensors")
    sizes = [name.removeprefix("transform_") for name in recorded if name.startswith("transform_")]
    assert sizes
    for size in sizes:
        height, width, frames = map(int, size.split("x"))
        ours = transform_timesteps(recorded["t"], height, width, frames)
        assert_near(ours, recorded[f"transform_{size}"], golden.limit, size)


def toy_network(io: dict[str, Tensor], seen: list[tuple[Tensor, Tensor, Tensor | None]]):
    """The network written in words in the golden folder's config.json."""
    text = torch.cat([io["y_cond"], io["y_null"]]).mean(dim=(1, 2, 3))[:, None, None, None, None]

    def network(z: Tensor, t: Tensor, live: Tensor | None) -> Tensor:
        half = z.shape[0] // 2
        seen.append((z[:half], t[:half], None if live is None else live[:half]))
        flags = torch.ones(z.shape[0], z.shape[2]) if live is None else live.float()
        wave = torch.cos(t / 400)[:, None, None, None, None]
        v = torch.tanh(0.6 * z + 3 * text) * wave - 0.3 * z * flags[:, None, :, None, None]
        v = v + 0.5 * z.mean(dim=2, keepdim=True)
        return torch.cat([v, torch.full_like(v, 7.0)], dim=1)

    return network


def schedule(golden: Golden) -> Tensor:
    config = golden.config
    return transformed_timesteps(
        golden.constructor["num_sampling_steps"],
        height=config["height"], width=config["width"], num_frames=config["num_frames"],
    )  # fmt: skip


def test_masked_rectified_flow() -> None:
    golden = Golden("opensora12_rflow_loop", travels=True)
    io = golden.io
    noises = iter(io["step_noise"])
    seen: list = []
    velocity = guided_velocity(toy_network(io, seen), golden.constructor["cfg_scale"])
    result = sample(velocity, io["z"], io["mask"], schedule(golden), lambda _z: next(noises))
    golden.check("result", result)
    golden.check("timesteps", torch.stack([t for _, t, _ in seen]))
    golden.check("z_in", torch.stack([z for z, _, _ in seen]))
    assert torch.equal(torch.stack([live for _, _, live in seen]).float(), io["x_mask"])
    assert next(noises, None) is None, "one full draw per step, also where no frame needs it"


def test_rectified_flow_without_mask() -> None:
    golden = Golden("opensora12_rflow_loop", travels=True)
    io = golden.io
    velocity = guided_velocity(toy_network(io, []), golden.constructor["cfg_scale"])
    golden.check("result_no_mask", sample(velocity, io["z"], None, schedule(golden), torch.randn_like))
