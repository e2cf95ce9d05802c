"""Writes text of any script on pictures: the carried font first, then whatever the machine has for the rest.

Example:
    >>> lettering = Lettering()
    >>> lettering.width("a cat", 11) > lettering.width("a", 11)
    True
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_INVISIBLE = ("Cf", "Cc", "Mn", "Me", "Zs")
"""Categories that need no glyph of their own: joiners, marks that combine, variation selectors, blanks."""


class Lettering:
    """The fonts of one report.

    Attributes:
        missing: characters that no font of this machine has; they come out as boxes.
    """

    def __init__(self) -> None:
        self.missing: dict[str, None] = {}
        self._fonts: dict[tuple[str, int], FreeTypeFont] = {}
        self._known: dict[Path, frozenset[int]] = {}
        self._font_of: dict[tuple[str, bool], Path] = {}
        self._others: list[Path] | None = None

    def width(self, text: str, size: int, *, bold: bool = False) -> float:
        """Returns how wide a line of text is, pixels; line breaks and control characters in it are blanks."""
        return sum(font.getlength(piece) for piece, font in self._pieces(text, size, bold))

    def write(
        self, draw: ImageDraw, at: tuple[float, float], text: str, size: int, ink: str, *, bold: bool = False
    ) -> None:
        """Writes one line of text.

        Args:
            draw: the picture.
            at: left end and top of the line, as the carried font has it.
            text: as for `width`.
            size: of the letters, pixels.
            ink: colour.
            bold: where the carried font has the characters.
        """
        x, base = at[0], at[1] + self._load(_carried(bold), size).getmetrics()[0]
        for piece, font in self._pieces(text, size, bold):
            draw.text((x, base), piece, fill=ink, font=font, anchor="ls")
            x += font.getlength(piece)

    def missing_sentence(self) -> str:
        """Returns what to do about the boxes, naming some of the characters; there must be some."""
        named = ", ".join(f"{char} ({unicodedata.name(char, hex(ord(char)))})" for char in list(self.missing)[:3])
        more = f" and {len(self.missing) - 3} more" if len(self.missing) > 3 else ""
        return (
            f"no font of this machine has {named}{more}: contact sheets show boxes in their place; "
            "install one that has them, such as Noto Sans CJK, and run `report` again"
        )

    def _pieces(self, text: str, size: int, bold: bool) -> Iterator[tuple[str, FreeTypeFont]]:
        """Yields text in pieces of one font each."""
        piece, current = "", _carried(bold)
        for char in map(_shown, text):
            path = current if piece and unicodedata.category(char) in _INVISIBLE else self._font_for(char, bold)
            if path != current and piece:
                yield piece, self._load(current, size)
                piece = ""
            piece, current = piece + char, path
        if piece:
            yield piece, self._load(current, size)

    def _font_for(self, char: str, bold: bool) -> Path:
        if (char, bold) not in self._font_of:
            carried = _carried(bold)
            shown = unicodedata.category(char) in _INVISIBLE or self._has(carried, char)
            found = carried if shown else next((path for path in self._machine() if self._has(path, char)), None)
            if found is None:
                self.missing[char] = None
            self._font_of[char, bold] = found or carried
        return self._font_of[char, bold]

    def _has(self, path: Path, char: str) -> bool:
        from matplotlib.ft2font import FT2Font

        if path not in self._known:
            try:
                self._known[path] = frozenset(FT2Font(str(path)).get_charmap())
                self._load(path, 11)
            except (OSError, RuntimeError, ValueError):  # pictures in place of outlines, or of one size only
                self._known[path] = frozenset()
        return ord(char) in self._known[path]

    def _machine(self) -> list[Path]:
        from matplotlib.font_manager import findSystemFonts

        if self._others is None:
            self._others = sorted(map(Path, findSystemFonts()), key=lambda path: path.name)
        return self._others

    def _load(self, path: Path, size: int) -> FreeTypeFont:
        from PIL import ImageFont

        if (str(path), size) not in self._fonts:
            self._fonts[str(path), size] = ImageFont.truetype(path, size)
        return self._fonts[str(path), size]


def _shown(char: str) -> str:
    """Returns a character of a line: layout breaks down at the end of a paragraph, and no font draws a control."""
    return " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char


def _carried(bold: bool) -> Path:
    """Returns DejaVu Sans, which matplotlib carries: the same glyphs on every machine."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
