"""OpenSora 1.2: every chunk continues the last 17 frames of the one before, held fixed by the masked rectified flow.

The autoencoder works on stretches of 17 frames = 5 latents, and the shared first chunk has 16 frames; 16 frames would
be encoded with another alignment than the model was trained to continue. So the first frame is repeated once in front,
all five latents of these 17 frames are the condition, and the frames after them are new.

Source: Open-Sora branch opensora/v1.2, configs/opensora-v1-2/inference/sample.py, scripts/inference.py, and for the
text encoder's precision opensora/models/text_encoder/t5.py, whose default the script leaves.

Example:
    >>> settings = OpenSora()
    >>> settings.num_frames - settings.conditioning_frames
    34
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, Request, Start, method
from generators.pipelines import DTYPES, check_option, check_sides, cpu_generator, silenced, torch_dtype
from generators.weights import resolve_weights

if TYPE_CHECKING:
    from baselines.networks.text_embeddings import PromptEncoder, TextEmbedding
    from baselines.opensora.stdit3 import STDiT3
    from baselines.opensora.vae import OpenSoraVAE

STRETCH = 17
"""Frames the autoencoder encodes together. Source: opensora/models/vae/vae.py, micro_frame_size."""


@method(
    name="opensora",
    title="OpenSora",
    paper="arXiv:2412.20404",
    licence="Apache-2.0",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class OpenSora(ChunkModel):
    """OpenSora 1.2 continued chunk by chunk.

    Attributes:
        weights: location of the transformer's folder.
        vae: location of the autoencoder's folder.
        frame_vae: location of the image autoencoder's folder where `vae` holds the temporal half only; empty for the
            released file, which holds both.
        text_encoder: location of the T5 encoder's folder, tokenizer included.
        num_frames: frames per chunk, a multiple of 17 (51, 102 and 204 are the released 2, 4 and 8 seconds); other
            lengths are known to freeze.
        conditioning_frames: 17, as the released loop does (5 latents), or 1, its image-to-video; the paper says only
            "video-to-video", so the loop's own number is the default.
        height: native height in pixels; 0 for that of the request, since the model takes any size.
        num_inference_steps: steps of the rectified flow.
        guidance_scale: weight of classifier-free guidance.
        fps: frames per second told to the network.
        prompt_suffix: appended to every prompt; the released default asks for an aesthetic score.
        device: "cpu", "cuda" or "cuda:N".
        dtype: precision of transformer and autoencoder; released with "bfloat16", "float16" gives artefacts.
        text_dtype: precision of the text encoder, which is freed after use; released with "float32", 19 GB.
        weights_dir: folder that holds "hub:" weights on machines without a hub cache; empty for the cache.
    """

    weights: str = "hub:hpcai-tech/OpenSora-STDiT-v3"
    vae: str = "hub:hpcai-tech/OpenSora-VAE-v1.2"
    frame_vae: str = ""
    text_encoder: str = "hub:DeepFloyd/t5-v1_1-xxl"
    num_frames: int = 51
    conditioning_frames: int = STRETCH
    num_inference_steps: int = 30
    guidance_scale: float = 7.0
    fps: float = 24.0
    prompt_suffix: str = " aesthetic score: 6.5."
    device: str = "cpu"
    dtype: str = "bfloat16"
    text_dtype: str = "float32"
    weights_dir: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        check_option("dtype", self.dtype, DTYPES)
        check_option("text_dtype", self.text_dtype, DTYPES)
        if self.conditioning_frames not in (1, STRETCH):
            raise ValueError(f"conditioning_frames = {self.conditioning_frames} must be 1 or {STRETCH}")
        if self.num_frames % STRETCH or self.num_frames <= self.conditioning_frames:
            raise ValueError(f"num_frames = {self.num_frames} must be a multiple of {STRETCH}, at least {2 * STRETCH}")
        if self.height % 8 or self.width % 8:
            raise ValueError(f"height = {self.height} and width = {self.width} must be multiples of 8")

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, `num_frames` - `conditioning_frames` per network call.

        Raises:
            ValueError: the request's size is used and is no multiple of 8.
        """
        self._check_size(request)
        longer, given = self._with_whole_stretch(request, start)
        return super().generate(longer, Start(given, start.base))

    def _check_size(self, request: Request) -> None:
        check_sides((self.height or request.height, self.width or request.width), 8)

    def _with_whole_stretch(self, request: Request, start: Start) -> tuple[Request, Frames]:
        """Returns request and first chunk with the first frame repeated until there are enough to continue."""
        repeats = max(0, self.conditioning_frames - len(start.frames))
        frames = np.concatenate([start.frames[:1]] * repeats + [start.frames])
        later = tuple(replace(change, at=change.at + repeats) for change in request.changes)
        return replace(request, num_frames=request.num_frames + repeats, changes=later), frames

    def _read(self, prompt: str) -> TextEmbedding:
        """Returns the encoded text."""
        from baselines.networks.prompt_cleaning import clean_prompt

        (text,) = self._texts.encode([clean_prompt(prompt + self.prompt_suffix)])
        return text

    def begin(self, prompt: str) -> Extend:
        """Returns the function that continues frames of one video; the text is encoded here."""
        return partial(self._extend, self._read(prompt))

    def _extend(self, text: TextEmbedding, conditioning: Frames, seed: int) -> Frames:
        from baselines.opensora.continuation import OpenSoraSampling, continue_frames

        settings = OpenSoraSampling(self.num_frames, self.num_inference_steps, self.guidance_scale, self.fps)
        return continue_frames(self._transformer, self._autoencoder, text, conditioning, settings, cpu_generator(seed))

    @cached_property
    def _texts(self) -> PromptEncoder:
        from baselines.networks.checkpoint_files import read_released_config
        from baselines.networks.text_embeddings import PromptEncoder
        from baselines.opensora.stdit3 import STDiT3Config

        config = STDiT3Config.from_json(read_released_config(resolve_weights(self.weights, self.weights_dir)))
        return PromptEncoder(self.text_encoder, self.weights_dir, config.model_max_length, self.text_dtype, self.device)

    @cached_property
    def _transformer(self) -> STDiT3:
        from baselines.opensora.continuation import load_stdit3

        return load_stdit3(resolve_weights(self.weights, self.weights_dir), self.device, torch_dtype(self.dtype))

    @cached_property
    def _autoencoder(self) -> OpenSoraVAE:
        from baselines.opensora.continuation import load_opensora_vae

        folder = resolve_weights(self.vae, self.weights_dir)
        frame_vae = resolve_weights(self.frame_vae, self.weights_dir) if self.frame_vae else None
        with silenced():
            return load_opensora_vae(folder, self.device, torch_dtype(self.dtype), frame_vae)
