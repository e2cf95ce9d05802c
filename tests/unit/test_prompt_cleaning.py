"""What OpenSora and OpenSoraPlan read of a prompt: what is cleaned away, and that plain prompts stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.networks.prompt_cleaning import clean_prompt, without_markup
from baselines.opensora.method import OpenSora
from baselines.opensora_plan.method import NEGATIVE_PROMPT, OpenSoraPlan

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"


def shipped_prompts() -> list[str]:
    lines = [line for file in sorted(PROMPTS.glob("*.jsonl")) for line in file.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line)["text"] for line in lines]


def test_the_texts_of_opensora_plan_are_read_as_released() -> None:
    positive = OpenSoraPlan().prompt_template.replace("{}", "a cat walks on the beach")
    assert clean_prompt(positive) == "masterpiece , best quality , ultra-detailed , a cat walks on the beach."
    assert clean_prompt(NEGATIVE_PROMPT) == NEGATIVE_PROMPT.replace("jpeg artifacts", "artifacts")


def test_plain_prompts_come_out_in_lower_case_and_otherwise_as_they_went_in() -> None:
    texts = shipped_prompts()
    assert len(texts) > 50
    for text in [*texts, *(text + OpenSora().prompt_suffix for text in texts)]:
        assert clean_prompt(text) == clean_prompt(text, keep_chinese=True) == " ".join(text.lower().split())


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("  A Red   ball. ", "a red ball."),
        ("", ""),
        ("a dog & a cat | [wide shot] {4k} #film *soft* 1/2", "a dog a cat wide shot 4k film soft 1 2"),
        ("a &lt;b&gt; &amp;amp; c", "a ; c"),
        ("a <b>bold</b> dog", "a bold dog"),
        ("a <person> at https://a.org/b and by @someone", "a person at and by"),
        ("photo_of_a_red_fox", "photo of a red fox"),
        ("a well-known, well-lit street", "a well-known, well-lit street"),
        ("\u201chello\u201d \u2014 it\u2019s", '"hello" - it\'s'),
        ("img.png of a fox, 1920x1080, free shipping", "of a fox,"),
    ],
)
def test_what_is_cleaned(text: str, read: str) -> None:
    assert clean_prompt(text) == read


def test_chinese_stays_where_the_encoder_reads_it() -> None:
    text = "\u732b a cat"
    assert clean_prompt(text) == "a cat"
    assert clean_prompt(text, keep_chinese=True) == text


def test_the_content_of_scripts_and_comments_is_no_text() -> None:
    assert without_markup("a<!-- b --><script>c</script><style>d</style> &eacute; < 3") == "a \u00e9 < 3"
