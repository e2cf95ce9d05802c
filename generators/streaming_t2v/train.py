"""`python -m generators.streaming_t2v.train`: trains a streaming network from a base model and captioned clips.

Example:
    python -m generators.streaming_t2v.train --base LOCATION --images LOCATION --config sizes.json \
        --data module:function --out runs/streaming_t2v --steps 100000
    accelerate launch -m generators.streaming_t2v.train --device cuda …      (several GPUs)
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from accelerate import PartialState

from generators.pipelines import PipelineSettings
from generators.streaming_t2v import loading
from generators.streaming_t2v.clips import EncodedClips, SampleSource
from generators.streaming_t2v.denoising import DenoisingObjective, Trained, choose_trained, parameter_table
from generators.streaming_t2v.network import NetworkConfig, ShortTerm, StreamingNetwork, read_network_config
from generators.streaming_t2v.training import LearningRateSchedule, TrainingConfig, latest_checkpoint, train_streaming
from generators.streaming_t2v.warm_up import warm_up_frame_encoder
from generators.weights import resolve_weights


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m generators.streaming_t2v.train", description=__doc__, fromfile_prefix_chars="@"
    )
    add = parser.add_argument
    add("--base", required=True, help="location of the base text-to-video pipeline")
    add("--images", default="", help="location of a folder with image_encoder, if the base has none")
    add("--config", type=Path, help="network configuration as JSON; the released sizes if left out")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", default="", help="module:function that returns the clips (see clips.ClipDataset)")
    data.add_argument("--samples", default="", help="module:function from NetworkConfig to a clips.SampleSource")
    add("--out", type=Path, required=True, help="folder of the run; continued if it exists")
    add("--export", type=Path, help="folder for the finished network, small: float16, without what the base model has")
    add("--short-term", choices=get_args(ShortTerm), help="short-term memory, for ablations, if not that of --config")
    add("--no-long-term", action="store_true", help="leave the appearance memory out")
    add("--cam-positions", action="store_true", help="CAM's attention knows frames by their number, for an ablation")
    add("--trained", choices=get_args(Trained), default="released", help="which parameters are trained")
    add("--steps", type=int, required=True)
    add("--batch", type=int, default=1)
    add("--accumulate", type=int, default=8)
    add("--learning-rate", type=float, default=5e-5)
    add(
        "--schedule", choices=get_args(LearningRateSchedule), default="constant", help="learning rate after the warm-up"
    )
    add("--noise-draws", type=int, default=1, help="a timestep is the largest of so many uniform ones")
    add("--warmup", type=int, default=0)
    add("--frame-encoder-steps", type=int, default=0, help="first teach the frame encoder alone for so many steps")
    add("--ema-decay", type=float, default=0.999)
    add("--mixed-precision", choices=("no", "fp16", "bf16"), default="no")
    add("--seed", type=int, default=0)
    add("--save-every", type=int, default=500)
    add("--device", default="cpu")
    add("--weights-dir", default="")
    add("--keep-encoded", action="store_true", help="keep encoded clips in memory")
    return parser


def load_function(name: str, option: str) -> Callable[..., Any]:
    """The function at `module:function`.

    Raises:
        ValueError: no such function.
    """
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{option} {name}: give module:function ({error})") from error
    return found


def chosen_sizes(sizes: NetworkConfig, options: argparse.Namespace) -> NetworkConfig:
    """The configuration with what the command line changes of it; what it leaves out stays."""
    return replace(
        sizes,
        short_term=options.short_term or sizes.short_term,
        long_term=sizes.long_term and not options.no_long_term,
        cam_positions=sizes.cam_positions or options.cam_positions,
    )


def load_samples(options: argparse.Namespace, sizes: NetworkConfig, folders: Sequence[Path]) -> SampleSource:
    """The samples that `--samples` names, or those cut from the clips that `--data` names."""
    if options.samples:
        source: SampleSource = load_function(options.samples, "--samples")(sizes)
        return source
    settings = PipelineSettings(device=options.device, weights_dir=options.weights_dir)
    return EncodedClips(
        load_function(options.data, "--data")(),
        loading.load_codec(folders, settings, batch=16),
        loading.load_text_encoder(folders, settings),
        loading.load_image_encoder(folders, settings) if sizes.long_term else None,
        sizes,
        keep=options.keep_encoded,
    )


def main(arguments: list[str]) -> None:
    """Trains as the command line says, printing the table of trained parameters and the loss."""
    options = parser().parse_args(arguments)
    process = PartialState(cpu=options.device == "cpu")
    if options.device == "cuda":
        options.device = str(process.device)  # of several processes, each has a GPU of its own
    torch.set_default_device(options.device)
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    settings = PipelineSettings(device=options.device, weights_dir=options.weights_dir)
    folders = [
        resolve_weights(location, options.weights_dir) for location in (options.base, options.images) if location
    ]
    sizes = (
        read_network_config(options.config.read_text("utf-8"), options.config) if options.config else NetworkConfig()
    )
    sizes = chosen_sizes(sizes, options)
    base = loading.load_base(folders, settings)
    torch.manual_seed(options.seed)
    network = StreamingNetwork.from_base(sizes, base).to(options.device)
    config = TrainingConfig(
        options.steps, options.batch, options.accumulate, options.learning_rate, options.warmup,
        ema_decay=options.ema_decay, schedule=options.schedule, mixed_precision=options.mixed_precision,
        seed=options.seed, save_every=options.save_every,
    )  # fmt: skip
    choose_trained(network, options.trained)
    for row in parameter_table(network):
        print(f"{row.part:32} {row.parameters:>14,} parameters, {row.trained:>14,} trained")
    samples = load_samples(options, sizes, folders)
    if latest_checkpoint(options.out) is None:
        for error in warm_up_frame_encoder(network, samples, options.frame_encoder_steps, config.batch, config.seed):
            print(f"frame encoder: error {error:.4f}", flush=True)
    scheduler = loading.load_scheduler(folders)
    objective = DenoisingObjective(network, samples, scheduler, options.trained, options.noise_draws)
    for step, loss in train_streaming(objective, config, options.out):
        print(f"step {step}: loss {loss:.4f}", flush=True)
    process.wait_for_everyone()
    if options.export and process.is_main_process:
        StreamingNetwork.load(options.out / "network").save(options.export / "network", torch.float16, base)


if __name__ == "__main__":
    main(sys.argv[1:])
