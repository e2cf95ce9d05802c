"""Released checkpoint files, converted once into folders that `from_pretrained` opens, by one process at a time.

Several systems were released as single pickled files under names of their own. Their first use writes the networks
anew; every later one, in any process, reads what was written. It lies in `weights_dir`/longvideo-bench where released
weights have a folder that can be written, and in HF_HOME/longvideo-bench elsewhere.

Example:
    >>> converted(Path("weights/SEINE/seine.pt"), "", write_seine)  # doctest: +SKIP
    PosixPath('/home/me/.cache/huggingface/longvideo-bench/seine-0123456789abcdef')
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock
from safetensors import SafetensorError

from generators.weights import MissingWeightsError


def converted(checkpoint: Path, weights_dir: str, write: Callable[[Path, Path], object]) -> Path:
    """Returns the folder with the networks of a checkpoint, after writing them if that was not done before.

    Args:
        checkpoint: a released file. Its path, size and time of change name the folder.
        weights_dir: folder of released weights; empty for the hub's cache.
        write: writes the networks of a checkpoint (first argument) into an empty folder (second).

    Raises:
        MissingWeightsError: the place cannot be written, or is too small.
    """
    status = checkpoint.resolve().stat()
    identity = f"{checkpoint.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    name = f"{checkpoint.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    homes = dict.fromkeys(Path(home) for home in (weights_dir, constants.HF_HOME) if home)
    places = [home / "longvideo-bench" for home in homes]
    whole = next((place / name for place in places if (place / name).is_dir()), None)
    if whole is not None:
        return whole
    place = next((place for place in places if _writable(place)), places[-1])
    target = place / name
    try:
        (place / ".locks").mkdir(parents=True, exist_ok=True)
        with WeakFileLock(place / ".locks" / target.name):
            if not target.is_dir():  # else another process wrote it meanwhile
                _write(checkpoint, target, write)
    except (OSError, SafetensorError) as cause:
        raise MissingWeightsError(
            f"{checkpoint} cannot be converted into {place} ({cause}): make that folder writable and "
            f"leave about {status.st_size / 1e9:.1f} GB free there, or give another --weights-dir or HF_HOME"
        ) from cause
    return target


def _writable(place: Path) -> bool:
    """Returns whether a folder can be written, or made."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return os.access(there, os.W_OK | os.X_OK)


def _write(checkpoint: Path, target: Path, write: Callable[[Path, Path], object]) -> None:
    """Writes under another name first: a folder that is there is whole. What a killed process left goes."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        write(checkpoint, unfinished)
        unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
