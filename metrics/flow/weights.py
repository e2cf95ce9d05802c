"""Released optical-flow weights: found on disk, checked by hash, loaded as data and never as code.

Example:
    >>> release = released("raft_large")
    >>> release.file, release.sha256_start
    ('raft_large_C_T_SKHT_V2-ff5fadd5.pth', 'ff5fadd5')
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.errors import WeightsError

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum
    from torchvision.models.optical_flow import RAFT


FETCHED = "raft_large"
"""The network of the published metric, which `fetch` brings."""


@dataclass(frozen=True)
class Release:
    """A released weights file.

    Attributes:
        network: "raft_large" or "raft_small".
        url: where its publisher keeps it.
        file: its name, which ends in the first eight digits of its SHA-256.
        sha256_start: those digits.
        megabytes: its size as published.
    """

    network: str
    url: str
    file: str
    sha256_start: str
    megabytes: float


def released(network: str) -> Release:
    """Returns the release that the default weights of a torchvision network come from.

    Source: torchvision, `models/optical_flow/raft.py` (`Raft_Large_Weights.C_T_SKHT_V2`, `Raft_Small_Weights.C_T_V2`).
    """
    from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights

    weights = {"raft_large": Raft_Large_Weights.C_T_SKHT_V2, "raft_small": Raft_Small_Weights.C_T_V2}[network]
    return _release(network, weights)


def _release(network: str, weights: WeightsEnum) -> Release:
    file = str(weights.url).rsplit("/", 1)[-1]
    start = Path(file).stem.rsplit("-", 1)[-1]
    return Release(network, str(weights.url), file, start, float(weights.meta["_file_size"]))


def load_released_raft(network: str, weights_file: str = "") -> tuple[RAFT, str]:
    """Returns a released RAFT in evaluation mode, float32, on the CPU, and the SHA-256 of its weights file.

    Args:
        network: "raft_large" or "raft_small".
        weights_file: the file, if it is not in torch's hub cache.

    Raises:
        WeightsError: if the file is absent, is not the released one, or holds something else.
    """
    release = released(network)
    return _load(release, Path(weights_file) if weights_file else _hub_file(release))


def load_chairs_and_things(weights_file: str = "") -> tuple[RAFT, str]:
    """Returns the RAFT that VBench measures motion with, and the SHA-256 of its weights file; nothing is fetched.

    Args:
        weights_file: the file, if it is not in torch's hub cache.

    Raises:
        WeightsError: if the file is absent or is not the released one.

    Source: torchvision, `Raft_Large_Weights.C_T_V1`, "ported from" the authors' `raft-things.pth`.
    """
    import torch
    from torchvision.models.optical_flow import Raft_Large_Weights

    release = _release("raft_large", Raft_Large_Weights.C_T_V1)
    return _load(release, Path(weights_file or Path(torch.hub.get_dir()) / "checkpoints" / release.file))


def _load(release: Release, path: Path) -> tuple[RAFT, str]:
    import torch
    from torchvision.models import optical_flow

    network = release.network
    if not path.is_file():
        raise WeightsError(f"no flow weights at {path}: {_where(release)}")
    sha256 = sha256_of(path)
    if not sha256.startswith(release.sha256_start):
        raise WeightsError(f"{path} is not the released file (its SHA-256 is {sha256}): {_where(release)}")
    model: RAFT = {"raft_large": optical_flow.raft_large, "raft_small": optical_flow.raft_small}[network](weights=None)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} does not hold the weights of {network}: {error}") from error
    return model.eval(), sha256


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def identity_of(*files: Path) -> str:
    """Returns what these files are known by: the SHA-256 of each, or "missing".

    A configuration beside weights changes what they compute, so it belongs among the files.
    """
    return " ".join(sha256_of(file) if file.is_file() else "missing" for file in files)


def _hub_file(release: Release) -> Path:
    """Returns where torch's hub cache keeps the file; nothing here downloads it."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / release.file


def _where(release: Release) -> str:
    import torch

    fetch = "run `python -m bench fetch mawe` where there is a network, or " if release.network == FETCHED else ""
    return (
        f"{fetch}get {release.file} ({release.megabytes:.1f} MB, SHA-256 starting {release.sha256_start}) from "
        f"{release.url} and put it into {Path(torch.hub.get_dir()) / 'checkpoints'}, or name the file as `flow_weights`"
    )
