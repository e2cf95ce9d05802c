"""Flow estimators: the streaming RAFT is torchvision's, weights are checked, errors say what to do."""

import hashlib
import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_small

from metrics.errors import SettingError, WeightsError
from metrics.flow import weights as flow_weights
from metrics.flow.estimators import load_estimator, weights_identity
from metrics.flow.raft import RAFT_MINI, RaftConfigError, build_raft, load_raft, save_raft
from metrics.flow.raft_streaming import RaftFlow, StreamingRaft
from metrics.flow.warping import resize_frames

PRECISIONS_TRIED = ("float32", "bfloat16")
PLAIN = {**RAFT_MINI, "mask_hidden": None, "gru_kernels": [[3, 3]], "gru_paddings": [[1, 1]], "context_norm": "none"}


def moving(num_frames, side, seed=0, step=(2, 1)):
    """A smooth texture that moves `step` pixels (x, y) a frame."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, side // 4, side // 4, generator=draw)
    margin = 4 * num_frames * max(step)
    fine = torch.nn.functional.interpolate(coarse, size=side + margin, mode="bicubic", align_corners=False)
    picture = fine.clamp(0, 1).mul(255).byte()[0].permute(1, 2, 0).numpy()
    starts = [((num_frames - i) * step[0], (num_frames - i) * step[1]) for i in range(num_frames)]
    return np.stack([picture[y : y + side, x : x + side] for x, y in starts])


def flow_of(estimator, frames):
    stream = estimator.stream()
    return torch.cat([pairs.flow for pairs in [*stream.push(frames), *stream.flush()]])


def seeded(build):
    torch.manual_seed(0)
    return build().eval()


@pytest.mark.parametrize(
    "build",
    [lambda: build_raft(RAFT_MINI), lambda: build_raft(PLAIN), lambda: raft_small(weights=None)],
    ids=["mini", "one GRU, no mask", "raft_small"],
)
def test_streaming_gives_torchvisions_flow(build):
    model = seeded(build)
    frames = resize_frames(moving(3, 128), 0)
    pictures = frames.float() / 127.5 - 1
    with torch.inference_mode():
        expected = model(pictures[:-1], pictures[1:])[-1]
    difference = (flow_of(RaftFlow(model), frames) - expected).abs().max()
    assert difference < 1e-4 * max(1.0, float(expected.abs().max()))


def test_half_precision_is_the_networks_alone():
    model = seeded(lambda: build_raft(RAFT_MINI))
    network = StreamingRaft(model, updates=1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = network.encode(torch.rand(2, 3, 64, 64))
        network._correlate(features[:1], features[1:])
    assert features.dtype == torch.bfloat16
    assert {level.dtype for level in model.corr_block.corr_pyramid} == {torch.float32}
    stream = RaftFlow(model, precision="bfloat16").stream()
    for _ in [*stream.push(resize_frames(moving(2, 64), 0))]:
        pass
    for pairs in stream.flush():
        assert not torch.is_autocast_enabled("cpu")
        assert not torch.is_inference_mode_enabled()
        assert pairs.flow.dtype == torch.float32


@pytest.mark.parametrize("cuts", [(), (1, 2), (9,), (3, 10, 11)])
def test_neither_cuts_nor_the_end_of_a_video_change_the_flow_of_a_pair(cuts):
    estimator = RaftFlow(seeded(lambda: build_raft(RAFT_MINI)), updates=2)
    frames = resize_frames(moving(19, 64), 0)
    whole = flow_of(estimator, frames)
    stream = estimator.stream()
    pieces = [pairs for part in torch.tensor_split(frames[:13], cuts) for pairs in stream.push(part)]
    pieces += stream.flush()
    assert torch.equal(torch.cat([pairs.flow for pairs in pieces]), whole[:12])
    assert torch.equal(torch.cat([pairs.right for pairs in pieces]), frames[1:13])


def test_a_video_of_one_frame_has_no_pairs():
    estimator = RaftFlow(seeded(lambda: build_raft(RAFT_MINI)))
    stream = estimator.stream()
    assert [*stream.push(resize_frames(moving(1, 64), 0)), *stream.flush()] == []
    assert list(estimator.stream().flush()) == []


def test_the_folder_says_how_often_the_flow_is_updated(tmp_path):
    model = seeded(lambda: build_raft(RAFT_MINI))
    frames = resize_frames(moving(2, 64), 0)
    identities, flows = [], []
    for updates in (1, 2):
        save_raft(model, {**RAFT_MINI, "updates": updates}, tmp_path)
        identities.append(weights_identity("mini", str(tmp_path)))
        flows.append(flow_of(load_estimator("mini", str(tmp_path)), frames))
    assert identities[0] != identities[1]
    expected = flow_of(RaftFlow(load_raft(tmp_path)[0], updates=2), frames)
    assert torch.equal(flows[1], expected)
    assert not torch.equal(flows[0], expected)


def test_running_out_of_memory_halves_the_batch_and_changes_nothing(monkeypatch):
    model = seeded(lambda: build_raft(RAFT_MINI))
    frames = resize_frames(moving(7, 64), 0)
    expected = flow_of(RaftFlow(model), frames)
    monkeypatch.setattr("metrics.flow.raft_streaming._pairs_per_batch", lambda frames: 6)
    plain = StreamingRaft.flow

    def tight(self, pictures, *rest):
        if len(pictures) > 2:
            raise torch.OutOfMemoryError("no memory")
        return plain(self, pictures, *rest)

    monkeypatch.setattr(StreamingRaft, "flow", tight)
    torch.testing.assert_close(flow_of(RaftFlow(model), frames), expected, atol=1e-4, rtol=0)


def test_half_precision_is_an_option_that_stays_close():
    frames = resize_frames(moving(2, 64), 0)
    full, half = (
        flow_of(RaftFlow(seeded(lambda: build_raft(RAFT_MINI)), precision=p), frames) for p in PRECISIONS_TRIED
    )
    assert half.dtype == torch.float32
    assert 0 < float((full - half).abs().max()) < 0.1  # 0.04 measured


def test_dis_finds_a_translation():
    flow = flow_of(load_estimator("dis"), resize_frames(moving(3, 128), 0))
    assert np.allclose(flow[:, :, 16:-16, 16:-16].median(dim=-1).values.median(dim=-1).values, [2, 1], atol=0.1)


def test_sizes_raft_cannot_take_are_named():
    estimator = RaftFlow(seeded(lambda: build_raft(RAFT_MINI)))
    with pytest.raises(SettingError, match="at least 64 pixels, not 48 x 48"):
        flow_of(estimator, torch.zeros(2, 3, 48, 48, dtype=torch.uint8))


def test_a_mini_folder_round_trips_through_half_precision(tmp_path):
    model = seeded(lambda: build_raft(RAFT_MINI))
    save_raft(model, RAFT_MINI, tmp_path)
    loaded, _ = load_raft(tmp_path)
    for name, tensor in model.state_dict().items():
        stored = tensor.half().float() if tensor.is_floating_point() else tensor
        torch.testing.assert_close(loaded.state_dict()[name], stored, rtol=0, atol=0)
    estimator = load_estimator("mini", str(tmp_path))
    assert estimator.weights_sha256 == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 100}, "must exceed hidden"),
        ({"feature_norm": "layer"}, "'instance', 'batch' or 'none'"),
        ({"feature_layers": [1, 2]}, "five widths"),
        ({"colour": 1}, "unknown"),
        ({"updates": 0}, "whole number of at least 1"),
    ],
)
def test_wrong_configurations_are_named(change, message):
    with pytest.raises(RaftConfigError, match=message):
        build_raft({**RAFT_MINI, **change})


def test_a_folder_whose_weights_are_another_networks_is_refused(tmp_path):
    save_raft(build_raft(RAFT_MINI), RAFT_MINI, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**RAFT_MINI, "flow_head_hidden": 8}))
    with pytest.raises(WeightsError, match=r"do not fit its config\.json"):
        load_estimator("mini", str(tmp_path))


@pytest.mark.parametrize(
    ("flow", "weights", "message"),
    [
        ("mini", "", "needs `flow_weights`"),
        ("mini", "no-such-folder", r"no config\.json in no-such-folder"),
        ("raft_large", "no-such-file.pth", r"no-such-file.*raft_large_C_T_SKHT_V2-ff5fadd5\.pth \(20\.1 MB"),
        ("ptlflow:rapidflow", "", "extra"),
    ],
)
def test_missing_weights_say_what_to_do(flow, weights, message):
    with pytest.raises(WeightsError, match=message):
        load_estimator(flow, weights)


def test_absent_weights_are_named_and_never_downloaded(monkeypatch, tmp_path):
    def download(*args, **kwargs):
        pytest.fail("a metric reached for the network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(WeightsError) as caught:
        load_estimator("raft_large")
    file = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"
    for part in (file, "MB", "starting ff5fadd5", str(tmp_path / "checkpoints"), "bench fetch mawe"):
        assert part in str(caught.value)


def test_a_released_file_is_checked_by_hash_and_read_as_data(monkeypatch, tmp_path):
    path = tmp_path / "small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    with pytest.raises(WeightsError, match="is not the released file"):
        load_estimator("raft_small", str(path))
    release = flow_weights.released("raft_small")
    monkeypatch.setattr(
        flow_weights, "released", lambda network: replace(release, sha256_start=flow_weights.sha256_of(path)[:8])
    )
    assert load_estimator("raft_small", str(path)).weights_sha256 == flow_weights.sha256_of(path)


def test_unknown_estimators_and_precisions_are_named():
    with pytest.raises(SettingError, match="raft_large, raft_small, mini, dis, ptlflow:NAME"):
        load_estimator("farneback")
    with pytest.raises(SettingError, match="float32, tf32, bfloat16, float16"):
        RaftFlow(build_raft(RAFT_MINI), precision="int8")


class _Shift(torch.nn.Module):
    """Stands for a network of ptlflow: its flow is its one weight, everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, inputs):
        images = inputs["images"]
        flow = self.weight.view(1, 1, 2, 1, 1).expand(len(images), 1, 2, *images.shape[-2:])
        return {"flows": flow}


