"""Which worker of this machine sees which GPU.

A worker sees its own GPUs only, through `CUDA_VISIBLE_DEVICES`, which has to be set before torch is imported.

Example:
    >>> shares(("0", "1", "2", "3"), per_worker=2, workers=0)
    ['0,1', '2,3']
    >>> shares(("0", "1"), per_worker=0.5, workers=3)
    ['0', '1', '0']
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.errors import ConfigError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that CUDA reads. Source: CUDA C++ Programming Guide, "CUDA Environment Variables"."""


def visible_gpus() -> tuple[str, ...]:
    """Returns the names by which this process may hand its GPUs to others; none without CUDA."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return tuple(named[:count]) if named else tuple(str(index) for index in range(count))


def shares(gpus: Sequence[str], per_worker: float, workers: int) -> list[str]:
    """Returns what each worker sees, as values of `CUDA_VISIBLE_DEVICES`.

    Args:
        gpus: names of the GPUs there are.
        per_worker: GPUs per worker: a whole number, or a fraction for several workers on one GPU; 0 for one.
        workers: how many workers; 0 for as many as fit.

    Raises:
        ConfigError: they do not fit.
    """
    per_worker = per_worker or 1.0
    if not gpus:
        raise ConfigError('device = "cuda", but this machine has no CUDA GPU: use --set run.device=cpu')
    if per_worker > len(gpus):
        raise ConfigError(f"--gpus-per-worker {per_worker:g}: this machine has {_count(len(gpus))}")
    if per_worker >= 1:
        size = int(per_worker)
        slots = [",".join(gpus[first : first + size]) for first in range(0, len(gpus) - size + 1, size)]
    else:
        slots = list(gpus) * int(1 / per_worker + 1e-9)
    if workers > len(slots):
        raise ConfigError(
            f"--workers {workers} with {per_worker:g} GPUs each do not fit on {_count(len(gpus))}: "
            f"give --workers {len(slots)} or fewer, or a smaller --gpus-per-worker"
        )
    return slots[: workers or len(slots)]


@contextmanager
def seeing(gpus: str | None) -> Iterator[None]:
    """Returns a context in which a process that is started sees these GPUs only; None changes nothing."""
    before = os.environ.get(VISIBLE)
    if gpus is not None:
        os.environ[VISIBLE] = gpus
    try:
        yield
    finally:
        if before is not None:
            os.environ[VISIBLE] = before
        elif gpus is not None:
            del os.environ[VISIBLE]


def _count(gpus: int) -> str:
    return f"{gpus} GPU" + ("s" if gpus != 1 else "")
