"""`python -m baselines.streaming_opensora.train`: trains the miniature from OpenSora's and exports it to `weights/`.

Example:
    python -m baselines.streaming_opensora.train --device cuda
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from baselines.opensora.continuation import load_stdit3
from baselines.streaming_opensora.network import StreamingSTDiT3
from baselines.streaming_opensora.training import FlowObjective, miniature_sizes
from baselines.streaming_opensora.windows import load_windows
from generators.mini.denoising import CACHE, WEIGHTS
from generators.streaming_t2v.training import TrainingConfig, train_streaming


def miniature_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(prog="python -m baselines.streaming_opensora.train", description=__doc__)
    add = parser.add_argument
    add("--steps", type=int, default=3000)
    add("--batch", type=int, default=64)
    add("--learning-rate", type=float, default=1e-3)
    add("--known-latents", type=int, default=3, help="latents of a window that are given (see network.MemoryConfig)")
    add("--seed", type=int, default=0)
    add("--device", default="cpu")
    add("--cache", type=Path, default=CACHE, help="windows, checkpoints and log")
    add("--weights", type=Path, default=WEIGHTS, help="where OpenSora's networks are, and the finished one goes")
    return parser


def main(arguments: list[str]) -> None:
    """Trains as the command line says, printing the loss; a run found in the cache is continued."""
    options = miniature_parser().parse_args(arguments)
    torch.set_default_device(options.device)
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    base = load_stdit3(options.weights / "opensora" / "transformer", "cpu", torch.float32)
    sizes = miniature_sizes(base.config, options.known_latents)
    torch.manual_seed(options.seed)
    network = StreamingSTDiT3.from_base(sizes, base.state_dict()).to(options.device)
    data = load_windows(sizes, options.cache, options.weights)
    config = TrainingConfig(
        options.steps, options.batch, 1, options.learning_rate, warmup=options.steps // 50, ema_decay=0.998,
        schedule="cosine", seed=options.seed, save_every=1000,
    )  # fmt: skip
    out = options.cache / "streaming_opensora"
    for step, loss in train_streaming(FlowObjective(network, data), config, out):
        if step % 20 == 0 or step == config.steps:
            print(f"step {step}: loss {loss:.4f}", flush=True)
    trained = StreamingSTDiT3.load(out / "network", torch.float32, "cpu")
    trained.save(options.weights / "streaming_opensora" / "network", torch.float16, base.state_dict())


if __name__ == "__main__":
    main(sys.argv[1:])
