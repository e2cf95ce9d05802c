"""Opens the store of a run wherever it lies: in a folder, or in object storage.

Example:
    >>> open_store("results/mini-1a2b3c").path.name
    'mini-1a2b3c'
"""

from __future__ import annotations

from pathlib import Path

from bench.store import Store


def open_store(location: str, records: bool = True) -> Store:
    """Returns the store at a location, as `Store.location` or --out names it: a folder, or such as s3://bucket/run.

    Args:
        location: where it is.
        records: all records are wanted, not only those of some cells; makes a difference in object storage.

    Raises:
        ConfigError: no package here knows such an address.
        StoreError: the storage does not answer.
    """
    if "://" not in location:
        return Store(Path(location))
    from bench.remote import RemoteStore

    return RemoteStore(location, records)
