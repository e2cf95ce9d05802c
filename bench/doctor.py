"""Says what this machine can run: packages and versions, GPU, which weights are present and which licences they carry.

Example:
    >>> for line in examine():      # doctest: +SKIP
    ...     print(line)
    python 3.12.3 on Linux, 2 cores
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.catalog import Catalog, find_plugins
from bench.errors import BenchError, ConfigError
from bench.listing import text_table
from bench.profile import Profile, load_profile, packaged_profiles
from bench.provenance import PACKAGES, installed, provenance
from bench.readiness import Machine, readiness
from bench.settings import locations
from generators.weights import (
    TABLE,
    MissingWeightsError,
    find_weights,
    how_to_get,
    needed,
    resolve_weights,
)
from generators.weights_fetch import fetch_weights


def examine(weights_dir: str = "") -> Iterator[str]:
    """Yields lines for the terminal.

    Args:
        weights_dir: folder of released weights; empty for the hub's cache.
    """
    facts = provenance()
    yield f"python {facts['python']} on {facts['platform']} ({facts['machine']}), {facts['cpus']} cores"
    yield _gpu()
    yield ""
    yield text_table([("package", "version"), *((name, installed(name) or "MISSING") for name in PACKAGES)])
    yield ""
    yield text_table([("profile", "setting", "weights", "state"), *_profile_weights()])
    yield ""
    head = ("released weights", "system", "for", "GB", "GPU GB", "licence", "commercial", "state")
    yield text_table([head, *_released(weights_dir)])
    for name, reason in find_plugins().broken.items():
        yield f"broken: {name}: {reason}"


def examine_methods(catalog: Catalog, profile: Profile, names: Sequence[str] = ()) -> Iterator[str]:
    """Yields whether methods can run here: a line for each, or everything that the named ones lack.

    Args:
        catalog: where they are found.
        profile: with which settings.
        names: methods to say everything about; empty for a line about each.

    Raises:
        ConfigError: there is no such method.
    """
    found = list(readiness(catalog, profile, Machine.this(), names))
    if not names:
        yield text_table([("method", f"with profile {profile.name}"), *(state.line() for state in found)])
    for state in found if names else ():
        yield f"{state.method}: " + ("cannot run here" if state.reasons else "can run here")
        yield from (f"  {reason}" for reason in state.reasons)
        yield f"  its videos take {state.disk_gb:.3g} GB at most"


def fetch_all(names: Sequence[str], weights_dir: str = "") -> Iterator[str]:
    """Downloads the released weights of methods or metrics; yields one line per repository.

    Raises:
        ConfigError: a name that reads no released weights.
        BenchError: a download failed.
    """
    known = sorted({method for entry in TABLE for method in entry.methods})
    for name in names:
        if not needed(name):
            raise ConfigError(f"nothing to fetch for {name!r}; there are weights for {', '.join(known)}")
    for entry in {entry.repository: entry for name in names for entry in needed(name)}.values():
        try:
            fetched = fetch_weights(entry, weights_dir)
        except MissingWeightsError as missing:
            raise BenchError(str(missing)) from missing
        yield from (f"note: {note}" for note in fetched.notes)
        yield f"{entry.repository}: {fetched.path} ({entry.licence})"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "no CUDA GPU: profile mini runs here, profile paper needs one"
    properties = torch.cuda.get_device_properties(0)
    return f"GPU {properties.name}, {properties.total_memory / 1e9:.0f} GB"


def _profile_weights() -> Iterator[tuple[str, ...]]:
    seen: set[tuple[str, str]] = set()  # a profile that extends another repeats its weights
    for name in sorted(packaged_profiles(), key=lambda name: len(load_profile(name).methods)):
        profile = load_profile(name)
        sections = {"first_chunk": profile.first_chunk, **profile.methods, **profile.metrics}
        for setting, location in locations(sections).items():
            if (setting, location) in seen:
                continue
            seen.add((setting, location))
            try:
                resolve_weights(location, profile.run.weights_dir)
                state = "present"
            except MissingWeightsError:
                state = "missing"
            yield name, setting, location, state


def _released(weights_dir: str) -> Iterator[tuple[str, ...]]:
    for entry in TABLE:
        where = find_weights(entry, weights_dir)
        state = "present" if where is not None else how_to_get(entry, weights_dir)
        sizes = (f"{entry.size_gb:g}", f"{entry.gpu_gb:g}" if entry.gpu_gb else "-")
        used = ", ".join(entry.methods)
        yield entry.repository, entry.system, used, *sizes, entry.licence, entry.commercial, state
