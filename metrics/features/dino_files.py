"""Which file a setting names that holds DINO's weights."""

from __future__ import annotations

from pathlib import Path


def weights_file(weights: str) -> Path:
    """Returns the file a `weights` setting means: itself, or `model.safetensors` in the folder it names."""
    path = Path(weights)
    return path / "model.safetensors" if path.is_dir() else path
