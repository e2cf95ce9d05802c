"""A T5 encoder for the miniature transformers, with the tokenizer it reads: their systems take T5 and mT5, not CLIP.

Each transformer trains its own from nothing, as the miniature image model trains the U-Nets' text encoder; the folder
it is stored in opens as the released encoders do. Every word of the grammar is one piece, and any other text falls
back to letters.

Example:
    >>> build_t5_tokenizer().tokenize("a striped red square, the camera pans left")
    ['▁a', '▁striped', '▁red', '▁square', ',', '▁the', '▁camera', '▁pans', '▁left']
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from generators.mini import grammar

T5_TOKENS = 28
"""Tokens of a prompt, the end token among them; of the grammar's longest sentence (28 words) the last word is cut."""

WIDTH = 64
"""Channels of a text token."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.:;!?'()-"


def build_t5_tokenizer() -> T5Tokenizer:
    """Returns the tokenizer; always the same one. A piece scores the better the fewer are needed."""
    phrases = [*grammar.COLOURS, *grammar.SHAPES, *grammar.TEXTURES, *grammar.MOTIONS, *grammar.CAMERAS]
    phrases += [*grammar.WHERE.values(), "a", "an", "and", "the camera"]
    words = sorted({f"▁{word}" for phrase in phrases for word in phrase.split()})
    pieces = ["<pad>", "</s>", "<unk>", *words, ",", "▁", *_LETTERS]
    return T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0, model_max_length=T5_TOKENS)


def build_t5_encoder() -> T5EncoderModel:
    """Returns the encoder at initialisation."""
    size = 128  # room for the pieces above, rounded up
    config = T5Config(vocab_size=size, d_model=WIDTH, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.0)
    return T5EncoderModel(config)


def encode_captions(encoder: Any, tokenizer: T5Tokenizer, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Returns text tokens [B, T5_TOKENS, WIDTH] and their mask [B, T5_TOKENS], 1 for a token and 0 for padding."""
    read = tokenizer(list(captions), max_length=T5_TOKENS, padding="max_length", truncation=True, return_tensors="pt")
    tokens, keep = read.input_ids.to(encoder.device), read.attention_mask.to(encoder.device)
    return encoder(tokens, attention_mask=keep).last_hidden_state, keep


def export_text(encoder: Any, tokenizer: T5Tokenizer, folder: Path) -> None:
    """Writes encoder, in half precision, and tokenizer into one folder."""
    encoder.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
