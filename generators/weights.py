"""The weights door: what every system of Table 1 and every scorer needs, under which licence, and where it lies.

Methods name weights by location: "mini:NAME" is a folder inside this package, "hub:OWNER/NAME[@REVISION][/PATH]" a
repository of the Hugging Face hub that was fetched before (or a part of it), "unreleased:WHAT" says that nobody has
published any, anything else is a path. `resolve_weights` turns a location into a folder and never touches the network;
`generators.weights_fetch` is the one place that downloads.

Example:
    >>> [entry.repository for entry in needed("svd")]
    ['stabilityai/stable-video-diffusion-img2vid-xt']
"""

from __future__ import annotations

import hashlib
import importlib.resources
import shlex
from collections.abc import Iterator, Sequence
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
        entry: the entry of `TABLE` that `python -m bench fetch` would bring; None for weights that are not in it.
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
        location: "mini:NAME", "hub:OWNER/NAME[@REVISION][/PATH]", "unreleased:WHAT" or a path.
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
    if kind == "unreleased":
        raise MissingWeightsError(f"nobody has released {name}")
    path = Path(location).expanduser()
    if not location or not path.exists():
        raise MissingWeightsError(f'no weights at "{location}": give an existing path, "mini:NAME" or "hub:OWNER/NAME"')
    return path


def find_weights(entry: Weights, weights_dir: str = "") -> Path | None:
    """Returns where an entry of the table lies, complete, on this machine; None if it does not."""
    found = in_folder(entry, weights_dir) if weights_dir else None
    if found is not None:
        return found
    if entry.source == "torchvision":
        file = torch_checkpoints() / entry.files[0]
        return file if file.is_file() else None
    snapshot = hub_snapshot(entry.repository, entry.revision)
    return None if lacking(snapshot, entry.files) else snapshot


def in_folder(entry: Weights, weights_dir: str) -> Path | None:
    """Returns where an entry lies, complete, in a folder of released weights; None if it does not."""
    if entry.source == "torchvision":
        file = torchvision_folder(weights_dir) / entry.files[0]
        return file if file.is_file() else None
    folder = Path(weights_dir) / entry.repository
    return None if lacking(folder, entry.files) else folder


def lacking(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names that no file below the folder has; the hub's own notes in `.cache` do not count.

    One file meets a pattern, so while a download is unfinished no pattern counts as met.
    """
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    weights = [file for file in files if not file.startswith(".cache/")]
    certain = not unfinished_mark(folder).exists()
    met = {pattern for pattern in patterns if any(fnmatch(file, pattern) for file in weights)}
    return tuple(pattern for pattern in patterns if pattern not in met or ("*" in pattern and not certain))


def unfinished_mark(folder: Path) -> Path:
    """Returns the empty file that `fetch` keeps beside a folder until its download is complete."""
    if folder.parent.name == "snapshots":
        return folder.parents[1] / f"{folder.name}.unfinished"
    return folder / ".cache" / "unfinished"


def verify(path: Path, entry: Weights) -> None:
    """Raises MissingWeightsError unless every file with a known SHA-256 below `path` (or `path` itself) has it."""
    for name, expected in entry.sha256.items():
        file = (path if path.is_file() else path / name).resolve()  # the cache links to where the bytes are
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if not digest.startswith(expected):
            raise MissingWeightsError(
                f"{file} has SHA-256 {digest}, not {expected}: it is damaged or another file: delete it, fetch again",
                entry,
            )


def how_to_get(entry: Weights, weights_dir: str = "") -> str:
    """Returns the exact steps that bring an entry to this machine, as one sentence."""
    if entry.gated:
        return steps_through_the_gate(entry, weights_dir)
    return f"run {_command(entry, weights_dir)}"


def steps_through_the_gate(entry: Weights, weights_dir: str = "") -> str:
    """Returns the steps for a repository whose licence must be accepted first, as one sentence."""
    return (
        f'open the model page "{entry.repository}" on the Hugging Face hub, accept its licence, log in with '
        f"`hf auth login`, then run {_command(entry, weights_dir)}"
    )


def hub_snapshot(repository: str, revision: str) -> Path:
    """Returns the folder of a repository's revision in the hub's cache, whether it exists or not.

    It is looked up by us, since the hub's client refuses every snapshot that lacks a file of the repository, needed
    or not.

    Source: huggingface_hub, guide "Understand caching": `models--OWNER--NAME/refs/REVISION` holds the commit, and
    `snapshots/COMMIT` the files.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    reference = place / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    return place / "snapshots" / commit


def torch_checkpoints() -> Path:
    """Returns the folder where torch keeps the files it downloads."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def torchvision_folder(weights_dir: str) -> Path:
    """Returns the folder for torchvision's releases below a folder of released weights."""
    return Path(weights_dir) / "torchvision"


def command_for(names: Sequence[str], weights_dir: str = "") -> str:
    """Returns the command that fetches what methods or metrics read."""
    into = ["--weights-dir", weights_dir] if weights_dir else []
    return shlex.join(["python", "-m", "bench", "fetch", *names, *into])


def _command(entry: Weights, weights_dir: str) -> str:
    """Returns the command that fetches an entry, in backquotes, with its size and licence."""
    return f"`{command_for(entry.methods[:1], weights_dir)}` ({entry.size_gb:g} GB; {entry.licence})"


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
    into = f" --local-dir {shlex.quote(f'{weights_dir}/{repository}')}" if weights_dir else ""
    remedy = how_to_get(entry, weights_dir) if entry else f"run `hf download {repository} --revision {revision}{into}`"
    raise MissingWeightsError(f"{what} (revision {revision}) on this machine: {remedy}", entry)


def _candidates(repository: str, revision: str, weights_dir: str) -> Iterator[Path]:
    """Yields the folders that exist for a repository: below weights_dir first, then in the hub's cache."""
    folder = Path(weights_dir) / repository
    if weights_dir and folder.is_dir():
        yield folder
    snapshot = hub_snapshot(repository, revision)
    if snapshot.is_dir():
        yield snapshot
