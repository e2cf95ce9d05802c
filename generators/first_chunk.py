"""The shared first chunk: sixteen frames from text, made once per prompt and seed and continued by every method.

The released ModelScope model and the miniature one run through the same class; only `weights` differs. The same model
without memory is the floor `naive` in baselines/naive.py.

Source: StreamingT2V section 5.1 (one first chunk for all methods) and Picsart-AI-Research/StreamingT2V,
t2v_enhanced/model_init.py and model_func.py (DPM-Solver++, 50 steps, guidance 9, 256x256, no negative prompt).

Example:
    >>> FirstChunk(weights="mini:text_to_video", base_height=64, base_width=64).num_frames
    16
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from generators.api import Frames, Request, Start
from generators.frames import resize, to_frames
from generators.pipelines import (
    ImageVaeSettings,
    check_steps,
    cpu_generator,
    limit_vae_memory,
    load_pipeline,
    place,
    silenced,
    use_scheduler,
)
from generators.seeds import chunk_seed
from generators.weights import resolve_weights

if TYPE_CHECKING:
    import torch

    from generators.streaming_t2v.refiner import Refiner


@dataclass
class FirstChunk(ImageVaeSettings):
    """A text-to-video model that draws first chunks.

    Attributes:
        weights: location of a `TextToVideoSDPipeline` folder (see `generators.weights.resolve_weights`).
        scheduler: a solver's class name in diffusers; empty for the checkpoint's own.
        num_inference_steps: solver steps.
        guidance_scale: weight of classifier-free guidance; 1 or less turns it off.
        negative_prompt: what the unconditional branch reads.
        num_frames: frames of a chunk.
        base_height: height at which the model draws, in pixels; a multiple of 8.
        base_width: width at which the model draws, in pixels; a multiple of 8.
        refiner: location of the refiner's weights; empty to enlarge by bicubic resizing where sizes differ.
        refiner_start: noise level the refiner starts from, a timestep of 1000.
        refiner_steps: solver steps of the refiner.
        refiner_guidance_scale: weight of the refiner's guidance; 1 or less turns it off, at half the cost.
        canvas_height: rows in pixels the refiner works on; the frame lies centred on black.
        canvas_width: columns in pixels the refiner works on.
    """

    weights: str = "hub:ali-vilab/text-to-video-ms-1.7b"
    scheduler: str = "DPMSolverMultistepScheduler"
    num_inference_steps: int = 50
    guidance_scale: float = 9.0
    negative_prompt: str = ""
    num_frames: int = 16
    base_height: int = 256
    base_width: int = 256
    refiner: str = ""
    refiner_start: int = 599
    refiner_steps: int = 30
    refiner_guidance_scale: float = 7.5
    canvas_height: int = 720
    canvas_width: int = 1280

    def __post_init__(self) -> None:
        """Raises ValueError for a setting this model cannot follow."""
        super().__post_init__()
        check_steps("num_inference_steps", self.num_inference_steps)

    def draw(self, request: Request) -> Start:
        """Returns the first chunk of a video.

        Raises:
            MissingWeightsError: the weights, or the refiner's, are not on this machine.
        """
        (base,) = next(self.clips(request, [0], batch=1))
        return Start(frames=self.refined(base, request, chunk=0), base=base)

    def clips(self, request: Request, chunks: Sequence[int], batch: int) -> Iterator[list[Frames]]:
        """Yields clips drawn from the prompt alone, `batch` of them per network call.

        Args:
            request: the prompt and the seed.
            chunks: number of each chunk in its video, which with the seed fixes its noise.
            batch: clips per network call; the text is encoded once for all of them.

        Yields:
            Lists of [num_frames, base_height, base_width, 3], in the order of `chunks`.
        """
        with silenced():
            text = self._encode(request.prompt)
        for first in range(0, len(chunks), batch):
            seeds = [chunk_seed(request.seed, request.prompt, chunk) for chunk in chunks[first : first + batch]]
            yield self._sample(text, seeds)

    def refined(self, base: Frames, request: Request, chunk: int) -> Frames:
        """Returns a clip at the size of the request: refined where a refiner is set, else resized.

        Args:
            base: [T, base_height, base_width, 3].
            request: the prompt, the seed and the size.
            chunk: the clip's number in its video, which with the seed fixes the refiner's noise.
        """
        if not self.refiner:
            return resize(base, request.height, request.width)
        import torch

        from generators.streaming_t2v.pipeline import tensor_frames

        seed = chunk_seed(request.seed, request.prompt, chunk)
        frames = tensor_frames(torch.from_numpy(base))
        pieces = self._refiner.refine(frames, request.prompt, request.height, request.width, seed)
        return np.concatenate([to_frames(piece) for piece in pieces])

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import TextToVideoSDPipeline

        pipeline = load_pipeline(TextToVideoSDPipeline, resolve_weights(self.weights, self.weights_dir), self)
        use_scheduler(pipeline, self.scheduler)
        limit_vae_memory(pipeline.vae, self)
        place(pipeline, self)
        return pipeline

    @cached_property
    def _refiner(self) -> Refiner:
        """The refiner over one chunk, as the authors call it for 16 frames; what it lacks is the base model's."""
        from generators.streaming_t2v import loading
        from generators.streaming_t2v.refiner import Refiner

        folder = loading.refiner_folder(self.refiner, self.weights_dir)
        base = [resolve_weights(self.weights, self.weights_dir)]
        parts = loading.load_refiner_parts(
            folder, self, lambda: loading.load_codec(base, self, 1).vae, lambda: loading.load_text_encoder(base, self)
        )
        return Refiner(
            *parts,
            chunk=self.num_frames,
            overlap=self.num_frames // 2,
            canvas_height=self.canvas_height,
            canvas_width=self.canvas_width,
            start=self.refiner_start,
            steps=self.refiner_steps,
            guidance_scale=self.refiner_guidance_scale,
        )

    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the text embeddings [1, L, C] of the prompt and, under guidance, of the negative prompt."""
        import torch

        with torch.no_grad():
            text: tuple[torch.Tensor, torch.Tensor | None] = self._pipeline.encode_prompt(
                prompt, torch.device(self.device), 1, self.guidance_scale > 1, self.negative_prompt
            )
        return text

    def _sample(self, text: tuple[torch.Tensor, torch.Tensor | None], seeds: Sequence[int]) -> list[Frames]:
        """Returns one clip per seed, all from one denoising loop."""
        positive, negative = text
        with silenced():
            videos = self._pipeline(
                height=self.base_height,
                width=self.base_width,
                num_frames=self.num_frames,
                num_inference_steps=self.num_inference_steps,
                guidance_scale=self.guidance_scale,
                generator=[cpu_generator(seed) for seed in seeds],
                prompt_embeds=positive.repeat(len(seeds), 1, 1),
                negative_prompt_embeds=None if negative is None else negative.repeat(len(seeds), 1, 1),
                output_type="pt",
            ).frames
        return [to_frames(video) for video in videos]
