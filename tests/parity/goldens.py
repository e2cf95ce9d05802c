"""What the parity tests share: a folder of golden data, outputs of inner modules, clips."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.conftest import golden


class Golden:
    """One folder of golden data of a network; every size comes from its `config.json`."""

    def __init__(self, name: str, *, holds: str = "io.safetensors", travels: bool = False) -> None:
        self.folder = golden("baselines", name, holds, travels=travels).parent
        self.config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        self.constructor: dict[str, Any] = self.config["constructor"]
        self.limit: float = self.config["tolerance"]["rel_l2"]

    @cached_property
    def io(self) -> dict[str, Tensor]:
        """Inputs, outputs and intermediates by name."""
        return load_file(self.folder / "io.safetensors")

    def weights(self) -> dict[str, Tensor]:
        return {key: tensor.float() for key, tensor in load_file(self.folder / "weights.safetensors").items()}

    def check(self, name: str, ours: Tensor) -> None:
        assert_near(ours, self.io[name], self.limit, name)


def assert_near(ours: Tensor, theirs: Tensor, limit: float, name: str = "output") -> None:
    assert ours.shape == theirs.shape, name
    error = relative(ours, theirs)
    assert error <= limit, f"{name}: relative error {error:.1e} > {limit:.0e}"


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Returns the relative error in the L2 norm."""
    assert ours.shape == theirs.shape
    return float(torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(theirs))


def captured(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Returns a dict that holds each module's latest output once the network has run."""
    outputs: dict[str, Tensor] = {}
    for name, module in modules.items():

        def keep(module: nn.Module, inputs: object, output: Any, name: str = name) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) else output

        module.register_forward_hook(keep)
    return outputs


def attention_levels(constructor: dict[str, Any]) -> tuple[bool, ...]:
    """Returns at which levels a VGen network attends to the text: the scale halves with every level."""
    return tuple(0.5**level in constructor["attn_scales"] for level in range(len(constructor["dim_mult"])))


def block_types(levels: tuple[bool, ...]) -> dict[str, tuple[str, ...]]:
    """Returns diffusers' names of the blocks of a 3D UNet, down and up."""
    down = tuple("CrossAttnDownBlock3D" if attends else "DownBlock3D" for attends in levels)
    up = tuple("CrossAttnUpBlock3D" if attends else "UpBlock3D" for attends in reversed(levels))
    return {"down_block_types": down, "up_block_types": up}


def read_clip(name: str) -> NDArray[np.uint8]:
    """Returns the frames [T, H, W, 3] of a synthetic clip of the metrics' golden data."""
    with av.open(str(golden("metrics", "clips", f"{name}.mkv"))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
