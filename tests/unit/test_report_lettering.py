"""Text of any script on contact sheets: the carried font, then the machine's, then boxes that are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.report.contact import _units
from bench.report.lettering import Lettering, _carried


def drawn(lettering: Lettering, text: str) -> int:
    """Returns how many pixels a text inks."""
    picture = Image.new("L", (200, 40), 255)
    lettering.write(ImageDraw.Draw(picture), (5, 5), text, 12, "black")
    return int((np.asarray(picture) < 128).sum())


def test_the_carried_font_writes_latin_arabic_and_some_emoji() -> None:
    lettering = Lettering()
    assert drawn(lettering, "a cat, قطة, кот 😀\ufe0f") > 100
    assert not lettering.missing


def test_a_font_of_the_machine_helps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.ft2font import FT2Font

    other = _carried(bold=False).parent / "STIXNonUni.ttf"
    only_there = set(FT2Font(str(other)).get_charmap()) - set(FT2Font(str(_carried(bold=False))).get_charmap())
    char = chr(min(code for code in only_there if code > 0xE000))
    broken = Path(__file__)  # no font at all
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(broken), str(other)])
    lettering = Lettering()
    assert drawn(lettering, f"a{char}b") > drawn(lettering, "ab")
    assert lettering.width(f"a{char}b", 12) > lettering.width("ab", 12)
    assert not lettering.missing


def test_what_no_font_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    lettering = Lettering()
    assert drawn(lettering, "一只猫在睡觉") > 0
    assert list(lettering.missing) == list("一只猫在睡觉")
    assert "猫 (CJK UNIFIED IDEOGRAPH-732B) and 3 more" in lettering.missing_sentence()


def test_lines_break_between_wide_characters() -> None:
    assert list(_units("a cat 一只猫x y")) == [
        ("a", " "),
        ("cat", " "),
        ("一", " "),
        ("只", ""),
        ("猫", ""),
        ("x", ""),
        ("y", " "),
    ]


def test_what_ends_a_line_or_is_no_letter_is_a_blank() -> None:
    lettering = Lettering()
    for char in "\n\r\u2028\u2029\x1b\x85":
        assert lettering.width(f"a{char}b", 12, bold=True) == lettering.width("a b", 12, bold=True)
        assert drawn(lettering, f"a{char}b") == drawn(lettering, "a b")
    assert not lettering.missing
