"""A method slow enough to be killed in the middle, and what a run must look like whatever happened to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.ffv1 import file_digest
from tests.tiny_grid import BRIGHTNESS, WALK

FALLS = '''
@method(name="falls", title="Falls", paper="", licence="none", continues_start=True, group="faults")
@dataclass
class Falls:
    """Fails after a while."""
    pause: float = 0.0

    def generate(self, request, start):
        time.sleep(self.pause * 3)
        raise ValueError("fell")
        yield
'''


def plugin(pause: float) -> str:
    """Returns the drop-in file; `pause` seconds between two chunks."""
    return (WALK + FALLS + BRIGHTNESS).replace("pause: float = 0.0", f"pause: float = {pause}")


def image(folder: Path) -> dict[str, Any]:
    """Returns what must be the same of two runs of one grid: bytes of videos, and records without their times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("cells/*/*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".mkv":
            found[name] = file_digest(path)
        elif path.suffix == ".json":
            content = json.loads(path.read_text())
            found[name] = {key: content[key] for key in content if key not in ("cost", "machine", "lost", "checksum")}
    return found


def litter(folder: Path) -> list[str]:
    """Returns names of temporary files and claims: there must be none after a run that ended by itself."""
    return [path.name for pattern in (".tmp-*", ".claim-*") for path in folder.rglob(pattern)]
