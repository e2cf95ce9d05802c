"""Where the released weights that a metric chooses by name lie in a folder of released weights.

Libraries of metrics keep what they download in caches of their own. With a folder (`--weights-dir`) that cache may be
empty, so settings that choose weights by name are pointed at the file in the folder.

Example:
    >>> from_folder("mawe", {"flow": "raft_large", "flow_weights": ""}, "/nowhere")
    {}
"""

from __future__ import annotations

from pathlib import PurePosixPath

from bench.profile import Settings
from generators.weights import Weights, in_folder, needed

CLIP_SETTINGS = ("", "clip_")
"""How the names of the settings `model`, `pretrained` and `weights` of a CLIP begin."""


def from_folder(metric: str, settings: Settings, weights_dir: str) -> dict[str, str]:
    """Returns the settings that have to change for weights that lie in a folder of released weights.

    Args:
        metric: name of a metric.
        settings: its settings.
        weights_dir: the folder; empty for none.
    """
    if not weights_dir:
        return {}
    found = {}
    for setting, entry in _choices(metric, settings):
        place = in_folder(entry, weights_dir)
        if place is not None:
            found[setting] = str(place if place.is_file() else place / _network(entry))
    return found


def _choices(metric: str, settings: Settings) -> list[tuple[str, Weights]]:
    """Returns pairs of the setting that would name a file, and the entry chosen without it."""
    names = {}
    if settings.get("flow_weights") == "":
        names["flow_weights"] = str(settings.get("flow"))
    for start in CLIP_SETTINGS:
        if settings.get(f"{start}weights") == "" and settings.get(f"{start}model"):
            names[f"{start}pretrained"] = f"{settings[f'{start}model']}/{settings.get(f'{start}pretrained')}"
    return [(setting, entry) for setting, name in names.items() for entry in needed(metric) if entry.known_as == name]


def _network(entry: Weights) -> str:
    """Returns the one file of an entry that holds a network."""
    (name,) = (name for name in entry.files if PurePosixPath(name).suffix == ".safetensors")
    return name
