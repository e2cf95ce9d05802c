"""FreeNoise on AnimateDiff: the whole video in one call, through diffusers' `enable_free_noise`.

The authors' sibling of their VideoCrafter2 system, and the one diffusers ships: windows are laid over whole motion
blocks, not over each temporal attention. Which weights and steps go with it is ours; its paper evaluates VideoCrafter.

Source: arXiv:2310.15169 (windows of 16 at stride 4, noise rescheduling); diffusers' `AnimateDiffPipeline`.

Example:
    >>> FreeNoiseAnimateDiff().info.continues_start
    False
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from baselines.animatediff.pipeline import AnimateDiffSettings, load_animatediff
from baselines.freenoise.noise_rescheduling import SHARED_STARTS, covering, encode_start, long_noise
from baselines.padding import unletterbox
from generators.api import Frames, Request, Start, method
from generators.frames import to_frames
from generators.pipelines import check_option, cpu_generator, place, silenced
from generators.seeds import chunk_seed

if TYPE_CHECKING:
    import torch


@method(
    name="freenoise_animatediff",
    title="FreeNoise (AnimateDiff)",
    paper="arXiv:2310.15169",
    licence="Apache-2.0 on CreativeML OpenRAIL-M",
    continues_start=False,
)
@dataclass
class FreeNoiseAnimateDiff(AnimateDiffSettings):
    """One long text-to-video call with shared noise and windows in time.

    Attributes:
        height: native height in pixels; 0 for that of the request.
        width: native width in pixels; 0 for that of the request.
        num_inference_steps: solver steps.
        guidance_scale: weight of classifier-free guidance.
        negative_prompt: what the unconditional branch reads.
        context_length: frames of a window, and of the noise that is repeated.
        context_stride: frames from one window to the next.
        shared_start: one of `SHARED_STARTS`.
        decode_chunk_size: frames decoded at once.
        unpad: cut the native frame to the shape of the request; False squashes it.
    """

    height: int = 512
    width: int = 512
    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    negative_prompt: str = "worst quality, low quality"
    context_length: int = 16
    context_stride: int = 4
    shared_start: str = "none"
    decode_chunk_size: int = 16
    unpad: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        super().__post_init__()
        check_option("shared_start", self.shared_start, SHARED_STARTS)

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the whole video at once: it has no seams."""
        height, width = self.height or request.height, self.width or request.width
        generator = cpu_generator(chunk_seed(request.seed, request.prompt, 1))
        total = covering(request.num_frames, self.context_length, self.context_stride)
        with silenced():
            noise = long_noise(
                self._first_window(start, height, width, generator), total, self.context_stride, generator
            )
            videos = self._pipeline(
                request.prompt,
                negative_prompt=self.negative_prompt,
                height=height,
                width=width,
                num_frames=total,
                num_inference_steps=self.num_inference_steps,
                guidance_scale=self.guidance_scale,
                latents=noise,
                decode_chunk_size=self.decode_chunk_size,
                generator=generator,
                output_type="pt",
            ).frames
        yield unletterbox(to_frames(videos[0])[: request.num_frames], request.height, request.width, crop=self.unpad)

    def _first_window(self, start: Start, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        """Returns the noise [1, 4, context_length, h, w] that is repeated, at unit variance."""
        import torch

        pipeline = self._pipeline
        factor, channels = pipeline.vae_scale_factor, pipeline.unet.config.in_channels
        shape = (1, channels, self.context_length, height // factor, width // factor)
        noise = torch.randn(shape, generator=generator).to(self.device, pipeline.unet.dtype)
        if self.shared_start == "none":
            return noise
        latents = encode_start(pipeline.vae, start, self.context_length, height, width, self.device).to(noise)
        pipeline.scheduler.set_timesteps(self.num_inference_steps)
        noised: torch.Tensor = pipeline.scheduler.add_noise(latents, noise, pipeline.scheduler.timesteps[:1])
        return noised / float(pipeline.scheduler.init_noise_sigma)

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import AnimateDiffPipeline

        pipeline = load_animatediff(AnimateDiffPipeline, self, {})
        with silenced():
            pipeline.enable_free_noise(
                context_length=self.context_length, context_stride=self.context_stride, weighting_scheme="pyramid"
            )
        place(pipeline, self)
        return pipeline
