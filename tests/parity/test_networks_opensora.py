"""Open-Sora 1.2 against outputs of the original networks: transformer, temporal autoencoder, sampling loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.opensora.rectified_flow import guided_velocity, sample, transform_timesteps, transformed_timesteps
from baselines.opensora.stdit3 import STDiT3, STDiT3Config, load_released_stdit3
from baselines.opensora.vae import TemporalVAE, TemporalVAEConfig

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "baselines"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="golden data of the baseline networks is not beside the repository"
)


def read(folder: str) -> tuple[dict, dict[str, Tensor], float]:
    config = json.loads((GOLDEN / folder / "config.json").read_text())
    return config, load_file(GOLDEN / folder / "io.safetensors"), config["tolerance"]["rel_l2"]


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    error = float((ours - theirs).norm() / theirs.norm())
    assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.0e}"


@pytest.fixture(scope="module")
def transformer() -> STDiT3:
    config = json.loads((GOLDEN / "opensora12_stdit3" / "config.json").read_text())
    network = STDiT3(STDiT3Config.from_json(config["constructor"])).eval()
    load_released_stdit3(network, load_file(GOLDEN / "opensora12_stdit3" / "weights.safetensors"))
    assert sum(value.numel() for value in network.state_dict().values()) == config["parameters"]
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
    _, io, tolerance = read("opensora12_stdit3")
    seen: dict[str, Tensor] = {}
    modules = {
        "mid.t_embedder": transformer.t_embedder,
        "mid.spatial_block_0": transformer.spatial_blocks[0],
        "mid.temporal_block_0": transformer.temporal_blocks[0],
    }
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, module in modules.items()
    ]
    out = run_transformer(transformer, io, None)
    for hook in hooks:
        hook.remove()
    for name, value in (seen | {"out": out}).items():
        assert_near(value, io[name], tolerance)


def test_stdit3_with_given_frames(transformer: STDiT3) -> None:
    _, io, tolerance = read("opensora12_stdit3")
    live = io["x_mask"]
    ours = run_transformer(transformer, io, live).transpose(1, 2)[live]
    assert_near(ours, io["out_x_mask"].transpose(1, 2)[live], tolerance)


@pytest.mark.parametrize("frames", [17, 16, 1])
def test_temporal_vae(frames: int) -> None:
    config, io, tolerance = read("opensora12_vae_temporal")
    vae = TemporalVAE(TemporalVAEConfig.from_json(config["constructor"])).eval()
    vae.load_state_dict(load_file(GOLDEN / "opensora12_vae_temporal" / "weights.safetensors"))
    assert sum(p.numel() for p in vae.parameters()) == config["parameters"]
    with torch.no_grad():
        mean, log_variance = vae.encode(io[f"frames{frames}.x"])
        decoded = vae.decode(io[f"frames{frames}.z"], frames)
    assert_near(mean, io[f"frames{frames}.mean"], tolerance)
    assert_near(log_variance, io[f"frames{frames}.logvar"], tolerance)
    assert_near(decoded, io[f"frames{frames}.decoded"], tolerance)


@pytest.mark.parametrize("size", ["720x720x51", "240x426x1", "512x512x204", "480x640x102"])
def test_timestep_transform(size: str) -> None:
    _, _, tolerance = read("opensora12_rflow_loop")
    golden = load_file(GOLDEN / "opensora12_rflow_loop" / "timestep_transform.safetensors")
    height, width, frames = map(int, size.split("x"))
    assert_near(transform_timesteps(golden["t"], height, width, frames), golden[f"transform_{size}"], tolerance)


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


def test_masked_rectified_flow() -> None:
    config, io, tolerance = read("opensora12_rflow_loop")
    constructor = config["constructor"]
    steps = transformed_timesteps(
        constructor["num_sampling_steps"],
        height=config["height"],
        width=config["width"],
        num_frames=config["num_frames"],
    )
    noises = iter(io["step_noise"])
    seen: list = []
    velocity = guided_velocity(toy_network(io, seen), constructor["cfg_scale"])
    result = sample(velocity, io["z"], io["mask"], steps, lambda _z: next(noises))
    assert_near(result, io["result"], tolerance)
    assert_near(torch.stack([t for _, t, _ in seen]), io["timesteps"], tolerance)
    assert_near(torch.stack([z for z, _, _ in seen]), io["z_in"], tolerance)
    assert torch.equal(torch.stack([live for _, _, live in seen]).float(), io["x_mask"])
    assert next(noises, None) is None, "one full draw per step, also where no frame needs it"


def test_rectified_flow_without_mask() -> None:
    config, io, tolerance = read("opensora12_rflow_loop")
    steps = transformed_timesteps(6, height=config["height"], width=config["width"], num_frames=config["num_frames"])
    velocity = guided_velocity(toy_network(io, []), config["constructor"]["cfg_scale"])
    assert_near(sample(velocity, io["z"], None, steps, torch.randn_like), io["result_no_mask"], tolerance)
