from __future__ import annotations

import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from bench.cost import MEGABYTE, Meter
from bench.progress import Estimate
from bench.provenance import provenance


def counted(run: object) -> float:
    with Meter(warm=True, flops=True) as meter, torch.no_grad(), meter.chunk(1):
        run()  # type: ignore[operator]
    figure = meter.cost(0.0)["gflops_per_frame"]
    assert figure is not None
    return figure * 1e9


def test_fused_attention_is_counted() -> None:
    query = torch.randn(1, 4, 64, 16)
    flops = counted(lambda: nn.functional.scaled_dot_product_attention(query, query, query))
    assert flops == pytest.approx(2 * 2 * 4 * 64 * 64 * 16)


@pytest.mark.parametrize("train", [True, False])
def test_the_fast_path_of_attention_layers_is_counted(train: bool) -> None:
    layer = nn.MultiheadAttention(64, 4, batch_first=True).train(train)
    tokens = torch.randn(2, 32, 64)
    flops = counted(lambda: layer(tokens, tokens, tokens, need_weights=False))
    assert flops == pytest.approx(2 * 2 * 32 * 64 * 64 * 4 + 2 * 2 * 2 * 32 * 32 * 64)


def test_counting_does_not_change_a_bit() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 3, 3)).eval()
    layer = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    image, tokens = torch.randn(2, 3, 16, 16), torch.randn(2, 32, 64)
    with torch.no_grad():
        plain = network(image), layer(tokens, tokens, tokens)[0]
        with Meter(warm=True, flops=True) as meter, meter.chunk(1):
            watched = network(image), layer(tokens, tokens, tokens)[0]
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_time_per_frame_leaves_out_the_first_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("bench.cost.time", SimpleNamespace(perf_counter=lambda: now[0]))
    with Meter(warm=False) as meter:
        for seconds in (8.0, 1.0, 2.0):
            with meter.chunk() as length:
                now[0] += seconds
                length.append(2)
            now[0] += 64.0  # what is between two chunks is not the method's
        with meter.chunk():
            now[0] += 16.0  # the method looks for a further chunk and has none
    cost = meter.cost(metric_seconds=3.0)
    assert (cost["seconds_to_first_chunk"], cost["seconds_per_frame"], cost["generation_seconds"]) == (8.0, 0.75, 11.0)
    assert (cost["metric_seconds"], cost["cold"], cost["peak_gpu_mb"]) == (3.0, 1.0, None)
    assert cost["peak_rss_mb"] is not None
    assert cost["gflops_per_frame"] is None


def test_resident_memory_of_the_cell_is_seen() -> None:
    before = psutil.Process().memory_info().rss / MEGABYTE
    deadline = time.monotonic() + 60
    with Meter(warm=True) as meter:
        block = bytearray(200_000_000)
        while (meter.cost(0.0)["peak_rss_mb"] or 0.0) < before + 150 and time.monotonic() < deadline:
            time.sleep(0.01)
        del block
    peak = meter.cost(0.0)["peak_rss_mb"]
    assert peak is not None
    assert before + 150 < peak < before + 1000


def test_time_left_knows_slow_and_fast_methods() -> None:
    estimate = Estimate({"still": 2, "svd": 4}, workers=2)
    estimate.took("still", 1.0)
    estimate.took("svd", 60.0)
    assert estimate.seconds_left() == pytest.approx((1 + 3 * 60) / 2)
    assert estimate.mean() == pytest.approx(30.5)


def test_provenance_names_versions() -> None:
    facts = provenance()
    assert (
        facts["packages"]["torch"] == torch.__version__.split("+")[0] or facts["packages"]["torch"] == torch.__version__
    )
    assert facts["packages"]["numpy"]
