"""Files after public bug reports of other tools: frames, size and colours as FFmpeg gives them, or a refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrics.decoding import Probe, VideoReader, probe, read_frames
from metrics.errors import VideoError
from tests.conftest import handed

INPUTS = handed("inputs")
EXPECTED: dict[str, dict[str, Any]] = json.loads((INPUTS / "expected.json").read_text())
BY_FFMPEG = {name: facts for name, facts in EXPECTED.items() if "frames_ffmpeg" in facts}
SOUND = sorted(name for name, facts in BY_FFMPEG.items() if facts["sound"])
ALL_FILES = {path.name for path in INPUTS.iterdir() if path.is_file()} - {"README.md", "expected.json"}

TOLERANCE = 2.0
TOLERANCE_HDR = 6.0
FLAGS = {
    "dmg_flip_base.mp4": ("2 damaged frames",),
    "dropped.avi": ("states 60 fps, shows 14.2",),
    "raw.h264": ("completeness unknown",),
    "trim_033.mp4": ("states 30 fps, shows 24.4",),
    "vfr_cuts.mkv": ("states 30 fps, shows 25.3",),
}


def read(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.concatenate(list(read_frames(path)))


def test_every_file_is_expected() -> None:
    assert set(EXPECTED) == ALL_FILES


@pytest.mark.parametrize("name", SOUND)
def test_frames_size_and_colours_are_those_of_ffmpeg(name: str) -> None:
    facts = BY_FFMPEG[name]
    reader = VideoReader(INPUTS / name)
    frames = np.concatenate(list(reader.frames()))
    assert frames.shape == (facts["frames_ffmpeg"], facts["height"], facts["width"], 3)
    assert reader.condition.flags() == FLAGS.get(name, ())
    assert (probe(INPUTS / name).height, probe(INPUTS / name).width) == frames.shape[1:3]
    shown = frames[facts["index"]].astype(float)
    tolerance = TOLERANCE_HDR if "hdr" in name else TOLERANCE
    np.testing.assert_allclose(shown.mean(axis=(1, 2)), facts["mean_rgb"], atol=tolerance)
    corners = [
        shown[:, y, x].mean(axis=(1, 2)) for y in (slice(8), slice(-8, None)) for x in (slice(8), slice(-8, None))
    ]
    np.testing.assert_allclose(np.stack(corners, axis=1), facts["corners_rgb_8x8"], atol=tolerance)


@pytest.mark.parametrize("name", sorted(set(BY_FFMPEG) - set(SOUND)))
def test_torn_files_are_refused(name: str) -> None:
    with pytest.raises(VideoError, match="cut off") as caught:
        read(INPUTS / name)
    assert caught.value.reason == "truncated"


def test_damage_is_counted_and_refused_where_none_is_allowed() -> None:
    list(VideoReader(INPUTS / "dmg_flip_base.mp4", max_damaged=2).frames())
    for allowed in (0, 1):
        with pytest.raises(VideoError, match=f"than the {allowed} that are allowed") as caught:
            list(VideoReader(INPUTS / "dmg_flip_base.mp4", max_damaged=allowed).frames())
        assert caught.value.reason == "damaged"
    list(VideoReader(INPUTS / "base.mp4", max_damaged=0).frames())


def test_moving_webp_is_read_with_its_durations() -> None:
    frames = read(INPUTS / "anim.webp")
    assert frames.shape == (16, 48, 64, 3)
    assert probe(INPUTS / "anim.webp") == Probe(10.0, 48, 64)
    # The AVIF shows the same film.
    np.testing.assert_allclose(frames.mean(axis=(1, 2)), read(INPUTS / "anim.avif").mean(axis=(1, 2)), atol=3)


def test_grey_pictures_of_16_bits_keep_their_high_byte() -> None:
    frames = read(INPUTS / "grey16_tiff")
    from PIL import Image

    for frame, file in zip(frames, sorted((INPUTS / "grey16_tiff").iterdir()), strict=True):
        with Image.open(file) as picture:
            values = np.asarray(picture)
        assert values.max() > 255
        np.testing.assert_array_equal(frame, np.repeat((values >> 8)[..., None], 3, axis=2))


def test_pictures_come_upright() -> None:
    assert read(INPUTS / "exif6").shape == (6, 64, 48, 3)


def test_frames_named_by_seconds_come_in_order() -> None:
    from PIL import Image

    names = ["t0", "t0.25", "t0.5", "t0.75", "t1", "t1.25", "t1.5", "t1.75"]
    for frame, name in zip(read(INPUTS / "decimal_seconds"), names, strict=True):
        with Image.open(INPUTS / "decimal_seconds" / f"{name}.png") as picture:
            np.testing.assert_array_equal(frame, np.asarray(picture.convert("RGB")))


def test_ties_are_refused() -> None:
    with pytest.raises(VideoError, match=r"'frame_01.png' and 'frame_1.png' carry the same number") as caught:
        read(INPUTS / "ties")
    assert caught.value.reason == "order"


@pytest.mark.parametrize(("name", "rate"), [("raw.h264", None), ("offset5.webm", 30), ("dropped.avi", 60)])
def test_rates_are_stated_or_said_to_be_unknown(name: str, rate: float | None) -> None:
    found = probe(INPUTS / name)
    assert (found.fps if found.fps_known else None) == rate


def test_scuts_counts_frames_whatever_their_times() -> None:
    """The rule: scenes of 15 frames, never of half a second, so the same frames at another rate have the same cuts."""
    from metrics.scuts import SceneCuts

    cuts = []
    for name in ("vfr_cuts.mkv", "cfr_cuts.mkv"):
        accumulator = SceneCuts().begin("", probe(INPUTS / name).fps)
        for frames in read_frames(INPUTS / name):
            accumulator.update(frames)
        cuts.append(accumulator.compute().series["cuts"])
    assert cuts[0] == cuts[1] == [20, 50, 80, 110]
