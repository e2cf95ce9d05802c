"""What to do when memory runs out: which errors say so, and which setting of a method saves more of it.

A method with a field `offload` ("none", "model" or "sequential", see `generators.pipelines`) can trade time for GPU
memory and still draw the same frames, so the harness may set it: a video that did not fit is tried once more with the
next stronger option, and its record says so.

Example:
    >>> stronger({"offload": "none", "num_frames": 25}, "svd")
    {'offload': 'model', 'num_frames': 25}
"""

from __future__ import annotations

from bench.errors import ConfigError
from bench.profile import Settings
from generators.pipelines import OFFLOADS

OFFLOAD = "offload"
"""Name of the setting that trades time for memory."""


def ran_out(error: BaseException | None) -> bool:
    """Returns whether an error says that memory ran out, on the GPU or in the process."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError)


def stronger(settings: Settings, who: str) -> Settings:
    """Returns the settings with the next stronger option of `OFFLOAD`.

    Args:
        settings: settings of a method or of the first chunk.
        who: its name, for messages.

    Raises:
        ConfigError: there is none.
    """
    option = settings.get(OFFLOAD)
    if option not in OFFLOADS:
        raise ConfigError(f"{who} has no setting `{OFFLOAD}` that would save memory")
    if option == OFFLOADS[-1]:
        raise ConfigError(f'{OFFLOAD} = "{option}" saves the most memory there is')
    return {**settings, OFFLOAD: OFFLOADS[OFFLOADS.index(option) + 1]}
