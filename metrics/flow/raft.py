"""RAFT at any size, from a JSON-able description: released and miniature networks are one class and one loading path.

torchvision ships RAFT as a class put together from public blocks, and two sizes of it. This module puts the same blocks
together from a configuration, so that a network of half a million parameters, trained on this project's own world,
runs through exactly the code that the released `raft_large` runs through.

Example:
    >>> model = build_raft(RAFT_MINI)
    >>> sum(p.numel() for p in model.parameters()) < 500_000
    True
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models.optical_flow import RAFT

RAFT_MINI: Mapping[str, object] = MappingProxyType(
    {
        "feature_layers": [24, 24, 32, 48, 64],
        "feature_norm": "instance",
        "context_layers": [16, 16, 24, 32, 80],
        "context_norm": "batch",
        "corr_levels": 3,
        "corr_radius": 3,
        "motion_corr_layers": [64, 40],
        "motion_flow_layers": [32, 16],
        "motion_features": 36,
        "hidden": 48,
        "gru_kernels": [[1, 5], [5, 1]],
        "gru_paddings": [[0, 2], [2, 0]],
        "flow_head_hidden": 48,
        "mask_hidden": 40,
        "updates": 3,
    }
)
"""A RAFT of half a million parameters for frames from 64 x 64 pixels on (three levels halve an 8 x 8 map to 2 x 2).

