"""What must not change a score, or not by much: chunks of the stream, batches, resolution, lossy coding.

Tolerances were fixed before measuring. A change outside of its tolerance is a finding, printed as such.

Example:
    >>> tolerance_of("scuts", "coding")
    Tolerance(amount=0.0, relative=False)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bench.stats import median_defined
from bench.validate.cores import Cores
from bench.validate.doses import DOSE_CHUNK, DOSE_FRAMES, SEAMS
from bench.validate.instruments import FLOW_SIZE, MEASUREMENTS, Instruments
from generators.api import Frames
from generators.mini.faults import Fault, FaultyClip
from generators.mini.grammar import Scene, caption, random_scene
from generators.mini.world import FPS, Clip
from metrics.api import Metric
from metrics.scoring import VideoScorer

CHUNK_LENGTHS = (1, 7)
"""Frames per update, against all frames in one."""

SCALES = (2, 4)
"""Factors by which frames are enlarged."""

CRFS = (10, 18, 23, 28, 35)
"""Constant rate factors of H.264, from hardly visible to poor; 23 is the encoder's default."""

CODED_SCALE = 4
"""Frames are enlarged so much before they are coded: a codec's blocks would be half an object at 64 pixels."""

BATCHES = (1, 4)
"""Frames or pairs that go through a network together, against eight."""

KINDS = (
    Fault("freeze", 0.0),
    Fault("cut", 1.0, 32),
    Fault("freeze", 12, DOSE_CHUNK),
    Fault("seam", 8, DOSE_CHUNK, DOSE_CHUNK),
)
"""What is in the videos, in turn: nothing, a cut, a frozen span, seams. So every metric has something to say."""

ABSOLUTE: Mapping[str, float] = MappingProxyType(
    {
        "scuts": 0.0,
        "clip": 0.5,
        "stillness": 2.0,
        "repeated": 0.05,
        "exposure": 1.0,
        "flickering": 0.005,
        "collapse": 5.0,
        "subject": 0.02,
        "background": 0.02,
    }
)
"""What is tolerated of scores that may be zero or lie near one, in their unit; of the others, a share."""


@dataclass(frozen=True)
class Tolerance:
    """How much a score may change in the median video.

    Attributes:
        amount: share of the score, or in its unit.
        relative: which of the two.
    """

    amount: float
    relative: bool


@dataclass(frozen=True)
class Invariance:
    """One score under one change.

    Attributes:
        group: "chunking", "batch", "resolution" or "coding".
        change: in words.
        reading: name of the reading, or of the network for batches.
        median: absolute change in the median video; a share of the score if the tolerance is one.
        largest: in the worst video, likewise.
        flips: videos whose score becomes defined or undefined.
        videos: how many.
        tolerance: of the median.
        holds: whether it is kept, and no score flips.
    """

    group: str
    change: str
    reading: str
    median: float | None
    largest: float | None
    flips: int
    videos: int
    tolerance: Tolerance
    holds: bool


def tolerance_of(reading: str, group: str) -> Tolerance:
    """Returns what is tolerated: nothing of chunking, little of the rest."""
    if group == "chunking":
        return Tolerance(0.0, relative=False)
    if reading in ABSOLUTE:
        return Tolerance(ABSOLUTE[reading], relative=False)
    return Tolerance(0.1 if group == "resolution" else 0.25, relative=True)


def measure_invariances(
    instruments: Instruments, videos: int, cores: Cores, say: Callable[[str], None]
) -> list[Invariance]:
    """Returns every score under every change.

    Args:
        instruments: with what.
        videos: how many.
        cores: where it runs.
        say: is told how far it is.
    """
    tasks = [(instruments, number) for number in range(videos)]
    results = list(cores.map(measure_scene, tasks))
    say(f"invariances: {videos} videos")
    first = results[0]
    rows = [
        compare_readings(group, change, reading, [(r["", ""][reading], r[group, change][reading]) for r in results])
        for group, change in list(first)[1:]
        for reading in first["", ""]
    ]
    return rows + list(_batches(instruments))


def measure_scene(task: tuple[Instruments, int]) -> dict[tuple[str, str], dict[str, float | None]]:
    """Returns the readings of one video by (group, change), the untouched one first under ("", "")."""
    instruments, number = task
    metrics = instruments.metrics()
    scene, seed = _scene(number)
    frames = FaultyClip(scene, seed, KINDS[number % len(KINDS)], DOSE_FRAMES).render(0, DOSE_FRAMES)
    text = caption(scene)
    found = {("", ""): _read(metrics, text, [frames])}
    for chunk in CHUNK_LENGTHS:
        pieces = [frames[i : i + chunk] for i in range(0, DOSE_FRAMES, chunk)]
        found["chunking", f"updates of {chunk}"] = _read(metrics, text, pieces)
    for scale in SCALES:
        found["resolution", f"{scale} times larger"] = _read(metrics, text, [enlarged(frames, scale)])
    large = enlarged(frames, CODED_SCALE)
    for crf in CRFS:
        found["coding", f"H.264 at CRF {crf}"] = _read(metrics, text, coded(large, crf))
    return found


