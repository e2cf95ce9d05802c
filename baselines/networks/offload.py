"""Where a network lives while others run: on the device all the time, only when needed, or layer by layer.

Example:
    >>> with on_device(vae, settings) as network:  # doctest: +SKIP
    ...     network.decode(latents)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.pipelines import load_network

if TYPE_CHECKING:
    from generators.pipelines import PipelineSettings


def load_offloadable(network_class: Any, folder: Path, settings: PipelineSettings, variant: str = "") -> Any:
    """Returns a network from its folder, ready to run inside `on_device`.

    Args:
        network_class: a diffusers model class.
        folder: folder with config.json and safetensors.
        settings: device, dtype and offload; its variant is not read.
        variant: file variant, such as "fp16"; empty for plain file names.
    """
    network = load_network(network_class, folder, replace(settings, variant=variant)).eval()
    if settings.offload == "sequential":
        from accelerate import cpu_offload

        return cpu_offload(network, settings.device)
    return network if settings.offload == "model" else network.to(settings.device)


@contextmanager
def on_device(network: Any, settings: PipelineSettings) -> Iterator[Any]:
    """Gives the network on its device; with `offload = "model"` it is there only inside the block."""
    if settings.offload != "model":
        yield network
        return
    try:
        yield network.to(settings.device)
    finally:
        network.to("cpu")
