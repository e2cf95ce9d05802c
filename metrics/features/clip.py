"""Which CLIP, and how frames are made to fit it: the settings that clip and seams share, readable without torch.

Example:
    >>> ClipFeatures().describe()
    'ViT-B-32-quickgelu/openai'
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.errors import SettingError

if TYPE_CHECKING:
    from metrics.features.clip_network import ClipNetwork

CLIP_VERSION = 1
"""Changes whenever the same frames would give other features, so that kept ones are not read."""


@dataclass(frozen=True)
class ClipFeatures:
    """Settings of the CLIP pass.

    Attributes:
        model: a model of open_clip. OpenAI's weights need a "-quickgelu" name.
        pretrained: one of its tags, or a weights file.
        weights: folder with `open_clip_config.json` and `open_clip_model.safetensors`; replaces model and pretrained.
        preprocess: "crop", "squash" or "pad", see `metrics.features.clip_network.fit`; or "vbench", a crop of frames
            that are scaled as floats, without antialiasing, rounding or clamping.
        dtype: "float32", "float16" or "bfloat16", of the towers.
        device: a torch device.
    """

    model: str = "ViT-B-32-quickgelu"
    pretrained: str = "openai"
    weights: str = ""
    preprocess: str = "crop"
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.preprocess not in ("crop", "squash", "pad", "vbench"):
            raise SettingError(f"CLIP preprocessing is 'crop', 'squash', 'pad' or 'vbench', not {self.preprocess!r}")
        if self.dtype not in ("float32", "float16", "bfloat16"):
            raise SettingError(f"CLIP towers run in 'float32', 'float16' or 'bfloat16', not {self.dtype!r}")

    def identity(self, prompt: str) -> str:
        """Returns all the features depend on besides the frames; the device is left out, as it moves them little."""
        return f"clip {CLIP_VERSION} {self.describe()} {self._files()} {self.preprocess} {self.dtype} {prompt!r}"

    def describe(self) -> str:
        """Returns the model's name for people."""
        return Path(self.weights).name if self.weights else f"{self.model}/{Path(self.pretrained).name}"

    def load(self) -> ClipNetwork:
        """Returns the loaded model.

        Raises:
            WeightsError: if its weights are not there.
        """
        from metrics.features.clip_network import ClipNetwork

        return ClipNetwork(self.model, self.pretrained, self.weights, self.preprocess, self.dtype, self.device)

    def _files(self) -> str:
        """Returns what local files are known by; a published tag is its own name."""
        from metrics.flow.weights import identity_of

        if self.weights:
            folder = Path(self.weights)
            return identity_of(folder / "open_clip_model.safetensors", folder / "open_clip_config.json")
        local = Path(self.pretrained)
        return identity_of(local) if local.is_file() else "published"
