"""Forward warping against a plain loop over pixels, and the per-pair numbers' corner cases."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.flow.warping import forward_warp, pair_numbers, resize_frames


def warp_by_loop(image, flow):
    """The definition: pixels are written one after the other, row by row; a later one overwrites."""
    _, height, width = image.shape
    warped, known = np.zeros_like(image), np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            to_x, to_y = np.float32(x) + flow[0, y, x], np.float32(y) + flow[1, y, x]
            if not (math.isfinite(to_x) and math.isfinite(to_y)):
                continue
            column, row = round(float(to_x)), round(float(to_y))  # Python rounds half to even, too
            if 0 <= column < width and 0 <= row < height:
                warped[:, row, column], known[row, column] = image[:, y, x], True
    return warped, known


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.4, 2.0, 50.0]),
)
def test_equals_a_loop_over_pixels(height, width, seed, scale):
    draw = np.random.default_rng(seed)
    image = draw.integers(0, 256, (3, height, width), dtype=np.uint8)
    flow = (np.round(draw.normal(0, scale, (2, height, width)) * 2) / 2).astype(np.float32)  # many exact halves
    flow[draw.random(flow.shape) < 0.05] = np.nan
    flow[draw.random(flow.shape) < 0.05] = np.inf
    flow[draw.random(flow.shape) < 0.05] = -3e38
    warped, known = forward_warp(torch.from_numpy(image)[None], torch.from_numpy(flow)[None])
    expected, expected_known = warp_by_loop(image, flow)
    np.testing.assert_array_equal(known[0].numpy(), expected_known)
    np.testing.assert_array_equal(warped[0].numpy(), expected)


def test_a_batch_is_its_members():
    draw = torch.Generator().manual_seed(0)
    left, right = torch.randint(0, 256, (2, 3, 3, 16, 16), generator=draw, dtype=torch.uint8)
    flow = torch.randn(3, 2, 16, 16, generator=draw)
    together = pair_numbers(left, right, flow)
    for i in range(3):
        alone = pair_numbers(left[i : i + 1], right[i : i + 1], flow[i : i + 1])
        assert together.warp_error[i] == alone.warp_error[0]
        assert together.motion[i] == alone.motion[0]
        assert together.known[i] == alone.known[0]


def test_no_known_cell_gives_no_error_and_says_so():
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    numbers = pair_numbers(white, torch.zeros_like(white), torch.full((1, 2, 8, 8), 100.0))
    assert (float(numbers.warp_error), int(numbers.known)) == (0.0, 0)


def test_resizing_to_the_same_size_or_to_none_changes_nothing():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for size in (0, 8, (8, 8)):
        np.testing.assert_array_equal(resize_frames(frames, size).permute(0, 2, 3, 1).numpy(), frames)
