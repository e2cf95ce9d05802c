"""`python -m generators.mini.train NAME`: trains one of the miniature networks and exports it to `weights/`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from generators.mini.training import Task, train

TASKS = {
    "autoencoder": "generators.mini.tasks.autoencoder:Autoencoder",
    "raft": "generators.mini.tasks.raft:Raft",
    "scorer": "generators.mini.tasks.clip:Scorer",
    "eye": "generators.mini.tasks.clip:Eye",
    "text_to_video": "generators.mini.tasks.text_to_video:TextToVideo",
    "svd_decoder": "generators.mini.tasks.svd:TemporalDecoder",
    "svd": "generators.mini.tasks.svd:Svd",
}
"""Name on the command line -> where the task lives; later tasks read the exports of earlier ones."""

HERE = Path(__file__).parent


def load_task(name: str) -> Task:
    """Returns the task of that name."""
    module, _, attribute = TASKS[name].partition(":")
    task: Task = getattr(importlib.import_module(module), attribute)()
    return task


def main() -> None:
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(prog="python -m generators.mini.train", description=__doc__)
    parser.add_argument("name", choices=TASKS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--until", type=int, default=None, help="stop after this many steps in all")
    parser.add_argument("--cache", type=Path, default=HERE / "cache", help="checkpoints and logs")
    parser.add_argument("--weights", type=Path, default=HERE / "weights", help="where finished networks go")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(load_task(options.name), options.cache, options.weights, options.device, options.until)


if __name__ == "__main__":
    main()