Three updates, because more do not lower its held-out error, measured by `python -m bench.studies.mini_networks`."""


class RaftConfigError(ValueError):
    """A RAFT configuration that cannot be built: says which entry is wrong and what it may be."""


@dataclass(frozen=True)
class RaftConfig:
    """Widths and shapes of every part of a RAFT.

    Attributes:
        feature_layers: five widths of the feature encoder; the last one is the depth of the correlated features.
        feature_norm: "instance", "batch" or "none".
        context_layers: five widths of the context encoder; the last is hidden state plus context.
        context_norm: as `feature_norm`.
        corr_levels: levels of the correlation pyramid; frames need at least 8 * 2 ** corr_levels pixels a side.
        corr_radius: half side of the looked-up neighbourhood, in cells of 8 pixels.
        motion_corr_layers: one or two widths of the motion encoder's correlation branch.
        motion_flow_layers: two widths of its flow branch.
        motion_features: its output width, the two flow channels included.
        hidden: width of the recurrent state.
        gru_kernels: one or two kernel sizes (height, width).
        gru_paddings: the padding that belongs to each kernel.
        flow_head_hidden: width inside the flow head.
        mask_hidden: width inside the predictor of the convex upsampling mask, or None for bilinear upsampling.
        updates: how often the flow is updated in use, >= 1.
    """

    feature_layers: tuple[int, ...]
    feature_norm: str
    context_layers: tuple[int, ...]
    context_norm: str
    corr_levels: int
    corr_radius: int
    motion_corr_layers: tuple[int, ...]
    motion_flow_layers: tuple[int, ...]
    motion_features: int
    hidden: int
    gru_kernels: tuple[tuple[int, int], ...]
    gru_paddings: tuple[tuple[int, int], ...]
    flow_head_hidden: int
    mask_hidden: int | None
    updates: int


def read_raft_config(config: Mapping[str, object]) -> RaftConfig:
    """Returns the configuration with its types checked.

    Raises:
        RaftConfigError: for a missing, unknown or ill-typed entry.
    """
    expected = set(RaftConfig.__dataclass_fields__)
    if set(config) != expected:
        missing, unknown = sorted(expected - set(config)), sorted(set(config) - expected)
        raise RaftConfigError(f"a RAFT configuration lacks {missing} and has unknown {unknown}; see RAFT_MINI")
    values: dict[str, Any] = {name: _frozen(value) for name, value in config.items()}
    for name in ("feature_layers", "context_layers"):
        if len(values[name]) != 5:
            raise RaftConfigError(f"{name} must list five widths, not {config[name]!r}")
    for name in ("feature_norm", "context_norm"):
        if values[name] not in ("instance", "batch", "none"):
            raise RaftConfigError(f"{name} must be 'instance', 'batch' or 'none', not {config[name]!r}")
    if values["context_layers"][-1] <= values["hidden"]:
        raise RaftConfigError("the last of context_layers must exceed hidden: the rest of it is the context")
    if not isinstance(values["updates"], int) or values["updates"] < 1:
        raise RaftConfigError(f"updates must be a whole number of at least 1, not {config['updates']!r}")
    return RaftConfig(**values)


def build_raft(config: Mapping[str, object]) -> RAFT:
    """Returns a RAFT with fresh weights, in training mode, drawn from torch's current generator.

    Its `forward(image1, image2, num_flow_updates=12)` takes float images [N, 3, H, W] in -1..1 with sides divisible by
    8 and returns one flow [N, 2, H, W] in pixels (x, y) per update, from image1 to image2.

    Args:
        config: the fields of `RaftConfig`, as JSON gives them.

    Raises:
        RaftConfigError: if the configuration cannot be built.

    Source: Teed and Deng, RAFT (arXiv:2003.12039), figure 2 and appendix A; blocks of torchvision's
        `models/optical_flow/raft.py`.
    """
    from torchvision.models.optical_flow import raft as blocks

    c = read_raft_config(config)
    corr_block = blocks.CorrBlock(num_levels=c.corr_levels, radius=c.corr_radius)
    motion_encoder = blocks.MotionEncoder(
        in_channels_corr=corr_block.out_channels,
        corr_layers=c.motion_corr_layers,
        flow_layers=c.motion_flow_layers,
        out_channels=c.motion_features,
    )
    recurrent_block = blocks.RecurrentBlock(
        input_size=c.motion_features + c.context_layers[-1] - c.hidden,
        hidden_size=c.hidden,
        kernel_size=c.gru_kernels,
        padding=c.gru_paddings,
    )
    model: RAFT = blocks.RAFT(
        feature_encoder=blocks.FeatureEncoder(layers=c.feature_layers, norm_layer=_norm_layer(c.feature_norm)),
        context_encoder=blocks.FeatureEncoder(layers=c.context_layers, norm_layer=_norm_layer(c.context_norm)),
        corr_block=corr_block,
        update_block=blocks.UpdateBlock(
            motion_encoder=motion_encoder,
            recurrent_block=recurrent_block,
            flow_head=blocks.FlowHead(in_channels=c.hidden, hidden_size=c.flow_head_hidden),
        ),
        mask_predictor=(
            None if c.mask_hidden is None else blocks.MaskPredictor(in_channels=c.hidden, hidden_size=c.mask_hidden)
        ),
    )
    return model


def load_raft(folder: str | Path) -> tuple[RAFT, RaftConfig]:
    """Returns the RAFT kept in a folder, in evaluation mode, float32, on the CPU, and its configuration.

    Args:
        folder: holds `config.json` (the fields of `RaftConfig`; other keys starting with "_" are notes) and
            `model.safetensors` (its state dict in any float type).

    Raises:
        FileNotFoundError: if one of the two files is missing.
        RaftConfigError: if the configuration cannot be built or the weights are of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {name} in {folder}: a RAFT folder holds config.json and model.safetensors")
    entries = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(entries, dict):
        raise RaftConfigError(f"{folder / 'config.json'} holds no JSON object")
    config = {key: value for key, value in entries.items() if not key.startswith("_")}
    model = build_raft(config)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (RuntimeError, SafetensorError) as error:
        raise RaftConfigError(f"the weights in {folder} are damaged or do not fit its config.json: {error}") from error
    return model.eval(), read_raft_config(config)


def save_raft(model: RAFT, config: Mapping[str, object], folder: str | Path) -> None:
    """Writes `config.json` and `model.safetensors` (float16) such that `load_raft` reads them back."""
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (tensor.half() if tensor.dtype == torch.float32 else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(read_raft_config(config)), indent=1), encoding="utf-8")


def _norm_layer(name: str) -> type[nn.Module] | None:
    from torch import nn

    layers: dict[str, type[nn.Module] | None] = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": None}
    return layers[name]


def _frozen(value: object) -> object:
    """Returns the value with every list, at any depth, turned into a tuple."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
