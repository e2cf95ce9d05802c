"""SCuts against PySceneDetect's own reading of the same files, and against its version 0.6.2."""

import json

import pytest

from metrics.scuts import SceneCuts
from tests.conftest import golden, handed
from tests.parity.goldens import read_clip

GOLDEN = golden("metrics")

NAMES = sorted(path.stem for path in (GOLDEN / "scene").glob("*.json"))


def cuts_of(frames, fps, rule="installed"):
    accumulator = SceneCuts(rule).begin("", fps)
    accumulator.update(frames)
    return accumulator.compute()


@pytest.mark.parametrize("name", NAMES)
def test_cuts_of_both_rules_and_of_every_prefix(name):
    golden = json.loads((GOLDEN / "scene" / f"{name}.json").read_text())
    fps = json.loads((GOLDEN / "clips" / "meta.json").read_text())[name]["fps"]
    frames = read_clip(name)
    score = cuts_of(frames, fps)
    assert score.series["cuts"] == golden["cuts"]
    assert score.value == golden["n_cuts"]
    assert [score.parts["detector_height"], score.parts["detector_width"]] == golden["processed_size_hw"]
    assert cuts_of(frames, fps, "0.6.2").series["cuts"] == golden["cuts_by_version"]["0.6.2"]
    for stop, cuts in golden["cuts_prefix"].items():
        assert SceneCuts().window(score.series, 0, int(stop)) == len(cuts), stop


@pytest.mark.parametrize("name", ["nasa_13013_multistream.mp4", "seine_long_panda_swing_100f.mp4"])
def test_cuts_of_real_clips(name):
    from metrics.decoding import probe, read_frames

    clips = handed("clips")
    manifest = {clip["file"]: clip for clip in json.loads((clips / "manifest.json").read_text())}
    accumulator = SceneCuts().begin("", probe(clips / name).fps)
    for frames in read_frames(clips / name):
        accumulator.update(frames)
    assert accumulator.compute().series["cuts"] == manifest[name]["pyscenedetect_0.7.2"]["adaptive"]
