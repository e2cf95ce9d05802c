"""The errors this package raises on purpose; everything else is a bug.

Example:
    >>> issubclass(VideoError, MetricError) and issubclass(WeightsError, MetricError)
    True
"""

from __future__ import annotations


class MetricError(Exception):
    """A score cannot be computed: the text says what is wrong, where, and what to do."""


class SettingError(MetricError, ValueError):
    """A metric was given a setting it does not know or cannot use."""


class WeightsError(MetricError):
    """Weights are missing, are of another network, or are not the file they claim to be."""


class VideoError(MetricError):
    """A file or folder cannot be read as a video: `reason` is one word for tables, the text a sentence for people.

    Attributes:
        reason: "missing", "empty", "unreadable" or "not-a-file" (a device, a pipe); "not-a-video", "not-frames",
            "no-frames", "one-frame"; "truncated", "damaged" (more than was allowed), "resized"; "rotated" (by no right
            angle), "depth" (of pictures, unknown) or "order" (of pictures, unknown).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
