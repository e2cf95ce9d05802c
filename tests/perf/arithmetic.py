"""Counts arithmetic, which is the same on every machine; seconds on a shared one differ by a quarter between tries."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def operations(run: Callable[[], object]) -> int:
    """Returns the floating point operations of matrix products, convolutions and attentions."""
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()
