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

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from generators.mini.latents import Library
from generators.mini.tokenizer import build_tokenizer
from generators.mini.training import StepRandom

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
    return library.stills[rows].float(), [library.still_captions[i] for i in rows]


def draw_clips(library: Library, random: StepRandom, batch: int, num_frames: int) -> tuple[Tensor, list[str], Tensor]:
    """Returns neighbouring frames [batch, num_frames, 4, 8, 8] of random clips, their captions and clip numbers."""
    rows = random.scenes.integers(len(library.clips), size=batch)
    starts = random.scenes.integers(library.clips.shape[1] - num_frames + 1, size=batch)
    clips = [library.clips[i, s : s + num_frames].float() for i, s in zip(rows, starts, strict=True)]
    return torch.stack(clips), [library.clip_captions[i] for i in rows], torch.from_numpy(rows)


def left_out(captions: Sequence[str], random: StepRandom, share: float = 0.1) -> list[str]:
    """Returns the captions, a random share of them empty, for classifier-free guidance (Ho and Salimans, 2022)."""
    return [text if random.scenes.random() > share else "" for text in captions]


class FrozenText:
    """The miniature text encoder as the methods load it, with a memory of what it has read."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        folder = weights / "text_to_video" / "text_encoder"
        self._encoder = CLIPTextModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
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
        for text in captions:
            if (text, penultimate) not in self._known:
                tokens = self._tokenizer([text], padding="max_length", truncation=True, return_tensors="pt").input_ids
                output = self._encoder(tokens, output_hidden_states=True)
                state = output.last_hidden_state
                if penultimate:
                    state = self._encoder.final_layer_norm(output.hidden_states[-2])
                self._known[text, penultimate] = state[0]
        return torch.stack([self._known[text, penultimate] for text in captions])


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
