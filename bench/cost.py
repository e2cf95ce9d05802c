"""What a video costs: seconds, memory and network operations, measured while it is made.

Time is taken around the method's own work, never around writing or scoring. Operations are counted by torch's counter,
which sees fused attention (`scaled_dot_product_attention`) where counters built on module hooks do not. Two of its
forms are added here: the fused path of `nn.MultiheadAttention`, and the one on processors, which torch up to 2.13
leaves out. Counting slows a network down, so it is done once per method, on the first chunk of its first cell, and
stays out of `seconds_per_frame` unless there is no other chunk.

Example:
    >>> meter = Meter(warm=True)
    >>> with meter.chunk(8):
    ...     pass
    >>> sorted(meter.cost(metric_seconds=0.0))[:2]
    ['cold', 'generation_seconds']
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

MEGABYTE = 1e6
SAMPLE_SECONDS = 0.05
"""How often resident memory is looked at: often enough for chunks of a second, cheap enough not to be felt."""


class Meter:
    """Clock and counters of one cell; a context that watches memory while it is open.

    Args:
        warm: the method's weights were loaded by an earlier cell of this process.
        flops: count network operations in the first chunk.
        gpu: watch the memory of the CUDA device.
    """

    def __init__(self, *, warm: bool, flops: bool = False, gpu: bool = False) -> None:
        self._warm, self._flops, self._gpu = warm, flops, gpu
        self._seconds: list[float] = []
        self._frames: list[int] = []
        self._gflops: float | None = None
        self._peak_rss = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Starts to watch memory."""
        if self._gpu:
            import torch

            torch.cuda.reset_peak_memory_stats()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops watching."""
        self._done.set()
        self._watcher.join()

    @contextmanager
    def chunk(self, num_frames: int | None = None) -> Iterator[list[int]]:
        """Returns a context around the making of one chunk.

        Args:
            num_frames: its length if it is known before; otherwise append it to the list that the context gives.
        """
        length = [] if num_frames is None else [num_frames]
        counter = _flop_counter() if self._flops and not self._seconds else None
        with ExitStack() as stack:
            if counter is not None:
                stack.enter_context(counter)
            began = time.perf_counter()
            yield length
            seconds = time.perf_counter() - began
        if not length:
            return  # the method had no further chunk
        self._seconds.append(seconds)
        self._frames.append(length[0])
        if counter is not None:
            self._gflops = counter.get_total_flops() / length[0] / 1e9

    def cost(self, metric_seconds: float) -> dict[str, float | None]:
        """Returns the figures of the cell by name.

        - generation_seconds: all of the method's own work, s.
        - seconds_to_first_chunk: s; includes loading the weights in a cell that is `cold`.
        - seconds_per_frame: s per generated frame, from the second chunk on where there is one, so that neither loading
          nor counting enters then.
        - cold: 1 in the first cell of the method in its process, else 0.
        - peak_rss_mb: peak resident memory of the process, 1e6 bytes.
        - peak_gpu_mb: peak memory allocated by torch on the GPU, 1e6 bytes; None without one.
        - gflops_per_frame: 1e9 network operations (a multiply-add is two) per generated frame; None where not counted.
        - metric_seconds: time of all metrics, s.
        """
        later = slice(1, None) if len(self._seconds) > 1 else slice(0, None)
        frames = sum(self._frames[later])
        return {
            "generation_seconds": sum(self._seconds),
            "seconds_to_first_chunk": self._seconds[0] if self._seconds else None,
            "seconds_per_frame": sum(self._seconds[later]) / frames if frames else None,
            "cold": 0.0 if self._warm else 1.0,
            "peak_rss_mb": self._peak_rss / MEGABYTE if self._peak_rss else None,
            "peak_gpu_mb": _peak_gpu() / MEGABYTE if self._gpu else None,
            "gflops_per_frame": self._gflops,
            "metric_seconds": metric_seconds,
        }

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self._peak_rss = max(self._peak_rss, process.memory_info().rss)
            if self._done.wait(SAMPLE_SECONDS):
                return


def _peak_gpu() -> int:
    import torch

    return torch.cuda.max_memory_allocated()


def _flop_counter() -> FlopCounterMode:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    fused = {
        torch.ops.aten._native_multi_head_attention: attention_flops,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: product_flops,
    }
    return FlopCounterMode(display=False, custom_mapping=fused)


def attention_flops(
    query: Any, key: Any, value: Any, embed_dim: int, num_head: int, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Returns the operations of fused multi-head attention: four projections and two products, 2 per multiply-add.

    Args:
        query: shape [B, L, C] (the counter hands over shapes, not tensors).
        key: shape [B, S, C].
        value: shape [B, S, C].
        embed_dim: C.
        num_head: heads; the count does not depend on it.
        out_shape: shapes of the outputs, unused.

    Source: `aten::_native_multi_head_attention(query, key, value, embed_dim, num_head, ...)`.
    """
    batch, length, width = query
    source = key[1]
    projections = 2 * batch * (2 * length + 2 * source) * width * width
    return int(projections + 2 * 2 * batch * length * source * width)


def product_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Returns the operations of the two products of fused attention, 2 per multiply-add.

    Args:
        query: shape [B, heads, L, C].
        key: shape [B, heads, S, C].
        value: shape [B, heads, S, D].
        out_shape: shapes of the outputs, unused.

    Source: `aten::_scaled_dot_product_flash_attention_for_cpu(query, key, value, ...)`.
    """
    batch, heads, length, width = query
    return int(2 * batch * heads * length * key[2] * (width + value[3]))
