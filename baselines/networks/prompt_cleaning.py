"""The cleaning of prompts that released T5 samplers do before they read one.

Captions from the web were cleaned so in training, and prompts are in sampling: links, file names and advertising go,
brackets and other special characters become blanks. A prompt in plain words comes out in lower case and otherwise as it
went in.

Source: what Open-Sora v1.2 does in opensora/models/text_encoder/t5.py and Open-Sora-Plan 842435c in
opensora/sample/pipeline_inpaint_sp.py; both took it from DeepFloyd IF by way of PixArt-alpha.

Example:
    >>> clean_prompt("(masterpiece), A Red   ball, JPEG artifacts.")
    'masterpiece , a red ball, artifacts.'
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from urllib.parse import unquote_plus

import ftfy

Rules = tuple[tuple[re.Pattern[str], str], ...]
"""Patterns and what takes their place, in the order in which they are applied."""

PASSES = 2
"""How often a prompt is cleaned: one pass can uncover what the next one removes."""

HYPHENS = 3
"""Hyphens and underscores up to which they stay; more of them are taken for a file's or a product's name."""


def _rules(*rules: tuple[str, str]) -> Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


_DOMAIN = r"[a-z0-9.-]+\.(?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b/?(?!@)"
_LINKS = _rules(*((rf"\b(?:{scheme}:(?:/{{1,3}}|[a-z0-9%])|{_DOMAIN})", "") for scheme in ("https?", "www")))

_DASHES = (
    r"\u002d\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0\ufe31\ufe32\ufe58"
    r"\ufe63\uff0d"
)
_FILES = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"

_EAST_ASIAN_SIGNS = _rules((r"[\u31c0-\u4dff]+", ""))
_CHINESE = _rules((r"[\u4e00-\u9fff]+", ""))

_CHARACTERS = _rules(
    (rf"[{_DASHES}]+", "-"),
    (r"[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]", '"'),
    (r"[\u2018\u2019]", "'"),
    (r"&quot;?|&amp", ""),
    (r"(?:\d{1,3}\.){3}\d{1,3}", " "),  # addresses of machines
    (r"\d:\d\d\s+$", ""),  # the time of day behind an article
    (r"\\n", " "),  # a line break that was written out
    (r"#(?:\d{1,3}|\d{5,})\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"\S+\.(?:{_FILES})", ""),
    (r"[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#\u00ae\u2022\u00a9\u2122&@\u00b7\u00ba\u00bd\u00be\u00bf\u00a1\u00a7~()\[\]{}|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)

_LETTER = "[a-zA-Z]"
_WORDS = _rules(
    (rf"\b{_LETTER}{{1,3}}\d{{3,15}}\b", ""),  # codes such as jc6640
    (rf"\b{_LETTER}+\d+{_LETTER}+\b", ""),
    (rf"\b\d+{_LETTER}+\d+\b", ""),
    (r"(?:worldwide\s+)?(?:free\s+)?shipping", ""),
    (r"(?:free\s)?download(?:\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILES})(?:\simages?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (rf"\b\d*{_LETTER}+\d+{_LETTER}+\d+[a-zA-Z\d]*\b", " "),
    (r"\b\d+\.?\d*[x\u0445\u00d7]\d+\.?\d*\b", ""),  # sizes such as 1920x1080
)

_PUNCTUATION = _rules(
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"']([\w\W]+)[\"']$", r"\1"),
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)


def clean_prompt(prompt: str, *, keep_chinese: bool = False) -> str:
    """Returns the prompt as the released samplers' text encoder reads it: cleaned twice, in lower case.

    Args:
        prompt: any text.
        keep_chinese: leave Chinese characters, as Open-Sora-Plan does, whose text encoder knows them; Open-Sora
            removes them.
    """
    for _ in range(PASSES):
        prompt = _clean_once(prompt, keep_chinese)
    return prompt


def _clean_once(text: str, keep_chinese: bool) -> str:
    text = unquote_plus(text).strip().lower().replace("<person>", "person")
    text = without_markup(_apply(_LINKS, text))
    text = re.sub(r"@\w+\b", "", text)
    text = _apply(_EAST_ASIAN_SIGNS, text)
    if not keep_chinese:
        text = _apply(_CHINESE, text)
    text = _apply(_CHARACTERS, text)
    if len(re.findall(r"[-_]", text)) > HYPHENS:
        text = re.sub(r"[-_]", " ", text)
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return _apply(_PUNCTUATION, _apply(_WORDS, text)).strip()


def _apply(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def without_markup(text: str) -> str:
    """Returns the text between HTML tags, its entities read; comments, scripts and style sheets are no text."""
    reader = _Text()
    reader.feed(text)
    reader.close()
    return "".join(reader.pieces)


class _Text(HTMLParser):
    """Collects text outside of tags.

    Attributes:
        pieces: what was found, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keeps text, unless it stands in an element whose content is no text."""
        if self.cdata_elem is None:
            self.pieces.append(data)
