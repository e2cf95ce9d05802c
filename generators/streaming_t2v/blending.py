"""Randomized blending: one denoising process over chunks of a video that is too long for the network.

Neighbouring chunks overlap. They share their noise, and at every step a threshold drawn at random says how many of the
overlapping frames are taken from the left chunk and how many from the right one, so that no seam stays in one place.

`lock_step` denoises all chunks side by side: every chunk makes step s before any makes step s + 1. `wavefront` makes
the same video bit for bit from a stream of chunks. A chunk at step s + 1 needs itself and its two neighbours at step s,
so when chunk n arrives, chunk n - 1 can make its step 1, chunk n - 2 its step 2, and so on; chunk n - steps is then
finished and leaves. No more than steps + 1 chunks are ever held, however long the video is.

Example:
    >>> spans(40, chunk=24, overlap=8)
    [(0, 24), (16, 40)]
    >>> spans(26, chunk=24, overlap=8)
    [(0, 24), (16, 26)]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

Blending = Literal["paper", "released", "shared_noise", "independent"]
"""How chunks that overlap are brought together.

paper: the noisy latents are blended after each step; the left chunk keeps 0..O of the O frames (eq. 8).
released: the predicted clean latents are blended before each step; the left chunk keeps 0..O-1 of the O frames.
shared_noise: nothing is blended; overlapping frames start from and are given the same noise (ablation of fig. 4).
independent: nothing is shared at all (ablation of fig. 4).
"""


@dataclass
class LatentChunk:
    """A run of frames on its way through the denoising steps.

    Attributes:
        index: number of the chunk in the video.
        start: number of its first frame in the video.
        latents: [C, F, h, w] at the current step.
        is_last: no chunk follows.
        proposal: what the current step proposes for these frames; blended with the neighbours' before it counts.
        previous: the solver's memory of the last step, None before the first.
    """

    index: int
    start: int
    latents: Tensor
    is_last: bool
    proposal: Tensor = field(default_factory=lambda: torch.empty(0))
    previous: Tensor | None = None


class ChunkDenoiser(Protocol):
    """A denoising process cut in two at the place where chunks are blended."""

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        ...

    def predict(self, chunk: LatentChunk, step: int) -> Tensor:
        """The clean latents [C, F, h, w] that the network sees in a chunk's noisy ones."""
        ...

    def advance(self, chunk: LatentChunk, predicted: Tensor, step: int) -> Tensor:
        """The latents of the next step [C, F, h, w]; `chunk.previous` is the last step's prediction or None."""
        ...


class Thresholds(Protocol):
    """Where the left chunk ends, for every step and boundary."""

    def __call__(self, step: int, boundary: int) -> int:
        """How many overlapping frames come from the left chunk; boundary b lies between chunks b and b + 1."""
        ...


@dataclass(frozen=True)
class RandomThresholds:
    """Uniform thresholds that depend on nothing but seed, step and boundary, so their order does not matter.

    Attributes:
        seed: >= 0.
        count: number of possible thresholds, 0..count-1.
    """

    seed: int
    count: int

    def __call__(self, step: int, boundary: int) -> int:
        """See `Thresholds`."""
        return int(np.random.default_rng((self.seed, step, boundary)).integers(self.count))


def random_thresholds(mode: Blending, overlap: int, seed: int) -> RandomThresholds:
    """The thresholds a mode draws from.

    Source: paper: StreamingT2V eq. 8, {0, ..., O}. released: diffusion_sdedit.py, random.randint(0, O - 1).
    """
    return RandomThresholds(seed, overlap + 1 if mode == "paper" else max(overlap, 1))


