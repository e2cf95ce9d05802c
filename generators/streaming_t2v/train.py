"""`python -m generators.streaming_t2v.train`: trains a streaming network from a base model and captioned clips.

Example:
    python -m generators.streaming_t2v.train --base mini:text_to_video --images mini:svd --config sizes.json \
        --data generators.mini.data:streaming_clips --out runs/streaming_t2v --steps 2000
    accelerate launch -m generators.streaming_t2v.train …      (several GPUs)
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

from diffusers import UNet3DConditionModel

from generators.pipelines import PipelineSettings, load_network
from generators.streaming_t2v import loading
from generators.streaming_t2v.clips import ClipDataset, EncodedClips
from generators.streaming_t2v.network import NetworkConfig, ShortTerm, StreamingNetwork, read_config
from generators.streaming_t2v.training import Trained, TrainingConfig, choose_trained, parameter_table, train
from generators.weights import resolve


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m generators.streaming_t2v.train", description=__doc__)
    add = parser.add_argument
    add("--base", required=True, help="location of the base text-to-video pipeline")
    add("--images", default="", help="location of a folder with image_encoder, if the base has none")
    add("--config", type=Path, help="network configuration as JSON; the released sizes if left out")
    add("--data", required=True, help="module:function that returns the clips (see clips.ClipDataset)")
    add("--out", type=Path, required=True, help="folder of the run; continued if it exists")
    add("--short-term", choices=get_args(ShortTerm), default="cam", help="short-term memory, for ablations")
    add("--no-long-term", action="store_true", help="leave the appearance memory out")
    add("--trained", choices=get_args(Trained), default="released", help="which parameters are trained")
    add("--steps", type=int, required=True)
    add("--batch", type=int, default=1)
    add("--accumulate", type=int, default=8)
    add("--learning-rate", type=float, default=5e-5)
    add("--warmup", type=int, default=0)
    add("--ema-decay", type=float, default=0.999)
    add("--mixed-precision", choices=("no", "fp16", "bf16"), default="no")
    add("--seed", type=int, default=0)
    add("--save-every", type=int, default=500)
    add("--device", default="cpu")
    add("--weights-dir", default="")
    add("--keep-encoded", action="store_true", help="keep encoded clips in memory")
    return parser


def load_clips(name: str) -> ClipDataset:
    """The clips that `module:function` returns.

    Raises:
        ValueError: no such function.
    """
    module, _, function = name.partition(":")
    try:
        clips: ClipDataset = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--data {name}: give module:function, a function without arguments ({error})") from error
    return clips


def main(arguments: list[str]) -> None:
    """Trains as the command line says, printing the table of trained parameters and the loss."""
    options = parser().parse_args(arguments)
    settings = PipelineSettings(device=options.device, weights_dir=options.weights_dir)
    folders = [resolve(location, options.weights_dir) for location in (options.base, options.images) if location]
    sizes = read_config(options.config.read_text("utf-8"), options.config) if options.config else NetworkConfig()
    sizes = replace(sizes, short_term=options.short_term, long_term=not options.no_long_term)
    base = load_network(UNet3DConditionModel, loading.find_component("unet", folders), settings)
    network = StreamingNetwork.from_base(sizes, base.state_dict()).to(options.device)
    data = EncodedClips(
        load_clips(options.data),
        loading.load_codec(folders, settings, batch=16),
        loading.load_text_encoder(folders, settings),
        loading.load_image_encoder(folders, settings) if sizes.long_term else None,
        sizes,
        keep=options.keep_encoded,
    )
    config = TrainingConfig(
        options.steps, options.batch, options.accumulate, options.learning_rate, options.warmup,
        ema_decay=options.ema_decay, trained=options.trained, mixed_precision=options.mixed_precision,
        seed=options.seed, save_every=options.save_every,
    )  # fmt: skip
    choose_trained(network, config.trained)
    for row in parameter_table(network):
        print(f"{row.part:32} {row.parameters:>14,} parameters, {row.trained:>14,} trained")
    for step, loss in train(network, data, loading.load_scheduler(folders), config, options.out):
        print(f"step {step}: loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
