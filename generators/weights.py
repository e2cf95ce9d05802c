"""The weights door: what every system of Table 1 and every scorer needs, under which licence, and where it lies.

Methods name weights by location: "mini:NAME" is a folder inside this package, "hub:OWNER/NAME[@REVISION][/PATH]" a
repository of the Hugging Face hub that was fetched before (or a part of it), anything else a path. `resolve_weights`
turns a location into a folder and never touches the network; `fetch_weights` is the one place that downloads.

Example:
    >>> [entry.repository for entry in needed("svd")]
    ['stabilityai/stable-video-diffusion-img2vid-xt']
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from generators.weights_modern import MODERN
from generators.weights_table import TABLE as PAPER_TABLE
from generators.weights_table import Weights as Weights

TABLE: tuple[Weights, ...] = (*PAPER_TABLE, *MODERN)
"""Every released repository: systems of Table 1 and scorers first, then today's systems."""


class MissingWeightsError(Exception):
    """Weights are not on this machine; the text says which and how to get them.

    Attributes:
        entry: the entry of `TABLE` that `fetch_weights` would bring; None for weights that are not in it.
    """

    def __init__(self, text: str, entry: Weights | None = None) -> None:
        super().__init__(text)
        self.entry = entry


def needed(method: str) -> tuple[Weights, ...]:
    """Returns the entries a method or metric reads, or an empty tuple if it reads none of the released weights."""
    return tuple(entry for entry in TABLE if method in entry.methods)


def resolve_weights(location: str, weights_dir: str = "", revision: str = "") -> Path:
    """Returns the folder or file at a location, without touching the network.

    Args:
        location: "mini:NAME", "hub:OWNER/NAME[@REVISION][/PATH]" or a path.
        weights_dir: where "hub:" repositories lie as folders owner/name; looked at before the hub cache.
        revision: branch, tag or commit of a "hub:" location, for those with a slash in their name; empty for that of
            the location or of the table.

    Raises:
        MissingWeightsError: nothing complete is there; says what is missing and how to get it.
    """
    kind, _, name = location.partition(":")
    if kind == "mini":
        return _miniature(name)
    if kind == "hub":
        return _fetched(name, weights_dir, revision)
    path = Path(location).expanduser()
    if not location or not path.exists():
        raise MissingWeightsError(f'no weights at "{location}": give an existing path, "mini:NAME" or "hub:OWNER/NAME"')
    return path


def find_weights(entry: Weights, weights_dir: str = "") -> Path | None:
    """Returns where an entry of the table lies, complete, on this machine; None if it does not."""
    if entry.source == "torchvision":
        file = _torch_checkpoints() / entry.files[0]
        return file if file.is_file() else None
    candidates = _candidates(entry.repository, entry.revision, weights_dir)
    return next((folder for folder in candidates if not lacking(folder, entry.files)), None)


def lacking(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the patterns that no file below the folder matches."""
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return tuple(pattern for pattern in patterns if not any(fnmatch(file, pattern) for file in files))


def fetch_weights(entry: Weights, weights_dir: str = "") -> Path:
    """Downloads one entry, with a progress bar, going on where an earlier try stopped; returns its folder or file.

    Args:
        entry: an entry of `TABLE`.
        weights_dir: download to the folder owner/name below this one; empty for the hub cache.

    Raises:
        MissingWeightsError: the hub refuses or cannot be reached, or a file is not what the table says.
    """
    path = _fetch_torchvision(entry) if entry.source == "torchvision" else _fetch_hub(entry, weights_dir)
    verify(path, entry)
    return path


def verify(path: Path, entry: Weights) -> None:
    """Raises MissingWeightsError unless every file with a known SHA-256 below `path` (or `path` itself) has it."""
    for name, expected in entry.sha256.items():
        file = path if path.is_file() else path / name
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if not digest.startswith(expected):
            raise MissingWeightsError(
                f"{file} has SHA-256 {digest}, not {expected}: it is damaged or another file: delete it, fetch again"
            )


def how_to_get(entry: Weights, weights_dir: str = "") -> str:
    """Returns the exact steps that bring an entry to this machine, as one sentence."""
    command = f"python -m bench fetch {entry.methods[0]}" + (f" --weights-dir {weights_dir}" if weights_dir else "")
    if entry.gated:
        return (
            f'open the model page "{entry.repository}" on the Hugging Face hub, accept its licence, log in with '
            f"`hf auth login`, then run `{command}` ({entry.size_gb:g} GB; {entry.licence})"
        )
    return f"run `{command}` ({entry.size_gb:g} GB; {entry.licence})"


def _miniature(name: str) -> Path:
    folder = Path(str(importlib.resources.files("generators.mini"))) / "weights" / name
    if not name or ".." in PurePosixPath(name).parts or not folder.exists():
        raise MissingWeightsError(
            f'no miniature weights "mini:{name}": reinstall the package, or train them as docs/mini.md says'
        )
    return folder


def _fetched(name: str, weights_dir: str, told: str) -> Path:
    owner, _, rest = name.partition("/")
    project, _, inside = rest.partition("/")
    project, _, revision = project.partition("@")
    repository = f"{owner}/{project}"
    entry = next((entry for entry in TABLE if entry.repository == repository), None)
    wanted = (inside,) if inside else entry.files if entry else ()
    revision = told or revision or (entry.revision if entry else "main")
    gap: tuple[str, ...] = ()
    for folder in _candidates(repository, revision, weights_dir):
        gap = () if inside and (folder / inside).exists() else lacking(folder, wanted)
        if not gap:
            return folder / inside
    what = f"{repository} without {', '.join(gap)}" if gap else f"no {repository}"
    into = f" --local-dir {weights_dir}/{repository}" if weights_dir else ""
    remedy = how_to_get(entry, weights_dir) if entry else f"run `hf download {repository} --revision {revision}{into}`"
    raise MissingWeightsError(f"{what} (revision {revision}) on this machine: {remedy}", entry)


def _candidates(repository: str, revision: str, weights_dir: str) -> Iterator[Path]:
    """Yields the folders that exist for a repository: below weights_dir first, then in the hub cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if weights_dir and (Path(weights_dir) / repository).is_dir():
        yield Path(weights_dir) / repository
    try:
        yield Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return


def _fetch_hub(entry: Weights, weights_dir: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    target = Path(weights_dir) / entry.repository if weights_dir else None
    try:
        folder = Path(
            snapshot_download(
                entry.repository, revision=entry.revision, allow_patterns=list(entry.files), local_dir=target
            )
        )
    except GatedRepoError as error:
        raise MissingWeightsError(f"the hub refuses {entry.repository}: {how_to_get(entry, weights_dir)}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise MissingWeightsError(
            f"could not fetch {entry.repository}: {str(error).splitlines()[0]}; check the connection and run the same "
            "command again, it goes on where it stopped"
        ) from error
    gap = lacking(folder, entry.files)
    if gap:
        raise MissingWeightsError(
            f"{entry.repository} (revision {entry.revision}) has no file for {', '.join(gap)}: its layout has changed; "
            "point the method's weights setting at a folder of your own"
        )
    return folder


def _torch_checkpoints() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _fetch_torchvision(entry: Weights) -> Path:
    from torchvision.models import get_weight

    get_weight(entry.repository).get_state_dict(progress=True, check_hash=True)
    return _torch_checkpoints() / entry.files[0]
