"""The cleaning of prompts against diffusers' copy of the function that both projects took over."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import diffusers.pipelines.pixart_alpha.pipeline_pixart_alpha as reference
import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.networks.prompt_cleaning import clean_prompt

PIECES = [
    "a dog", "runs", "The", "E", "(best)", "[x]", "{y}", "well-known", "snake_case", "a-b-c-d-e", "\u2014", "\u2013",
    "jpeg", "png images", "cat.jpg", "https://x.org/a", "http:", "www:", "www.site.com", "shop.ru/a-b", "me@site.com",
    "@nick", "#12", "#1234", "#123456", "1234567", "10.0.0.12", "12:30", "\\n", "\n", "\t", " ", "  ", ".", "..", ",",
    ":", ";", " : ", "/", "|", "*", "&", "+", "%20", "%", "'", '"', "\u201c", "\u2019", "''", "<person>", "jc6640",
    "ab12cd", "12ab34", "j2d1a2a", "1920x1080", "3\u00d74", "free shipping", "download free", "click on it", "page 12",
    "\u4e00\u4e8c", "\u31d0", "\u00e9", "\u00a9", "\u00bd", "~", "aesthetic score: 6.5.", ",a", ".b", "-", "_",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _without_beautifulsoup() -> Iterator[None]:
    """Lets the reference run without a package of its own; no text here holds a tag or an entity that it would read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "BeautifulSoup", lambda text, features: SimpleNamespace(text=text), raising=False)
        patch.setattr(reference, "ftfy", ftfy, raising=False)
        yield


def released(text: str) -> str:
    pipeline = reference.PixArtAlphaPipeline
    return pipeline._clean_caption(pipeline, pipeline._clean_caption(pipeline, text))


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from(["", " "]))
def test_texts_of_all_that_is_cleaned(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    assert clean_prompt(text) == released(text)


@pytest.mark.parametrize("piece", PIECES)
def test_every_piece(piece: str) -> None:
    for text in (piece, f"a {piece} b", f"{piece}.", f"({piece})"):
        assert clean_prompt(text) == released(text)
