"""Frames on their way to other programs and back: a clip without loss, pictures by number, whatever a program writes.

For methods that are programs of their own. Everything a network of ours sees stays an array and never passes here.

Example:
    >>> import tempfile
    >>> clip = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_clip(Path(folder) / "a.mp4", clip, fps=16.0)
    ...     bool((read_answer_frames(Path(folder) / "a.mp4") == clip).all())
    True
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from generators.api import Frames

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm")
"""Endings of the files that are frames of a folder."""


def write_clip(path: Path, frames: Frames, fps: float) -> None:
    """Writes frames [T, H, W, 3] as an mp4 without loss: H.264 over RGB, which usual readers open.

    Args:
        path: ends in .mp4.
        frames: height and width are even.
        fps: frames per second.
    """
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "rgb24", {"qp": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def write_pictures(folder: Path, frames: Frames) -> None:
    """Writes frames as folder/00000.png and so on; makes the folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.png")


def read_answer_frames(path: Path) -> Frames:
    """Returns all frames [T, H, W, 3] of a video file, or of a folder of pictures in the order of their numbers.

    Raises:
        ValueError: there is no frame, or frames differ in size.
    """
    frames = _pictures(path) if path.is_dir() else _video(path)
    if not frames:
        raise ValueError(f"{path} holds no frame")
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{path} holds frames of different sizes")
    return np.stack(frames)


def _video(path: Path) -> list[Frames]:
    import av

    try:
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (av.FFmpegError, IndexError) as cause:
        raise ValueError(f"{path} cannot be read as a video ({cause})") from cause


def _pictures(folder: Path) -> list[Frames]:
    from PIL import Image

    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
    return [np.asarray(Image.open(file).convert("RGB")) for file in sorted(files, key=_natural)]


def _natural(file: Path) -> list[tuple[int, str]]:
    """Returns a key by which frame_2 comes before frame_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]
