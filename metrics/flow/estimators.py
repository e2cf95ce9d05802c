"""The estimators of optical flow by name: RAFT in three sizes, OpenCV's DIS, and any network of ptlflow.

Example: OpenCV's DIS, which needs no weights.
    >>> import numpy as np
    >>> from metrics.flow.warping import resize_frames
    >>> stream = DisFlow().stream()
    >>> still = resize_frames(np.zeros((3, 64, 64, 3), np.uint8), 0)
    >>> [tuple(pairs.flow.shape) for pairs in stream.push(still)]
    [(1, 2, 64, 64), (1, 2, 64, 64)]
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.errors import SettingError, WeightsError
from metrics.flow import VBENCH_ESTIMATORS
from metrics.flow.api import FlowEstimator, FlowPairs, FlowStream

if TYPE_CHECKING:
    from metrics.flow.raft_streaming import RaftFlow

ESTIMATORS = ("raft_large", "raft_small", "mini", "dis", "ptlflow:NAME")
"""The values of a metric's `flow` setting."""

DIS_SMALLEST_SIDE = 12
"""Pixels of the longer side, at the least. Source: OpenCV 5.0, `dis_flow.cpp` (medium preset)."""

MINI_FILES = ("config.json", "model.safetensors")
"""What the folder of a "mini" network holds; either changes its flow."""


def load_estimator(flow: str, weights: str = "", device: str = "cpu", precision: str = "float32") -> FlowEstimator:
    """Returns a loaded estimator.

    Args:
        flow: "raft_large", "raft_small", "mini", "dis" or "ptlflow:NAME".
        weights: weights file of a released network or of ptlflow, or folder of a "mini" one (`config.json`,
            `model.safetensors`).
        device: a torch device; "dis" always runs on the CPU.
        precision: see `metrics.flow.raft_streaming.PRECISIONS`; only networks of torchvision know more than "float32".

    Raises:
        SettingError: if there is no such estimator.
        WeightsError: if its weights are missing or wrong.
    """
    if flow == "dis":
        return DisFlow()
    if flow.startswith("ptlflow:"):
        return PtlFlow(flow.removeprefix("ptlflow:"), weights, device)
    from metrics.flow.raft_streaming import RaftFlow

    if flow in ("raft_large", "raft_small"):
        from metrics.flow.weights import load_released_raft

        model, sha256 = load_released_raft(flow, weights)
        return RaftFlow(model, sha256, device, precision)
    if flow == "mini":
        model, sha256, updates = _load_mini(weights)
        return RaftFlow(model, sha256, device, precision, updates)
    raise SettingError(f"no flow estimator is called {flow!r}: choose one of {', '.join(ESTIMATORS)}")


def load_vbench_raft(flow: str, weights: str, device: str, precision: str, updates: int) -> RaftFlow:
    """Returns RAFT with the weights VBench uses, trained on Chairs and Things alone.

    Args:
        flow: "raft_large", or "mini" for the miniature network in its place.
        weights: weights file of the former, empty for torch's hub cache (nothing is fetched); folder of the latter.
        device: a torch device.
        precision: as for `load_estimator`.
        updates: how often the flow of a pair is updated; the miniature network says so itself.

    Raises:
        SettingError: another estimator is asked for.
        WeightsError: its weights are missing or wrong.
    """
    from metrics.flow.raft_streaming import RaftFlow
    from metrics.flow.weights import load_chairs_and_things

    if flow not in VBENCH_ESTIMATORS:
        raise SettingError(
            f"the dynamic degree is measured by {' or '.join(map(repr, VBENCH_ESTIMATORS))}, not {flow!r}"
        )
    if flow == "mini":
        model, sha256, updates = _load_mini(weights)
    else:
        model, sha256 = load_chairs_and_things(weights)
    return RaftFlow(model, sha256, device, precision, updates)


def precision_identity(precision: str) -> str:
    """Returns what an arithmetic is known by: in half precision, the correlation was not always in float32."""
    return precision if precision in ("float32", "tf32") else f"{precision} around float32"


def weights_identity(flow: str, weights: str) -> str:
    """Returns what the weights of an estimator are known by, without loading them; empty if it has none.

    The SHA-256 of a named file, or of each of the two files of a folder, or the published start of it for the default
    release.
    """
    from metrics.flow.weights import identity_of, released

    if flow == "mini" or weights:
        files = [Path(weights) / name for name in MINI_FILES] if flow == "mini" else [Path(weights)]
        return identity_of(*files)
    return released(flow).sha256_start if flow in ("raft_large", "raft_small") else ""


