"""Today's video pipelines with tiny random parts: real classes, real frame and size rules, a second on a CPU each.

`tiny_modern.json` holds the constructor arguments of every part by pipeline. They are ours: found by making each
network of diffusers 0.42 and transformers 5 as small as its own checks allow, while the autoencoders keep the
compression of the released ones, so that what the pipelines do to counts and sizes is what the released ones do.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'()-"
CHAT = (
    "{% for m in messages %}{% if m['content'] is string %}{{ m['content'] }}{% else %}{{ m['content'][0]['text'] }}"
    "{% endif %}{% endfor %}"
)
VISION = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")


class Permissive:
    """Stands in for NVIDIA's safety checker, whose weights are not here."""

    def to(self, device: object) -> Permissive:
        return self

    def check_text_safety(self, text: str) -> bool:
        return True

    def check_video_safety(self, video: object) -> object:
        return video


@cache
def table() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((Path(__file__).parent / "tiny_modern.json").read_text(encoding="utf-8"))
    return tables


def locate(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def numbered(*words: str) -> dict[str, int]:
    return {word: i for i, word in enumerate(words)}


def tokenizer(name: str) -> Any:
    import transformers

    if name == "t5":
        pieces = [(piece, -1.0) for piece in ("<pad>", "</s>", "<unk>", "▁", *LETTERS)]
        return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
    if name == "clip":
        words = numbered("<|startoftext|>", "<|endoftext|>", *(w for c in LETTERS for w in (c, c + "</w>")))
        return transformers.CLIPTokenizer(vocab=words, merges=[], model_max_length=77)
    if name == "llama":
        words = numbered("<unk>", "<s>", "</s>", "▁", *LETTERS)
        return transformers.LlamaTokenizer(vocab=words, merges=[], pad_token="<unk>", model_max_length=512)
    if name == "gemma":
        words = numbered("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS)
        return transformers.GemmaTokenizer(vocab=words, merges=[], model_max_length=1024)
    if name == "qwen2":
        made = transformers.Qwen2Tokenizer(
            vocab=numbered(*VISION, "<|video_pad|>", *byte_letters()), merges=[], model_max_length=2048
        )
        made.chat_template = CHAT
        return made
    assert name == "qwen2vl"
    return transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(),
        tokenizer=tokenizer("qwen2"),
        video_processor=transformers.Qwen2VLVideoProcessor(),
        chat_template=CHAT,
    )


def byte_letters() -> list[str]:
    """The letters that byte-level tokenizers write for the bytes: printable ones as they are, others from 256 on."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def component(spec: dict[str, Any] | None) -> Any:
    import torch

    if spec is None:
        return None
    if "tokenizer" in spec:
        return tokenizer(spec["tokenizer"])
    if "stub" in spec:
        return Permissive()
    torch.manual_seed(0)
    args = spec["args"]
    made = locate(spec["class"])(locate(spec["config"])(**args)) if "config" in spec else locate(spec["class"])(**args)
    return made.eval() if isinstance(made, torch.nn.Module) else made


def build(name: str, pipeline: str = "") -> Any:
    """Returns a pipeline of the table, or another class made of its parts."""
    import diffusers

    spec = table()[name]
    cls = getattr(diffusers, pipeline or spec["pipeline"])
    known = inspect.signature(cls.__init__).parameters
    parts = {part: component(how) for part, how in spec["components"].items() if part in known}
    parts.pop("safety_checker", None)
    config = {key: value for key, value in spec["config"].items() if key in known}
    with permissive(cls):
        return cls(**parts, **config)


@contextmanager
def permissive(cls: type[Any]) -> Iterator[None]:
    """Makes the safety checker of NVIDIA's pipelines ours inside the block."""
    if "CosmosSafetyChecker" in vars(importlib.import_module(cls.__module__)):
        with mock.patch(f"{cls.__module__}.CosmosSafetyChecker", Permissive):
            yield
    else:
        yield


def save(name: str, folder: Path, pipeline: str = "") -> Path:
    """Writes a pipeline of the table as a folder, in the layout of a released one."""
    made = build(name, pipeline)
    if "safety_checker" in made.config:
        made.register_modules(safety_checker=None)
    made.save_pretrained(folder)
    return folder
