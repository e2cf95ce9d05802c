"""Scoring a stream: chunking never changes a bit, shared work is done once, windows agree with shorter videos."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from metrics.api import Score, mean_or_none, metric
from metrics.clip import ClipScore
from metrics.errors import SettingError, WeightsError
from metrics.features.clip import ClipFeatures
from metrics.features.dino import DinoFeatures
from metrics.features.musiq import MusiqScores
from metrics.features.tensors import read_tensors
from metrics.flow.raft import RAFT_MINI, build_raft, save_raft
from metrics.mawe import Mawe
from metrics.scoring import VideoScorer
from metrics.scuts import SceneCuts
from metrics.seams import Seams
from metrics.stillness import Stillness

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}


def walk(num_frames, height=64, width=64, seed=0):
    """Frames of a texture under a wandering window, with one exact duplicate and one cut."""
    draw = np.random.default_rng(seed)
    texture = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    y, x = np.cumsum(draw.integers(0, 3, (2, num_frames)), axis=1) % 90
    frames = np.stack([texture[j : j + height, i : i + width] for j, i in zip(y, x, strict=True)])
    if num_frames > 6:
        frames[4] = frames[3]
        frames[6:] = 255 - frames[6:]
    return frames


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_raft(build_raft(RAFT_MINI), RAFT_MINI, folder / "raft")
    (folder / "clip").mkdir()
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": {}}))
    model = open_clip.model.CLIP(**TINY_CLIP)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "clip" / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def everything(weights):
    flow = {"flow": "mini", "size": 64, "flow_weights": str(weights / "raft")}
    clip = str(weights / "clip")
    return {
        "mawe": Mawe(**flow),
        "paper": Mawe(mode="paper", flow="dis", size=0),
        "scuts": SceneCuts(),
        "clip": ClipScore(weights=clip),
        "seams": Seams(**flow, clip_weights=clip),
        "stillness": Stillness(**flow),
    }


def scores(metrics, frames, cuts=(), seams=(8,)):
    scorer = VideoScorer(metrics, "a texture", fps=8.0)
    edges = [0, *sorted(set(cuts)), len(frames)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            scorer.update(frames[start:stop])
    return scorer.compute(seams)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 18), st.lists(st.integers(1, 17), max_size=6))
def test_how_a_video_is_cut_into_calls_never_changes_a_bit(everything, num_frames, cuts):
    frames = walk(num_frames)
    whole = scores(everything, frames)
    assert scores(everything, frames, [c for c in cuts if c < num_frames]) == whole


def test_an_array_that_is_used_again_for_the_next_frames_does_no_harm(everything):
    frames = walk(18)
    scorer, buffer = VideoScorer(everything, "a texture", fps=8.0), np.empty_like(frames[:4])
    for start in range(0, 18, 4):
        count = len(frames[start : start + 4])
        buffer[:count] = frames[start : start + 4]
        scorer.update(buffer[:count])
    assert scorer.compute((8,)) == scores(everything, frames)


def test_a_metric_alone_gives_what_it_gives_in_company(everything):
    frames = walk(10)
    together = scores(everything, frames)
    for name, one in everything.items():
        accumulator = one.begin("a texture", fps=8.0)
        accumulator.update(frames)
        assert accumulator.compute((8,)) == together[name], name


def test_flow_and_clip_features_are_computed_once(everything, monkeypatch):
    opened = []
    for one in everything.values():
        if isinstance(one, SceneCuts):
            continue
        plain = one.open
        monkeypatch.setattr(
            one, "open", lambda source, prompt, plain=plain: opened.append(source) or plain(source, prompt)
        )
    scores(everything, walk(9))
    assert len(opened) == len(set(opened)) == 4  # mini flow, dis flow, clip, frame statistics


def test_series_are_what_json_holds_and_windows_read_the_whole(everything):
    frames = walk(10)
    for name, score in scores(everything, frames).items():
        assert json.loads(json.dumps(dict(score.series))) == dict(score.series), name
        json.dumps(dict(score.parts))
        assert everything[name].window(score.series, 0, len(frames)) == score.value, name


@pytest.mark.parametrize("name", ["paper", "scuts", "stillness"])
def test_a_prefix_window_is_the_score_of_the_shorter_video(everything, name):
    one, frames = everything[name], walk(22)
    series = scores({name: one}, frames)[name].series
    for stop in (2, 8, 9, 15):
        assert one.window(series, 0, stop) == pytest.approx(scores({name: one}, frames[:stop])[name].value)


def test_a_third_party_metric_needs_neither_tracks_nor_weights():
    @metric(name="red", title="Red", unit="0..255", better="neither", version="1")
    @dataclasses.dataclass
    class Red:
        def begin(self, prompt, fps):
            return RedSum(self)

        def window(self, series, start, stop):
            return mean_or_none(series["red"][start:stop])

    class RedSum:
        def __init__(self, owner):
            self.owner, self.red = owner, []

        def update(self, frames):
            self.red += frames[..., 0].mean(axis=(1, 2)).tolist()

        def compute(self, seams=()):
            return Score(self.owner.window({"red": self.red}, 0, len(self.red)), {}, {"red": self.red})

    scorer = VideoScorer({"red": Red()}, "", 8.0)
    scorer.update(np.full((3, 8, 8, 3), 9, np.uint8))
    assert scorer.compute()["red"].value == 9.0
    assert scorer.seconds["red"] > 0


def test_a_frozen_video_has_no_mawe_and_says_why():
    score = scores({"mawe": Mawe(flow="dis", size=0)}, walk(1).repeat(5, axis=0))["mawe"]
    assert score.value is None
    assert score.reason == "4 of 4 frame pairs have no motion to divide by"
    assert score.parts["zero_motion_pairs"] == score.parts["zero_error_pairs"] == 4


def test_one_frame_gives_no_value_but_reasons(everything):
    for name, score in scores(everything, walk(1)).items():
        if name in ("mawe", "paper", "stillness"):
            assert score.value is None, name
            assert "two" in score.reason


def test_one_bad_pair_shows_in_the_parts():
    from metrics.mawe import _counts, _readings

    pairs = {
        "warp_error": np.float32([4, 4, 0, 0]),
        "motion": np.float32([1, 0.001, np.inf, 0]),
        "motion_squared": np.array([1, 1e-6, np.inf, 0]),
        "known": np.array([9, 9, 0, 9]),
        "cells": np.array([9]),
    }
    counts, readings = _counts(pairs), _readings(pairs, 1.0)
    assert counts == {
        "pairs": 4,
        "zero_motion_pairs": 1,
        "zero_error_pairs": 2,
        "nonfinite_pairs": 1,
        "unknown_pairs": 1,
        "known_fraction": 0.75,
    }
    assert readings["max_pair"] == 1
    assert readings["max_pair_ratio"] == pytest.approx(4000)
    assert readings["official"] is None


def test_clip_without_a_prompt_and_with_a_long_one(weights):
    one = ClipScore(weights=str(weights / "clip"))
    frames = walk(3)
    empty = VideoScorer({"clip": one}, " ", 8.0)
    empty.update(frames)
    score = empty.compute()["clip"]
    assert (score.value, bool(score.reason)) == (None, True)
    for words, truncated in ((14, False), (15, True), (30, True)):
        scorer = VideoScorer({"clip": one}, "cat " * words, 8.0)
        scorer.update(frames)
        assert scorer.compute()["clip"].parts["prompt_truncated"] is truncated


def test_a_long_prompt_is_found_out_where_the_end_also_pads():
    """The tokenizer of the miniature CLIP pads with its end, as some released ones do."""
    weights = Path(__file__).resolve().parents[2] / "generators" / "mini" / "weights" / "clip_score"
    network = ClipFeatures(weights=str(weights)).load()
    longest = network._tokenizer.context_length - 2
    assert [network.text("red " * words)[1] for words in (1, longest, longest + 1, 2 * longest)] == [
        False,
        False,
        True,
        True,
    ]


def test_half_precision_towers_stay_close(weights):
    full, half = (ClipScore(weights=str(weights / "clip"), dtype=dtype) for dtype in ("float32", "bfloat16"))
    frames = walk(4)
    values = [scores({"clip": one}, frames)["clip"].value for one in (full, half)]
    assert values[0] == pytest.approx(values[1], abs=0.2)  # 0.08 measured; another video differs by 1.9
    assert values[0] != values[1]


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
def test_preprocessing_modes_take_wide_frames(weights, mode):
    one = ClipScore(weights=str(weights / "clip"), preprocess=mode)
    assert scores({"clip": one}, walk(2, 50, 90))["clip"].value is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mawe(mode="v2"), "'official' and 'paper'"),
        (lambda: Mawe(coeff=0), "must be positive"),
        (lambda: SceneCuts(rule="0.5"), "'installed' and '0.6.2'"),
        (lambda: ClipScore(preprocess="stretch"), "'crop', 'squash', 'pad' or 'vbench'"),
        (lambda: ClipScore(dtype="int8"), "bfloat16"),
        (lambda: Mawe(flow="dis", size=-1).begin("", 8.0), "side of a square"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_a_clip_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"open_clip_config\.json and open_clip_model\.safetensors"):
        ClipScore(weights=str(tmp_path / "nowhere")).begin("x", 8.0)


@pytest.mark.parametrize(
    ("feature", "configuration"),
    [
        (lambda folder: ClipFeatures(weights=str(folder)), "open_clip_config.json"),
        (lambda folder: DinoFeatures(weights=str(folder)), "config.json"),
        (lambda folder: MusiqScores(weights=str(folder / "musiq.pth")), "config.json"),
    ],
)
def test_kept_features_know_the_configuration_beside_the_weights(tmp_path, feature, configuration):
    (tmp_path / configuration).write_text('{"heads": 6}')
    before = feature(tmp_path).identity("")
    (tmp_path / configuration).write_text('{"heads": 12}')
    assert feature(tmp_path).identity("") != before


@pytest.mark.parametrize(("name", "content"), [("a.safetensors", b"version https://git-lfs"), ("a.pth", b"")])
def test_what_holds_no_weights_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} cannot be read as weights"):
        read_tensors(tmp_path / name)


def test_a_training_checkpoint_is_not_taken_for_weights(tmp_path):
    torch.save({"student": {"weight": torch.ones(1)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="a training checkpoint"):
        read_tensors(tmp_path / "a.pth")
