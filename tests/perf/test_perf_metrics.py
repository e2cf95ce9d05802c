"""Speed of the metrics against plain reference loops in the same process.

Networks are compared by arithmetic in the suite, and by CPU time of one thread by hand.
"""

import itertools
import time

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_large

from metrics.flow.raft_streaming import RaftFlow
from metrics.flow.warping import pair_numbers, resize_frames
from metrics.mawe import official_mawe
from metrics.scuts import SceneCuts
from tests.perf.arithmetic import operations

REQUIRED_SPEEDUP = {256: 1.3, 720: 1.45}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model():
    """A raft_large with seeded weights whose flow stays within a few pixels, as a trained one's does."""
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    with torch.no_grad():
        network.update_block.flow_head.conv2.weight.mul_(0.2)
    return network


def panning(num_frames, side):
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 40, 40, generator=draw)
    fine = (
        torch.nn.functional.interpolate(coarse, size=side + 2 * num_frames, mode="bicubic")
        .clamp(0, 1)
        .mul(255)
        .byte()[0]
    )
    return torch.stack([fine[:, i : i + side, 2 * i : 2 * i + side] for i in range(num_frames)])


def reference_flow(model, frames):
    """One call per pair at batch 1, as the released script does it; the last of twelve flows is kept."""
    pictures = (frames.float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        return torch.cat([model(a[None], b[None])[-1] for a, b in itertools.pairwise(pictures)])


def streaming_flow(estimator, frames):
    stream = estimator.stream()
    return torch.cat([pairs.flow for pairs in [*stream.push(frames), *stream.flush()]])


def mawe_of(frames, flow):
    numbers = pair_numbers(frames[:-1], frames[1:], flow)
    return official_mawe(numbers.warp_error.cpu().numpy(), numbers.motion.cpu().numpy(), 9.5)


def test_streaming_raft_does_less_and_the_same(model):
    """Counts a single pair in the middle of a video."""
    frames = panning(3, 256)
    stream = RaftFlow(model).stream()
    assert len(list(stream.push(frames[:2]))) == 1
    ours, theirs = [], []
    less = operations(lambda: ours.extend(stream.push(frames[2:])))
    more = operations(lambda: theirs.append(reference_flow(model, frames[1:])))
    flow, reference = ours[0].flow, theirs[0]
    assert (flow - reference).abs().max() <= 1e-4
    assert mawe_of(frames[1:], flow) == pytest.approx(mawe_of(frames[1:], reference), rel=1e-5)
    assert more / less >= 1.4


@pytest.mark.by_hand
@pytest.mark.parametrize(("side", "pairs"), [(256, 4), (720, 3)])
def test_streaming_raft_is_faster_and_the_same(benchmark, model, side, pairs):
    """Compares single pairs in the middle of a video, turn by turn; the fastest of each side counts."""
    frames = panning(pairs + 1, side)
    stream = RaftFlow(model).stream()
    flows, reference = [pair.flow for pair in stream.push(frames[:2])], [reference_flow(model, frames[:2])]
    seconds, reference_seconds = [], []
    for i in range(1, pairs):
        begin = time.process_time()
        reference.append(reference_flow(model, frames[i : i + 2]))
        middle = time.process_time()
        flows += [pair.flow for pair in stream.push(frames[i + 1 : i + 2])]
        reference_seconds.append(middle - begin)
        seconds.append(time.process_time() - middle)
    ours, theirs = torch.cat(flows), torch.cat(reference)
    speedup = min(reference_seconds) / min(seconds)
    benchmark.extra_info |= {
        "speedup": speedup,
        "largest_flow": float(theirs.abs().max()),
        "flow_difference": float((ours - theirs).abs().max()),
    }
    benchmark.pedantic(lambda: list(stream.push(frames[:1])), rounds=1)
    assert (ours - theirs).abs().max() <= 1e-4
    assert mawe_of(frames, ours) == pytest.approx(mawe_of(frames, theirs), rel=1e-5)
    assert speedup >= REQUIRED_SPEEDUP[side], (reference_seconds, seconds)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("batch", [1, 4, 8])
def test_streaming_raft_on_a_gpu(benchmark, model, batch, monkeypatch):
    monkeypatch.setattr("metrics.flow.raft_streaming._pairs_per_batch", lambda frames: batch)
    frames = panning(17, 720).cuda()
    estimator = RaftFlow(model, device="cuda")
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        reference = reference_flow(model, frames)
    ours = streaming_flow(estimator, frames)

    def timed():
        streaming_flow(estimator, frames)
        torch.cuda.synchronize()

    benchmark.pedantic(timed, rounds=3, warmup_rounds=1)
    benchmark.extra_info["ms_per_pair"] = 1e3 * benchmark.stats.stats.min / 16
    benchmark.extra_info["flow_difference"] = float((ours - reference).abs().max())
    model.cpu()
    assert (ours - reference).abs().max() <= 1e-3
    assert mawe_of(frames, ours) == pytest.approx(mawe_of(frames, reference), rel=1e-4)


@pytest.mark.by_hand  # a rate depends on the core
def test_scuts_keeps_up(benchmark):
    frames = panning(40, 720).permute(0, 2, 3, 1).numpy().copy()

    def detect():
        accumulator = SceneCuts().begin("", 8.0)
        begin = time.process_time()
        accumulator.update(frames)
        return len(frames) / (time.process_time() - begin)

    rates = [detect() for _ in range(3)]
    benchmark.extra_info["frames_per_second_and_core"] = max(rates)
    benchmark.pedantic(detect, rounds=1)
    assert max(rates) >= 350, rates


@pytest.mark.by_hand  # likewise
def test_splat_costs_little_next_to_a_network(benchmark):
    frames = resize_frames(np.random.default_rng(0).integers(0, 256, (2, 720, 720, 3), dtype=np.uint8), 720)
    flow = 3 * torch.randn(1, 2, 720, 720, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(4):
        begin = time.process_time()
        pair_numbers(frames[:1], frames[1:], flow)
        seconds.append(time.process_time() - begin)
    benchmark.pedantic(pair_numbers, args=(frames[:1], frames[1:], flow), rounds=1)
    assert min(seconds) < 0.15, seconds
