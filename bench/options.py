"""The options that several commands share, and what their words mean.

Example:
    >>> shard_of("2/8")
    (2, 8)
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.run import RunSummary

T = TypeVar("T")

PROFILE_HELP = "Packaged profile or a .toml file."
SET_HELP = "Override one setting, such as methods.seine.num_inference_steps=4. Repeatable."
PLUGIN_HELP = "A drop-in file with methods or metrics. Repeatable."
SHARD_HELP = "Take every n-th cell only, from the i-th on: for job arrays."

CARRYING: dict[str, dict[str, Any]] = {
    "executor": {"help": "serial, processes or ray. Default: that of the profile."},
    "workers": {"type": int, "help": "Workers; 0 for one per GPU, or per core without GPUs."},
    "gpus_per_worker": {"type": float, "help": "GPUs of each worker, or a fraction of one. Default: 1 on CUDA."},
    "max_retries": {"type": int, "help": "Tries of a cell after its worker was lost. Default: 2."},
    "address": {"help": "Ray cluster: local, auto or HOST:PORT.", "show_default": "local"},
    "cpus_per_worker": {"type": int, "help": "Cores that a worker reserves on a Ray cluster."},
    "memory_gb": {"type": float, "help": "Memory that a worker reserves on a Ray cluster, GB."},
}
"""Settings of [run] in a profile that are options of a command, too: how and where a grid is carried out."""


def carrying_out(command: Callable[..., T]) -> Callable[..., T]:
    """Returns a command with the options of `CARRYING`; it gets them as overrides of the profile, named `carried`."""

    @functools.wraps(command)
    def called(**given: Any) -> T:
        chosen = {name: given.pop(name) for name in CARRYING}
        carried = [f"run.{name}={value}" for name, value in chosen.items() if value is not None]
        return command(carried=carried, **given)

    for name, settings in reversed(CARRYING.items()):
        called = click.option(f"--{name.replace('_', '-')}", name, **settings)(called)
    return called


def shard_of(text: str) -> tuple[int, int]:
    """Returns which part of the grid a command takes: (number from 1 on, number of parts); "" is the whole.

    Raises:
        ConfigError: not two numbers such as 2/8.
    """
    number, slash, parts = (text or "1/1").partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise ConfigError(f"--shard {text!r}: give the number of the part and the number of parts, such as 2/8")
    return int(number), int(parts)


def run_options(weights_dir: str | None, metrics: str) -> list[str]:
    """Returns further options of a grid as overrides of the profile."""
    options = [f"run.weights_dir={weights_dir}"] if weights_dir is not None else []
    return options + ([f"run.metrics={_words(metrics)}"] if metrics else [])


def numbers(text: str, option: str) -> list[int]:
    """Returns the numbers of an option such as "0,1".

    Raises:
        ConfigError: something else stands there.
    """
    words = _words(text)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ConfigError(f"{option} {text!r}: give whole numbers from 0 on, separated by commas")
    return [int(word) for word in words]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def end(code: int, summary: RunSummary) -> NoReturn:
    """Ends the process with this code, whatever threads a plugin left behind: Python would wait for them."""
    if summary.spoiled:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
