"""Files that were cut, flipped and joined: never a crash or a hang, and never a torn file without a flag.

`LONGVIDEO_FUZZ=5000 python -m pytest tests/unit/test_decoding_fuzz.py` tries more than the suite does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image

from metrics.decoding import VideoReader
from metrics.errors import VideoError

EXAMPLES = int(os.environ.get("LONGVIDEO_FUZZ", "300"))
SECONDS = 10.0
FRAMES, HEIGHT, WIDTH, FPS = 20, 48, 64, 10
PARTS = 10_000
"""Places in a file are told in so many parts of its length."""

Video = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Recipe:
    """How a small file is written.

    Attributes:
        codec: of its pictures.
        pixels: their format.
        options: of the container.
        sound: whether there is a second stream.
    """

    codec: str
    pixels: str = "yuv420p"
    options: Mapping[str, str] | None = None
    sound: bool = False


RECIPES = {
    "h264.mp4": Recipe("libx264"),
    "faststart.mp4": Recipe("libx264", options={"movflags": "faststart"}, sound=True),
    "fragments.mp4": Recipe("libx264", options={"movflags": "frag_keyframe+empty_moov"}),
    "mpeg4.mov": Recipe("mpeg4", options={"movflags": "faststart"}),
    "ffv1.mkv": Recipe("ffv1", "bgr0"),
    "h264.mkv": Recipe("libx264", sound=True),
    "live.mkv": Recipe("libx264", options={"live": "1"}),
    "vp8.webm": Recipe("libvpx"),
    "mpeg4.avi": Recipe("mpeg4"),
    "h263.flv": Recipe("flv"),
    "mpeg2.ts": Recipe("mpeg2video"),
    "vp8.ivf": Recipe("libvpx"),
    "moving.gif": Recipe("gif", "rgb8"),
    "moving.webp": Recipe("webp"),
    "moving.png": Recipe("png"),
}

UNKNOWN = ("live.mkv", "mpeg2.ts")
"""Files that do not say where they end."""


class Made:
    """A small file and the frames it gives whole."""

    def __init__(self, data: bytes, frames: Video) -> None:
        self.data, self.frames = data, frames


@cache
def made() -> Mapping[str, Made]:
    """Returns the whole files; no fixture, or every falsifying example would print them."""
    files = {}
    with TemporaryDirectory() as folder:
        for name, recipe in RECIPES.items():
            write(Path(folder) / name, recipe)
            frames, flags = read(Path(folder) / name)
            files[name] = Made((Path(folder) / name).read_bytes(), frames)
            assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3), name
            assert flags == (("completeness unknown",) if name in UNKNOWN else ()), name
    return files


def write(path: Path, recipe: Recipe) -> None:
    draw = np.random.default_rng(0)
    texture = draw.integers(0, 256, (20, 30, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
    frames = [np.ascontiguousarray(texture[i : i + HEIGHT, 2 * i : 2 * i + WIDTH]) for i in range(FRAMES)]
    if recipe.codec in ("webp", "png"):
        first, *others = map(Image.fromarray, frames)
        first.save(path, save_all=True, append_images=others, duration=1000 // FPS)
        return
    with av.open(str(path), "w", options=dict(recipe.options or {})) as container:
        stream = container.add_stream(recipe.codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, recipe.pixels
        sound = container.add_stream("aac", rate=8000) if recipe.sound else None
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            if sound is not None:
                heard = av.AudioFrame.from_ndarray(np.zeros((1, 8000 // FPS), np.float32), format="fltp", layout="mono")
                heard.sample_rate, heard.pts = 8000, i * 8000 // FPS
                container.mux(sound.encode(heard))
        container.mux(stream.encode())
        if sound is not None:
            container.mux(sound.encode())


def read(path: Path) -> tuple[Video, tuple[str, ...]]:
    reader = VideoReader(path)
    reader.probe()
    frames = np.concatenate(list(reader.frames()))
    return frames, reader.condition.flags()


NAMES = st.sampled_from(sorted(RECIPES))
PLACES = st.integers(0, PARTS - 1)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, list[tuple[Any, ...]]]:
    steps = st.one_of(
        st.tuples(st.just("end"), PLACES),
        st.tuples(st.just("middle"), PLACES, PLACES),
        st.tuples(st.just("zeros"), PLACES),
        st.tuples(st.just("flip"), st.lists(st.tuples(PLACES, st.integers(0, 7)), min_size=1, max_size=20)),
        st.tuples(st.just("join"), NAMES),
    )
    return draw(NAMES), draw(st.lists(steps, min_size=1, max_size=3, unique_by=lambda step: step[0]))


def apply(data: bytes, step: tuple[Any, ...]) -> bytes:
    kind, *how = step
    at = len(data) * how[0] // PARTS if isinstance(how[0], int) else 0
    if kind == "end":
        return data[:at]
    if kind == "zeros":  # a download whose place was taken on the disk beforehand
        return (data[: max(0, min(at, len(data) - 64))]).ljust(len(data), b"\0")
    if kind == "middle":
        return data[:at] + data[at + (len(data) - at) * how[1] // PARTS :]
    if kind == "join":
        return data + made()[how[0]].data
    flipped = bytearray(data)
    for place, bit in how[0]:
        if flipped:
            flipped[len(flipped) * place // PARTS] ^= 1 << bit
    return bytes(flipped)


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
)
@given(case=broken())
def test_broken_files_never_crash_hang_or_pass_as_shorter_videos(case: tuple[str, list[tuple[Any, ...]]]) -> None:
    name, steps = case
    data = made()[name].data
    for step in steps:
        data = apply(data, step)
    began = time.process_time()  # what else runs on the machine does not count
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"broken{Path(name).suffix}"
        path.write_bytes(data)
        try:
            frames, flags = read(path)
        except VideoError as error:
            event(f"refused: {error.reason}")
            return
        finally:
            assert time.process_time() - began < SECONDS
    kinds = {step[0] for step in steps}
    torn = bool(kinds & {"end", "middle", "zeros"}) and "flip" not in kinds
    event(f"read, {'flagged' if flags else 'not flagged'}")
    inside = [name, *(step[1] for step in steps if step[0] == "join")]
    lacks_frames = torn and not any(starts_whole(frames, made()[film].frames) for film in inside)
    assert flags or not lacks_frames


def starts_whole(frames: Video, whole: Video) -> bool:
    """Returns whether all frames of a whole file are there: what was cut held none of them."""
    return len(frames) >= len(whole) and bool(np.array_equal(frames[: len(whole)], whole))
