r"""What can be printed: names of files are any bytes, and a terminal may know few characters or be gone.

Example:
    >>> print(printable("caf\udce9\x1b.mp4"))
    caf\udce9\x1b.mp4
"""

from __future__ import annotations

import contextlib
import os
import sys
from io import TextIOWrapper

import click

_JOINERS = "\u200c\u200d"
"""Invisible, and part of emoji and of Persian and Indic words."""


def printable(text: str) -> str:
    """Returns text on one line, with every character that cannot be shown written as Python escapes it."""
    return "".join(char if char.isprintable() or char in _JOINERS else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    r"""Returns a name as tables, figures and files can show it: blanks and line breaks as one blank, then printable.

    Example:
        >>> one_line(" Ours\n(24 fps)\u2029\x1b[1m")
        'Ours (24 fps) \\x1b[1m'
    """
    return printable(" ".join(text.split()))


def open_what_is_closed() -> None:
    """Opens standard streams that were closed on nothing: else the next file gets their number, and what they print."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def escape_what_cannot_be_printed() -> None:
    """Lets both output streams write characters that their encoding lacks as escapes, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def on_terminal() -> bool:
    """Returns whether standard error is a terminal; it may have been closed, or never opened."""
    with contextlib.suppress(ValueError):
        return sys.stderr is not None and sys.stderr.isatty()
    return False


def say(line: str) -> None:
    """Writes a line to standard error, where there still is one: whoever stopped listening must not end a run."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(line, err=True)
