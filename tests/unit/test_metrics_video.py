"""Reading video files: one rule for every oddity, and a named reason for everything that cannot be read."""

import shutil
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import metrics
from metrics.decoding import DEFAULT_FPS, Probe, probe, read_frames
from metrics.errors import VideoError
from metrics.features.cache import FeatureCache, content_hash, default_folder
from metrics.features.flow_statistics import FlowStatistics
from metrics.files import score_file
from metrics.mawe import Mawe
from metrics.scuts import SceneCuts
from tests.conftest import handed


def picture_frames(num_frames=12, height=48, width=64, seed=0):
    draw = np.random.default_rng(seed)
    texture = draw.integers(0, 256, (40, 60, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([texture[i : i + height, 2 * i : 2 * i + width] for i in range(num_frames)])


def write(path, frames, codec="ffv1", fps=8, pixels="bgr0", times=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (i if times is None else times[i]), Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path, **options):
    return np.concatenate(list(read_frames(path, **options)))


def reason_of(path):
    with pytest.raises(VideoError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_a_lossless_file_comes_back_bit_for_bit(tmp_path, suffix):
    frames = picture_frames()
    path = write(tmp_path / f"a.{suffix}", frames)
    assert probe(path) == Probe(8.0, 48, 64)
    np.testing.assert_array_equal(read(path, chunk=5), frames)
    assert [len(chunk) for chunk in read_frames(path, chunk=5)] == [5, 5, 2]
    np.testing.assert_array_equal(read(path, chunk=5, num_frames=7), frames[:7])


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "mp4"), ("libvpx-vp9", "webm"), ("gif", "gif")])
def test_common_formats(tmp_path, codec, suffix):
    pixels = "rgb8" if codec == "gif" else "yuv420p"
    path = write(tmp_path / f"a.{suffix}", picture_frames(), codec, pixels=pixels)
    assert read(path).shape == (12, 48, 64, 3)
    assert probe(path).fps == pytest.approx(8, rel=0.05)


def test_variable_rate_gives_every_frame_once(tmp_path):
    frames = picture_frames(6)
    path = write(tmp_path / "a.mkv", frames, times=[0, 1, 2, 10, 11, 40])
    np.testing.assert_array_equal(read(path), frames)


def test_rotated_frames_come_upright(tmp_path):
    path = write(tmp_path / "a.mp4", picture_frames(), "mpeg4", pixels="yuv420p")
    lying = read(path)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # the track header's display matrix: a quarter turn in its place
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    assert (probe(path).height, probe(path).width) == (64, 48)
    np.testing.assert_array_equal(read(path), np.rot90(lying, -1, axes=(1, 2)))


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for i in (0, 2, 10, 9):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert read(tmp_path)[:, 0, 0, 0].tolist() == [0, 2, 9, 10]
    assert probe(tmp_path) == Probe(DEFAULT_FPS, 8, 8, fps_known=False)


def test_what_cannot_be_read_has_a_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video, whatever its name says" * 10)
    (tmp_path / "folder").mkdir()
    (tmp_path / "mixed").mkdir()
    for i, side in enumerate((8, 9)):
        Image.new("RGB", (side, side)).save(tmp_path / "mixed" / f"{i}.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no picture")
    assert reason_of(tmp_path / "nowhere.mp4") == "missing"
    assert reason_of(tmp_path / "empty.mp4") == "empty"
    assert reason_of(tmp_path / "text.mp4") == "not-a-video"
    assert reason_of(tmp_path / "folder") == "no-frames"
    assert reason_of(tmp_path / "mixed") == "resized"
    assert reason_of(tmp_path / "broken") == "not-a-video"


def test_a_file_of_sound_only_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    assert reason_of(path) == "not-a-video"


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", "mkv"), ("mpeg4", "mp4")])
def test_torn_files_are_not_shorter_videos(tmp_path, codec, suffix):
    whole = write(tmp_path / f"a.{suffix}", picture_frames(40), codec, pixels="bgr0" if codec == "ffv1" else "yuv420p")
    torn = tmp_path / f"torn.{suffix}"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert reason_of(torn) in ("truncated", "not-a-video")


def test_a_torn_file_whose_header_comes_first_is_caught(tmp_path):
    for name in ("opensoraplan_sky_255f.mp4", "sam2_bedroom_200f.mp4", "bigbuckbunny_132f.mp4"):
        data = (handed("clips") / name).read_bytes()
        torn = tmp_path / name
        torn.write_bytes(data[: int(0.6 * len(data))])
        assert reason_of(torn) in ("truncated", "not-a-video")


