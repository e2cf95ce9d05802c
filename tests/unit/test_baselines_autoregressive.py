from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.autoregressive import autoregress
from generators.api import Request, Start
from generators.seeds import chunk_seed


@dataclass
class Recorder:
    """A chunk model that remembers what it was given and answers with frames that count on."""

    num_frames: int = 6
    conditioning_frames: int = 1
    height: int = 0
    width: int = 0
    pad: str = "once"
    unpad: bool = True
    begun: list[str] = field(default_factory=list)
    calls: list[tuple[np.ndarray, int]] = field(default_factory=list)
    size_multiple: int = 1

    def begin(self, prompt: str) -> Callable[[np.ndarray, int], np.ndarray]:
        self.begun.append(prompt)

        def extend(conditioning: np.ndarray, seed: int) -> np.ndarray:
            self.calls.append((conditioning.copy(), seed))
            first = int(conditioning[0, conditioning.shape[1] // 2, conditioning.shape[2] // 2, 0])
            levels = np.arange(first, first + self.num_frames).astype(np.uint8)
            return np.broadcast_to(levels[:, None, None, None], (self.num_frames, *conditioning.shape[1:])).copy()

        return extend


def ramp(count: int = 16, height: int = 8, width: int = 8) -> Start:
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, height, width, 3)).copy()
    return Start(frames, frames)


def ask(num_frames: int, seed: int = 3, size: int = 8) -> Request:
    return Request("counting", seed, num_frames, size, size, 8.0)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 30), st.integers(1, 16), st.integers(0, 240))
def test_frames_follow_without_gap_or_repeat(num_frames: int, given_frames: int, total: int) -> None:
    if num_frames <= given_frames:
        return
    model = Recorder(num_frames, given_frames)
    chunks = list(autoregress(model, ask(total), ramp()))
    levels = [int(frame[0, 0, 0]) for chunk in chunks for frame in chunk]
    assert levels == [t % 256 for t in range(16, total)]
    assert all(len(chunk) == num_frames - given_frames for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("num_frames", "given_frames", "calls"), [(25, 1, 10), (14, 1, 18), (16, 1, 15), (16, 4, 19), (16, 8, 28)]
)
def test_chunk_counts_of_table_1(num_frames: int, given_frames: int, calls: int) -> None:
    model = Recorder(num_frames, given_frames)
    assert sum(len(chunk) for chunk in autoregress(model, ask(240), ramp())) == 224
    assert len(model.calls) == calls
    assert model.begun == ["counting"]


def test_nothing_is_loaded_where_nothing_is_missing() -> None:
    model = Recorder()
    assert list(autoregress(model, ask(16), ramp())) == []
    assert model.begun == []


def test_every_chunk_has_its_own_seed() -> None:
    model = Recorder()
    list(autoregress(model, ask(40), ramp()))
    assert [seed for _, seed in model.calls] == [chunk_seed(3, "counting", chunk) for chunk in range(1, 6)]
    seeds = [chunk_seed(s, p, c) for s in range(3) for p in ("a", "b", "a\n1") for c in range(12)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert chunk_seed(0, "a prompt", 1) == 2246538433148663870  # a change here changes every published video


def test_padding_once_or_every_chunk() -> None:
    once, every = (Recorder(width=16, pad=pad) for pad in ("once", "every_chunk"))
    for model in (once, every):
        list(autoregress(model, ask(30), ramp()))
    assert once.calls[0][0].shape == (1, 8, 16, 3)
    assert once.calls[0][0][:, :, :4].max() == every.calls[0][0][:, :, :4].max() == 0
    assert once.calls[1][0][:, :, :4].min() > 0
    assert every.calls[1][0][:, :, :4].max() == 0
    assert every.calls[1][0][:, :, 4:12].min() > 0


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="conditioning_frames"):
        list(autoregress(Recorder(40, 17), ask(240), ramp()))
    with pytest.raises(ValueError, match="num_frames"):
        list(autoregress(Recorder(4, 4), ask(240), ramp()))
    with pytest.raises(ValueError, match="pad"):
        list(autoregress(Recorder(pad="never"), ask(240), ramp()))
    wrong = Recorder()
    wrong.begin = lambda prompt: lambda conditioning, seed: conditioning  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="shape"):
        list(autoregress(wrong, ask(240), ramp()))
