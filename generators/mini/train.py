"""`python -m generators.mini.train NAME`: trains one of the miniature networks and exports it to `weights/`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path

import torch

from generators.mini.training import TrainingTask, train_task

TASKS = {
    "autoencoder": "generators.mini.tasks.autoencoder:AutoencoderTask",
    "light_autoencoder": "generators.mini.tasks.autoencoder:LightAutoencoderTask",
    "narrow_autoencoder": "generators.mini.tasks.autoencoder:NarrowAutoencoderTask",
    "scorer": "generators.mini.tasks.clip:ScorerTask",
    "image_encoder": "generators.mini.tasks.clip:ImageEncoderTask",
    "text_to_image": "generators.mini.tasks.text_to_image:TextToImageTask",
    "text_to_video": "generators.mini.tasks.text_to_video:TextToVideoTask",
    "svd": "generators.mini.tasks.svd:SvdTask",
    "refiner": "generators.mini.tasks.refiner:RefinerTask",
}
"""Name on the command line -> where the task lives; later tasks read the exports of earlier ones."""

HERE = Path(__file__).parent


def load_task(path: str) -> TrainingTask:
    """Returns the task at `module:class`."""
    module, _, attribute = path.partition(":")
    task: TrainingTask = getattr(importlib.import_module(module), attribute)()
    return task


def train_named(tasks: Mapping[str, str], program: str, description: str) -> None:
    """Trains the task that the command line names.

    Args:
        tasks: name -> `module:class`.
        program: how the command is called, for its help.
        description: what it does, likewise.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("name", choices=tasks)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--until", type=int, default=None, help="stop after this many steps in all")
    parser.add_argument("--cache", type=Path, default=HERE / "cache", help="checkpoints and logs")
    parser.add_argument("--weights", type=Path, default=HERE / "weights", help="where finished networks go")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_default_device(options.device)
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    train_task(load_task(tasks[options.name]), options.cache, options.weights, options.until)


if __name__ == "__main__":
    train_named(TASKS, "python -m generators.mini.train", __doc__)
