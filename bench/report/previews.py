"""Makes previews that browsers play beside the lossless videos: H.264 in MP4, small, with short groups of pictures.

A preview is named after the content of its video and after how it is coded, so it is made once. It is an accelerator of
the page: a video that cannot be previewed costs a sentence and nothing else.

Example:
    >>> preview_size(64, 64), preview_size(720, 720), preview_size(480, 853)
    ((256, 256), (384, 384), (216, 384))
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.errors import BenchError, StoreError
from bench.files import replacing
from bench.records import Record
from bench.report.sources import Sources, preview_file
from generators.api import Frames

PREVIEW_SIDE = 384
"""Longest side of a preview in pixels: four players stand beside each other on a desk's screen."""

ENLARGED = 4
"""Largest whole factor by which small videos are enlarged, pixel by pixel, so that nothing is smoothed over."""

SLOWEST = Fraction(1, 1001)
"""Frames a second of a preview, at least: what the player's clock can state."""

PREVIEW_GROUP = 12
"""Frames per group of pictures: a seek decodes at most so many."""

QUALITY = "28"
"""Constant rate factor of x264: artefacts of the coding stay below those of the systems."""


@dataclass(frozen=True)
class Preview:
    """One preview.

    Attributes:
        file: path below the folder of the report.
        height: in pixels.
        width: in pixels.
    """

    file: str
    height: int
    width: int


@dataclass(frozen=True)
class Previews:
    """All previews by key of their record, with a sentence for each video that has none."""

    by_key: Mapping[str, Preview]
    notes: tuple[str, ...]


def preview_size(height: int, width: int) -> tuple[int, int]:
    """Returns height and width of the preview of a video: enlarged by a whole factor or shrunk, both even."""
    longest = max(height, width)
    factor: float = min(ENLARGED, PREVIEW_SIDE // longest) if longest <= PREVIEW_SIDE else PREVIEW_SIDE / longest
    even = [max(2, 2 * int(side * factor / 2 + 0.5)) for side in (height, width)]
    return even[0], even[1]


def make_previews(sources: Sources, folder: Path) -> Previews:
    """Returns the previews of the finished videos, made where they are missing.

    Args:
        sources: records and where their videos are.
        folder: the folder of the report; previews go into `videos/` in it.
    """
    target = folder / "videos"
    target.mkdir(exist_ok=True)
    found = {record.key: _preview_of(record) for record in sources.records if record.status == "ok"}
    # Videos of the same content share a preview, which is made once: two writers would tear it.
    missing = {
        found[record.key].file: record
        for record in sources.records
        if record.key in found and not (folder / found[record.key].file).exists()
    }
    notes = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = {file: pool.submit(_make, sources, record, folder / file) for file, record in missing.items()}
        for file, job in jobs.items():
            try:
                job.result()
            except BenchError as error:
                notes.append(str(error))
                found = {key: preview for key, preview in found.items() if preview.file != file}
    return Previews(found, tuple(notes))


def _make(sources: Sources, record: Record, preview: Path) -> None:
    made = sources.preview(record)
    if made is not None:  # another folder's report, or a bundle, has it: no video is needed
        with replacing(preview) as temporary:
            shutil.copyfile(made, temporary)
        return
    encode_preview(sources.frames(record), preview, preview_size(record.height, record.width), record.fps)


def encode_preview(chunks: Iterable[Frames], preview: Path, size: tuple[int, int], fps: float) -> None:
    """Writes one preview.

    Args:
        chunks: frames [t, H, W, 3].
        preview: the file.
        size: height and width of the preview.
        fps: frames per second.

    Raises:
        StoreError: it cannot be written, or FFmpeg has no H.264 encoder on this machine.
    """
    import av

    rate = max(Fraction(fps), SLOWEST).limit_denominator(1001)
    height, width = size
    options = {"movflags": "faststart", "fflags": "bitexact"}
    try:
        with replacing(preview) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as target:
            stream = _stream(target, height, width, rate)
            for number, pixels in enumerate(frame for chunk in chunks for frame in chunk):
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                rule = "POINT" if height >= picture.height else "AREA"
                picture = picture.reformat(width, height, format="yuv420p", interpolation=rule)
                picture.pts, picture.time_base = number, 1 / rate
                target.mux(stream.encode(picture))
            target.mux(stream.encode())
    except (av.error.FFmpegError, ValueError) as cause:
        raise StoreError(f"{preview}: the preview could not be made ({cause}); the page goes without it") from cause


def _stream(target: Any, height: int, width: int, rate: Fraction) -> Any:
    stream = target.add_stream("libx264", rate=rate)
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    stream.codec_context.thread_count = 1  # one video per core; and the bytes must not follow the number of cores
    stream.codec_context.gop_size = PREVIEW_GROUP
    stream.codec_context.options = {
        "preset": "veryfast",
        "crf": QUALITY,
        "bf": "0",  # pictures are coded in the order they are shown: a step of one frame is one picture
        "flags": "bitexact",
    }
    return stream


def _preview_of(record: Record) -> Preview:
    height, width = preview_size(record.height, record.width)
    return Preview(preview_file(record), height, width)
