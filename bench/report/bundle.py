"""Packs a report with everything behind it but the videos into one file, and reads such a file again.

A bundle is a run folder without videos: page, pictures, previews, tables, run.json and the records. `bundle.json` in it
holds the SHA-256 of every file. Unpacked anywhere, no link of the page is dead, and `report` reads it like a folder.

Example:
    >>> store = unpack(Path("mini.zip"), Path("scratch"))   # doctest: +SKIP
    >>> store.info().profile                                # doctest: +SKIP
    'mini'
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from bench.errors import StoreError
from bench.files import finite, replacing
from bench.report.sources import Sources
from bench.store import Store

BUNDLE_FORMAT = "longvideo-bench bundle 1"
"""First field of bundle.json; another one is another version."""

LARGEST_BUNDLE = 4 * 2**30
"""Bytes that a bundle may unpack to: a page with hundreds of previews has a tenth of it."""

_OLDEST = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a bundle: the same report gives the same bytes."""


def pack(sources: Sources, report: Path, written: Iterable[str], page: str, target: Path) -> None:
    """Writes a bundle.

    Args:
        sources: what the report shows: of several folders, they become one.
        report: the folder of the report.
        written: paths of its files below it, but for the page; what else lies there is not the report's to share.
        page: the page without links to the videos, which a bundle leaves out.
        target: the ZIP file.

    Raises:
        StoreError: it cannot be written.
    """
    files = {"report/index.html": page.encode()}
    for name in sorted(written):
        files[f"report/{name}"] = (report / name).read_bytes()
    files["run.json"] = _json(sources.info)
    for record in sources.records:
        files[f"cells/{record.method}/{record.key}.json"] = _json(record)
    for store in {id(store): store for store, _ in sources.places.values()}.values():
        for path in sorted((store.path / "judgements").glob("*.json")):
            files[f"judgements/{path.name}"] = path.read_bytes()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    listing = json.dumps(
        {"format": BUNDLE_FORMAT, "run": sources.info.name, "files": digests}, indent=1, ensure_ascii=False
    )
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as bundle:
        for name, content in {"bundle.json": listing.encode(), **files}.items():
            entry = zipfile.ZipInfo(name, _OLDEST)
            entry.external_attr = 0o644 << 16
            small = not name.endswith((".mp4", ".png", ".jpg", ".parquet"))
            bundle.writestr(entry, content, zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED)


def unpack(bundle: Path, into: Path, records_only: bool = False) -> Store:
    """Returns the run folder in a bundle, unpacked below `into` after every file was compared with its hash.

    Args:
        bundle: the ZIP file.
        into: an existing folder.
        records_only: leave out page, pictures and previews.

    Raises:
        StoreError: it is no bundle, or a file in it is not the one that was packed.
    """
    folder = into / re.sub(r"[^A-Za-z0-9_.-]", "_", bundle.stem)
    try:
        with zipfile.ZipFile(bundle) as archive:
            digests = _digests(bundle, archive)
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BUNDLE:
                raise StoreError(f"{bundle}: unpacks to more than {LARGEST_BUNDLE / 2**30:g} GiB; no report does")
            wanted = ("run.json", "cells/") if records_only else ("",)
            for name, digest in ((n, d) for n, d in digests.items() if n.startswith(wanted)):
                content = archive.read(name)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise StoreError(f"{bundle}: {name!r} is not the file that was packed; get the bundle again")
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as cause:
        raise StoreError(
            f"{bundle}: no bundle of a report ({cause}); make one with `report --bundle FILE.zip`"
        ) from cause
    return Store(folder)


def _digests(bundle: Path, archive: zipfile.ZipFile) -> Mapping[str, str]:
    """Returns the hash of every file by name; refuses names that lead out of the folder or are not listed."""
    content = json.loads(archive.read("bundle.json"))
    digests = content.get("files") if isinstance(content, dict) and content.get("format") == BUNDLE_FORMAT else None
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise StoreError(f"{bundle}: its bundle.json is not of this version ({BUNDLE_FORMAT!r})")
    for name in archive.namelist():
        parts = PurePosixPath(name).parts
        if name != "bundle.json" and (name not in digests or name.startswith("/") or "\\" in name or ".." in parts):
            raise StoreError(f"{bundle}: {name!r} does not belong in a bundle")
    return digests


def _json(content: object) -> bytes:
    assert dataclasses.is_dataclass(content)
    assert not isinstance(content, type)
    return json.dumps(finite(dataclasses.asdict(content)), indent=1, ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "backslashreplace"
    )
