"""Brings released weights to this machine: the one module of the benchmark that downloads.

The repository is asked for its list of files first, so that a name it does not hold, a new address and a full disk are
known before the first byte.

Example:
    >>> shortage(needed=3_000_000_000, free=1_000_000_000, folder=Path("/data"))
    'there are 1.0 GB free in /data, and 3.0 GB are to be fetched: free some space'
"""

from __future__ import annotations

import shutil
import urllib.error
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from generators.weights import (
    MissingWeightsError,
    Weights,
    hub_snapshot,
    lacking,
    steps_through_the_gate,
    torch_checkpoints,
    torchvision_folder,
    unfinished_mark,
    verify,
)

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

NAMES_SHOWN = 20
"""File names of a repository that an error lists at most."""


@dataclass(frozen=True)
class Fetched:
    """What one download brought.

    Attributes:
        path: the folder, or the file of a torchvision release.
        notes: sentences the user should read, such as the repository's new name.
    """

    path: Path
    notes: tuple[str, ...] = ()


def fetch_weights(entry: Weights, weights_dir: str = "") -> Fetched:
    """Downloads one entry, with a progress bar; files that an earlier try finished are kept. Returns where it is.

    Args:
        entry: an entry of `generators.weights.TABLE`.
        weights_dir: download to the folder owner/name below this one; empty for the hub's cache.

    Raises:
        MissingWeightsError: the hub refuses or cannot be reached, the disk is too small, or a file is not what the
            table says.
    """
    fetch = {"hub": _fetch_hub, "torchvision": _fetch_torchvision}[entry.source]
    fetched = fetch(entry, weights_dir)
    verify(fetched.path, entry)
    return fetched


def shortage(needed: int, free: int, folder: Path) -> str:
    """Returns a sentence if a download does not fit, else nothing.

    Args:
        needed: bytes still to be fetched.
        free: bytes free on the disk.
        folder: where they go.
    """
    if needed <= free:
        return ""
    return (
        f"there are {free / 1e9:.1f} GB free in {folder}, and {needed / 1e9:.1f} GB are to be fetched: free some space"
    )


def _fetch_hub(entry: Weights, weights_dir: str) -> Fetched:
    """Returns the folder of a repository with every file that the entry names.

    `HTTPError` is the root of the client library's errors: httpx's in huggingface_hub 1, httpx2's in 2.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    target = Path(weights_dir) / entry.repository if weights_dir else None
    try:
        info = HfApi().model_info(entry.repository, revision=entry.revision, files_metadata=True)
        _check_list(entry, info)
        mark = unfinished_mark(target or hub_snapshot(entry.repository, str(info.sha)))
        if _check_disk(entry, info, target):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        folder = snapshot_download(
            entry.repository, revision=entry.revision, allow_patterns=list(entry.files), local_dir=target
        )
        mark.unlink(missing_ok=True)
    except GatedRepoError as error:
        raise MissingWeightsError(
            f"the hub refuses {entry.repository}: {steps_through_the_gate(entry, weights_dir)}", entry
        ) from error
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise MissingWeightsError(
            f"could not fetch {entry.repository}: {_first_line(error)}; check the connection and run the same "
            "command again, files that are complete are kept",
            entry,
        ) from error
    if gap := lacking(Path(folder), entry.files):
        raise MissingWeightsError(f"{folder} is without {', '.join(gap)} after the download: fetch again", entry)
    moved = f"{entry.repository} is now called {info.id} on the hub; it is kept here under the name it was asked for by"
    return Fetched(Path(folder), (moved,) if info.id != entry.repository else ())


def _check_list(entry: Weights, info: ModelInfo) -> None:
    """Raises MissingWeightsError, with what the repository does hold, if it has no file for one of the names."""
    names = sorted(sibling.rfilename for sibling in info.siblings or ())
    gap = [pattern for pattern in entry.files if not any(fnmatch(name, pattern) for name in names)]
    if not gap:
        return
    more = len(names) - NAMES_SHOWN
    held = ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    raise MissingWeightsError(
        f"{entry.repository} (revision {entry.revision}) has no file for {', '.join(gap)}; it holds "
        f"{held or 'nothing'}. Its layout has changed: point the setting that names these weights at a folder of "
        "your own",
        entry,
    )


def _check_disk(entry: Weights, info: ModelInfo, target: Path | None) -> int:
    """Returns the bytes still to be fetched.

    Raises:
        MissingWeightsError: they do not fit on the disk.
    """
    from huggingface_hub import constants

    folder = target or hub_snapshot(entry.repository, str(info.sha))
    needed = sum(
        sibling.size or 0
        for sibling in info.siblings or ()
        if any(fnmatch(sibling.rfilename, pattern) for pattern in entry.files)
        and not _is_there(folder / sibling.rfilename, sibling.size)
    )
    _check_room(needed, target or Path(constants.HF_HUB_CACHE), entry)
    return needed


def _check_room(needed: int, folder: Path, entry: Weights) -> None:
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if sentence := shortage(needed, shutil.disk_usage(existing).free, folder):
        raise MissingWeightsError(
            f"{entry.repository}: {sentence}, or name a folder on a larger disk with --weights-dir", entry
        )


def _is_there(file: Path, size: int | None) -> bool:
    return file.is_file() and file.stat().st_size == size


def _fetch_torchvision(entry: Weights, weights_dir: str) -> Fetched:
    """Returns the file of a torchvision release; it takes its name only when its hash is right."""
    import torch
    from torchvision.models import get_weight

    (name,) = entry.files
    file = (torchvision_folder(weights_dir) if weights_dir else torch_checkpoints()) / name
    if file.is_file():
        return Fetched(file)
    _check_room(int(entry.size_gb * 1e9), file.parent, entry)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            get_weight(entry.repository).url, str(file), hash_prefix=entry.sha256[name], progress=True
        )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise MissingWeightsError(
            f"could not fetch {name}: {_first_line(error)}; check the connection and run the same command again", entry
        ) from error
    return Fetched(file)


def _first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
