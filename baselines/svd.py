"""Stable Video Diffusion, used autoregressively: every chunk continues the last frame of the one before.

SVD reads no text; the prompt reaches it only through the first chunk. Which of the two released models the paper used
is not said; the defaults here are SVD-XT's, the one StreamingT2V's own code offers (t2v_enhanced/model_init.py).

Source: Stability-AI/generative-models, scripts/sampling/simple_video_sample.py (steps, fps, motion bucket, noise) and
configs/svd_xt.yaml (guidance 1.5 to 3 over the frames); diffusers' `StableVideoDiffusionPipeline`.

Example:
    >>> Svd().num_frames, Svd().conditioning_frames
    (25, 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, method
from generators.frames import to_frames
from generators.pipelines import (
    PipelineSettings,
    cpu_generator,
    load_network,
    load_pipeline,
    place,
    silenced,
    use_scheduler,
)
from generators.weights import resolve_weights


@method(
    name="svd",
    title="SVD",
    paper="arXiv:2311.15127",
    licence="Stability AI non-commercial community licence",
    continues_start=True,
)
@dataclass
class Svd(ChunkModel, PipelineSettings):
    """SVD continued chunk by chunk.

    Attributes:
        weights: location of a `StableVideoDiffusionPipeline` folder.
        vae: location of a frame-wise autoencoder (`AutoencoderKL`); empty for the folder's own, temporal one. The
            authors released a frame-wise decoder beside it.
        scheduler: a solver's class name in diffusers; empty for the checkpoint's own (Euler, EDM).
        num_frames: frames per network call, the re-rendered first one included (25 for XT, 14 for SVD).
        num_inference_steps: solver steps (30 for XT, 25 for SVD).
        min_guidance_scale: guidance on the first frame of a chunk.
        max_guidance_scale: guidance on the last frame of a chunk; it rises linearly in between.
        fps: frames per second told to the network, as diffusers counts them (it subtracts 1: the network reads 6).
        motion_bucket_id: amount of motion, 0..255.
        noise_aug_strength: noise added to the conditioning frame.
        decode_chunk_size: frames decoded at once.
    """

    weights: str = "hub:stabilityai/stable-video-diffusion-img2vid-xt"
    vae: str = ""
    scheduler: str = ""
    num_frames: int = 25
    height: int = 576
    width: int = 1024
    num_inference_steps: int = 30
    min_guidance_scale: float = 1.5
    max_guidance_scale: float = 3.0
    fps: int = 7
    motion_bucket_id: int = 127
    noise_aug_strength: float = 0.02
    decode_chunk_size: int = 8

    @property
    def conditioning_frames(self) -> int:
        """One: the network is conditioned on a single image."""
        return 1

    def begin(self, prompt: str) -> Extend:
        """Returns the function that continues one frame; the prompt is not read."""
        return self._extend

    def _extend(self, conditioning: Frames, seed: int) -> Frames:
        from PIL import Image

        height, width = conditioning.shape[1:3]
        with silenced():
            videos = self._pipeline(
                Image.fromarray(conditioning[-1]),
                height=height,
                width=width,
                num_frames=self.num_frames,
                num_inference_steps=self.num_inference_steps,
                min_guidance_scale=self.min_guidance_scale,
                max_guidance_scale=self.max_guidance_scale,
                fps=self.fps,
                motion_bucket_id=self.motion_bucket_id,
                noise_aug_strength=self.noise_aug_strength,
                decode_chunk_size=self.decode_chunk_size,
                generator=cpu_generator(seed),
                output_type="pt",
            ).frames
        return to_frames(videos[0])

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import AutoencoderKL, StableVideoDiffusionPipeline

        parts = (
            {"vae": load_network(AutoencoderKL, resolve_weights(self.vae, self.weights_dir), self)}
            if self.vae
            else None
        )
        pipeline = load_pipeline(
            StableVideoDiffusionPipeline, resolve_weights(self.weights, self.weights_dir), self, parts
        )
        use_scheduler(pipeline, self.scheduler)
        place(pipeline, self)
        return pipeline
