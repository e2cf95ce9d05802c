"""What each memory buys: the table and the figures of docs/streaming-t2v.md from a finished run and training logs.

Example:
    python -m bench run --methods streaming_t2v,ablations,naive,still,svd,truth --prompts 8 --out results/ablations
    python -m bench.studies.ablations results/ablations
    python -m bench.studies.ablations results/ablations --cache generators/mini/cache   (after a training)
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bench.records import Record
from bench.stats import Summary, summarise
from bench.store import Store
from metrics.api import Series
from metrics.clip import ClipScore
from metrics.curves import first_against_last

Read = Callable[[Record], float | None]

WINDOW, STRIDE = 32, 8
"""Frames in a sliding mean of the figure, and between two."""

DOCUMENT = Path("docs/streaming-t2v")
"""Where the figures and logs of the document lie, from the root of the repository."""

SMOOTHED = 25
"""Steps in a running mean of the losses."""


def value(metric: str) -> Read:
    """Returns what reads a metric's score from a record."""
    return lambda record: record.scores[metric].value


def motion(record: Record) -> float | None:
    """Returns the optical flow score: the mean length of the flow, in pixels of the flow's size."""
    found = record.scores["mawe"].parts["mean_motion"]
    assert found is None or isinstance(found, float | int)
    return found


def clip_drift(record: Record) -> float | None:
    """Returns the CLIP score of the last seconds minus that of the first."""
    ends = first_against_last(ClipScore(), record.scores["clip"].series, record.num_frames, record.fps)
    return None if ends is None else ends.change


ABLATION_COLUMNS: Mapping[str, Read] = {
    "MAWE ↓": value("mawe"),
    "seam contrast ↓": value("seams"),
    "optical flow score": motion,
    "CLIP ↑": value("clip"),
    "CLIP drift": clip_drift,
    "SCuts ↓": value("scuts"),
    "frozen pairs, % ↓": value("stillness"),
}


def with_interval(summary: Summary) -> str:
    """Returns a mean with half the width of its 95 % interval."""
    if summary.mean is None:
        return "–"
    if summary.low is None or summary.high is None:
        return f"{summary.mean:.3g}"
    return f"{summary.mean:.3g} ± {(summary.high - summary.low) / 2:.2g}"


def ablation_table(records: Mapping[str, Sequence[Record]]) -> str:
    """Returns the Markdown table, one method a row."""
    lines = ["| method | " + " | ".join(ABLATION_COLUMNS) + " |", "|---" * (len(ABLATION_COLUMNS) + 1) + "|"]
    for method, videos in records.items():
        prompts = [video.prompt_key for video in videos]
        cells = [
            with_interval(summarise([read(video) for video in videos], prompts)) for read in ABLATION_COLUMNS.values()
        ]
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals(records: Mapping[str, Sequence[Record]]) -> str:
    """Returns by how much seams and motion meet what they are held to."""

    def mean(method: str, read: Read) -> float:
        found = [score for score in map(read, records[method]) if score is not None]
        return float(np.mean(found))

    seams = mean("streaming_t2v", value("seams")) / mean("naive", value("seams"))
    kept = mean("streaming_t2v", motion) / mean("truth", motion)
    return f"seam contrast: {seams:.2f} of naive's; optical flow score: {kept:.0%} of the rendered truth's"


def smoothed(series: Series, name: str) -> np.ndarray:
    """Returns sliding means of a per-frame series."""
    values = np.array([np.nan if entry is None else entry for entry in series[name]], dtype=float)
    return np.array([np.nanmean(values[i : i + WINDOW]) for i in range(0, len(values) - WINDOW + 1, STRIDE)])


def draw_over_time(records: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Draws seam contrast against motion, and the CLIP score over time."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (method, videos) in enumerate(records.items()):
        colour, mark = f"C{number % 10}", "osD^vPX*h"[number % 9]
        seams = [video.scores["seams"].value for video in videos]
        points = [(motion(v), s) for v, s in zip(videos, seams, strict=True) if s is not None]
        if points:
            x, y = np.array(points, dtype=float).T
            left.plot(x, y, mark, color=colour, alpha=0.3, markersize=4)
            left.plot(x.mean(), y.mean(), mark, color=colour, markersize=9, label=method)
        curves = np.stack([smoothed(video.scores["clip"].series, "cosine") for video in videos])
        right.plot(np.arange(curves.shape[1]) * STRIDE + WINDOW / 2, curves.mean(axis=0), color=colour, label=method)
    left.set(xlabel="optical flow score (more motion →)", ylabel="seam contrast (1 = no seam)", yscale="log")
    right.set(xlabel="frame", ylabel=f"CLIP score, mean of {WINDOW} frames")
    left.legend(fontsize=7)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_losses(logs: Sequence[Path], path: Path) -> None:
    """Draws the training losses of the method and its ablations, which see the same windows and noise."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for log in logs:
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        means = np.convolve([entry["loss"] for entry in entries], np.full(SMOOTHED, 1 / SMOOTHED), "valid")
        axes.plot([entry["step"] for entry in entries[SMOOTHED - 1 :]], means, linewidth=1.2, label=log.stem)
    axes.set(yscale="log", xlabel="step", ylabel=f"loss, mean of {SMOOTHED} steps")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    """Prints the table and what the goals say, and draws the figures of the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--cache", type=Path, help="folder of training runs whose logs replace those kept here")
    options = parser.parse_args()
    store = Store(options.run)
    done = [record for record in store.records() if record.status == "ok"]
    records = {m: [r for r in done if r.method == m] for m in store.info().methods if any(r.method == m for r in done)}
    print(ablation_table(records))
    print()
    print(goals(records))
    draw_over_time(records, DOCUMENT / "ablations.png")
    if options.cache is not None:
        for log in options.cache.glob("streaming_t2v*/log.jsonl"):
            shutil.copyfile(log, DOCUMENT / f"{log.parent.name}.jsonl")
    draw_losses(sorted(DOCUMENT.glob("streaming_t2v*.jsonl")), DOCUMENT / "losses.png")


if __name__ == "__main__":
    main()
