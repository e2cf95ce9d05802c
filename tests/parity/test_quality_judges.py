"""Aesthetic and imaging quality against upstream on the same seeded networks."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metrics.decoding import read_frames
from metrics.features.musiq import MusiqScores
from metrics.features.musiq_network import Musiq, patch_tokens
from metrics.quality import AestheticQuality, ImagingQuality
from tests.conftest import golden
from tests.parity.quality_networks import NETWORKS, filled
from tests.parity.test_quality_consistency import clip_tower, path_of


def load(name):
    with np.load(golden("quality", name, travels=False)) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def musiq_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("musiq")
    net = NETWORKS["musiq"]["net"]
    sizes = {"width": net["hidden_size"], "mlp": net["mlp_dim"], "heads": net["num_heads"], "depth": net["num_layers"]}
    network, (digest, _), facts = filled(Musiq(**sizes), "musiq")
    assert digest == facts["weights_sha256"]
    save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(sizes))
    return str(folder / "model.safetensors")


@pytest.mark.parametrize("clip", ["zoom", "letterbox", "wide", "long_drift", "big"])
def test_imaging_quality(musiq_file, clip):
    expected = load("musiq.npz")
    frames = np.concatenate(list(read_frames(path_of(clip))))[:: int(expected[f"{clip}__every"])]
    metric = ImagingQuality(weights=musiq_file)
    accumulator = metric.begin("", 8.0)
    accumulator.update(frames)
    score = accumulator.compute()
    np.testing.assert_allclose(score.series["score"], expected[f"{clip}__per_frame"], atol=1e-2)
    assert score.value == pytest.approx(float(expected[f"{clip}__score_0_100"]), abs=1e-2)
    pictures = MusiqScores(musiq_file).load().pictures(frames[:1])
    assert tuple(pictures.shape) == tuple(expected[f"{clip}__input_shape"])
    found = (float(pictures.mean()), float(pictures.std(correction=0)))
    assert found == pytest.approx(expected[f"{clip}__input_mean_std"].tolist(), abs=1e-4)
    patches, positions, scales = patch_tokens(2 * pictures - 1)
    kept = expected[f"{clip}__mask"]
    np.testing.assert_array_equal(positions, expected[f"{clip}__positions"][kept])
    np.testing.assert_array_equal(scales, expected[f"{clip}__scales"][kept])
    flat = patches[0].flatten(1)
    np.testing.assert_allclose(flat.mean(dim=1), expected[f"{clip}__patch_mean"][kept], atol=1e-5)
    np.testing.assert_allclose(flat.abs().mean(dim=1), expected[f"{clip}__patch_absmean"][kept], atol=1e-5)


@pytest.fixture(scope="module")
def aesthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aesthetic")
    net = NETWORKS["aesthetic_head"]["net"]
    head, (digest, _), facts = filled(torch.nn.Linear(net["in_features"], net["out_features"]), "aesthetic_head")
    assert digest == facts["weights_sha256"]
    file = folder / "head.pth"
    torch.save(head.state_dict(), file)
    weights = clip_tower(tmp_path_factory.mktemp("clip_l14"), "clip_l14")
    return AestheticQuality(weights=weights, head=str(file))


@pytest.mark.parametrize("clip", ["hard_cut", "letterbox", "wide", "zoom", "flicker", "big"])
def test_aesthetic_quality(aesthetic, clip):
    expected = load("aesthetic.npz")
    accumulator = aesthetic.begin("", 8.0)
    for frames in read_frames(path_of(clip), chunk=9):
        accumulator.update(frames)
    score = accumulator.compute()
    np.testing.assert_allclose(score.series["score"], expected[f"{clip}__per_frame"], atol=1e-4)
    assert score.value == pytest.approx(float(expected[f"{clip}__score"]), abs=1e-5)
