"""The error tree of the harness, and the one place where foreign errors become ours.

Every error says what is wrong, where, and what to do; its class fixes the exit code of the command.

Example:
    >>> try:
    ...     with foreign(PluginError, "plugin.py"):
    ...         int("x")
    ... except PluginError as error:
    ...     print(error)
    plugin.py raised ValueError: invalid literal for int() with base 10: 'x'
"""

from __future__ import annotations

import signal
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import ClassVar

LONGEST = 2000
"""Characters kept of the text of a foreign error."""

LONGEST_TRACE = 20000
"""Characters kept of its traceback, from the end, where the author's own lines are."""

_ROOT = Path(__file__).parents[1]

_HARNESS = (
    str(_ROOT / "bench"),
    *(str(_ROOT / file) for file in ("generators/api.py", "metrics/api.py", "metrics/scoring.py")),
    str(_ROOT / "metrics" / "features" / "base.py"),
    "<",
)
"""The harness's own files, and code without a file: lines in them are nobody's fault who wrote a plugin."""

_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
"""Where the files of Python lie."""

_PACKAGES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
"""Where the files of installed packages lie; below Python's own."""


class BenchError(Exception):
    """A sentence for the user; `exit_code` is what the command ends with."""

    exit_code: ClassVar[int] = 1


class ConfigError(BenchError):
    """The command, the profile or a file the user named is wrong."""

    exit_code = 2


class PluginError(BenchError):
    """A method or metric cannot be loaded or breaks its contract outside a run."""

    exit_code = 3


class StoreError(BenchError):
    """A results folder cannot be read or written."""

    exit_code = 4


class MethodFailure(BenchError):
    """A method failed on one cell: recorded there, the run goes on."""


class MetricFailure(BenchError):
    """A metric failed on one video: recorded there, the run goes on."""


class Interruption:
    """A handler of Ctrl-C that remembers having been called: an interrupt that nobody sent is some plugin's error.

    Attributes:
        seen: whether a signal came.
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt."""
        self.seen = True
        raise KeyboardInterrupt


@contextmanager
def watching_interrupts() -> Iterator[None]:
    """Returns a context in which Ctrl-C ends the work even if a plugin swallows it, and only a signal counts as Ctrl-C.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = Interruption()
    before = signal.signal(signal.SIGINT, watch)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if watch.seen:
        raise KeyboardInterrupt


@contextmanager
def foreign(error: type[BenchError], who: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Returns a context in which whatever code of others raises comes out as `error`, from its cause.

    `SystemExit`, `GeneratorExit` and a `KeyboardInterrupt` that no signal sent are errors of that code like any other.

    Args:
        error: the class to raise.
        who: name of the code that runs, first word of the sentence.
        passing: classes that go through untouched, beside `error` itself.

    Raises:
        BenchError: `error`.
        KeyboardInterrupt: Ctrl-C, whatever became of it in that code.
    """
    try:
        yield
    except (error, *passing):
        _end_if_interrupted()
        raise
    except BaseException as cause:  # the cell boundary: nothing a method, a metric or a plugin raises may end a run
        _end_if_interrupted(cause)
        raise error(f"{who} raised {_named(cause)}{_place(cause)}") from cause


def plain(text: str) -> str:
    """Returns text that every file and terminal can hold: no half characters, no control characters, not too long."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    shown = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in whole[: LONGEST + 1])
    return shown if len(whole) <= LONGEST else f"{shown[:LONGEST]} … ({len(text)} characters)"


def _named(cause: BaseException) -> str:
    """Returns class and text of an error, though its own `__str__` may raise."""
    lines = traceback.format_exception_only(cause)
    line = lines[-1] if isinstance(cause, SyntaxError) else lines[0]
    text = line.partition(": ")[2].strip()
    return f"{type(cause).__name__}: {plain(text)}"


def _end_if_interrupted(cause: BaseException | None = None) -> None:
    """Raises KeyboardInterrupt if Ctrl-C came, or may have come where nobody watches for it."""
    if threading.current_thread() is not threading.main_thread():
        return
    watch = signal.getsignal(signal.SIGINT)
    if watch.seen if isinstance(watch, Interruption) else isinstance(cause, KeyboardInterrupt):
        raise KeyboardInterrupt from cause


def trace_of(error: BaseException) -> str:
    """Returns the traceback of what lies behind an error of ours, as Python prints it; empty where nothing does."""
    cause = error.__cause__
    if cause is None:
        return ""
    frames = "".join(traceback.format_list(traceback.extract_tb(cause.__traceback__)))
    text = f"Traceback (most recent call last):\n{frames}{_named(cause)}\n"
    return text[-LONGEST_TRACE:].encode("utf-8", "backslashreplace").decode()


def _place(cause: BaseException) -> str:
    """Returns " (file, line n)" of the innermost frame that belongs to no library: the author's own line.

    Of a plugin that is installed among the packages, the outermost frame; of a file that does not parse, the line that
    Python names. Empty where there is no frame of others.
    """
    if isinstance(cause, SyntaxError) and cause.filename and not cause.filename.startswith(_HARNESS):
        return f" ({plain(Path(cause.filename).name)}, line {cause.lineno})"
    frames = [f for f in traceback.extract_tb(cause.__traceback__) if not f.filename.startswith(_HARNESS)]
    packaged = [frame for frame in frames if frame.filename.startswith(_PACKAGES)]
    own = [f for f in frames if not f.filename.startswith((*_STANDARD, *_PACKAGES))] or packaged[:1]
    return f" ({plain(Path(own[-1].filename).name)}, line {own[-1].lineno})" if own else ""
