"""Reads weights files as data: tensors by name, never code.

Example:
    >>> read_tensors(Path("nowhere.pth"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    metrics.errors.WeightsError: nowhere.pth cannot be read as weights: ...
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from metrics.errors import WeightsError


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Returns the tensors of a weights file as float32, read as data: safetensors, or a pickle of tensors alone.

    Raises:
        WeightsError: it is neither, or holds more than tensors by name.
    """
    from safetensors import SafetensorError

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file} cannot be read as weights: {error or 'it ends too early'}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"{file} holds more than tensors by name: a training checkpoint? Give the weights alone")
    return {name: tensor.float() for name, tensor in found.items()}
