"""MAWE against numbers of the released script, given the same flow, and through a seeded RAFT."""

import hashlib
import importlib.util
import json

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_large

from metrics.features.flow_statistics import FlowStatisticsPass
from metrics.flow.raft_streaming import RaftFlow
from metrics.flow.warping import forward_warp, pair_numbers, resize_frames
from metrics.mawe import Mawe, official_mawe
from tests.conftest import golden
from tests.parity.goldens import read_clip

GOLDEN = golden("metrics")

GIVEN_FLOW = [
    "flicker",
    "hard_cut",
    "letterbox",
    "near_static",
    "occluder",
    "resized_letterbox_96",
    "resized_zoom_144",
    "rotate",
    "static",
    "static_tinyflow",
    "translate",
    "zoom",
]


def load(name):
    with np.load(GOLDEN / "mawe" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def clip_of(name, data):
    return str(data["clip"]) if "clip" in data else name.removeprefix("resized_").rsplit("_", 1)[0]


def test_clips_decode_to_the_bytes_the_goldens_were_made_from():
    meta = json.loads((GOLDEN / "clips" / "meta.json").read_text())
    assert {n: hashlib.sha256(read_clip(n).tobytes()).hexdigest() for n in meta} == {
        n: m["sha256_rgb"] for n, m in meta.items()
    }


class GivenFlow:
    """A flow estimator that replays a flow."""

    weights_sha256, device = "", "cpu"

    def __init__(self, flow):
        self.flow = torch.from_numpy(flow.astype(np.float32))

    def stream(self):
        from metrics.flow.estimators import _PairwiseStream

        replay = iter(self.flow)
        return _PairwiseStream(lambda left, right: next(replay))


@pytest.mark.parametrize("name", GIVEN_FLOW)
def test_given_flow_gives_the_scripts_numbers(name):
    data = load(name)
    frames = read_clip(name if name in ("near_static", "hard_cut") else clip_of(name, data))[: int(data["n_frames"])]
    size = tuple(int(s) for s in data["size"]) if "size" in data else 0
    running = FlowStatisticsPass(GivenFlow(data["flow"]), size)
    running.update(frames)
    pairs = running.arrays()
    np.testing.assert_array_equal(pairs["known"], data["known_pixels"])
    np.testing.assert_allclose(pairs["warp_error"], data["warp_error"], rtol=1e-6)
    np.testing.assert_allclose(pairs["motion"], data["motion"], rtol=1e-6)
    np.testing.assert_allclose(pairs["motion_squared"], data["motion_sq"], rtol=1e-6)

    series = {k: pairs[k].tolist() for k in ("warp_error", "motion", "motion_squared", "known")}
    official = Mawe().window(series, 0, len(frames))
    if np.isnan(data["mawe_official"]):
        assert official is None
    else:
        assert official == pytest.approx(float(data["mawe_official"]), rel=1e-6)
        assert Mawe(mode="paper").window(series, 0, len(frames)) == pytest.approx(
            float(data["derived_paper_v2_sq"]), rel=1e-6
        )
    if "prefix_frames" in data:
        for stop, value in zip(data["prefix_frames"], data["prefix_mawe"], strict=True):
            expected = None if np.isnan(value) else pytest.approx(float(value), rel=1e-6)
            assert Mawe().window(series, 0, int(stop)) == expected


@pytest.mark.parametrize("name", [name for name in GIVEN_FLOW if not name.startswith(("resized", "static_"))])
def test_first_warped_frame_and_its_holes(name):
    data = load(name)
    size = tuple(int(s) for s in data["size"]) if "size" in data else 0
    left = resize_frames(read_clip(clip_of(name, data) if "clip" in data or "resized" in name else name)[:1], size)
    warped, known = forward_warp(left, torch.from_numpy(data["flow"][:1].astype(np.float32)))
    np.testing.assert_array_equal(known[0].numpy(), ~data["unknown0"])
    np.testing.assert_array_equal(np.where(known[0], warped[0], 0), np.where(data["unknown0"], 0, data["warped0"]))


@pytest.mark.parametrize("name", ["resized_zoom_144", "resized_letterbox_96"])
def test_resize_is_the_scripts(name):
    data = load(name)
    size = tuple(int(s) for s in data["size"])
    resized = resize_frames(read_clip(clip_of(name, data))[:2], size)
    np.testing.assert_array_equal(resized.numpy(), data["resized_first2"])


def test_constant_flow_at_720_including_half_pixels():
    data = load("const_flow_720")
    frames = resize_frames(read_clip("translate")[: int(data["n_frames"])], 720)
    for i, vector in enumerate(data["const_flow"]):
        flow = torch.from_numpy(vector).view(1, 2, 1, 1).expand(1, 2, 720, 720).contiguous()
        numbers = pair_numbers(frames[i : i + 1], frames[i + 1 : i + 2], flow)
        assert int(numbers.known) == data["known_pixels"][i]
        assert float(numbers.warp_error) == pytest.approx(float(data["warp_error"][i]), rel=1e-6)
        assert float(numbers.motion) == pytest.approx(float(data["motion"][i]), rel=1e-6)


def test_splat_corner_cases():
    data = load("splat_cases")
    cases = {key.split("__")[0] for key in data}
    assert len(cases) == 18
    for case in sorted(cases):
        warped, known = forward_warp(torch.from_numpy(data[f"{case}__img"]), torch.from_numpy(data[f"{case}__flow"]))
        unknown = data[f"{case}__unknown"].reshape(known.shape)
        np.testing.assert_array_equal(~known.numpy(), unknown, err_msg=case)
        expected = np.where(unknown[:, None], 0, data[f"{case}__warped"].reshape(warped.shape))
        np.testing.assert_array_equal(warped.numpy(), expected, err_msg=case)


def fill_seeded(seed, expected_sha256):
    """A raft_large with the golden's weights: made by the rule the goldens ship with, checked by hash."""
    spec = importlib.util.spec_from_file_location("raft_fill", GOLDEN / "raft_fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.fill(raft_large(weights=None), seed)
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == expected_sha256
    return model


def test_seeded_raft_large():
    data = load("raft_large_seeded")
    model = fill_seeded(int(data["weights_seed"]), str(data["weights_sha256"]))
    for clip in ("translate", "occluder", "static"):
        size = tuple(int(s) for s in data[f"{clip}__size"])
        frames = resize_frames(read_clip(clip)[data[f"{clip}__frames"]], size)
        stream = RaftFlow(model).stream()
        flow = torch.cat([pairs.flow for pairs in [*stream.push(frames), *stream.flush()]])
        np.testing.assert_allclose(flow.numpy(), data[f"{clip}__flow"], atol=1e-3, rtol=0)
        numbers = pair_numbers(frames[:-1], frames[1:], flow)
        value = official_mawe(numbers.warp_error.numpy(), numbers.motion.numpy(), 9.5)
        assert value == pytest.approx(float(data[f"{clip}__mawe_official"]), rel=1e-3)
