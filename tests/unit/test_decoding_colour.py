"""RGB asked for in planes is, byte for byte, RGB asked for packed: the quicker way is no other conversion."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from metrics.decoding.colour import EXACT, RgbConverter

FORMATS = ["yuv420p", "yuvj420p", "yuv411p", "yuv422p10le", "yuv444p", "yuv444p16be", "nv12", "p010le", "yuyv422"]
FORMATS += ["yuva420p", "ayuv64le", "gray", "gray10le", "ya8", "pal8", "rgb24", "bgra", "gbrp", "rgb565le"]


@pytest.mark.parametrize("size", [(34, 66), (35, 67)])
@pytest.mark.parametrize("matrix", [av.video.reformatter.Colorspace.ITU709, av.video.reformatter.Colorspace.ITU601])
@pytest.mark.parametrize("name", FORMATS)
def test_planes_and_packed_pixels_are_the_same_bytes(
    name: str, matrix: av.video.reformatter.Colorspace, size: tuple[int, int]
) -> None:
    frame = av.VideoFrame(size[1], size[0], name)
    rng = np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    frame.colorspace, frame.time_base = matrix, Fraction(1, 8)
    # where chroma lies is unsaid in this frame, so that it needs no help to be converted
    packed = VideoReformatter().reformat(frame, format="rgb24", interpolation=EXACT).to_ndarray()
    np.testing.assert_array_equal(RgbConverter().convert(frame), packed)
