"""Names of latent-video-diffusion checkpoints in diffusers' words.

ModelScope's text-to-video network was retrained by several groups under its first names (`input_blocks.4.1.…`), while
diffusers knows the same network as `UNet3DConditionModel`. One walk over the block structure translates them all:
MS-Vid2Vid-XL (the refiner), VideoCrafter2 and DynamiCrafter.

Example:
    >>> import torch
    >>> list(convert_lvdm_keys({"time_embed.0.weight": torch.zeros(4, 1), "out.2.bias": torch.zeros(4)}))
    ['time_embedding.linear_1.weight', 'conv_out.bias']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

_OUTSIDE_BLOCKS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "fps_embedding.0": "fps_embedding.linear_1",
    "fps_embedding.2": "fps_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "input_blocks.0.1": "transformer_in",
    "init_attn.0": "transformer_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_MIDDLE = {"0": ("resnets.0", "temp_convs.0"), "3": ("resnets.1", "temp_convs.1")}
_TEMPORAL_CONV = "temopral_conv"  # spelt so in every released file


def convert_lvdm_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the names of diffusers' `UNet3DConditionModel`.

    The number of levels and of residual blocks a level is read off the names themselves. 1x1 convolutions around
    transformers become the linear layers diffusers has there. What diffusers has no place for keeps a plain name:
    `fps_embedding.linear_{1,2}` and the image keys `attn2.to_{k,v}_ip`.

    Args:
        state_dict: one network's tensors without outer prefix (`model.diffusion_model.` and the like removed).

    Raises:
        ValueError: names that are not of this family; the first ten are listed.

    Source: structure of ModelScope's unet_sd.py and of lvdm's openaimodel3d.py.
    """
    names = {key: _split_parameter(key) for key in state_dict}
    modules = _ModuleNames(module for module, _ in names.values())
    converted: dict[str, Tensor] = {}
    unknown = []
    for key, (module, parameter) in names.items():
        target = modules.translate(module)
        if target is None:
            unknown.append(key)
            continue
        tensor = state_dict[key]
        if target.endswith(("proj_in", "proj_out")) and parameter == "weight":
            tensor = tensor.reshape(tensor.shape[:2])
        converted[f"{target}.{parameter}"] = tensor
    if unknown:
        listed = ", ".join(unknown[:10])
        raise ValueError(
            f"{len(unknown)} tensors are not of an lvdm/ModelScope video network: {listed}; "
            "pass one network's tensors with the outer prefix removed"
        )
    return converted


def _split_parameter(key: str) -> tuple[str, str]:
    module, _, parameter = key.rpartition(".")
    return module, parameter


class _ModuleNames:
    """Where each module of one checkpoint lives in `UNet3DConditionModel`."""

    def __init__(self, modules: Iterable[str]) -> None:
        listed = list(modules)
        inputs = _numbers(listed, r"input_blocks\.(\d+)\.")
        downsamplers = _numbers(listed, r"input_blocks\.(\d+)\.(?:0\.)?op$")
        self._down = _down_places(inputs, downsamplers)
        layers = min(downsamplers, default=len(inputs)) - 1  # residual blocks a level
        self._up = {number: divmod(number, layers + 1) for number in _numbers(listed, r"output_blocks\.(\d+)\.")}

    def translate(self, module: str) -> str | None:
        """The diffusers name of one module, or None if it belongs to no part of the network."""
        for old, new in _OUTSIDE_BLOCKS.items():
            if module == old or module.startswith(old + "."):
                return new + module[len(old) :]
        match = re.fullmatch(r"(input_blocks|output_blocks|middle_block)\.(\d+)\.(.+)", module)
        if match is None:
            return None
        block, number, rest = match.groups()
        if block == "middle_block":
            return _middle(number, rest)
        if block == "input_blocks":
            place = self._down.get(int(number))
            return None if place is None else _down(place, rest)
        level, layer = self._up[int(number)]
        return _layer(f"up_blocks.{level}", layer, rest)


def _numbers(modules: Iterable[str], pattern: str) -> list[int]:
    return sorted({int(match[1]) for module in modules if (match := re.match(pattern, module))})


def _down_places(inputs: list[int], downsamplers: list[int]) -> dict[int, tuple[int, int]]:
    """(level, layer) of every input block after the first; a downsampler closes its level."""
    places, level, layer = {}, 0, 0
    for number in inputs[1:]:
        places[number] = (level, layer)
        level, layer = (level + 1, 0) if number in downsamplers else (level, layer + 1)
    return places


def _down(place: tuple[int, int], rest: str) -> str | None:
    level, layer = place
    if rest in ("op", "0.op"):
        return f"down_blocks.{level}.downsamplers.0.conv"
    return _layer(f"down_blocks.{level}", layer, rest)


def _layer(block: str, layer: int, rest: str) -> str | None:
    """One part of a level's block: residual, spatial transformer, temporal transformer or upsampler."""
    part, _, inner = rest.partition(".")
    if inner == "conv":
        return f"{block}.upsamplers.0.conv"
    if part == "0":
        return _residual(f"{block}.resnets.{layer}", f"{block}.temp_convs.{layer}", inner)
    kind = {"1": "attentions", "2": "temp_attentions"}.get(part)
    return None if kind is None else f"{block}.{kind}.{layer}.{inner}"


def _middle(number: str, rest: str) -> str | None:
    if number in _MIDDLE:
        resnet, temporal = _MIDDLE[number]
        return _residual(f"mid_block.{resnet}", f"mid_block.{temporal}", rest)
    kind = {"1": "attentions.0", "2": "temp_attentions.0"}.get(number)
    return None if kind is None else f"mid_block.{kind}.{rest}"


def _residual(resnet: str, temporal_conv: str, inner: str) -> str | None:
    if inner.startswith(_TEMPORAL_CONV + "."):
        return temporal_conv + inner[len(_TEMPORAL_CONV) :]
    return f"{resnet}.{_RESNET[inner]}" if inner in _RESNET else None
