"""Opens checkpoints as data: safetensors, or pickles from which only tensors are read.

Why it exists: released networks come as one safetensors file, several, or a training checkpoint. A checkpoint is
untrusted input; nothing in it is ever executed.

Example:
    >>> import tempfile
    >>> import torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"weight": torch.ones(2)}, f"{folder}/model.safetensors")
    ...     list(read_checkpoint(Path(folder)))
    ['weight']
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from generators.weights import MissingWeightsError

PICKLES = ("*.ckpt", "*.pt", "*.pth", "*.bin")
"""File names of checkpoints that are not safetensors."""


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Returns what the checkpoint files in a folder hold, on the CPU: tensors by name, or what wraps them.

    Several safetensors files are shards of one checkpoint and are joined.

    Raises:
        MissingWeightsError: no checkpoint is there, or more than one pickle.
        ValueError: a pickle holds more than tensors.
    """
    shards = sorted(folder.glob("*.safetensors"))
    if shards:
        return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    files = sorted(file for pattern in PICKLES for file in folder.glob(pattern))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise MissingWeightsError(
            f"{folder} must hold safetensors or one checkpoint file; found {found}: fetch it again"
        )
    try:
        checkpoint: dict[str, Any] = torch.load(files[0], map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{files[0]} holds more than tensors and is not opened: ask its authors for a safetensors file"
        ) from error
    return checkpoint


def read_released_config(folder: Path) -> dict[str, Any]:
    """Returns the `config.json` in a folder.

    Raises:
        MissingWeightsError: there is none.
        ValueError: it is not a JSON object.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise MissingWeightsError(f"{folder} holds no config.json, so it is not a network's folder: fetch it again")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}): fetch it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold a JSON object, not {type(values).__name__}: fetch it again")
    return values
