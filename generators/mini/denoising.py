"""What the miniature denoisers' tasks share: batches of latents, captions to contexts, noise, and the common start.

Every U-Net of the project starts from one text-to-image network, as the released ones all start from Stable Diffusion,
and reads the text encoder that was trained with it, frozen from then on.

Example:
    >>> signal, spread = levels(torch.tensor([1.0, 0.25]), torch.tensor([1]), dims=2)
    >>> signal, spread.square()
    (tensor([[0.5000]]), tensor([[0.7500]]))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from generators.mini.latents import LOOK_EVERY, Library
from generators.mini.tokenizer import build_tokenizer
from generators.mini.training import StepRandom

Numbers = NDArray[np.int64]

HERE = Path(__file__).parent
CACHE, WEIGHTS = HERE / "cache", HERE / "weights"

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
"""Nichol and Dhariwal's cosine schedule ends in pure noise, which small latents of bright and dark grounds need."""


def draw_stills(library: Library, random: StepRandom, batch: int) -> tuple[Tensor, list[str]]:
    """Returns single frames [batch, 4, 8, 8] and their captions."""
    rows = random.scenes.integers(len(library.stills), size=batch)
    return library.stills[torch.as_tensor(rows)].float(), [library.still_captions[i] for i in rows]


def draw_clips(
    library: Library, random: StepRandom, batch: int, num_frames: int, odds: NDArray[np.float64] | None = None
) -> tuple[Tensor, list[str]]:
    """Returns neighbouring frames [batch, num_frames, 4, 8, 8] of random clips, and their captions.

    Args:
        library: the clips.
        random: randomness of the step.
        batch: how many clips.
        num_frames: how many frames of each.
        odds: how likely each clip is to be drawn, positive, of any sum; None for all alike.
    """
    p = None if odds is None else odds / odds.sum()
    rows = random.scenes.choice(len(library.clips), size=batch, p=p)
    starts = random.scenes.integers(library.clips.shape[1] - num_frames + 1, size=batch)
    return consecutive_frames(library.clips, rows, starts, num_frames).float(), [library.clip_captions[i] for i in rows]


def draw_from_looks(
    library: Library, random: StepRandom, batch: int, num_frames: int
) -> tuple[Tensor, list[str], Tensor, Tensor]:
    """Returns what `draw_clips` does, of clips whose first frame the image encoder has seen.

    Also rows and columns [batch] of their embeddings in the library's `looks`.
    """
    rows = random.scenes.integers(len(library.clips), size=batch)
    columns = random.scenes.integers((library.clips.shape[1] - num_frames) // LOOK_EVERY + 1, size=batch)
    clips = consecutive_frames(library.clips, rows, LOOK_EVERY * columns, num_frames).float()
    return clips, [library.clip_captions[i] for i in rows], torch.as_tensor(rows), torch.as_tensor(columns)


def consecutive_frames(clips: Tensor, rows: Numbers, starts: Numbers, num_frames: int) -> Tensor:
    """Returns frames start to start + num_frames - 1 [B, num_frames, ...] of those clips, out of clips [N, T, ...]."""
    return clips[torch.as_tensor(rows)[:, None], torch.as_tensor(starts)[:, None] + torch.arange(num_frames)]


def left_out(captions: Sequence[str], random: StepRandom, share: float = 0.1) -> list[str]:
    """Returns the captions, a random share of them empty, for classifier-free guidance (Ho and Salimans, 2022)."""
    return [text if random.scenes.random() > share else "" for text in captions]


class FrozenText:
    """The miniature text encoder as the methods load it, with a memory of what it has read."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        folder = weights / "text_to_video" / "text_encoder"
        encoder = CLIPTextModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self._encoder = encoder.to(torch.get_default_device())
        self._tokenizer = build_tokenizer()
        self._known: dict[tuple[str, bool], Tensor] = {}

    @torch.no_grad()
    def encode(self, captions: Sequence[str], penultimate: bool = False) -> Tensor:
        """Returns contexts [len(captions), 32, 96].

        Args:
            captions: texts.
            penultimate: take the last but one layer through the final layer norm, as networks on OpenCLIP-H do;
                else the last one, as those on OpenAI's CLIP do.
        """
        new = [text for text in dict.fromkeys(captions) if (text, penultimate) not in self._known]
        if new:
            tokens = read_tokens(self._tokenizer, new)
            output = self._encoder(tokens, output_hidden_states=True)
            states = output.last_hidden_state
            if penultimate:
                states = self._encoder.final_layer_norm(output.hidden_states[-2])
            self._known.update({(text, penultimate): state for text, state in zip(new, states, strict=True)})
        return torch.stack([self._known[text, penultimate] for text in captions])


def read_tokens(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Returns token numbers [len(captions), 32] on the default device."""
    read = tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt")
    tokens: Tensor = read.input_ids
    return tokens.to(torch.get_default_device())


def levels(alphas: Tensor, times: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Returns the factors (signal, spread) of clean latents and noise, [B, 1, ...] with `dims` axes.

    Args:
        alphas: cumulative products of the schedule, [steps].
        times: integer steps [B].
        dims: axes of the latents to be scaled.
    """
    alpha = alphas[times].view(-1, *[1] * (dims - 1))
    return alpha.sqrt(), (1 - alpha).sqrt()


def start_from_image_model(
    network: nn.Module, weights: Path = WEIGHTS, rename: Callable[[str], str] = str
) -> list[str]:
    """Copies the text-to-image network into another wherever name and shape agree; returns the names copied.

    A kernel that reads more channels than its counterpart gets the known ones in front and zeros for the others, so
    that concatenated conditions start without effect. A matrix also fits a kernel of one pixel.

    Args:
        network: what to start.
        weights: the folder of all miniature weights.
        rename: name of a tensor in the text-to-image network -> its name in `network`.

    Raises:
        ValueError: nothing fits, so the names must be wrong.
    """
    base = UNet2DConditionModel.from_pretrained(weights / "text_to_image" / "unet", torch_dtype=torch.float32)
    state = network.state_dict()
    copied = []
    for name, tensor in base.state_dict().items():
        mine = state.get(rename(name))
        if mine is not None and mine.ndim > 2 == tensor.ndim:
            tensor = tensor.view(*tensor.shape, *[1] * (mine.ndim - 2))
        if mine is None or mine.shape[0] != tensor.shape[0] or mine.shape[2:] != tensor.shape[2:]:
            continue
        with torch.no_grad():
            if mine.ndim > 1 and mine.shape[1] > tensor.shape[1]:
                mine.zero_()
                mine[:, : tensor.shape[1]] = tensor
            elif mine.shape == tensor.shape:
                mine.copy_(tensor)
            else:
                continue
        copied.append(rename(name))
    if not copied:
        raise ValueError(f"no tensor of {type(network).__name__} is named as in the text-to-image network")
    return copied
