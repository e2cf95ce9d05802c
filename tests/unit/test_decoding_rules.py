"""The reading rules one by one, on files written here: orientation, depth, folders, animations, rates, structure."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from metrics.decoding import Probe, VideoReader, probe, read_frames, source_kind
from metrics.errors import VideoError
from metrics.features.cache import content_hash

Video = np.ndarray[Any, np.dtype[np.uint8]]


def read(path: Path) -> Video:
    return np.concatenate(list(read_frames(path)))


def refusal(path: Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return caught.value


def write(
    path: Path, codec: str = "mpeg4", pixels: str = "yuv420p", fps: int = 10, size: tuple[int, int] = (64, 48)
) -> Path:
    draw = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        (stream.width, stream.height), stream.pix_fmt = size, pixels
        for i in range(6):
            shades = draw.integers(0, 256, (2, 2, 3), dtype=np.uint8)
            picture = np.ascontiguousarray(np.kron(shades, np.ones((size[1] // 2, size[0] // 2, 1), np.uint8)))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# -- orientation -------------------------------------------------------------------------------------------------------


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    fixed = (round(value * 65536) for value in (a, b, 0, c, d, 0, 0, 0))
    data[place : place + 36] = struct.pack(">9i", *fixed, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("axes", [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)])
@pytest.mark.parametrize("turned", [False, True])
def test_frames_come_upright_from_every_right_angle_and_its_mirror(
    tmp_path: Path, axes: tuple[int, int, int, int], turned: bool
) -> None:
    path = write(tmp_path / "a.mp4")
    lying = read(path)
    a, b, c, d = (axes[1], axes[0], axes[3], axes[2]) if turned else axes
    with_matrix(path, a, b, c, d)
    height, width = lying.shape[1:3]
    shown = np.zeros_like(lying.swapaxes(1, 2) if turned else lying)
    for y in range(height):
        for x in range(width):
            column, row = a * x + c * y, b * x + d * y
            shown[:, row % shown.shape[1], column % shown.shape[2]] = lying[:, y, x]
    # A mirrored axis counts from the far end: -1 stands for the last column where x is 0 based, so shift it by one.
    shown = np.roll(shown, (-(b + d < 0), -(a + c < 0)), axis=(1, 2))
    np.testing.assert_array_equal(read(path), shown)
    assert (probe(path).height, probe(path).width) == shown.shape[1:3]


@pytest.mark.parametrize("degrees", [89.0, 91.5, 45.0, 87.0])
def test_angles_near_a_right_one_count_as_it_and_others_are_refused(tmp_path: Path, degrees: float) -> None:
    path = write(tmp_path / "a.mp4")
    turn = np.deg2rad(degrees)
    with_matrix(path, np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn))
    if abs(degrees - 90) <= 2:
        assert read(path).shape == (6, 64, 48, 3)
    else:
        assert refusal(path).reason == "rotated"
        assert f"turned by {degrees:.0f} degrees" in str(refusal(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_heeded(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((6, 8, 3), np.uint8)
    upright[:3, :4] = 255  # the upper left quarter
    lies = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[orientation]
    shape = (6, 8) if orientation < 5 else (8, 6)
    stored = np.zeros((*shape, 3), np.uint8)
    rows, columns = (slice(0, n // 2) if not far else slice(n // 2, n) for n, far in zip(shape, lies, strict=True))
    stored[rows, columns] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(2):
        Image.fromarray(stored).save(tmp_path / f"{i}.png", exif=exif)
    if orientation in (6, 8):  # a quarter turn brings the corner from below left (6) or above right (8)
        assert read(tmp_path)[0, 0, 0, 0] == 255
    np.testing.assert_array_equal(read(tmp_path)[0], upright)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_deep_pictures_are_turned_as_flat_ones(tmp_path: Path, kind: type) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((4, 6), kind)
    stored[2:, :3] = np.iinfo(kind).max  # below left, which a quarter turn brings to the top left
    for i in range(2):
        Image.fromarray(stored).save(tmp_path / f"{i}.png", exif=exif)
    frame = read(tmp_path)[0]
    assert frame.shape == (6, 4, 3)
    assert frame[:3, :2].min() == 255
    assert frame.sum() == 6 * 3 * 255


# -- depth -------------------------------------------------------------------------------------------------------------


def test_deep_pictures_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    for suffix in ("png", "tif"):
        Image.fromarray(ramp).save(tmp_path / f"{suffix}0.{suffix}")
    frames = read(tmp_path)
    np.testing.assert_array_equal(frames[..., 0], np.stack([ramp >> 8] * 2))


def test_real_numbers_from_zero_to_one_are_grey_levels(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    Image.fromarray(values).save(tmp_path / "0.tif")
    assert read(tmp_path)[0, ..., 0].tolist() == [[0, 64], [128, 255]]


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (np.array([[0, 300]], np.int32), "0 to 300"),
        (np.array([[-1.0, 3.5]], np.float32), "from -1 to 3.5"),
        (np.array([[0.0, np.nan]], np.float32), "nan"),
    ],
)
def test_a_range_that_is_not_known_is_refused(tmp_path: Path, values: np.ndarray[Any, Any], seen: str) -> None:
    Image.fromarray(values).save(tmp_path / "0.tif")
    assert refusal(tmp_path).reason == "depth"
    assert seen in str(refusal(tmp_path))


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "reason", "words"),
    [
        (["0.ppm", "1.ppm"], "no-frames", "It holds .ppm"),
        (["a.mp4"], "no-frames", "It holds .mp4"),
        ([], "no-frames", "It is empty"),
        (["a/0.png"], "no-frames", "It holds folders: name what lies in them, such as '"),
        (["0.png", "0.jpg"], "order", "keep one file a frame"),
        (["1.png", "01.png"], "order", "carry the same number"),
    ],
)
def test_a_folder_says_what_it_needs(tmp_path: Path, names: list[str], reason: str, words: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, format="PNG")
    assert refusal(tmp_path).reason == reason
    assert words in str(refusal(tmp_path))


def test_a_moving_picture_among_frames_is_refused(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(3)]
    pictures[0].save(tmp_path / "0.webp", save_all=True, append_images=pictures[1:])
    assert "holds several pictures" in str(refusal(tmp_path))


# -- moving pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["webp", "png"])
@pytest.mark.parametrize("default_image", [False, True])
def test_moving_pictures_come_with_their_durations(tmp_path: Path, suffix: str, default_image: bool) -> None:
    pictures = [Image.new("RGB", (8, 6), (60 * i, 0, 0)) for i in range(4)]
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {"default_image": default_image}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=125, **options)
    shown = [60, 120, 180] if suffix == "png" and default_image else [0, 60, 120, 180]
    assert read(path)[:, 0, 0, 0].tolist() == shown
    assert probe(path) == Probe(8.0, 6, 8)
    path.write_bytes(path.read_bytes()[:-20])
    assert refusal(path).reason == "truncated"


# -- rates and structure -----------------------------------------------------------------------------------------------


def test_an_average_rate_that_cannot_be_true_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dv", "dvvideo", fps=25, size=(720, 576))
    assert probe(path) == Probe(25.0, 576, 720)


@pytest.mark.parametrize(("suffix", "codec", "known"), [("mkv", "mpeg4", True), ("ts", "mpeg2video", False)])
def test_a_row_says_where_completeness_cannot_be_known(tmp_path: Path, suffix: str, codec: str, known: bool) -> None:
    reader = VideoReader(write(tmp_path / f"a.{suffix}", codec))
    assert reader.condition.flags() == ()
    list(reader.frames(num_frames=3))
    assert reader.condition.end_known is None
    list(reader.frames())
    assert reader.condition.end_known is known
    assert reader.condition.flags() == (() if known else ("completeness unknown",))


def test_what_cannot_be_read_twice_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(VideoError, match="a device, a pipe or a socket"):
            source_kind(path)
        with pytest.raises(VideoError, match="a device, a pipe or a socket"):
            content_hash(path)


@pytest.mark.parametrize(
    "text", ["#EXTM3U\na.mp4\n", "ffconcat version 1.0\nfile a.mp4\n", "<?xml version='1.0'?><MPD/>"]
)
def test_playlists_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.mp4").write_text(text)
    assert "playlist" in str(refusal(tmp_path / "a.mp4"))


@pytest.mark.parametrize("name", ["file:a.mkv", "a: b.mkv", "-i.mkv", "%d.mkv", "http:x.mkv"])
def test_names_are_no_addresses_and_no_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("other.mkv")).rename(name)
    assert read(Path(name)).shape == (6, 48, 64, 3)
    unprintable = Path(os.fsdecode(b"\xff\n.mkv"))
    Path(name).rename(unprintable)
    assert read(unprintable).shape == (6, 48, 64, 3)
