"""Figures of the ablations: scores over time, training losses and contact sheets for docs/streaming-t2v.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bench.ffv1 import read_whole_video
from bench.store import Store
from bench.studies.ablation_scores import Records, motion
from bench.studies.mini_figures import draw_sheet
from metrics.api import Series

WINDOW, STRIDE = 32, 8
"""Frames in a sliding mean of the figure, and between two."""

SMOOTHED = 25
"""Steps in a running mean of the losses."""

SHEET_ROWS, SHEET_COLUMNS = 8, 9
"""Prompts and frames of a contact sheet."""


def smoothed(series: Series, name: str) -> np.ndarray:
    """Returns sliding means of a per-frame series."""
    values = np.array([np.nan if entry is None else entry for entry in series[name]], dtype=float)
    return np.array([np.nanmean(values[i : i + WINDOW]) for i in range(0, len(values) - WINDOW + 1, STRIDE)])


def draw_over_time(records: Records, path: Path) -> None:
    """Draws the CLIP score over time and, where seams were scored, seam contrast against motion to its left."""
    with_seams = any("seams" in video.scores for videos in records.values() for video in videos)
    figure = Figure(figsize=(10 if with_seams else 5, 3.6), layout="constrained")
    *left, right = figure.subplots(1, 2 if with_seams else 1, squeeze=False)[0]
    for number, (method, videos) in enumerate(records.items()):
        colour, mark = f"C{number % 10}", "osD^vPX*h"[number % 9]
        for axes in left:
            points = [(motion(video), video.scores["seams"].value) for video in videos]
            defined = np.array([point for point in points if None not in point], dtype=float)
            if len(defined):
                x, y = defined.T
                axes.plot(x, y, mark, color=colour, alpha=0.3, markersize=4)
                axes.plot(x.mean(), y.mean(), mark, color=colour, markersize=9, label=method)
        curves = np.stack([smoothed(video.scores["clip"].series, "cosine") for video in videos])
        right.plot(np.arange(curves.shape[1]) * STRIDE + WINDOW / 2, curves.mean(axis=0), color=colour, label=method)
    for axes in left:
        axes.set(xlabel="optical flow score (more motion →)", ylabel="seam contrast (1 = no seam)", yscale="log")
    right.set(xlabel="frame", ylabel=f"CLIP score, mean of {WINDOW} frames")
    right.legend(fontsize=7)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_losses(logs: Sequence[Path], path: Path) -> None:
    """Draws the training losses of networks that see the same windows and noise."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for log in logs:
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        means = np.convolve([entry["loss"] for entry in entries], np.full(SMOOTHED, 1 / SMOOTHED), "valid")
        axes.plot([entry["step"] for entry in entries[SMOOTHED - 1 :]], means, linewidth=1.2, label=log.stem)
    axes.set(yscale="log", xlabel="step", ylabel=f"loss, mean of {SMOOTHED} steps")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_contact_sheets(store: Store, records: Records, folder: Path, study: str) -> None:
    """Draws `STUDY-METHOD.png` per method: its first prompts (of the first seed), frames evenly from first to last."""
    for method, videos in records.items():
        seed = min(video.seed for video in videos)
        shown = [video for video in videos if video.seed == seed][:SHEET_ROWS]
        frames = [read_whole_video(store.whole_video(video)) for video in shown]
        draw_sheet(frames, folder / f"{study}-{method}.png", SHEET_COLUMNS, scale=1)
