"""Says which process of which machine wrote a file, and whether it is gone, so that nobody sweeps what another writes.

Two containers may have one hostname and one disk, and each its own process 7: the machine is its hostname, its boot and
its space of process numbers; the process is its number and the moment it began.

Example:
    >>> is_gone(this_process())
    False
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path


def machine() -> str:
    """Returns 12 hex digits that stand for this hostname, boot and space of process numbers."""
    parts = (socket.gethostname(), _text("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def this_process() -> str:
    """Returns "machine-number-beginning" of this process; fit for a file name."""
    return f"{machine()}-{os.getpid()}-{_began(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Returns whether a process is known to have ended; of one of another machine, nothing is known."""
    return _runs(owner) is False


def is_alive(owner: str) -> bool:
    """Returns whether a process is known to run, if only stopped; of one of another machine, nothing is known."""
    return _runs(owner) is True


def _runs(owner: str) -> bool | None:
    """Returns whether a process of this machine still is; None for any other."""
    parts = owner.split("-")
    if len(parts) != 3 or parts[0] != machine() or not parts[1].isdigit():
        return None
    return _began(int(parts[1])) == parts[2]


def _began(process: int) -> str:
    """Returns when a process began, in the kernel's ticks; "0" where it is gone, or is dead and not yet buried.

    Source: proc_pid_stat(5): field 3 is the state, field 22 the start; the name before them may hold anything.
    """
    if not Path("/proc/self/stat").exists():
        return _began_elsewhere(process)
    fields = _text(f"/proc/{process}/stat").rpartition(")")[2].split()
    return "0" if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def _began_elsewhere(process: int) -> str:
    """Returns the same where there is no /proc, in seconds."""
    import psutil

    try:
        found = psutil.Process(process)
        return "0" if found.status() == psutil.STATUS_ZOMBIE else str(int(found.create_time()))
    except psutil.Error:
        return "0"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - the target is no path
    except OSError:
        return ""
