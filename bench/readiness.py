"""Says of each method whether it can run here with a profile, and why not: weights, GPU and its memory, disk.

Example:
    >>> [line.method for line in readiness(find_plugins(), load_profile("mini"), Machine.this()) if not line.reasons]
    ... # doctest: +SKIP
    ['naive', 'pan', 'still']
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.catalog import Catalog
from bench.errors import BenchError, ConfigError
from bench.memory import OFFLOAD, stronger
from bench.plan import plan
from bench.profile import Profile, Settings
from bench.settings import construct, locations
from bench.spec import RunSpec
from generators.weights import MissingWeightsError, needed, resolve_weights

GIGABYTE = 1e9


@dataclass(frozen=True)
class Machine:
    """What a method may need of a machine.

    Attributes:
        gpu_gb: memory of each GPU, 1e9 bytes; empty without CUDA.
        free_gb: free disk where results go.
    """

    gpu_gb: tuple[float, ...]
    free_gb: float

    @classmethod
    def this(cls) -> Self:
        """Returns this machine, with results below the working directory."""
        import torch

        count = torch.cuda.device_count()
        memory = (torch.cuda.get_device_properties(i).total_memory / GIGABYTE for i in range(count))
        return cls(tuple(memory), shutil.disk_usage(Path.cwd()).free / GIGABYTE)


@dataclass(frozen=True)
class Readiness:
    """Whether one method can run.

    Attributes:
        method: its name.
        reasons: sentences about what is missing; empty if nothing is.
        disk_gb: most that the videos of the profile's grid can take: as much as their frames.
    """

    method: str
    reasons: tuple[str, ...]
    disk_gb: float

    def line(self) -> tuple[str, str]:
        """Returns a row of a table: the first reason, and how many more there are."""
        more = f" (and {len(self.reasons) - 1} more: `doctor {self.method}`)" if len(self.reasons) > 1 else ""
        return self.method, (self.reasons[0] + more) if self.reasons else "can run"


def readiness(catalog: Catalog, profile: Profile, machine: Machine, names: Sequence[str] = ()) -> Iterator[Readiness]:
    """Yields what is known of methods.

    Args:
        catalog: where they are found.
        profile: with which settings, and how many videos of which size.
        machine: on what.
        names: which methods; empty for all.

    Raises:
        ConfigError: there is no such method, or the profile's settings are wrong.
    """
    for name in names or sorted(catalog.with_sections(profile.methods).methods):
        try:
            spec = plan(catalog, profile, methods=name)
        except BenchError as error:
            if names:
                raise
            yield Readiness(name, (str(error),), 0.0)
            continue
        disk = _disk(spec)
        cls = catalog.with_sections(profile.methods).methods[name].cls
        yield Readiness(name, tuple(_reasons(name, cls, spec, machine, disk)), disk)


def _reasons(name: str, cls: type[Any], spec: RunSpec, machine: Machine, disk: float) -> Iterator[str]:
    run = spec.profile.run
    for setting, location in locations({"first_chunk": spec.first_chunk, name: spec.methods[name]}).items():
        try:
            resolve_weights(location, run.weights_dir)
        except MissingWeightsError as missing:
            yield f"{setting}: {missing}"
    if run.device.startswith("cuda"):
        if not machine.gpu_gb:
            yield f'no CUDA GPU, and the profile {spec.profile.name} says device = "{run.device}"'
        elif (wanted := max((entry.gpu_gb for entry in needed(name)), default=0.0)) > max(machine.gpu_gb):
            yield (
                f"needs about {wanted:g} GB of GPU memory, the largest GPU here has {max(machine.gpu_gb):.0f} GB: "
                f"{_way_to_save(name, cls, spec.methods[name])}"
            )
    if disk > machine.free_gb:
        yield f"its videos can take {disk:.1f} GB, {machine.free_gb:.1f} GB are free here: give --out on another disk"


def _way_to_save(name: str, cls: type[Any], settings: Settings) -> str:
    """Returns the option that makes a method save GPU memory, or that it has none."""
    try:
        saving = stronger(settings, name)
        construct(cls, saving, name)
    except ConfigError:
        return "no setting of it saves more memory"
    return f"try --set methods.{name}.{OFFLOAD}={saving[OFFLOAD]}"


def _disk(spec: RunSpec) -> float:
    video = spec.profile.video
    return len(spec.cells) * video.num_frames * video.height * video.width * 3 / GIGABYTE
