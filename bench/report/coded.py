"""Sentences in which backticks set code, as notes are written: taken apart, and names of others put into them.

Example:
    >>> pieces("see `cuts.csv` for them")
    [('see ', False), ('cuts.csv', True), (' for them', False)]
    >>> in_sentence("Ours `fast`")
    "Ours 'fast'"
"""

from __future__ import annotations


def pieces(sentence: str) -> list[tuple[str, bool]]:
    """Returns the pieces of a sentence in order, each with whether it is code."""
    return [(piece, number % 2 == 1) for number, piece in enumerate(sentence.split("`"))]


def in_sentence(name: str) -> str:
    """Returns a name of others for a sentence: its own backticks, which set no code, are apostrophes."""
    return name.replace("`", "'")
