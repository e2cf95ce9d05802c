"""The metrics against what the miniature world knows: exact flow, exact cuts, faults one put in oneself."""

import numpy as np
import pytest
import torch

from bench.validate.cuts import PAN_SPEEDS, detect, detections
from bench.validate.doses import SEAMS, DoseTask, measure_doses
from bench.validate.flow_error import PairTask, floor_of, measure_pairs, summarised
from bench.validate.instruments import find_instruments
from bench.validate.invariances import KINDS, coded, enlarged
from generators.mini.faults import Fault, FaultyClip
from generators.mini.grammar import parse
from generators.mini.world import FPS, Clip
from metrics.flow.warping import pair_numbers
from metrics.scoring import VideoScorer
from metrics.scuts import SceneCuts

TOOLS = find_instruments()
SCENE = parse("a striped red square sliding left and right on sand, the camera pans left")


def test_the_end_point_error_of_dis_is_below_that_of_no_flow():
    found = summarised([measure_pairs(PairTask("dis", "", clip)) for clip in range(8)])
    assert found.everywhere < 0.7 * found.motion
    assert found.visible <= found.everywhere


def test_the_mini_network_is_better_than_dis():
    errors = {
        name: summarised([measure_pairs(PairTask(name, weights, clip)) for clip in range(4)])
        for name, weights in (("dis", ""), ("mini", TOOLS.raft))
    }
    assert errors["mini"].everywhere < errors["dis"].everywhere


def test_the_warp_error_of_the_true_flow_vanishes_on_known_pixels():
    errors = [np.mean([floor_of((clip, size)) for clip in range(6)], axis=0) for size in (64, 128, 256)]
    inner, visible, everywhere, still = np.array(errors).T
    assert inner[0] > inner[1] > inner[2]
    assert inner[2] < 2.0  # grey levels squared, where pixels are rounded to the nearest quarter of the world's
    assert inner[2] < 0.02 * still[2]
    assert np.all(inner <= visible)
    assert np.all(visible <= everywhere)


def test_the_true_flow_of_whole_pixels_is_warped_without_any_error():
    clip = Clip(parse("a red square standing still on sand, the camera pans left"), 5)
    step = 2.0 / clip.flow(0, 1)[0][0, 0, 0]  # so many frames that the ground moves by two pixels
    frames = torch.from_numpy(clip.render_at(np.array([0.0, step]))).permute(0, 3, 1, 2)
    true = torch.from_numpy(clip.flow(0, step)[0])[None]
    true[:, :, 12:] = torch.nan  # the square is below
    numbers = pair_numbers(frames[:1], frames[1:], true)
    assert int(numbers.known[0]) == 12 * 62
    assert float(numbers.warp_error[0]) < 0.01


def test_hard_cuts_are_found_on_the_right_frame():
    found = detections([detect(("place", i, 1.0)) for i in range(30)])
    assert found.cuts == 60
    assert found.f1 >= 0.95


@pytest.mark.parametrize("speed", PAN_SPEEDS)
def test_fast_pans_raise_no_alarm(speed):
    assert [detect(("pan", i, speed)).found for i in range(3)] == [()] * 3


def scores(fault, num_frames=64):
    scorer = VideoScorer(TOOLS.metrics(), "", FPS)
    for frames in FaultyClip(SCENE, 7, fault, num_frames).stream():
        scorer.update(frames)
    return scorer.compute(SEAMS)


def test_seams_are_seen_by_the_seam_metric_and_not_by_scuts():
    sound, jumping = scores(Fault("seam", 0, 16, 16)), scores(Fault("seam", 2, 16, 16))
    assert jumping["scuts"].value == sound["scuts"].value == 0
    assert jumping["seams"].value > 1.3 * sound["seams"].value


def test_freezing_is_seen_by_stillness_and_not_by_the_warp_error():
    sound, frozen = scores(Fault("freeze", 0)), scores(Fault("freeze", 48, 16))
    assert frozen["stillness"].value > 70 > sound["stillness"].value
    assert frozen["stillness"].parts["flag"] == "frozen"
    assert frozen["mawe"].parts["mean_warp_error"] < 0.5 * sound["mawe"].parts["mean_warp_error"]


def test_a_measured_scene_answers_to_flicker():
    curves = measure_doses(DoseTask(TOOLS, 2, kinds=("flicker",)))
    assert curves["warp_error"]["flicker"] == sorted(curves["warp_error"]["flicker"])


def test_lossy_coding_moves_no_cut():
    scene, fault = SCENE, KINDS[1]
    frames = FaultyClip(scene, 7, fault, 64).render(0, 64)
    for chunks in ([frames], coded(enlarged(frames, 4), 28)):
        accumulator = SceneCuts().begin("", FPS)
        for part in chunks:
            accumulator.update(part)
        assert accumulator.compute().series["cuts"] == [32.0]
