"""Whether a container gave all the frames it promises, by comparing like with like.

Where it counts samples (MP4, QuickTime, AVIF), the packets that were read are compared with that table, those an edit
list hides included. Elsewhere its bytes decide (see `metrics.decoding.structure`), and where these leave it open, the
end of the last packet of all streams against the end the header states. Where there is neither, it cannot be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from metrics.decoding.structure import is_fragmented, structure_of
from metrics.errors import VideoError

ALLOWED_LOSS = 2.0
"""Frames by which a stated end may lie behind the last packet: writers round, and few say how long the last one is."""

STATES_ITS_END = ("matroska", "flv", "asf")
"""Formats whose duration FFmpeg takes from the header; of others it is an estimate from what is there."""


@dataclass
class Tally:
    """What was read of a container.

    Attributes:
        packets: packets of the video stream with bytes in them, complete ones only; hidden ones count.
        end: where the last packet of any stream ends, seconds on the container's own clock.
        runs_backwards: whether the packets of the video stream ever fall back in time, as in files that were joined.
    """

    packets: int = 0
    end: float = 0.0
    runs_backwards: bool = False
    _last: int | None = None

    def add(self, packet: Any, is_video: bool, frame_seconds: float) -> None:
        """Counts a packet.

        Args:
            packet: as demuxed, with bytes in it.
            is_video: whether it belongs to the stream that is read.
            frame_seconds: how long a packet lasts that does not say so.
        """
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is not None:
            seconds = float(packet.duration * packet.time_base) if packet.duration else frame_seconds * is_video
            self.end = max(self.end, float(shown * packet.time_base) + seconds)
        if not is_video:
            return
        self.packets += not packet.is_corrupt
        if packet.dts is not None:
            self.runs_backwards |= self._last is not None and packet.dts < self._last
            self._last = packet.dts


def end_known(path: Path, container: Any, stream: Any, tally: Tally, frame_seconds: float) -> bool:
    """Returns True if nothing is missing, False if that cannot be known.

    Args:
        path: the file.
        container: PyAV's, open.
        stream: the one that was read.
        tally: of all its packets.
        frame_seconds: the time from frame to frame.

    Raises:
        VideoError: frames are missing at the end.
    """
    names = container.format.name.split(",")
    structure = structure_of(path, container.format.name)
    if "mp4" in names and stream.frames and not is_fragmented(path):
        found = tally.packets
        if found < stream.frames:
            found = _packets_without_edits(path, stream.index)
        if found < stream.frames:
            raise VideoError(
                "truncated", f"{path} is cut off: {found} of the {stream.frames} frames in its table are there"
            )
        return structure == "whole" and not tally.runs_backwards
    if structure == "whole":
        return not tally.runs_backwards
    stated = container.duration / 1e6 if container.duration and set(names) & set(STATES_ITS_END) else None
    missing = None if stated is None else (stated - tally.end) / frame_seconds
    if missing is not None and missing > ALLOWED_LOSS:
        raise VideoError(
            "truncated", f"{path} is cut off: it ends at {tally.end:.2f} s, its header says at {stated:.2f} s"
        )
    if structure == "torn" and missing is None:
        raise VideoError("truncated", f"{path} is cut off: bytes that its own structure announces are missing")
    return structure == "unknown" and missing is not None and missing < 0.5 and not tally.runs_backwards


def _packets_without_edits(path: Path, index: int) -> int:
    """Returns how many complete packets a stream has where its edit list is ignored."""
    count = 0
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        try:
            for packet in container.demux(container.streams[index]):
                count += bool(packet.size) and not packet.is_corrupt
        except FFmpegError:
            return count
    return count
