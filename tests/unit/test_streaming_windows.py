"""Training windows of the miniature: how they are cut, and what conditioning frames are spoilt with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from generators.mini.latents import Library
from generators.mini.windows import ANCHORS, SPOILT, Views, Windows, spoil_latents
from generators.streaming_t2v.network import read_network_config

CONFIG = Path(__file__).parents[2] / "generators" / "mini" / "streaming_t2v.json"


class Text:
    """Stands for the text encoder: says whether there was a caption."""

    def encode(self, captions: list[str]) -> Tensor:
        return torch.full((1, 32, 96), float(bool(captions[0])))


@pytest.fixture
def source() -> Windows:
    """Two clips whose latents and frames say clip and time, 100 per clip."""
    number = 100 * torch.arange(2)[:, None] + torch.arange(25)[None]
    latents = number[:, :, None, None, None].expand(-1, -1, 4, 8, 8).half()
    frames = number[:, :17, None, None, None].expand(-1, -1, 3, 64, 64).to(torch.uint8)
    library = Library(latents, ["a", "b"], torch.zeros(2, 96), latents[:, 0], ["a", "b"], 1.0)
    anchors = torch.arange(2.0 * ANCHORS).reshape(2, ANCHORS, 1).expand(-1, -1, 96)
    views = Views(latents[:, :17].float() + 0.5, frames, anchors, torch.full((96,), -1.0))
    return Windows(library, views, Text(), read_network_config(CONFIG.read_text(), CONFIG), dropout=0.3)  # type: ignore[arg-type]


def test_windows_are_cut_as_streaming_sees_them(source: Windows) -> None:
    starts, anchors, dropped = set(), set(), 0
    for seed in range(200):
        sample = source.sample(np.random.default_rng(seed))
        times = sample.latents[0, :, 0, 0]
        clip, start = divmod(int(times[0]), 100)
        assert torch.equal(times, times[0] + torch.arange(16))
        assert torch.equal(((sample.frames[:, 0, 0, 0] + 1) * 127.5).round(), times[:8])
        assert torch.equal(sample.known[0, :, 0, 0], times[:8] + 0.5)
        assert bool((sample.text == 0).all()) == bool((sample.anchor == -1).all())
        if (sample.text == 0).all():
            dropped += 1
        else:
            anchors.add(int(sample.anchor[0]))
            assert int(sample.anchor[0]) // ANCHORS == clip
        starts.add(start)
    assert starts == set(range(10))
    assert anchors == set(range(2 * ANCHORS))
    assert 35 < dropped < 85


def test_conditioning_latents_are_spoilt_within_bounds() -> None:
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(17, 4, 8, 8, generator=random)
    amounts = []
    for _ in range(50):
        added = spoil_latents(latents, random) - latents
        amounts.append(float(added.std()))
        assert float((added[1:] - added[:-1]).std()) < float(added.std()) * 1.5  # partly the same in all frames
    assert max(amounts) < 1.5 * SPOILT
    assert np.median(amounts) < SPOILT / 2