def test_odd_real_files_follow_the_rule():
    multi = handed("clips") / "nasa_13013_multistream.mp4"
    assert probe(multi) == Probe(25.0, 180, 320)
    assert sum(len(chunk) for chunk in read_frames(multi)) == 325
    assert probe(handed("clips") / "genlvideo_car_isolated_32f.gif") == Probe(DEFAULT_FPS, 256, 256, fps_known=False)


def test_a_single_picture_is_no_video_to_score(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "0.png")
    with pytest.raises(VideoError, match="single picture"):
        score_file(tmp_path, {"scuts": SceneCuts()})


def test_scoring_again_in_another_mode_computes_no_flow(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mkv", picture_frames())
    cache = FeatureCache(tmp_path / "cache")
    first = score_file(path, {"mawe": Mawe(flow="dis", size=0)}, cache=cache)
    moved = shutil.copy(path, tmp_path / "renamed.mkv")
    monkeypatch.setattr(FlowStatistics, "load", lambda self: pytest.fail("flow was loaded again"))
    again = score_file(moved, {"mawe": Mawe(flow="dis", size=0)}, cache=cache)
    paper = score_file(moved, {"mawe": Mawe(mode="paper", flow="dis", size=0)}, cache=cache)
    assert again.scores == first.scores
    assert paper.scores["mawe"].value == first.scores["mawe"].parts["paper"]


def test_the_cache_knows_content_settings_and_length_apart(tmp_path):
    a, b = (write(tmp_path / f"{s}.mkv", picture_frames(seed=s)) for s in (0, 1))
    assert len({content_hash(a), content_hash(b), content_hash(a, 5)}) == 3
    names = {FlowStatistics("dis", size).identity("") for size in (0, 64)}
    assert len(names) == 2


def test_the_cache_keeps_its_limit_and_drops_the_oldest_and_the_damaged(tmp_path):
    import os

    cache = FeatureCache(tmp_path, max_bytes=30_000)
    noise = np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8)
    for i in range(4):
        cache.put("video", str(i), {"noise": noise})
        for path in tmp_path.glob("*.npz"):  # one second older than what comes next
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
    kept = [i for i in range(4) if cache.get("video", str(i)) is not None]
    assert kept == [2, 3]
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 30_000
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    assert cache.get("video", "3") is None


def test_a_cache_that_cannot_be_used_warns_once_and_keeps_nothing(tmp_path, monkeypatch):
    warned = []
    (tmp_path / "file").touch()
    arrays = {"noise": np.zeros(3)}
    for folder in (None, tmp_path / "file" / "below", Path("/proc/none"), Path("/dev/full/below")):
        cache = FeatureCache(folder, warn=warned.append)
        cache.put("video", "a", arrays)
        assert cache.get("video", "a") is None
    assert ["no home folder" in text or "cannot be made" in text for text in warned] == [True] * 4
    with pytest.warns(UserWarning, match="no home folder"):
        FeatureCache(None)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert default_folder() is None


def test_scores_survive_a_cache_that_becomes_full(tmp_path, monkeypatch):
    warned = []
    cache = FeatureCache(tmp_path / "cache", warn=warned.append)
    monkeypatch.setattr(np, "savez_compressed", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    path = write(tmp_path / "a.mkv", picture_frames())
    scored = score_file(path, {"mawe": Mawe(flow="dis", size=0)}, cache=cache)
    assert scored.num_frames == 12
    assert len(warned) == 1
    assert "No space left" in warned[0]
    assert not list((tmp_path / "cache").iterdir())


def test_score_in_three_lines_with_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    path = write(tmp_path / "a.mkv", picture_frames())
    scores = metrics.score(path, prompt="a texture", metrics=[Mawe(flow="dis", size=0), "scuts"], cache=True)
    assert list(scores) == ["mawe", "scuts"]
    assert list((tmp_path / "home" / "longvideo-bench" / "features").glob("*.npz"))


def test_progress_is_told_in_frames(tmp_path):
    told = []
    scored = score_file(write(tmp_path / "a.mkv", picture_frames(20)), {"scuts": SceneCuts()}, on_frames=told.append)
    assert sum(told) == scored.num_frames == 20
