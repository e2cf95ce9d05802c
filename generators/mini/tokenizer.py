"""The tokenizer of the miniature text encoders: CLIP's byte-pair encoding with a vocabulary learned on the grammar.

Every word of the grammar is one token; any other text falls back to letters, so users' own prompts are read, too.

Example:
    >>> tokenizer = build_tokenizer()
    >>> tokenizer.tokenize("a red circle")
    ['a</w>', 'red</w>', 'circle</w>']
"""

from __future__ import annotations

import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from generators.mini import grammar

LENGTH = 32
"""Tokens of a prompt for the generators: the grammar's longest sentence has 30, CLIP's 77 cost twice the time."""


def build_tokenizer(length: int = LENGTH) -> CLIPTokenizer:
    """Returns the tokenizer for `length` tokens; always the same one, since the corpus is the grammar itself."""
    phrases = [*grammar.COLOURS, *grammar.SHAPES, *grammar.TEXTURES, *grammar.MOTIONS, *grammar.CAMERAS]
    phrases += [*grammar.WHERE.values(), "a", "an", "and", "the camera", "in the style of"]
    letters = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    letters.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    letters.train_from_iterator(phrases * 4, trainer)
    merges = [tuple(pair) for pair in json.loads(letters.to_str())["model"]["merges"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    # CLIP pools the text at the token with the highest number, so the end token comes last.
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)
