"""Says what a run was made with: versions, machine, commit; enough to explain why two tables differ.

Reading it imports none of the packages it names.

Example:
    >>> sorted(provenance())
    ['commit', 'cpus', 'machine', 'packages', 'platform', 'python']
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "longvideo-bench",
    "numpy",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "open_clip_torch",
    "scenedetect-headless",
    "opencv-python-headless",
    "av",
    "pillow",
)
"""Distributions whose version can change a number."""


def provenance() -> dict[str, Any]:
    """Returns what to write into run.json."""
    return {
        "packages": {name: installed(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "commit": _commit(),
    }


def machine_facts(device: str, proc: Path = Path("/proc")) -> dict[str, str]:
    """Returns where a worker runs: "node", "device", and on a GPU the "driver" where its version can be read.

    Args:
        device: a torch device: "cpu", "cuda", "cuda:1".
        proc: where the kernel tells of itself.
    """
    place = {"node": socket.gethostname(), "device": device}
    if not device.startswith("cuda"):
        return place
    import torch

    if torch.cuda.is_available():
        place["device"] = f"{device} ({torch.cuda.get_device_name(torch.device(device))})"
    with contextlib.suppress(OSError):
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", (proc / "driver/nvidia/version").read_text())
        place |= {"driver": found.group()} if found else {}
    return place


def installed(distribution: str) -> str | None:
    """Returns the version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Returns the commit of the checkout this file lies in, or None for an installed copy."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
