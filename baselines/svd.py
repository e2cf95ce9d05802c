"""Stable Video Diffusion, used autoregressively: every chunk continues the last frame of the one before.

SVD reads no text; the prompt reaches it only through the first chunk. Which of the two released models the paper used
is not said; the defaults here are SVD-XT's, the one StreamingT2V's own code offers (t2v_enhanced/model_init.py). All of
it is settings of the adapter that runs any pipeline of diffusers.

Source: Stability-AI/generative-models, scripts/sampling/simple_video_sample.py (steps, fps, motion bucket, noise) and
configs/svd_xt.yaml (guidance 1.5 to 3 over the frames); diffusers' `StableVideoDiffusionPipeline`.

Example:
    >>> Svd().num_frames, Svd().facts.takes
    (25, 'image')
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from baselines.diffusers_video import DiffusersVideo
from generators.api import method


def _arguments() -> dict[str, Any]:
    return {
        "num_inference_steps": 30,  # 25 for the smaller SVD
        "min_guidance_scale": 1.5,  # on the first frame of a chunk, rising linearly to the last
        "max_guidance_scale": 3.0,
        "motion_bucket_id": 127,  # amount of motion, 0..255
        "noise_aug_strength": 0.02,  # noise added to the conditioning frame
        "decode_chunk_size": 8,  # frames decoded at once
    }


@method(
    name="svd",
    title="SVD",
    paper="arXiv:2311.15127",
    licence="Stability AI Community (free below 1 M USD revenue)",
    continues_start=True,
)
@dataclass(kw_only=True)
class Svd(DiffusersVideo):
    """SVD continued chunk by chunk; settings as in `DiffusersVideo`, with SVD-XT's defaults.

    Attributes:
        num_frames: frames per network call, the re-rendered first one included (25 for XT, 14 for SVD).
        fps: frames per second told to the network, as diffusers counts them (it subtracts 1: the network reads 6).
        arguments: solver steps, guidance, motion and noise.
    """

    pipeline: str = "StableVideoDiffusionPipeline"
    weights: str = "hub:stabilityai/stable-video-diffusion-img2vid-xt"
    num_frames: int = 25
    height: int = 576
    width: int = 1024
    fps: float = 7.0
    arguments: dict[str, Any] = field(default_factory=_arguments)
