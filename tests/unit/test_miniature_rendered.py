"""Frames the miniature networks learn from: rendered once by all cores, each clip from its own seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from generators.mini import rendered
from generators.mini.denoising import consecutive_frames, draw_from_looks
from generators.mini.latents import LOOK_EVERY, Library
from generators.mini.training import StepRandom


def test_frames_are_those_of_their_seeds_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("CLIPS", 3), ("CLIP_FRAMES", 4), ("STILLS", 2)):
        monkeypatch.setattr(rendered, name, count)
    frames = rendered.load_rendered(tmp_path)
    assert (frames.clips.shape, frames.stills.shape) == ((3, 4, 64, 64, 3), (2, 64, 64, 3))
    clip, caption, begin = rendered.scene_of(1)
    assert np.array_equal(frames.clips[1].numpy(), clip.render_at(begin + np.arange(4)))
    assert frames.clip_captions[1] == caption
    assert not torch.equal(frames.stills[0], frames.clips[0, 0])
    monkeypatch.setattr(rendered, "by_all_cores", None)  # the second time nothing is rendered
    assert torch.equal(rendered.load_rendered(tmp_path).clips, frames.clips)


def test_neighbours_are_consecutive_frames() -> None:
    clips = torch.arange(30).view(3, 10)
    assert consecutive_frames(clips, np.array([2, 0]), np.array([7, 1]), 3).tolist() == [[27, 28, 29], [1, 2, 3]]


def test_clips_begin_where_the_image_encoder_looked() -> None:
    time = torch.arange(51.0).view(1, -1, 1, 1, 1).expand(2, -1, 4, 8, 8)
    looks = LOOK_EVERY * torch.arange(11.0).view(1, -1, 1).expand(2, -1, 96)
    library = Library(time, ["a", "b"], looks, time[:, 0], ["a", "b"], 1.0)
    clips, captions, rows, columns = draw_from_looks(library, StepRandom.of("test", 0), 50, 25)
    assert torch.equal(clips[:, 0, 0, 0, 0], looks[rows, columns, 0])
    assert captions == ["ab"[row] for row in rows]
    assert columns.max() == (51 - 25) // LOOK_EVERY
