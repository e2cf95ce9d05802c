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
        WeightsError: it is neither.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file} cannot be read as weights: {error}") from error
    return {name: tensor.float() for name, tensor in found.items()}
