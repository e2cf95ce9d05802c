"""Consistencies on what is at hand: the miniature networks, and features that are given."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from generators.weights import resolve_weights
from metrics.consistency import BackgroundConsistency, SubjectConsistency, consistency, lag_curve, similarities
from metrics.drift import DRIFTS, window_of
from metrics.errors import WeightsError
from metrics.features.base import VideoFacts
from metrics.features.dino import DinoFeatures
from metrics.features.vit import Shape, VisionTransformer, position_table, shape_of
from metrics.quality import AestheticQuality, ImagingQuality
from metrics.scoring import VideoScorer
from metrics.vbench_long import BackgroundConsistencyLong, SubjectConsistencyLong, clip_spans

ENCODER = str(resolve_weights("mini:svd/image_encoder"))


def scored(metric, frames, chunk):
    scorer = VideoScorer({"it": metric}, "", fps=3.0)
    for start in range(0, len(frames), chunk):
        scorer.update(frames[start : start + chunk])
    return scorer.compute()["it"]


def test_the_miniature_encoder_stands_in_and_chunks_change_nothing():
    draw = np.random.default_rng(0)
    frames = np.concatenate([draw.integers(0, 256, (1, 48, 64, 3), np.uint8).repeat(6, 0) for _ in range(2)])
    metric = SubjectConsistency(weights=ENCODER)
    whole = scored(metric, frames, 12)
    assert whole == scored(metric, frames, 5)
    assert whole.series["previous"][5] < 0.999 < min(whole.series["previous"][:5])
    assert whole.value < metric.window(whole.series, 0, 6)
    assert metric.window(whole.series, 0, 6) == pytest.approx(1, abs=1e-5)
    long = scored(SubjectConsistencyLong(weights=ENCODER, long_weights=ENCODER), frames, 7)
    assert long.parts["clips"] == 2
    assert long.parts["clip_to_clip"] < long.parts["in_clip"]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (SubjectConsistency(), "fetch vbench"),
        (SubjectConsistency(weights="nowhere"), "nowhere"),
        (SubjectConsistencyLong(weights=ENCODER), "fetch vbench"),
        (ImagingQuality(), "fetch vbench"),
        (AestheticQuality(), "LAION-AI"),
    ],
)
def test_missing_weights_are_said_before_any_frame(metric, words):
    with pytest.raises(WeightsError, match=words):
        metric.begin("", 8.0)


def test_files_of_other_networks_are_refused(tmp_path):
    save_file({"layer.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="does not hold a DINO transformer"):
        SubjectConsistency(weights=str(tmp_path)).begin("", 8.0)
    with pytest.raises(WeightsError, match="does not hold MUSIQ's weights"):
        ImagingQuality(weights=str(tmp_path / "model.safetensors")).begin("", 8.0)
    (tmp_path / "broken.pth").write_bytes(b"not a pickle")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        SubjectConsistency(weights=str(tmp_path / "broken.pth")).begin("", 8.0)


def test_features_without_length_have_no_direction_and_no_value():
    metric = SubjectConsistency(weights="unread")
    features = np.ones((5, 4), np.float32)
    features[2] = 0
    facts = VideoFacts("", 8.0, 5)
    score = metric.read({DinoFeatures("unread"): {"image": features}}, facts)
    assert score.value is None
    assert "length zero" in score.reason
    assert score.parts["lag_1"] is None
    single = metric.read({DinoFeatures("unread"): {"image": features[:1]}}, VideoFacts("", 8.0, 1))
    assert single.value is None
    assert "two" in single.reason


def test_the_lag_curve_falls_as_features_turn():
    angles = np.linspace(0, np.pi / 2, 41)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    curve = lag_curve(features, (1, 4, 16, 64))
    assert curve[1] > curve[4] > curve[16]
    assert curve[16] == pytest.approx(np.cos(16 * np.pi / 80))
    assert curve[64] is None


def test_negative_cosines_count_as_zero():
    found = similarities(np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]))
    assert consistency(**found) == pytest.approx((0 + 0 + 0 + 1) / 4)


def test_a_checkpoint_says_its_own_shape():
    shape = Shape(width=64, depth=2, heads=1, patch=8, table=4, mlp=96, scaled=True)
    assert shape_of(VisionTransformer(shape).state_dict()) == shape


def test_only_a_square_picture_that_fits_takes_the_table_as_it_is():
    table = torch.randn(1, 1 + 16, 8, generator=torch.Generator().manual_seed(0))
    assert position_table(table, 4, 4, 4, square=True) is table
    shifted = position_table(table, 4, 4, 4, square=False)
    assert shifted.shape == table.shape
    assert not torch.allclose(shifted, table)
    assert position_table(table, 4, 4, 7, square=False).shape == (1, 1 + 28, 8)


def test_the_background_reads_other_pixels_than_the_clip_score(tmp_path):
    (feature,) = BackgroundConsistency(weights=str(tmp_path)).features()
    assert feature.preprocess == "vbench"
    assert "vbench" in feature.identity("")


def long_series(num_frames, fps=10.0):
    """The series of a video whose clips are all alike, inside and among each other."""
    spans = clip_spans(num_frames, fps)
    starts, stops = ([float(edge) for edge in edges] for edges in zip(*spans, strict=True))
    between = [0.95] * (len(spans) - 1)
    return {
        "clip_start": starts,
        "clip_stop": stops,
        "in_clip": [0.9] * len(spans),
        "clip_previous": between,
        "clip_first": between,
    }


@pytest.mark.parametrize("metric", [SubjectConsistencyLong(), BackgroundConsistencyLong()])
@pytest.mark.parametrize("num_frames", [45, 200, 600])
def test_a_video_that_stays_as_it_is_shows_no_drift_of_long_consistency(metric, num_frames):
    window = window_of(metric, long_series(num_frames))
    found = {name: drift.read(window, num_frames, 10.0) for name, drift in DRIFTS.items()}
    assert {name: value for name, value in found.items() if value not in (None, pytest.approx(0))} == {}
    if num_frames == 600:
        assert found["start_end_15"] == found["first_last_5s"] == found["slope_10s"] == pytest.approx(0)


def test_the_first_clip_alone_has_a_long_consistency_where_it_is_the_video():
    metric = SubjectConsistencyLong()
    assert metric.window(long_series(20), 0, 20) == pytest.approx(0.9)
    assert metric.window(long_series(60), 0, 20) is None
    assert metric.window(long_series(60), 0, 60) == pytest.approx(metric.window(long_series(60), 20, 60))
