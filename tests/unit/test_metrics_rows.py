"""Rows that grow with a video: in order, of one type, and in few large pieces."""

import numpy as np
import pytest

from metrics.features.rows import ROWS_PER_BLOCK, FrameRows


@pytest.mark.parametrize("step", [1, 7, ROWS_PER_BLOCK, 2 * ROWS_PER_BLOCK + 3])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_rows_come_back_as_they_were_appended(step, shape):
    given = np.random.default_rng(0).random((2 * ROWS_PER_BLOCK + 3, *shape))
    rows = FrameRows(np.float64)
    for start in range(0, len(given), step):
        rows.append(given[start : start + step])
    np.testing.assert_array_equal(rows.array((0, *shape)), given)


def test_rows_are_copies_of_the_type_that_was_asked_for():
    given = np.full((2, 2), 1.5)
    rows = FrameRows(np.float32)
    rows.append(given)
    given[:] = 0
    found = rows.array((0, 2))
    assert found.dtype == np.float32
    assert found.tolist() == [[1.5, 1.5], [1.5, 1.5]]


def test_without_rows_the_shape_is_the_one_that_was_named():
    rows = FrameRows(np.uint8)
    rows.append([])
    assert rows.array((0, 16, 3)).shape == (0, 16, 3)


def test_a_full_block_leaves_no_empty_one_behind():
    rows = FrameRows(np.int64)
    rows.append(np.arange(ROWS_PER_BLOCK))
    assert rows.array((0,)).tolist() == list(range(ROWS_PER_BLOCK))
