"""`python -m bench.studies.endurance`: cost of a long video, and the error of faster settings.

Example:
    python -m bench.studies.endurance endurance --frames 1200 --out docs/streaming-t2v
    python -m bench.studies.endurance precision
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from matplotlib.figure import Figure

from bench.profile import load_profile
from generators.api import Request, Start
from generators.first_chunk import FirstChunk
from generators.streaming_t2v.method import StreamingT2V
from generators.streaming_t2v.network import Prepared, StreamingNetwork

PROMPT = "a red circle bouncing up and down on grass"

COMPARED = 240
"""Frame at which the resident memory of a longer video is first looked at."""


@dataclass(frozen=True)
class WindowMeasurement:
    """State of the process after a chunk: frames so far, processor seconds it took, resident memory in MB."""

    frames: int
    seconds: float
    resident: float


def start_of(prompt: str) -> Start:
    """The first chunk of a prompt with the settings of the mini profile."""
    model = FirstChunk(**load_profile("mini").first_chunk)
    return model.draw(request_of(prompt, model.num_frames))


def request_of(prompt: str, num_frames: int) -> Request:
    """A request of the mini profile's size."""
    return Request(prompt, 0, num_frames, 64, 64, 10.0)


def method_of() -> StreamingT2V:
    """The method with the settings of the mini profile."""
    return StreamingT2V(**load_profile("mini").methods["streaming_t2v"])


def endure(num_frames: int) -> Iterator[WindowMeasurement]:
    """Yields a reading after every chunk of one long video."""
    start, made, process = start_of(PROMPT), 0, psutil.Process()
    began = time.process_time()
    for chunk in method_of().generate(request_of(PROMPT, num_frames), start):
        seconds = time.process_time() - began
        made += len(chunk)
        gc.collect()
        yield WindowMeasurement(len(start.frames) + made, seconds, process.memory_info().rss / 2**20)
        began = time.process_time()


def endurance(num_frames: int, out: Path) -> None:
    """Writes endurance.json and endurance.png and prints how flat time and memory are."""
    readings = list(endure(num_frames))
    frames, seconds, resident = (
        np.array([getattr(r, name) for r in readings]) for name in ("frames", "seconds", "resident")
    )
    settled = seconds[1:]  # the first chunk loads the networks
    thirds = [float(np.median(part)) for part in np.array_split(settled, 3)]
    early = float(resident[np.searchsorted(frames, COMPARED)])
    summary = {
        "frames": num_frames,
        "resident_mb_at_240": round(early, 1),
        "resident_mb_at_end": round(float(resident[-1]), 1),
        "growth_percent": round(100 * (float(resident[-1]) / early - 1), 2),
        "seconds_per_chunk_thirds": [round(third, 3) for third in thirds],
        "spread_of_thirds_percent": round(100 * (max(thirds) / min(thirds) - 1), 1),
    }
    print(json.dumps(summary, indent=1))
    out.mkdir(parents=True, exist_ok=True)
    (out / "endurance.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(frames, resident)
    left.set(xlabel="frame", ylabel="resident memory, MB", ylim=(0, 1.2 * resident.max()))
    right.plot(frames[1:], settled, linewidth=0.8)
    right.set(xlabel="frame", ylabel="processor seconds per chunk", ylim=(0, 1.2 * np.quantile(settled, 0.98)))
    figure.savefig(out / "endurance.png", dpi=120, metadata={"Software": None})


def first_window(method: StreamingT2V, start: Start) -> tuple[torch.Tensor, float]:
    """The first new frames [8, 3, H, W] in 0..1, and the processor seconds they took once everything was loaded."""
    stage = method._stage
    state = stage.begin(method._tensor(start.base), seed=0)
    next(stage.stream(PROMPT, state, 8))  # compiles, warms up
    began = time.process_time()
    frames = next(stage.stream(PROMPT, state, 8)).frames
    return frames, time.process_time() - began


@torch.no_grad()
def one_call(method: StreamingT2V, start: Start) -> torch.Tensor:
    """The network's prediction for one noisy window in the middle of the schedule, in full precision."""
    stage = method._stage
    network: StreamingNetwork = stage.network
    dtype = next(network.parameters()).dtype
    text = stage.encode_text([PROMPT])
    state = stage.begin(method._tensor(start.base), seed=0)
    anchors = stage._embed_anchor(state.anchor)
    assert anchors is not None, "the method has an appearance memory"
    # Under guidance the branch without the prompt comes first.
    prepared: Prepared = network.prepare(text, anchors[-1:], state.frames[None].to(dtype))
    noisy = torch.randn(1, 4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    predicted: torch.Tensor = network(noisy.to(dtype), torch.tensor(500), prepared)
    return predicted.float()


def precision() -> None:
    """Prints a Markdown table: error of one call and of the first window, and its seconds, for each faster setting."""
    start, plain = start_of(PROMPT), method_of()
    settings = {
        "float32": plain,
        "float32, compiled": replace(plain, compile=True),
        "bfloat16": replace(plain, dtype="bfloat16"),
        "float16": replace(plain, dtype="float16"),
    }
    exact, wanted = one_call(plain, start), first_window(plain, start)[0]
    print("| setting | one call, relative L2 | first window, PSNR in dB | processor seconds a window |")
    print("|---|---|---|---|")
    for name, method in settings.items():
        frames, seconds = first_window(method, start)
        error = float((one_call(method, start) - exact).norm() / exact.norm())
        mse = float((frames - wanted).square().mean())
        psnr = f"{-10 * np.log10(mse):.1f}" if mse else "same bytes"
        print(f"| {name} | {error:.1e} | {psnr} | {seconds:.2f} |", flush=True)


def main() -> None:
    """Measures what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.endurance", description=__doc__)
    parser.add_argument("what", choices=("endurance", "precision"))
    parser.add_argument("--frames", type=int, default=1200)
    parser.add_argument("--out", type=Path, default=Path("docs/streaming-t2v"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "endurance":
        endurance(options.frames, options.out)
    else:
        precision()


if __name__ == "__main__":
    main()