def _load_mini(folder: str) -> tuple[Any, str, int]:
    """Returns the network, the hash of its weights and how often it updates the flow."""
    from metrics.flow.raft import load_raft
    from metrics.flow.weights import sha256_of

    if not folder:
        raise WeightsError("flow 'mini' needs `flow_weights`: a folder with config.json and model.safetensors")
    try:
        model, config = load_raft(folder)
    except (FileNotFoundError, ValueError) as error:
        raise WeightsError(str(error)) from error
    return model, sha256_of(Path(folder) / "model.safetensors"), config.updates


class DisFlow:
    """Dense inverse search on grey frames, OpenCV's medium preset: no weights, tens of frames a second.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search (arXiv:1603.03590), as in OpenCV.
    """

    weights_sha256 = ""
    device = "cpu"

    def stream(self) -> FlowStream:
        """Returns a fresh stream for one video."""
        return _PairwiseStream(_DisPair())


class PtlFlow:
    """Any network of the ptlflow collection, through its extra, with a checkpoint that lies on this machine."""

    def __init__(self, name: str, checkpoint: str, device: str) -> None:
        """Loads a network; nothing is fetched.

        Args:
            name: as ptlflow lists it, such as "rapidflow".
            checkpoint: a checkpoint file of that network, as ptlflow publishes and writes them.
            device: a torch device.

        Raises:
            WeightsError: if ptlflow is not installed or has no such network, or the file is missing or of another one.
        """
        from metrics.flow.weights import sha256_of

        try:
            with _without_log():
                import ptlflow
        except ImportError as error:
            raise WeightsError("flow 'ptlflow:NAME' needs the extra: pip install 'longvideo-bench[ptlflow]'") from error
        file = Path(checkpoint)
        if not checkpoint or not file.is_file():
            raise WeightsError(
                f"flow 'ptlflow:{name}' has no checkpoint at \"{checkpoint}\": download one from the releases of "
                "hmorimitsu/ptlflow and name the file as `flow_weights` (--flow-weights FILE); nothing is fetched"
            )
        try:
            with _without_log():
                model = ptlflow.get_model(name)
            state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
        except (ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise WeightsError(f"ptlflow cannot load {name!r} with the checkpoint {checkpoint}: {error}") from error
        try:
            model.load_state_dict(state)
        except RuntimeError as error:  # lists every tensor
            raise WeightsError(f"{checkpoint} is not a checkpoint of ptlflow's {name!r}: other tensors") from error
        self._model = model.eval().to(device)
        self.device = device
        self.weights_sha256 = sha256_of(file)

    def stream(self) -> FlowStream:
        """Returns a fresh stream for one video."""
        return _PairwiseStream(_PtlPair(self._model, self.device))


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keeps ptlflow's log lines out of the terminal, where they would break into the progress display."""
    from loguru import logger

    logger.disable("ptlflow")
    try:
        yield
    finally:
        logger.enable("ptlflow")


class _PairFlow(Protocol):
    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Returns the flow float32 [2, H, W] from left to right, both uint8 [3, H, W]."""
        ...


class _PairwiseStream:
    """Runs an estimator that sees one pair at a time over a stream."""

    def __init__(self, pair_flow: _PairFlow) -> None:
        self._pair_flow = pair_flow
        self._last: Tensor | None = None

    def push(self, frames: Tensor) -> Iterator[FlowPairs]:
        for frame in frames:
            if self._last is not None:
                yield FlowPairs(self._last[None], frame[None], self._pair_flow(self._last, frame)[None])
            self._last = frame

    def flush(self) -> Iterator[FlowPairs]:
        return iter(())


class _DisPair:
    def __init__(self) -> None:
        import cv2

        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._last: tuple[Tensor, NDArray[np.uint8]] | None = None

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        height, width = left.shape[-2:]
        if max(height, width) < DIS_SMALLEST_SIDE:
            raise SettingError(
                f"DIS needs frames with a side of at least {DIS_SMALLEST_SIDE} pixels, not {height} x {width}: set "
                "`size` to such a number"
            )
        # The right frame of one pair is the left one of the next: its grey picture is kept.
        left_grey = self._last[1] if self._last is not None and self._last[0] is left else _grey(left)
        self._last = (right, _grey(right))
        flow = self._dis.calc(left_grey, self._last[1], None)
        return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))


def _grey(frame: Tensor) -> NDArray[np.uint8]:
    import cv2

    grey: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY)
    return grey


class _PtlPair:
    def __init__(self, model: Any, device: str) -> None:
        self._model, self._device = model, device

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        # ptlflow takes pictures in OpenCV's channel order, values in 0..1, two of them as one sample.
        images = torch.stack([left, right]).flip(1).float().div(255)[None].to(self._device)
        with torch.inference_mode():
            flow: Tensor = self._model({"images": images})["flows"][0, 0]
        return flow.float()
