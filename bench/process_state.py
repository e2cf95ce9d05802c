"""Puts the process back as it was after foreign code ran: what one plugin changes never reaches another's numbers.

Working directory, environment, torch's global settings, NumPy's error handling, signal handlers, standard streams and
global random generators are noted before a cell and restored after it. What cannot be undone, threads that go on and
copies of the process, is named, so that the process can be ended.

Example:
    >>> state = ProcessState()
    >>> os.chdir("/")
    >>> state.restore()
    {'the working directory': '/'}
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import plain


@dataclass(frozen=True)
class Setting:
    """Something global that a plugin can change.

    Attributes:
        name: as in "it changed NAME".
        read: gives its value.
        write: sets it.
        numeric: True if it can change the numbers of whoever computes next in this process.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    numeric: bool = False


class ProcessState:
    """The state of this process at the time of construction.

    torch's settings are part of it once torch is imported.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._before = [(setting, setting.read()) for setting in _settings()]
        self._threads = frozenset(threading.enumerate())

    def restore(self, *, numeric: bool = False) -> dict[str, Any]:
        """Puts back what differs, and returns what it was changed to, by name.

        Args:
            numeric: only what can change numbers, which is quick enough to do after every chunk.
        """
        if os.getpid() != self._process:
            os._exit(1)  # a plugin forked, and this is the copy: it must not go on as a second worker
        changed = {}
        for setting, before in self._before:
            if (setting.numeric or not numeric) and (now := setting.read()) != before:
                setting.write(before)
                changed[setting.name] = now
        return changed

    @contextlib.contextmanager
    def lent(self, theirs: dict[str, Any]) -> Iterator[None]:
        """Returns a context in which the settings are those that a generator left at its last step.

        A generator may set torch up once and go on under it, step by step; between its steps ours hold.

        Args:
            theirs: by name; filled anew at the end.
        """
        for setting, _ in self._before:
            if setting.name in theirs:
                setting.write(theirs[setting.name])
        try:
            yield
        finally:
            theirs.clear()
            theirs.update(self.restore(numeric=True))

    def leftovers(self) -> tuple[str, ...]:
        """Returns what cannot be undone, and ends forks of this process."""
        left = [f"a copy of the process ({child})" for child in _ended_forks()]
        threads = [thread.name for thread in threading.enumerate() if _goes_on(thread) and thread not in self._threads]
        return (*left, *(f"the thread {plain(name)}" for name in threads))


@contextlib.contextmanager
def contained(seed: int) -> Iterator[ProcessState]:
    """Returns a context in which prints of foreign code go to standard error, and global generators are seeded.

    The caller restores the state at the end, and learns what was changed.

    Args:
        seed: of the global generators of Python, NumPy and torch inside, so that code which draws from them gives the
            same numbers whatever ran before.
    """
    with ExitStack() as stack:
        state = ProcessState()
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_descriptors_kept())
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stack.enter_context(_generators_seeded(seed))
        yield state


def fix_torch(threads: int) -> None:
    """Sets torch up as every cell finds it: sums of floats, and so bytes, depend on how they are split over threads.

    Args:
        threads: of torch.
    """
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)


def _settings() -> list[Setting]:
    settings = [
        Setting("the working directory", _folder, os.chdir),
        Setting("variables of the environment", partial(_environment, frozenset(os.environ)), os.environ.update),
        Setting("the mode of new files", _file_mode, os.umask),
        Setting("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        Setting("NumPy's handling of errors", np.geterr, lambda value: np.seterr(**value), numeric=True),
    ]
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            settings.append(_signal_setting(number))
    return settings + (_torch_settings() if "torch" in sys.modules else [])


def _torch_settings() -> list[Setting]:
    import torch

    cudnn = torch.backends.cudnn
    return [
        Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, numeric=True),
        Setting("torch's default device", torch.get_default_device, _set_device, numeric=True),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads, numeric=True),
        Setting("torch's recording of gradients", torch.is_grad_enabled, torch.set_grad_enabled, numeric=True),
        Setting(
            "torch's deterministic algorithms",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
            numeric=True,
        ),
        Setting(
            "torch's choice of algorithms",
            lambda: (cudnn.benchmark, cudnn.deterministic, cudnn.enabled),
            _set_cudnn,
            numeric=True,
        ),
        Setting("torch's precision of products", _precision, _set_precision, numeric=True),
    ]


def _precision() -> tuple[str, bool]:
    import torch

    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def _set_precision(value: tuple[str, bool]) -> None:
    import torch

    torch.set_float32_matmul_precision(value[0])
    torch.backends.cudnn.allow_tf32 = value[1]


def _set_cudnn(value: tuple[bool, bool, bool]) -> None:
    import torch

    cudnn = torch.backends.cudnn
    cudnn.benchmark, cudnn.deterministic, cudnn.enabled = value


def _set_device(device: Any) -> None:
    import torch

    torch.set_default_device(None if str(device) == "cpu" else device)


def _signal_setting(number: signal.Signals) -> Setting:
    return Setting(
        f"the handler of {number.name}",
        lambda: signal.getsignal(number),
        lambda handler: signal.signal(number, handler),
    )


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # a plugin may remove the folder it moved into
        return ""


def _environment(names: frozenset[str]) -> dict[str, str]:
    """Returns variables that were there before; libraries add some of their own when they are imported."""
    return {name: os.environ.get(name, "") for name in names}


def _file_mode() -> int:
    mode = os.umask(0o077)
    os.umask(mode)
    return mode


@contextlib.contextmanager
def _generators_seeded(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - foreign code may draw from it
    torch = sys.modules.get("torch")
    of_torch = torch.get_rng_state() if torch is not None else None
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - likewise
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - likewise
        if torch is not None:
            torch.set_rng_state(of_torch)


@contextlib.contextmanager
def _descriptors_kept() -> Iterator[None]:
    """Sends descriptor 1 to standard error, and opens 0, 1 and 2 again as they were, though a plugin closed them."""
    sys.stdout.flush()
    kept = {}
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            kept[number] = os.dup(number)
    os.dup2(2, 1)
    try:
        yield
    finally:
        for number, copy in kept.items():
            try:
                os.dup2(copy, number)
                os.close(copy)
            except OSError:  # the copy was closed, too: whoever writes there next must find something
                null = os.open(os.devnull, os.O_RDWR)
                if null != number:
                    os.dup2(null, number)
                    os.close(null)


def _goes_on(thread: threading.Thread) -> bool:
    """Returns whether the end of this process would wait for a thread; idle threads of a pool end by themselves."""
    return thread.is_alive() and not thread.daemon and not thread.name.startswith("ThreadPoolExecutor")


def _ended_forks() -> list[int]:
    """Ends the forks of this process that no library of processes knows of; returns their numbers."""
    import multiprocessing

    import psutil

    known = {child.pid for child in multiprocessing.active_children()}
    me = psutil.Process()
    ended = []
    for child in me.children():
        with contextlib.suppress(psutil.Error):
            if child.pid not in known and child.status() != psutil.STATUS_ZOMBIE and child.cmdline() == me.cmdline():
                child.kill()
                child.wait(5)
                ended.append(child.pid)
    return ended
