"""Prompts through a large text encoder that is loaded, used and freed; embeddings are kept by hash of the prompt.

Why it exists: T5-XXL and mT5-XXL are larger than the video networks they serve and run once per prompt. Released
encoders ("hub:") never change under a name and a revision, so their embeddings are kept on disk, beside the weights;
those of other encoders only in memory.

Example:
    >>> encoder = PromptEncoder("hub:DeepFloyd/t5-v1_1-xxl", "", 300, "float32", "cpu")
    >>> encoder.encode(["a dog"])[0].tokens.shape  # doctest: +SKIP
    torch.Size([1, 300, 4096])
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from generators.pipelines import silenced, torch_dtype
from generators.weights import MissingWeightsError, resolve_weights


class TextEmbedding(NamedTuple):
    """One encoded text, on the CPU.

    Attributes:
        tokens: [1, L, C], the encoder's last hidden states.
        mask: [1, L], 1 for a token, 0 for padding.
    """

    tokens: Tensor
    mask: Tensor


@dataclass
class PromptEncoder:
    """An encoder of transformers (T5, mT5, CLIP text, ...) in one folder with its tokenizer.

    Attributes:
        location: where it is, see `generators.weights.resolve_weights`.
        weights_dir: where "hub:" repositories lie; empty for the hub cache.
        max_tokens: length to which texts are padded or cut.
        dtype: precision of the encoder, one of `generators.pipelines.DTYPES`.
        device: where it runs.
    """

    location: str
    weights_dir: str
    max_tokens: int
    dtype: str
    device: str
    _embeddings: dict[str, TextEmbedding] = field(default_factory=dict, init=False, repr=False)

    def encode(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Returns the embedding of each text; the encoder is loaded only if one is not kept, then freed.

        Raises:
            MissingWeightsError: the encoder is not on this machine.
        """
        folder = resolve_weights(self.location, self.weights_dir)
        for text in texts:
            file = self._file(folder, text)
            if text not in self._embeddings and file is not None and (kept := _load(file)) is not None:
                self._embeddings[text] = kept
        missing = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
        if missing:
            self._embeddings.update(zip(missing, self._run(folder, missing), strict=True))
            gc.collect()
            torch.cuda.empty_cache()
        for text in missing:
            file = self._file(folder, text)
            if file is not None:
                _save(self._embeddings[text], file)
        return [self._embeddings[text] for text in texts]

    def _run(self, folder: Path, texts: Sequence[str]) -> list[TextEmbedding]:
        """Returns fresh embeddings, one text at a time; the encoder lives no longer than this call.

        Pickled weights are opened by transformers with `weights_only=True`.
        """
        from transformers import AutoModelForTextEncoding, AutoTokenizer

        _check_tokenizer(folder)
        with silenced(), torch.no_grad():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            encoder = AutoModelForTextEncoding.from_pretrained(
                folder, dtype=torch_dtype(self.dtype), local_files_only=True
            )
            encoder.to(self.device).eval()
            embeddings = []
            for text in texts:
                read = tokenizer(
                    text, max_length=self.max_tokens, padding="max_length", truncation=True, return_tensors="pt"
                ).to(self.device)
                states = encoder(input_ids=read.input_ids, attention_mask=read.attention_mask).last_hidden_state
                embeddings.append(TextEmbedding(states.cpu(), read.attention_mask.cpu()))
        return embeddings

    def _file(self, folder: Path, text: str) -> Path | None:
        """Returns where the embedding of a text is kept on disk; None for encoders that may change under their name.

        The hub cache names a folder by its commit, and in `weights_dir` sizes and times of the files tell another
        encoder. What a GPU encodes differs from a CPU's by rounding, and no video may depend on who came first.
        """
        if not self.location.startswith("hub:"):
            return None
        from huggingface_hub.constants import HF_HOME

        root = Path(self.weights_dir) if self.weights_dir else Path(HF_HOME) / "longvideo-bench"
        files = sorted(file for file in folder.iterdir() if file.is_file()) if self.weights_dir else []
        stamp = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
        device = self.device.partition(":")[0]
        key = "\n".join([self.location, folder.name, stamp, str(self.max_tokens), self.dtype, device, text])
        return root / "text-embeddings" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def _check_tokenizer(folder: Path) -> None:
    """Raises MissingWeightsError if the folder's tokenizer needs packages that are not installed.

    T5-XXL and mT5-XXL were released with a SentencePiece file only; transformers converts it with two packages it
    does not require, and without them fails with a message about a third.
    """
    if (folder / "tokenizer.json").is_file() or not (folder / "spiece.model").is_file():
        return
    absent = [name for name in ("sentencepiece", "google.protobuf") if not _installed(name)]
    if absent:
        raise MissingWeightsError(
            f"{folder / 'spiece.model'} is read with packages that are not installed ({', '.join(absent)}): "
            "run `pip install sentencepiece protobuf`"
        )


def _installed(name: str) -> bool:
    """Returns whether a module can be imported, without importing it."""
    top = name.partition(".")[0]
    return importlib.util.find_spec(top) is not None and importlib.util.find_spec(name) is not None


def _load(file: Path) -> TextEmbedding | None:
    """Returns the embedding in a file, None if it cannot be read: it is made anew then."""
    try:
        return TextEmbedding(**load_file(file))
    except (OSError, SafetensorError, TypeError):
        return None


def _save(embedding: TextEmbedding, file: Path) -> None:
    """Writes an embedding so that a reader sees all of it or nothing; where nothing can be written, nothing is kept."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in embedding._asdict().items()}, unfinished)
        unfinished.replace(file)
    except (OSError, SafetensorError):  # a read-only folder of weights, or a full disk: the video does not need it
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
