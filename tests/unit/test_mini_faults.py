"""Injected faults: where they are, how strong, and that the rest of the clip is untouched."""

import numpy as np
import pytest

from generators.mini.faults import UNITS, Fault, FaultyClip, elsewhere, other_object, spliced
from generators.mini.grammar import parse, random_scene
from generators.mini.world import Clip

SCENE = parse("a striped red square sliding left and right on sand, the camera pans left")
STRENGTH = {
    "cut": 1.0,
    "freeze": 5,
    "loop": 0.5,
    "drift": 40,
    "blur": 2.0,
    "flicker": 12,
    "seam": 6,
    "identity": 1.0,
    "exposure": 40,
    "dip": 40,
    "return": 6,
}
N = 24


def clean(num_frames=N):
    return Clip(SCENE, 7).render(0, num_frames)


def spoilt(kind, strength=None, at=8, **options):
    return FaultyClip(SCENE, 7, Fault(kind, STRENGTH[kind] if strength is None else strength, at, **options), N)


@pytest.mark.parametrize("kind", sorted(UNITS))
def test_frames_differ_from_the_sound_clip_only_where_the_fault_says(kind):
    clip = spoilt(kind)
    changed = (clip.render(0, N) != clean()).any(axis=(1, 2, 3))
    assert not changed[~clip.affected].any()
    # The first frames of a fault that grows may round to the sound ones.
    assert changed[clip.affected].mean() > 0.8


@pytest.mark.parametrize("kind", sorted(UNITS))
def test_strength_zero_is_the_sound_clip(kind):
    clip = spoilt(kind, strength=0)
    np.testing.assert_array_equal(clip.render(0, N), clean())
    assert not clip.affected.any()
    assert clip.jumps == ()


@pytest.mark.parametrize("kind", sorted(UNITS))
def test_chunks_make_no_difference_and_frames_repeat(kind):
    whole = spoilt(kind).render(0, N)
    np.testing.assert_array_equal(np.concatenate(list(spoilt(kind).stream(chunk=5))), whole)


@pytest.mark.parametrize("kind", sorted(set(UNITS) - {"loop", "freeze", "seam", "return"}))
def test_a_stronger_fault_is_further_from_the_sound_clip(kind):
    weak, strong = (spoilt(kind, STRENGTH[kind] * share).render(0, N).astype(float) for share in (0.4, 1.0))
    assert np.abs(strong - clean()).mean() > 1.5 * np.abs(weak - clean()).mean()


def test_freeze_holds_a_frame_and_goes_on_where_it_stopped():
    frames = spoilt("freeze").render(0, N)
    for i in range(8, 13):
        np.testing.assert_array_equal(frames[i], clean()[7])
    np.testing.assert_array_equal(frames[13:], clean()[8 : N - 5])


def test_loop_plays_the_same_frames_again():
    clip = spoilt("loop", strength=0.75)
    frames = clip.render(0, N)
    np.testing.assert_array_equal(frames[6:12], frames[:6])
    assert clip.jumps == (6, 12, 18)


def test_seams_skip_time_in_all_layers():
    clip = spoilt("seam", at=8, every=6)
    assert clip.jumps == (8, 14, 20)
    np.testing.assert_array_equal(clip.render(7, 9)[1], clean(40)[14])
    np.testing.assert_array_equal(clip.render(20, 21)[0], clean(40)[20 + 3 * 6])


def test_flow_across_a_seam_is_exact():
    clip = spoilt("seam")
    flow, occluded = clip.flow(7)
    expected, hidden = Clip(SCENE, 7).flow(7, step=7)
    np.testing.assert_array_equal(flow, expected)
    np.testing.assert_array_equal(occluded, hidden)
    assert np.abs(flow).mean() > 3 * np.abs(clip.flow(3)[0]).mean()


def test_frozen_frames_have_no_flow():
    np.testing.assert_allclose(spoilt("freeze").flow(9)[0], 0, atol=1e-4)


def test_there_is_no_flow_across_a_cut():
    clip = spoilt("cut")
    assert clip.jumps == (8,)
    with pytest.raises(ValueError, match="another scene"):
        clip.flow(7)


def test_drift_shifts_colours_linearly_up_to_its_strength():
    difference = spoilt("drift", strength=20).render(0, N).astype(float) - clean()
    red, green, blue = difference.mean(axis=(1, 2)).T
    assert red[-1] == pytest.approx(20, abs=1.5)
    assert np.all(np.diff(red[8:]) > 0)
    assert not green.any()
    assert blue[-1] < -15


def test_flicker_has_the_standard_deviation_asked_for():
    levels = FaultyClip(SCENE, 7, Fault("flicker", 5, 1), 200).render(0, 200).astype(float).mean(axis=(1, 2, 3))
    sound = clean(200).astype(float).mean(axis=(1, 2, 3))
    assert (levels - sound).std() == pytest.approx(5, rel=0.15)


def test_blur_takes_the_fine_detail_and_keeps_the_mean():
    blurred, sound = spoilt("blur").render(0, N)[-1].astype(float), clean()[-1].astype(float)
    assert np.abs(np.diff(blurred, axis=1)).max() < 0.6 * np.abs(np.diff(sound, axis=1)).max()
    assert blurred.mean() == pytest.approx(sound.mean(), abs=1)


def test_the_other_object_moves_as_the_first_one_did():
    scene = other_object(SCENE, np.random.default_rng(0))
    before, after = SCENE.things[0], scene.things[0]
    assert (before.colour, before.shape) != (after.colour, after.shape)
    assert before.motion == after.motion
    assert scene.background == SCENE.background
    np.testing.assert_allclose(Clip(scene, 7).flow(3)[0][:, 32, 32], Clip(SCENE, 7).flow(3)[0][:, 32, 32])


def test_replacements_are_another_place_and_a_visible_object():
    rng = np.random.default_rng(1)
    for _ in range(50):
        scene = random_scene(rng, two_things=0.5)
        assert elsewhere(scene, rng).background != scene.background
        thing = other_object(scene, rng).things[0]
        assert thing.colour not in {t.colour for t in scene.things}


def test_spliced_clips_follow_each_other():
    clips = [Clip(SCENE, 7), Clip(elsewhere(SCENE, np.random.default_rng(0)), 8)]
    frames = np.concatenate(list(spliced(clips, [10], N, chunk=4)))
    np.testing.assert_array_equal(frames[:10], clean()[:10])
    np.testing.assert_array_equal(frames[10:], clips[1].render(10, N))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("melt", 1.0), "no fault is called"),
        (("cut", 1.5), "share"),
        (("loop", 1.0), "below 1"),
        (("blur", -1.0), "strength"),
        (("blur", 1.0, 0), "at >= 1"),
    ],
)
def test_senseless_faults_are_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        Fault(*arguments)


def test_a_fault_behind_the_end_is_refused():
    with pytest.raises(ValueError, match="longer clip"):
        FaultyClip(SCENE, 7, Fault("blur", 1.0, 24), 24)


def test_a_dip_is_sound_at_both_ends_and_a_return_shows_the_beginning():
    dip = spoilt("dip")
    assert not dip.affected[:9].any()
    assert not dip.affected[-8:].any()
    assert spoilt("dip").render(0, N)[12].mean() < clean()[12].mean() - 20
    returned = spoilt("return", 4, at=12)
    np.testing.assert_array_equal(returned.render(12, 16), clean()[:4])
    assert returned.jumps == (12, 16)
