"""DINO and DINOv2 features of every frame, with the preprocessing of the benchmarks that use them.

Example:
    >>> DinoFeatures(weights="somewhere").identity("")
    'dino 1 missing missing vbench'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metrics.errors import SettingError
from metrics.features.dino_files import weights_file

if TYPE_CHECKING:
    from metrics.features.dino_network import DinoNetwork

DINO_VERSION = 1
"""Changes whenever the same frames would give other features."""


@dataclass(frozen=True)
class DinoFeatures:
    """Settings of the pass.

    Attributes:
        weights: folder with `model.safetensors` (names as in the released checkpoints), or a `.pth` file.
        preprocess: "vbench" scales the short side to 224 without antialiasing and crops nothing (DINO); "long" scales
            it to 256 with antialiasing and crops 224 (DINOv2 in VBench-Long).
        device: a torch device.
    """

    weights: str = ""
    preprocess: str = "vbench"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.preprocess not in ("vbench", "long"):
            raise SettingError(f"DINO preprocessing is 'vbench' or 'long', not {self.preprocess!r}")

    def identity(self, prompt: str) -> str:
        """Returns all the features depend on besides the frames; the device is left out, as it moves them little."""
        from metrics.flow.weights import identity_of

        file = weights_file(self.weights)
        return f"dino {DINO_VERSION} {identity_of(file, file.with_name('config.json'))} {self.preprocess}"

    def load(self) -> DinoNetwork:
        """Returns the loaded network.

        Raises:
            WeightsError: if its weights are not there or are of another network.
        """
        from metrics.features.dino_network import DinoNetwork

        return DinoNetwork(self.weights, self.preprocess, self.device)
