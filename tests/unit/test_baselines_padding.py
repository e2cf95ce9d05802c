from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.padding import blackened, content_box, letterbox, unletterbox
from generators.frames import resize


def frames(height: int, width: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("native", "box"),
    [
        ((576, 1024), (0, 224, 576, 576)),  # SVD and DynamiCrafter-XL: crop x 224:800
        ((704, 1280), (0, 288, 704, 704)),  # I2VGen-XL: crop x 288:992
        ((480, 640), (0, 80, 480, 480)),  # OpenSoraPlan: crop x 80:560
        ((512, 512), (0, 0, 512, 512)),  # SparseCtrl and SEINE: no padding
        ((720, 1280), (0, 280, 720, 720)),  # the refiner
    ],
)
def test_boxes_of_table_1(native: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    assert content_box(720, 720, *native) == box


def test_padding_is_black_and_leaves_the_frame_alone() -> None:
    video = frames(48, 48)
    padded = letterbox(video, 48, 80)
    assert padded.shape == (2, 48, 80, 3)
    np.testing.assert_array_equal(padded[:, :, 16:64], video)
    assert padded[:, :, :16].max() == padded[:, :, 64:].max() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 30), st.booleans())
def test_round_trip_is_exact_where_nothing_is_scaled(height: int, width: int, bars: int, wide: bool) -> None:
    video = frames(height, width)
    native = (height, width + bars) if wide else (height + bars, width)
    np.testing.assert_array_equal(unletterbox(letterbox(video, *native), height, width), video)


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 64), st.integers(8, 64), st.integers(8, 64), st.integers(8, 64))
def test_round_trip_keeps_the_size(height: int, width: int, native_height: int, native_width: int) -> None:
    padded = letterbox(frames(height, width), native_height, native_width)
    assert padded.shape == (2, native_height, native_width, 3)
    for crop in (True, False):
        assert unletterbox(padded, height, width, crop=crop).shape == (2, height, width, 3)


def test_without_cropping_the_bars_stay() -> None:
    squashed = unletterbox(letterbox(frames(48, 48), 48, 96), 48, 48, crop=False)
    assert squashed[:, :, :8].max() == 0
    assert squashed[:, :, 24].min() > 0


def test_blackened_touches_the_bars_only() -> None:
    native = frames(24, 40)
    black = blackened(native, 24, 24)
    np.testing.assert_array_equal(black[:, :, 8:32], native[:, :, 8:32])
    assert black[:, :, :8].max() == black[:, :, 32:].max() == 0
    assert native[:, :, :8].min() > 0


def test_resize_is_anti_aliased_and_lazy() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    small = resize(stripes, 8, 8)
    assert abs(int(small.mean()) - 127) <= 1
    assert small.std() < 12
    assert resize(stripes, 64, 64) is stripes
