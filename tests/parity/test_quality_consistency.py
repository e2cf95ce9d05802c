"""Subject and background consistency, VBench and VBench-Long, against upstream on the same seeded networks."""

import json

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from metrics.consistency import BackgroundConsistency, SubjectConsistency, consistency, similarities
from metrics.decoding import probe, read_frames
from metrics.features.dino import DinoFeatures
from metrics.features.vit import Shape, VisionTransformer
from metrics.scoring import VideoScorer
from metrics.vbench_long import BackgroundConsistencyLong, SubjectConsistencyLong, clip_spans, fused, remapped
from metrics.vbench_long_tables import BACKGROUND, SUBJECT
from tests.conftest import golden
from tests.parity.quality_networks import NETWORKS, filled

LONG = json.loads(golden("quality", "vbench_long.json", travels=False).read_text(encoding="utf-8"))
TABLES = json.loads(golden("quality", "vbench_long_tables.json", travels=False).read_text(encoding="utf-8"))
SUBJECT_CLIPS = ["hard_cut", "letterbox", "wide", "zoom", "translate", "near_static", "static", "flicker"]
FUSED_CLIPS = ["hard_cut", "long_drift", "long_sink"]


def path_of(name):
    travels = not name.startswith(("long_", "big"))
    return golden("metrics" if travels else "quality", "clips", f"{name}.mkv", travels=travels)


def load(name):
    with np.load(golden("quality", name, travels=False)) as file:
        return {key: file[key] for key in file.files}


def scored(name, metrics):
    scorer = VideoScorer(metrics, "", probe(path_of(name)).fps)
    for frames in read_frames(path_of(name), chunk=11):
        scorer.update(frames)
    return scorer.compute(), scorer.tables


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    """Folders with the golden DINO and DINOv2, as the released ones look."""
    folders = {}
    for name in ("dino", "dinov2"):
        net = NETWORKS[name]["net"]
        shape = Shape(
            net["embed_dim"],
            net["depth"],
            net["num_heads"],
            net["patch_size"],
            net["img_size"] // net["patch_size"],
            net["mlp_ratio"] * net["embed_dim"],
            net.get("layer_scale", False),
        )
        network, (digest, _), facts = filled(VisionTransformer(shape), name)
        if name == "dino":  # DINOv2's fingerprint counts its mask token, which nothing here reads
            assert digest == facts["weights_sha256"]
        folder = tmp_path_factory.mktemp(name)
        save_file(network.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"num_heads": net["num_heads"]}))
        folders[name] = str(folder)
    return folders


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return clip_tower(tmp_path_factory.mktemp("clip"), "clip_b32")


def clip_tower(folder, name):
    """Returns a folder open_clip reads, whose image tower is a golden one."""
    net = NETWORKS[name]["net"]
    vision = {
        "image_size": net["image_resolution"],
        "layers": net["vision_layers"],
        "width": net["vision_width"],
        "patch_size": net["vision_patch_size"],
        "head_width": 64,
    }
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": net["embed_dim"], "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    filled(model.visual, name, prefix="visual")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items() if k != "attn_mask"},
        folder / "open_clip_model.safetensors",
    )
    return str(folder)


@pytest.mark.parametrize("case", ["walk", "random", "flip", "two_frames", "constant"])
def test_the_formula_on_given_features(case):
    given = load("consistency_given.npz")
    found = consistency(**similarities(given[f"{case}__features"]))
    assert found == pytest.approx(float(given[f"{case}__score"]), abs=1e-6)


@pytest.mark.parametrize("clip", SUBJECT_CLIPS)
def test_subject_consistency(transformers, clip):
    expected = load("subject.npz")
    metric = SubjectConsistency(weights=transformers["dino"])
    scores, tables = scored(clip, {"it": metric})
    features = tables[DinoFeatures(transformers["dino"])]["image"]
    np.testing.assert_allclose(features, expected[f"{clip}__features"], atol=1e-4)
    assert scores["it"].value == pytest.approx(float(expected[f"{clip}__score"]), abs=1e-5)
    np.testing.assert_allclose(scores["it"].series["previous"], expected[f"{clip}__sim_prev"], atol=1e-5)
    np.testing.assert_allclose(scores["it"].series["first"], expected[f"{clip}__sim_first"], atol=1e-5)


@pytest.mark.parametrize("clip", SUBJECT_CLIPS)
def test_background_consistency(clip_folder, clip):
    expected = load("background.npz")
    metric = BackgroundConsistency(weights=clip_folder)
    scores, tables = scored(clip, {"it": metric})
    (feature,) = metric.features()
    np.testing.assert_allclose(tables[feature]["image"], expected[f"{clip}__features"], atol=1e-4)
    assert scores["it"].value == pytest.approx(float(expected[f"{clip}__score"]), abs=1e-5)
    np.testing.assert_allclose(scores["it"].series["previous"], expected[f"{clip}__sim_prev"], atol=1e-5)


