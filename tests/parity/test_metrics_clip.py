"""CLIP scores against the reference recipe on a tiny open_clip model with both activations."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metrics.clip import ClipScore
from metrics.features.clip_network import fit, resize_tensor
from tests.conftest import golden
from tests.parity.goldens import read_clip

GOLDEN = golden("metrics")


def load(name):
    with np.load(GOLDEN / "clip" / name) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def recorded():
    return load("clip_golden.npz")


@pytest.fixture(scope="module", params=["gelu", "quickgelu"])
def tiny(request, tmp_path_factory):
    """The tiny CLIP of the goldens, as a folder open_clip reads."""
    folder = tmp_path_factory.mktemp(request.param)
    config = json.loads((GOLDEN / "clip" / "config.json").read_text())
    model = {**config, "quick_gelu": request.param == "quickgelu"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    weights = load("tiny_clip_weights_fp16.npz")
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in weights.items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return request.param, ClipScore(weights=str(folder))


@pytest.mark.parametrize("clip", ["translate", "zoom", "letterbox"])
def test_cosines_scores_and_prefixes(tiny, recorded, clip):
    activation, metric = tiny
    frames = read_clip(clip)
    prompts = json.loads((GOLDEN / "clip" / "prompts.json").read_text())
    for i, prompt in enumerate(prompts):
        accumulator = metric.begin(prompt, fps=10.0)
        accumulator.update(frames)
        score = accumulator.compute()
        np.testing.assert_allclose(score.series["cosine"], recorded[f"{clip}__cos_{activation}"][:, i], atol=1e-5)
        assert score.value == pytest.approx(recorded[f"{clip}__score100_mean_{activation}"][i], abs=1e-3)
        for row, stop in enumerate((8, 16, 24)):
            expected = recorded[f"{clip}__score100_prefix8_16_24_{activation}"][row, i]
            assert metric.window(score.series, 0, stop) == pytest.approx(expected, abs=1e-3)
        assert score.parts["prompt_truncated"] is (i == 3)
        assert score.parts["activation"] == {"gelu": "GELU", "quickgelu": "QuickGELU"}[activation]


def test_raw_features(tiny, recorded):
    activation, metric = tiny
    feature = metric.features()[0]
    running = metric.open(feature, json.loads((GOLDEN / "clip" / "prompts.json").read_text())[0])
    running.update(read_clip("zoom"))
    arrays = running.arrays()
    np.testing.assert_allclose(arrays["image"], recorded[f"zoom__image_raw_{activation}"], atol=1e-4)
    np.testing.assert_allclose(arrays["text"], recorded[f"text_raw_{activation}"][0], atol=1e-4)


@pytest.mark.parametrize(
    ("clip", "side", "key"),
    [("zoom", 224, "pre224_pil_zoom"), ("letterbox", 224, "pre224_pil_letterbox"), ("wide", 64, "pre64_pil_wide")],
)
def test_preprocessing_on_the_cpu_is_pils_and_on_tensors_within_a_grey_step(recorded, clip, side, key, monkeypatch):
    expected = recorded[key].reshape(-1, side, side, 3).transpose(0, 3, 1, 2)
    pixels = torch.from_numpy(read_clip(clip)[: len(expected)]).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(fit(pixels, side, "crop", "bicubic").numpy(), expected)
    monkeypatch.setattr("metrics.features.clip_network._resize_pil", resize_tensor)
    tensor = fit(pixels, side, "crop", "bicubic").numpy()
    assert np.abs(tensor.astype(int) - expected).max() <= 1
