"""Bad input: one frame, no rate, small or black frames, features without length. No value, and a reason for each."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from generators.weights import resolve_weights
from metrics import BUILT_IN
from metrics.api import AssumedRate
from metrics.clip import ClipScore
from metrics.consistency import BackgroundConsistency, SubjectConsistency
from metrics.drift import DRIFTS, why_undefined
from metrics.dynamic_degree import DynamicDegree
from metrics.errors import SettingError
from metrics.exposure import Exposure
from metrics.features.base import VideoFacts
from metrics.features.clip import ClipFeatures
from metrics.features.flow_statistics import FlowStatistics
from metrics.features.frame_statistics import FrameStatistics
from metrics.features.musiq_network import Musiq
from metrics.features.transnet import package_version
from metrics.flickering import Flickering
from metrics.flow.api import FlowPairs
from metrics.mawe import Mawe
from metrics.quality import AestheticQuality, ImagingQuality
from metrics.repetition import Repetition, SinkCollapse
from metrics.scoring import VideoScorer
from metrics.scuts import SceneCuts
from metrics.seams import Seams
from metrics.stillness import Stillness
from metrics.tcuts import TransNetCuts
from metrics.vbench_long import BackgroundConsistencyLong, SubjectConsistencyLong

FPS, SEAMS, NUM_FRAMES = 8.0, (8,), 20
CLIP, ENCODER, RAFT = (str(resolve_weights(f"mini:{name}")) for name in ("clip_score", "svd/image_encoder", "raft"))


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """Every metric of the package, on the miniature networks; the judges' heads are drawn.

    TransNetV2 only where its extra is installed, as it is by the README's test line.
    """
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    sizes = {"width": 24, "mlp": 32, "heads": 2, "depth": 1}
    save_file(Musiq(**sizes).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(sizes))
    torch.save(torch.nn.Linear(96, 1).state_dict(), folder / "head.pth")
    made = [
        Mawe(flow="dis", size=0),
        SceneCuts(),
        ClipScore(weights=CLIP),
        Seams(flow="dis", size=0, clip_weights=CLIP),
        Stillness(flow="dis", size=0),
        Exposure(),
        Flickering(),
        SinkCollapse(),
        Repetition(),
        *([TransNetCuts()] if package_version() != "missing" else []),
        SubjectConsistency(weights=ENCODER),
        SubjectConsistencyLong(weights=ENCODER, long_weights=ENCODER),
        BackgroundConsistency(weights=CLIP),
        BackgroundConsistencyLong(weights=CLIP),
        DynamicDegree(flow="mini", flow_weights=RAFT),
        AestheticQuality(weights=CLIP, head=str(folder / "head.pth")),
        ImagingQuality(weights=str(folder / "model.safetensors")),
    ]
    found = {metric.info.name: metric for metric in made}
    assert set(BUILT_IN) - set(found) <= {"tcuts"}
    return found


def moving(num_frames, side=64):
    texture = np.random.default_rng(0).integers(0, 256, (24, 48, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([texture[:side, 2 * i : 2 * i + side] for i in range(num_frames)])


def undefined(metrics, frames, fps=FPS):
    """Returns the reasons of the metrics that have no value; all others have a finite one and no reason."""
    scorer = VideoScorer(metrics, "a red disc", fps)
    scorer.update(frames)
    scores = scorer.compute([seam for seam in SEAMS if seam < len(frames)])
    reasons = {}
    for name, score in scores.items():
        whole = metrics[name].window(score.series, 0, len(frames))
        if score.value is None:
            assert score.reason, f"{name} does not say why it has no value"
            assert whole is None or len(frames) < 2, name
            reasons[name] = score.reason
        else:
            assert np.isfinite(score.value), name
            assert score.reason == "", name
            assert whole == pytest.approx(score.value), name
    return reasons


def test_sound_frames_have_every_value(metrics):
    assert undefined(metrics, moving(NUM_FRAMES)) == {}


def test_of_one_frame_nothing_is_known_but_what_it_shows(metrics):
    reasons = undefined(metrics, moving(1))
    assert set(metrics) - set(reasons) == {"clip", "aesthetic_quality", "imaging_quality"}
    assert "boundaries" in reasons.pop("seams")
    assert "eleven or more" in reasons.pop("repetition")
    for name, reason in reasons.items():
        assert "two" in reason or "2 frames" in reason, name


def test_without_a_rate_nothing_is_said_that_depends_on_it(metrics):
    reasons = undefined(metrics, moving(NUM_FRAMES), AssumedRate(10.0))
    assert set(reasons) == {"dynamic_degree", "subject_consistency_long", "background_consistency_long"}
    for name, reason in reasons.items():
        assert "states no frame rate" in reason, name


def test_exposure_has_no_slope_without_a_rate():
    accumulators = [Exposure().begin("", fps) for fps in (10.0, AssumedRate(10.0))]
    for accumulator in accumulators:
        accumulator.update(moving(NUM_FRAMES))
    stated, assumed = (accumulator.compute() for accumulator in accumulators)
    assert assumed.value == stated.value
    assert stated.parts["luma_per_10s"] is not None
    assert assumed.parts["luma_per_10s"] is None


def test_black_frames_have_no_motion_to_divide_by(metrics):
    reasons = undefined(metrics, np.zeros((NUM_FRAMES, 64, 64, 3), np.uint8))
    assert set(reasons) == {"mawe"}
    assert "no motion" in reasons["mawe"]


def test_small_frames_have_no_dynamic_degree(metrics):
    reasons = undefined(metrics, moving(NUM_FRAMES, side=16))
    assert set(reasons) == {"dynamic_degree"}
    assert "too small" in reasons["dynamic_degree"]


def test_frames_below_what_the_flow_can_read_are_refused_in_a_sentence():
    for flow, weights, words in (("dis", "", "at least 12 pixels"), ("mini", RAFT, "at least 64 pixels")):
        scorer = VideoScorer({"mawe": Mawe(flow=flow, flow_weights=weights, size=0)}, "", FPS)
        with pytest.raises(SettingError, match=words):
            scorer.update(moving(8, side=8))


def tables_of(image):
    """What the passes of seams find in 30 frames with these CLIP features."""
    draw = np.random.default_rng(0)
    pairs = {name: draw.random(29) for name in ("warp_error", "flow_change")}
    return {
        FlowStatistics("dis", 0): pairs,
        FrameStatistics(): {"colour": draw.random((30, 3)), "difference": draw.random(29)},
        ClipFeatures(weights="unread"): {
            "image": image,
            "text": np.ones(4, np.float32),
            "truncated": np.array([False]),
            "activation": np.array(["QuickGELU"]),
        },
    }


def alone(metric, image):
    """The metric, and its one pass with these features."""
    (feature,) = metric.features()
    return metric, {feature: {"image": image}}


@pytest.mark.parametrize("silent", [[3], range(30)], ids=["one frame", "all frames"])
def test_features_without_length_have_no_value(tmp_path, silent):
    image = np.random.default_rng(0).random((30, 4)).astype(np.float32)
    image[list(silent)] = 0
    torch.save(torch.nn.Linear(4, 1).state_dict(), tmp_path / "head.pth")
    cases = [
        (ClipScore(weights="unread"), tables_of(image)),
        (Seams(flow="dis", size=0, clip_weights="unread"), tables_of(image)),
        alone(SubjectConsistency(weights="unread"), image),
        alone(SubjectConsistencyLong(weights="unread", between="dino"), image),
        alone(BackgroundConsistency(weights="unread"), image),
        alone(BackgroundConsistencyLong(weights="unread"), image),
        alone(AestheticQuality(weights="unread", head=str(tmp_path / "head.pth")), image),
    ]
    for metric, tables in cases:
        for seams in ((), SEAMS):
            score = metric.read(tables, VideoFacts("a red disc", FPS, 30, seams))
            assert score.value is None, metric.info.name
            assert "length zero" in score.reason, metric.info.name


def test_a_text_without_length_has_no_score():
    tables = tables_of(np.ones((30, 4), np.float32))
    tables[ClipFeatures(weights="unread")]["text"][:] = 0
    score = ClipScore(weights="unread").read(tables, VideoFacts("a red disc", FPS, 30))
    assert score.value is None
    assert "length zero" in score.reason


def fading(start, stop):
    return 50.0 - (start + stop) / 8


@pytest.mark.parametrize("name", DRIFTS)
def test_every_drift_has_a_value_of_a_sound_video_and_a_reason_for_none(name):
    definition = DRIFTS[name]
    assert definition.read(fading, 100, 10.0) is not None
    for num_frames in (0, 1):
        assert definition.read(fading, num_frames, 10.0) is None
        assert why_undefined(definition, num_frames, 10.0) == f"a video of {num_frames} frames is too short for it"
    without_rate = definition.read(fading, 100, 0.0)
    assert (without_rate is None) == definition.in_seconds
    if definition.in_seconds:
        assert "no frame rate" in why_undefined(definition, 100, 0.0)
    # No value on the first quarter: Theil-Sen reads what is left, every other definition needs all of it.
    late = definition.read(lambda start, stop: None if start < 25 else 1.0, 100, 10.0)
    assert (late is None) == (name != "slope_10s")
    assert "no value on a stretch" in why_undefined(definition, 100, 10.0)


def test_drifts_counted_in_seconds_are_those_that_the_rate_changes():
    assert {name for name, d in DRIFTS.items() if d.in_seconds} == {
        "first_last_5s",
        "std_2s",
        "std_2s_sample",
        "slope_10s",
    }


def test_the_last_frame_of_a_sampled_pair_lies_in_its_window() -> None:
    series = {"top5": [6.0], "frame": [0.0], "step": [3.0], "threshold": [6.0]}  # frames 0 and 3
    assert [DynamicDegree().window(series, 0, stop) for stop in (2, 3, 4)] == [None, None, 1.0]


class Broken:
    """A flow network one of whose numbers is not finite."""

    smallest_side = 8

    def stream(self):
        return self

    def push(self, frames):
        flow = torch.zeros(1, 2, *frames.shape[-2:])
        flow[0, 0, 0, 0] = torch.nan
        yield FlowPairs(frames, frames, flow)

    def flush(self):
        return iter(())


def test_flow_that_is_not_finite_gives_no_dynamic_degree(monkeypatch):
    monkeypatch.setattr(DynamicDegree, "_network", Broken())
    scorer = VideoScorer({"it": DynamicDegree()}, "", 8.0)
    scorer.update(moving(4))
    found = scorer.compute()["it"]
    assert found.value is None
    assert "not finite" in found.reason
    assert None in found.series["top5"]
    assert "dynamic" not in found.parts


def test_flow_that_is_not_finite_gives_no_seams():
    metric = Seams(flow="dis", size=64, clip_model="")
    scorer = VideoScorer({"it": metric}, "", 8.0)
    scorer.update(moving(32))
    assert scorer.compute((16,))["it"].value is not None
    tables = {feature: dict(arrays) for feature, arrays in scorer.tables.items()}
    flow = next(arrays for arrays in tables.values() if "flow_change" in arrays)
    flow["motion"] = np.append(flow["motion"][:-1], np.float32("nan"))
    found = metric.read(tables, VideoFacts("", 8.0, 32, (16,)))
    assert found.value is None
    assert "not finite" in found.reason