def test_pixels_that_the_networks_see(transformers, clip_folder):
    for file, feature in (
        ("subject.npz", DinoFeatures(transformers["dino"])),
        ("background.npz", BackgroundConsistency(weights=clip_folder).features()[0]),
    ):
        expected, network = load(file), feature.load()
        see = network.pictures if file == "subject.npz" else network.preprocess
        for clip in ("hard_cut", "wide", "zoom"):
            pixels = see(next(read_frames(path_of(clip), chunk=1)))[0]
            assert tuple(pixels.shape) == tuple(expected[f"{clip}__pixels_shape"])
            np.testing.assert_allclose(pixels[:, :8, :8], expected[f"{clip}__pixels_first_8x8"], atol=1e-4)
            low, high = expected[f"{clip}__pixels_minmax"]
            assert float(pixels.min()) == pytest.approx(low, abs=1e-4)
            assert float(pixels.max()) == pytest.approx(high, abs=1e-4)


@pytest.mark.parametrize("clip", LONG["clips"])
def test_spans_of_two_seconds(clip):
    case = LONG["clips"][clip]
    assert clip_spans(case["frames"], float(case["int_fps"])) == [(a, b) for _, a, b in case["clips_2s"]]


def test_broken_frame_rates_are_cut_to_whole_numbers():
    assert clip_spans(100, 23.976)[0] == (0, 46)
    assert clip_spans(100, 29.97)[0] == (0, 58)
    assert clip_spans(100, 0.5) == [(0, 100)]


@pytest.mark.parametrize(("name", "table"), [("subject", SUBJECT), ("background", BACKGROUND)])
def test_remapping_and_fusion(name, table):
    np.testing.assert_allclose(table, TABLES[name], atol=1e-8)
    case = LONG["remap"][f"{name}_consistency"]
    for clip_to_clip, mapped, both in case["rows_clip2clip_mapped_fused"]:
        assert remapped(clip_to_clip, table) == pytest.approx(mapped, abs=1e-6)
        assert fused(case["inclip"], clip_to_clip, table, published_zero=True) == pytest.approx(both, abs=1e-6)


def test_a_total_collapse_between_clips_is_not_missing():
    assert fused(0.9, 0.0, SUBJECT) == pytest.approx(0.45)
    assert fused(0.9, 0.0, SUBJECT, published_zero=True) == 0.9
    assert fused(0.9, None, SUBJECT) == 0.9


@pytest.mark.slow
@pytest.mark.parametrize("clip", FUSED_CLIPS)
def test_long_consistencies(transformers, clip_folder, clip):
    dino, dinov2 = transformers["dino"], transformers["dinov2"]
    metrics = {
        "subject_dinov2": SubjectConsistencyLong(weights=dino, long_weights=dinov2),
        "subject_dino": SubjectConsistencyLong(weights=dino, between="dino"),
        "background_clip": BackgroundConsistencyLong(weights=clip_folder),
    }
    scores, _ = scored(clip, metrics)
    for name, score in scores.items():
        entries = [e for e in LONG["fuse"][name]["entries"] if e["video"] == clip]
        in_clip = [entry["inclip"] for entry in entries]
        np.testing.assert_allclose(score.series["in_clip"], in_clip, atol=1e-5, err_msg=name)
        assert score.parts["clip_to_clip"] == pytest.approx(entries[0]["clip2clip"], abs=1e-5), name
        assert score.parts["mapped"] == pytest.approx(entries[0]["mapped"], abs=1e-5), name
        # Upstream's entries are per clip; the mean over the clips of a video is what it means to print.
        assert score.value == pytest.approx(np.mean([entry["fused_dev_flag"] for entry in entries]), abs=1e-5), name
        assert score.parts["in_clip"] == pytest.approx(np.mean([e["fused_no_dev_flag"] for e in entries]), abs=1e-5)


def test_a_video_of_one_clip_is_its_in_clip_value(transformers):
    scores, _ = scored("zoom", {"it": SubjectConsistencyLong(weights=transformers["dino"], between="dino")})
    assert scores["it"].parts["clips"] == 2
    metric = SubjectConsistencyLong(weights=transformers["dino"], between="dino")
    accumulator = metric.begin("", fps=30.0)
    for frames in read_frames(path_of("zoom")):
        accumulator.update(frames)
    score = accumulator.compute()
    assert score.parts["clips"] == 1
    assert score.value == score.parts["in_clip"]
    assert score.parts["clip_to_clip"] is None