def compare_readings(
    group: str, change: str, reading: str, pairs: Sequence[tuple[float | None, float | None]]
) -> Invariance:
    """Returns how far scores moved.

    Args:
        group: see `Invariance`.
        change: likewise.
        reading: likewise.
        pairs: scores before and after, one pair per video; None where undefined.
    """
    tolerance = tolerance_of(reading, group)
    moved = []
    for before, after in pairs:
        if before is not None and after is not None:
            scale = max(abs(before), 1e-12) if tolerance.relative else 1.0
            moved.append(abs(after - before) / scale)
    flips = sum((before is None) != (after is None) for before, after in pairs)
    median = median_defined(moved)
    holds = not flips and (median is None or median <= tolerance.amount)
    return Invariance(group, change, reading, median, max(moved, default=None), flips, len(pairs), tolerance, holds)


def enlarged(frames: Frames, scale: int) -> Frames:
    """Returns frames [T, scale * H, scale * W, 3], bicubic."""
    import cv2

    size = (scale * frames.shape[2], scale * frames.shape[1])
    return np.stack([np.asarray(cv2.resize(f, size, interpolation=cv2.INTER_CUBIC), np.uint8) for f in frames])


def coded(frames: Frames, crf: int) -> list[Frames]:
    """Returns the frames after H.264 in the usual colour format (4:2:0), decoded as any file is."""
    import av

    from metrics.decoding import read_frames

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=round(FPS))
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            stream.codec_context.thread_count = 1
            stream.options = {"crf": str(crf), "preset": "medium"}
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        return list(read_frames(path))


def _read(metrics: Mapping[str, Metric], text: str, chunks: Iterable[Frames]) -> dict[str, float | None]:
    scorer = VideoScorer(metrics, text, FPS)
    for frames in chunks:
        scorer.update(frames)
    scores = scorer.compute(SEAMS)
    # Every definition of drift reads the series that `exposure` stands for.
    readings = [reading for reading in MEASUREMENTS if reading.tool in scores and not reading.drift]
    return {reading.name: reading.of(scores) for reading in readings}


def _batches(instruments: Instruments) -> Iterable[Invariance]:
    """Yields how far the outputs of the networks move with the size of the batch."""
    scene, seed = _scene(0)
    frames = Clip(scene, seed).render(0, 9)
    if instruments.clip:
        yield from _rows("cosine of CLIP", Tolerance(1e-5, relative=False), _cosines(instruments.clip, frames))
    if instruments.raft:
        yield from _rows("flow of mini RAFT, px", Tolerance(1e-3, relative=False), _flows(instruments.raft, frames))


def _rows(network: str, tolerance: Tolerance, outputs: Mapping[int, np.ndarray]) -> Iterable[Invariance]:
    for size in BATCHES:
        difference = np.abs(outputs[size] - outputs[8])
        median, largest = float(np.median(difference)), float(difference.max())
        holds = largest <= tolerance.amount
        yield Invariance("batch", f"batches of {size}", network, median, largest, 0, 8, tolerance, holds)


def _cosines(folder: str, frames: Frames) -> dict[int, np.ndarray]:
    from metrics.clip import unit
    from metrics.features.clip import ClipFeatures

    network = ClipFeatures(weights=folder).load()
    text = unit(network.text("a red circle spinning on sand")[0].numpy())
    batches = {size: [network.images(frames[i : i + size]) for i in range(0, 8, size)] for size in (*BATCHES, 8)}
    return {size: np.concatenate([unit(part.numpy()) for part in parts]) @ text for size, parts in batches.items()}


def _flows(folder: str, frames: Frames) -> dict[int, np.ndarray]:
    import torch

    from metrics.flow.raft import load_raft
    from metrics.flow.raft_streaming import StreamingRaft
    from metrics.flow.warping import resize_frames

    model, config = load_raft(folder)
    network = StreamingRaft(model, config.updates)
    pictures = resize_frames(frames, FLOW_SIZE).float() / 127.5 - 1
    flows = {}
    with torch.inference_mode():
        features = network.encode(pictures)
        for size in (*BATCHES, 8):
            parts = [slice(i, i + size) for i in range(0, 8, size)]
            batches = [network.flow(pictures[:-1][p], features[:-1][p], features[1:][p]) for p in parts]
            flows[size] = torch.cat(batches).numpy()
    return flows


def _scene(number: int) -> tuple[Scene, int]:
    rng = np.random.default_rng([256, number])
    return random_scene(rng, two_things=0.4), int(rng.integers(2**31))
