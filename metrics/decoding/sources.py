"""What a path leads to, before any library opens it: a file that can be read twice, and which library reads it.

Example:
    >>> source_kind("/dev/null")
    Traceback (most recent call last):
    metrics.errors.VideoError: /dev/null is a device, a pipe or a socket: save the video as a file first
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrics.errors import VideoError

Picture = NDArray[np.uint8]
"""One upright frame, RGB [H, W, 3]."""

Kind = Literal["folder", "animation", "container"]

_PLAYLISTS = (b"#EXTM3U", b"ffconcat version", b"<MPD", b"v=0\r\n", b"v=0\n", b"[playlist]")
_STREAMS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
_BLANKS = b" \t\r\n\xef\xbb\xbf"
_HEAD_BYTES = 1024


UNEVEN = "states"
"""First word of the flag of a video whose frames do not keep the rate that its container states."""

END_UNKNOWN = "completeness unknown"
"""Said of a file that does not tell how many frames it should have."""


@dataclass
class Condition:
    """How sound a video is found to be while it is read.

    Attributes:
        damaged: frames that the decoder marked as corrupt or patched up, and packets that it could not decode.
        end_known: whether the container says that no frame is missing; False where it cannot be known; None until the
            last frame was read (a video of which the first frames only are read is never asked).
        uneven: the rate that the container states and the average one at which its frames are shown, where these two
            differ, as they do where frames were dropped or last unequally; known once the last frame was read.
    """

    damaged: int = 0
    end_known: bool | None = None
    uneven: tuple[float, float] | None = None

    def flags(self) -> tuple[str, ...]:
        """Returns what the row of a video should say of it, a few words each; nothing for a sound video.

        Example:
            >>> Condition(damaged=2, end_known=False, uneven=(60, 14.2)).flags()
            ('2 damaged frames', 'completeness unknown', 'states 60 fps, shows 14.2')
        """
        flags = [f"{self.damaged} damaged frame{'s' * (self.damaged > 1)}"] if self.damaged else []
        if self.end_known is False:
            flags.append(END_UNKNOWN)
        if self.uneven:
            flags.append(f"{UNEVEN} {{:.4g}} fps, shows {{:.3g}}".format(*self.uneven))
        return tuple(flags)


def absolute(path: str | Path) -> Path:
    """Returns a path that no library takes for an address: names may hold colons, such as "file:x.mp4"."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", and resolve() follows links


def source_kind(path: str | Path) -> Kind:
    """Returns which library reads a file, by its first bytes: pictures that move are Pillow's, all else is FFmpeg's.

    Raises:
        VideoError: there is nothing, nothing that can be read twice, or a playlist, which would read other files.
    """
    path = absolute(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode) or path.parent in _STREAMS:
            raise VideoError("not-a-file", f"{path} is a device, a pipe or a socket: save the video as a file first")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VideoError("missing", f"there is no {path}") from error
    except (OSError, ValueError) as error:
        raise VideoError("unreadable", f"{path} cannot be opened: {error}") from error
    if not head:
        raise VideoError("empty", f"{path} has no bytes in it")
    text = head.lstrip(_BLANKS)
    if text.startswith(_PLAYLISTS) or (text.startswith(b"<?xml") and b"<MPD" in text):
        raise VideoError("not-a-video", f"{path} is a playlist: give the videos it names")
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return "animation" if is_webp or head.startswith(b"\x89PNG\r\n\x1a\n") else "container"
