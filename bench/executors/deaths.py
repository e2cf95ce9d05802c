"""Says how a process ended, and whether the kernel says that memory was the cause.

Example:
    >>> ending(-9, memory=False)
    'killed by SIGKILL (signal 9)'
"""

from __future__ import annotations

import signal
from pathlib import Path


def ending(exit_code: int | None, memory: bool) -> str:
    """Returns how a process ended, in a clause.

    Args:
        exit_code: as `multiprocessing` gives it: minus the signal's number if a signal ended it; None if it lives.
        memory: there is evidence that the kernel killed it for lack of memory.
    """
    if exit_code is None:
        return "closed its connection"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "a signal"
    cause = " by the kernel, because memory ran out: try fewer --workers" if memory else ""
    return f"killed by {name} (signal {-exit_code}){cause}"


def memory_kills(root: Path = Path("/")) -> int:
    """Returns how many processes the kernel has killed for lack of memory: in this control group, else on this machine.

    Args:
        root: where `proc` and `sys` lie.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`memory.events`); `oom_kill` of /proc/vmstat.
    """
    groups = _text(root / "proc/self/cgroup").splitlines()
    group = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), "")
    for path in (root / "sys/fs/cgroup" / group / "memory.events", root / "proc/vmstat"):
        for line in _text(path).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
