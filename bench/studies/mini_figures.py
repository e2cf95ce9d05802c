"""`python -m bench.studies.mini_figures`: loss curves and pictures of the miniature networks for docs/mini.

Curves are drawn from the logs that training leaves in the cache; the logs are kept beside them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.profile import load_profile
from generators.api import Frames, Request
from generators.first_chunk import FirstChunk
from generators.mini.grammar import caption, random_scene
from generators.mini.train import HERE
from generators.mini.world import FPS, SIZE, Clip


def draw_curve(log: Path, picture: Path) -> None:
    """Draws one training log: the loss of every twentieth step and its running median, steps on the x axis."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = np.array([entry["step"] for entry in entries])
    losses = np.array([entry["loss"] for entry in entries])
    median = [np.median(losses[max(0, i - 7) : i + 8]) for i in range(len(losses))]
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="0.8", linewidth=0.8)
    axes.plot(steps, median, color="tab:blue", linewidth=1.6)
    axes.set(yscale="log", xlabel="step", ylabel="loss", title=log.stem)
    figure.savefig(picture, dpi=110, metadata={"Software": None})


def draw_sheet(rows: Sequence[Frames], picture: Path, columns: int = 8, scale: int = 2) -> None:
    """Draws videos under each other, `columns` frames of each from its first to its last."""
    strips = [np.concatenate(list(row[np.linspace(0, len(row) - 1, columns).round().astype(int)]), 1) for row in rows]
    sheet = Image.fromarray(np.concatenate(strips, 0))
    sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).save(picture)


def main() -> None:
    """Writes everything into the documents."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.mini_figures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/mini"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for log in (HERE / "cache").glob("*.jsonl"):  # those of the baselines, too
        shutil.copyfile(log, out / log.name)
    for log in out.glob("*.jsonl"):
        draw_curve(log, log.with_suffix(".png"))
    rng = np.random.default_rng(0)
    draw_sheet([Clip(random_scene(rng, 0.3), seed).render(0, 48) for seed in range(6)], out / "world.png")
    model = FirstChunk(**load_profile("mini").first_chunk)
    texts = [caption(random_scene(rng, two_things=0.2)) for _ in range(8)]
    chunks = [model.draw(Request(text, seed, 16, SIZE, SIZE, FPS)).frames for seed, text in enumerate(texts)]
    draw_sheet(chunks, out / "first-chunks.png")
    (out / "first-chunks.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