def spans(num_frames: int, chunk: int, overlap: int) -> list[tuple[int, int]]:
    """(first frame, end) of every chunk of a video; a tail that fills no chunk becomes a shorter one.

    Raises:
        ValueError: no frame, or an overlap of more than half a chunk.
    """
    check_overlap(chunk, overlap)
    if num_frames < 1:
        raise ValueError(f"a video has at least one frame, not {num_frames}")
    stride = chunk - overlap
    count = 1 + max(0, -(-(num_frames - chunk) // stride))
    return [(index * stride, min(index * stride + chunk, num_frames)) for index in range(count)]


def check_overlap(chunk: int, overlap: int) -> None:
    """Raises ValueError unless 0 <= overlap <= chunk / 2, so that a frame lies in two chunks at most."""
    if chunk < 1 or not 0 <= 2 * overlap <= chunk:
        raise ValueError(
            f"chunks of {chunk} frames cannot overlap by {overlap}: choose an overlap from 0 to {max(chunk, 0) // 2}"
        )


def cut(frames: Iterable[Tensor], chunk: int, overlap: int) -> Iterator[LatentChunk]:
    """Chunks [C, F, h, w] of a stream of frames [C, h, w], the same as `spans` gives, holding one chunk at a time."""
    check_overlap(chunk, overlap)
    held: list[Tensor] = []
    index = 0
    for frame in frames:
        if len(held) == chunk:  # only now is it sure that another chunk follows
            yield LatentChunk(index, index * (chunk - overlap), torch.stack(held, dim=1), is_last=False)
            held = held[chunk - overlap :]
            index += 1
        held.append(frame)
    if held:
        yield LatentChunk(index, index * (chunk - overlap), torch.stack(held, dim=1), is_last=True)


@dataclass(frozen=True)
class Blender:
    """One step of a chunk, and the agreement of two neighbours on what it proposes.

    Attributes:
        denoiser: predicts and advances.
        mode: see `Blending`.
        overlap: frames that neighbours share.
        thresholds: how many of them come from the left.
    """

    denoiser: ChunkDenoiser
    mode: Blending
    overlap: int
    thresholds: Thresholds

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown mode."""
        if self.mode not in get_args(Blending):
            raise ValueError(f"blending = {self.mode!r} is not one of {', '.join(get_args(Blending))}")

    def propose(self, chunk: LatentChunk, step: int) -> None:
        """Sets what a step proposes: clean latents where those are blended, else the latents of the next step."""
        predicted = self.denoiser.predict(chunk, step)
        if self.mode == "released":
            chunk.proposal = predicted
            return
        chunk.proposal = self.denoiser.advance(chunk, predicted, step)
        chunk.previous = predicted

    def agree(self, left: LatentChunk, right: LatentChunk, step: int) -> None:
        """Makes two neighbours propose the same for the frames they share (eq. 8)."""
        if self.mode in ("shared_noise", "independent") or not self.overlap:
            return
        kept = self.thresholds(step, left.index)
        ours, theirs = left.proposal[:, -self.overlap :], right.proposal[:, : self.overlap]
        blended = torch.cat([ours[:, :kept], theirs[:, kept:]], dim=1)
        left.proposal = torch.cat([left.proposal[:, : -self.overlap], blended], dim=1)
        right.proposal = torch.cat([blended, right.proposal[:, self.overlap :]], dim=1)

    def commit(self, chunk: LatentChunk, step: int) -> None:
        """Makes the step with what the neighbours have agreed on."""
        if self.mode == "released":
            chunk.latents = self.denoiser.advance(chunk, chunk.proposal, step)
            chunk.previous = chunk.proposal
        else:
            chunk.latents = chunk.proposal

    def emit(self, chunk: LatentChunk) -> Tensor:
        """The frames [C, F', h, w] a finished chunk adds to the video: those no earlier chunk has given."""
        return chunk.latents if chunk.index == 0 else chunk.latents[:, self.overlap :]


def lock_step(chunks: Iterable[LatentChunk], blender: Blender) -> Iterator[Tensor]:
    """Frames [C, F', h, w] of the finished chunks, in order; all chunks are held at once."""
    held = list(chunks)
    for step in range(blender.denoiser.num_steps):
        for chunk in held:
            blender.propose(chunk, step)
        for left, right in pairwise(held):
            blender.agree(left, right, step)
        for chunk in held:
            blender.commit(chunk, step)
    for chunk in held:
        yield blender.emit(chunk)


def wavefront(chunks: Iterable[LatentChunk], blender: Blender) -> Iterator[Tensor]:
    """The same frames as `lock_step`, bit for bit, while at most `num_steps` + 1 chunks are held."""
    steps = blender.denoiser.num_steps
    held: dict[int, LatentChunk] = {}
    for chunk in chunks:
        held[chunk.index] = chunk
        yield from _diagonal(held, chunk.index, blender)
        if chunk.is_last:
            for arrival in range(chunk.index + 1, chunk.index + steps + 1):
                yield from _diagonal(held, arrival, blender)


def _diagonal(held: dict[int, LatentChunk], arrival: int, blender: Blender) -> Iterator[Tensor]:
    """Everything the arrival of one chunk makes possible: step s of chunk `arrival` - s, newest chunk first.

    Newest first, because a chunk agrees on its right boundary with a neighbour that has just proposed the same step;
    its left boundary was agreed on one arrival earlier, when the left neighbour made that step.
    """
    steps = blender.denoiser.num_steps
    for step in range(steps + 1):
        chunk = held.get(arrival - step)
        if chunk is None:
            continue
        if step > 0:
            right = held.get(chunk.index + 1)
            if right is not None:
                blender.agree(chunk, right, step - 1)
            blender.commit(chunk, step - 1)
        if step < steps:
            blender.propose(chunk, step)
            continue
        yield blender.emit(held.pop(chunk.index))
