"""Reads videos made anywhere, as a stream of RGB chunks, by one rule; docs/scoring.md states it for people.

The rule:
    - *Stream*: the first video stream of the container that is neither a cover picture nor a single picture beside a
      longer stream. Where a file holds the same film in several sizes, the first is what its maker put first.
    - *Frames*: every coded frame once, in the order it is shown. Frames are never repeated or dropped to make the rate
      constant, because a repeated frame changes every score: a video of variable rate is the list of its frames.
    - *Rate*: the average rate the container states. Where it states none, `DEFAULT_FPS`, and the probe says so.
    - *Orientation*: frames come upright, turned and mirrored by the display matrix or by EXIF.
    - *Colour*: 8-bit RGB by the codec library's conversion; transparent pixels keep the colour stored under them.
    - *Folders*: the picture files in a folder, in the order of the numbers in their names.
    - *Torn*: a file that lacks frames which its container promises is an error, not a shorter video. Where a container
      promises nothing, `Condition.end_known` is False.
    - *Damage*: frames that the decoder marks as corrupt or cannot decode are counted; `VideoReader` refuses a video
      with more of them than it is told to bear.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         Image.new("RGB", (8, 6), (i, 0, 0)).save(Path(folder) / f"{i}.png")
    ...     print(probe(folder))
    ...     print([chunk.shape for chunk in read_frames(folder, chunk=2)])
    Probe(fps=10.0, height=6, width=8, fps_known=False)
    [(2, 6, 8, 3), (1, 6, 8, 3)]
"""

from metrics.decoding.containers import DEFAULT_FPS, PLAUSIBLE_FPS
from metrics.decoding.pictures import frame_files
from metrics.decoding.reader import READER_VERSION, Probe, VideoReader, probe, read_frames
from metrics.decoding.sources import END_UNKNOWN, UNEVEN, Condition, source_kind

__all__ = [
    "DEFAULT_FPS",
    "END_UNKNOWN",
    "PLAUSIBLE_FPS",
    "READER_VERSION",
    "UNEVEN",
    "Condition",
    "Probe",
    "VideoReader",
    "frame_files",
    "probe",
    "read_frames",
    "source_kind",
]
