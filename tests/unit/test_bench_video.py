from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import StoreError
from bench.ffv1 import VideoWriter, file_digest, frames_digest, pick_frames, read_video


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(7, 64, 64, 3), (1, 2, 2, 3), (3, 5, 7, 3), (2, 144, 176, 3)])
def test_nothing_is_lost(tmp_path: Path, shape: tuple[int, ...]) -> None:
    frames, path = noise(*shape), tmp_path / "a.mkv"
    with VideoWriter(path, 10.0) as video:
        video.write(frames)
    assert np.array_equal(np.concatenate(list(read_video(path, chunk=3))), frames)


def test_same_frames_same_bytes_however_they_come(tmp_path: Path) -> None:
    frames = noise(9, 32, 48, 3)
    for name, cuts in (("a.mkv", [9]), ("b.mkv", [1, 4, 9])):
        with VideoWriter(tmp_path / name, 29.97) as video:
            for chunk in np.split(frames, cuts)[:-1]:
                video.write(chunk)
    assert file_digest(tmp_path / "a.mkv") == file_digest(tmp_path / "b.mkv")


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    frames = noise(4, 16, 16, 3)[::2, :, ::-1]
    with VideoWriter(tmp_path / "a.mkv", 10.0) as video:
        video.write(frames)
    assert np.array_equal(np.concatenate(list(read_video(tmp_path / "a.mkv"))), frames)


def test_a_video_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with VideoWriter(tmp_path / "a.mkv", 10.0) as video:
            video.write(noise(2, 16, 16, 3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with pytest.raises(StoreError, match=r"a\.mkv: not found"):
        list(read_video(path))
    path.write_bytes(b"not a video")
    with pytest.raises(StoreError, match=r"a\.mkv: missing or torn"):
        list(read_video(path))


def test_picked_frames_are_those_of_the_whole_video(tmp_path: Path) -> None:
    frames, path = noise(9, 16, 24, 3), tmp_path / "a.mkv"
    with VideoWriter(path, 10.0) as video:
        video.write(frames)
    found = pick_frames(path, {0, 4, 8})
    assert list(found) == [0, 4, 8]
    assert all(np.array_equal(found[index], frames[index]) for index in found)
    assert list(pick_frames(path, {7, 20})) == [7]
    path.write_bytes(b"not a video")
    with pytest.raises(StoreError, match=r"a\.mkv: missing or torn"):
        pick_frames(path, {0})


def test_digest_sees_shape_and_values() -> None:
    frames = noise(2, 4, 4, 3)
    assert frames_digest(frames) == frames_digest(frames.copy())
    assert frames_digest(frames) != frames_digest(frames.reshape(2, 2, 8, 3))
    assert frames_digest(frames) != frames_digest(frames ^ 1)
