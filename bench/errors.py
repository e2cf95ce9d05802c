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

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


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


@contextmanager
def foreign(error: type[BenchError], who: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Returns a context in which whatever code of others raises comes out as `error`, from its cause.

    Args:
        error: the class to raise.
        who: name of the code that runs, first word of the sentence.
        passing: classes that go through untouched, beside our own.

    Raises:
        BenchError: `error`, or our own errors as they are.
    """
    try:
        yield
    except BenchError:
        raise
    except passing:
        raise
    except Exception as cause:  # the cell boundary: nothing a method, a metric or a plugin raises may end a run
        raise error(f"{who} raised {type(cause).__name__}: {cause}") from cause
