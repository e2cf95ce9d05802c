"""Dynamic degree: VBench's arithmetic on given flow and decisions, and RAFT with 20 updates end to end."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_large

from metrics.decoding import probe, read_frames
from metrics.dynamic_degree import (
    RAFT_UPDATES,
    DynamicDegree,
    _SampledFlow,
    decision,
    is_static,
    padded,
    sampling_step,
    threshold,
    top_mean,
)
from metrics.flow.raft_streaming import RaftFlow
from metrics.static_filter import LoadedStaticPairs, stands_still
from tests.conftest import golden
from tests.parity.quality_networks import NETWORKS

SAMPLING = json.loads(golden("quality", "sampling.json", travels=False).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected():
    with np.load(golden("quality", "dynamic.npz", travels=False)) as file:
        return {key: file[key] for key in file.files}


GIVEN = ["flicker", "hard_cut", "letterbox", "near_static", "occluder", "rotate", "static", "static_tinyflow"]
GIVEN += ["translate", "zoom"]


@pytest.mark.parametrize("clip", GIVEN)
def test_scores_of_given_flow(expected, clip):
    with np.load(golden("metrics", "mawe", f"{clip}.npz")) as file:
        flows = torch.from_numpy(file["flow"].astype(np.float32))
    top5, top2 = ([top_mean(flow, share) for flow in flows] for share in (0.05, 0.02))
    np.testing.assert_allclose(top5, expected[f"given__{clip}__top5"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(top2, expected[f"given__{clip}__top2"], rtol=1e-6, atol=1e-9)
    height, width = flows.shape[-2:]
    for every in (1, 3):
        limit, needed = expected[f"given__{clip}__every{every}__threshold_count"]
        taken = top5[::every]
        assert threshold(height, width) == pytest.approx(limit)
        assert round(4 * (len(taken) + 1) / 16) == needed
        answer = decision(taken, len(taken) + 1, threshold(height, width))
        assert answer == bool(expected[f"given__{clip}__every{every}__decision"])
    static = is_static(top2, (0.0, 0.0), len(top2) + 1, threshold(height, width, 3))
    assert static == bool(expected[f"given__{clip}__static_without_wrap_pairs"])


def test_sampling_thresholds_and_decisions():
    assert [sampling_step(fps) for fps, _ in SAMPLING["dynamic_interval"]] == [
        s for _, s in SAMPLING["dynamic_interval"]
    ]
    for frames, (height, width), dynamic, count, static, static_count in SAMPLING["thresholds_counts"]:
        assert threshold(height, width) == pytest.approx(dynamic)
        assert threshold(height, width, 3) == pytest.approx(static)
        assert round(4 * frames / 16) == count
        assert round(2 * frames / 16) == static_count
    for scores, frames, answer in SAMPLING["dynamic_decisions_256"]:
        tops = [float("nan") if score is None else score for score in scores]
        assert decision(tops, frames, threshold(256, 256)) == answer


@pytest.fixture(scope="module")
def network():
    spec = importlib.util.spec_from_file_location("raft_fill", golden("metrics", "raft_fill.py"))
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    model = raft_large(weights=None)
    rule.fill(model, NETWORKS["raft"]["seed"])
    total = sum(float(t.double().abs().sum()) for t in model.state_dict().values() if t.is_floating_point())
    assert total == pytest.approx(NETWORKS["raft"]["weights_abs_sum"], rel=1e-9)
    return RaftFlow(model, updates=RAFT_UPDATES)


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["letterbox", "rotate", "translate"])
def test_raft_end_to_end(expected, network, clip):
    path = golden("metrics", "clips", f"{clip}.mkv")
    accumulator = _SampledFlow(DynamicDegree(), network, sampling_step(probe(path).fps))
    for frames in read_frames(path, chunk=5):
        accumulator.update(frames)
    score = accumulator.compute()
    np.testing.assert_allclose(score.series["top5"], expected[f"raft__{clip}__top5"], rtol=1e-4)
    assert score.parts["dynamic"] == bool(expected[f"raft__{clip}__decision"])
    limit, _ = expected[f"raft__{clip}__threshold_count"]
    assert score.parts["threshold"] == pytest.approx(limit)
    assert score.value == pytest.approx(np.mean(score.series["top5"]) / limit)


@pytest.mark.slow
def test_flow_of_the_first_pair(expected, network):
    for clip in ("letterbox", "translate"):
        path = golden("metrics", "clips", f"{clip}.mkv")
        frames = np.concatenate(list(read_frames(path)))[:: sampling_step(probe(path).fps)][:2]
        pixels = padded(torch.from_numpy(frames).permute(0, 3, 1, 2))
        assert tuple(pixels.shape[-2:]) == tuple(expected[f"raft__{clip}__padded_hw"])
        stream = network.stream()
        pairs = [*stream.push(pixels), *stream.flush()]
        np.testing.assert_allclose(pairs[0].flow[0], expected[f"raft__{clip}__flow_pair0"], atol=1e-3)


@pytest.mark.slow
def test_the_static_filter_through_the_network(expected, network):
    """Its last two pairs go from the first frame to the last one, and back."""
    path = golden("metrics", "clips", "rotate.mkv")
    frames = np.concatenate(list(read_frames(path)))
    pass_ = LoadedStaticPairs(network, "cpu").begin("")
    for start in range(0, len(frames), 7):
        pass_.update(frames[start : start + 7])
    arrays = pass_.arrays()
    tops = np.concatenate([arrays["pairs"], arrays["wrap"]])
    np.testing.assert_allclose(tops, expected["raft__rotate__static_filter_top2"], rtol=1e-4)
    assert stands_still(arrays) == bool(expected["raft__rotate__static"])


def test_frames_too_small_for_the_network_are_undefined_and_not_static(network):
    accumulator = _SampledFlow(DynamicDegree(), network, 1)
    accumulator.update(np.zeros((4, 96, 144, 3), np.uint8))
    score = accumulator.compute()
    assert score.value is None
    assert "too small" in score.reason
    assert "dynamic" not in score.parts


def test_one_sampled_frame_has_no_motion(network):
    accumulator = _SampledFlow(DynamicDegree(), network, 4)
    accumulator.update(np.zeros((3, 128, 128, 3), np.uint8))
    score = accumulator.compute()
    assert score.value is None
    assert "only 1 frame" in score.reason


def test_borders_are_repeated_on_both_sides():
    frames = torch.arange(3 * 5 * 6, dtype=torch.uint8).view(1, 3, 5, 6)
    wide = padded(frames)
    assert tuple(wide.shape) == (1, 3, 8, 8)
    assert torch.equal(wide[..., 1:6, 1:7], frames)
    assert torch.equal(wide[..., 0, 1:7], frames[..., 0, :])


def test_the_wraps_are_not_among_the_pairs_that_may_move():
    """Of 16 frames two pairs may move, and a wrap may be four times the threshold long."""
    assert is_static([0.0] * 13 + [4.0, 4.0], (4.0, 4.0), 16, 3.0)
    assert not is_static([0.0] * 12 + [4.0, 4.0, 4.0], (0.0, 0.0), 16, 3.0)
    assert not is_static([0.0] * 15, (12.5, 0.0), 16, 3.0)