@pytest.fixture
def fake_ptlflow(monkeypatch):
    """ptlflow as far as it is used here, and the logger it brings along, which keeps what is said to it."""
    quiet = []
    logger = types.SimpleNamespace(disable=quiet.append, enable=quiet.remove)

    def get_model(name, ckpt_path=None):
        assert quiet == ["ptlflow"], "its log lines would break into the display"
        assert ckpt_path is None, "a name of a checkpoint would be looked up on the network"
        if name != "shift":
            raise ValueError(f"unknown model {name}")
        return _Shift()

    monkeypatch.setitem(sys.modules, "loguru", types.SimpleNamespace(logger=logger))
    monkeypatch.setitem(sys.modules, "ptlflow", types.SimpleNamespace(get_model=get_model))


def test_a_network_of_ptlflow_runs_from_a_local_checkpoint(fake_ptlflow, tmp_path):
    file = tmp_path / "shift.ckpt"
    torch.save({"state_dict": {"weight": torch.tensor([1.5, -2.0])}}, file)
    estimator = load_estimator("ptlflow:shift", str(file))
    stream = estimator.stream()
    pairs = list(stream.push(torch.zeros(3, 3, 16, 24, dtype=torch.uint8)))
    assert len(pairs) == 2
    assert pairs[0].flow[0, :, 0, 0].tolist() == [1.5, -2.0]
    assert estimator.weights_sha256 == flow_weights.sha256_of(file)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("shift", None, "nothing is fetched"),
        ("nothing", {"state_dict": {"weight": torch.zeros(2)}}, "unknown model"),
        ("shift", {"state_dict": {"bias": torch.zeros(2)}}, r"not a checkpoint of ptlflow's 'shift': other tensors$"),
        ("shift", {"weights": torch.zeros(2)}, "state_dict"),
    ],
)
def test_trouble_with_ptlflow_is_said_in_a_sentence(fake_ptlflow, tmp_path, name, content, words):
    file = tmp_path / "some.ckpt"
    if content is not None:
        torch.save(content, file)
    with pytest.raises(WeightsError, match=words):
        load_estimator(f"ptlflow:{name}", str(file))


@pytest.mark.parametrize(
    ("name", "content"), [("model.safetensors", b"version https://git-lfs"), ("config.json", b"[]")]
)
def test_a_damaged_folder_of_flow_weights_is_named(tmp_path, name, content):
    save_raft(seeded(lambda: build_raft(RAFT_MINI)), RAFT_MINI, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=str(tmp_path)):
        load_estimator("mini", str(tmp_path))
