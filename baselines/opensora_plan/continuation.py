"""One chunk of OpenSoraPlan 1.2 image-to-video: one given frame in, that frame and new frames out.

Why it exists: the inpainting input (masked video, folded mask), the PNDM sampler and the tiled autoencoder meet here.
The adapter `baselines/opensora_plan/method.py` adds what a method of the benchmark needs around it.

Source: Open-Sora-Plan eb1311b, opensora/sample/sample_inpaint.py and pipeline_inpaint.py.

Example:
    >>> OpenSoraPlanSampling(num_frames=93, num_inference_steps=100, guidance_scale=7.5, tiling=Tiling()).num_frames
    93
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import PNDMScheduler
from torch import Tensor

from baselines.networks.checkpoint_files import read_checkpoint, read_released_config
from baselines.networks.text_embeddings import TextEmbedding
from baselines.opensora.continuation import as_video
from baselines.opensora.vae import drawn
from baselines.opensora_plan.transformer import InpaintConfig, InpaintTransformer, fold_mask, given_frames_mask
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig, unwrapped
from baselines.opensora_plan.vae_tiling import Tiling
from generators.api import Frames
from generators.frames import to_frames


@dataclass(frozen=True)
class OpenSoraPlanSampling:
    """How a chunk is drawn.

    Attributes:
        num_frames: frames of the chunk, the given one included; 4 k + 1.
        num_inference_steps: steps of the sampler; PNDM calls the network about nine times more.
        guidance_scale: weight of classifier-free guidance.
        tiling: tiles of the autoencoder; None for none.
    """

    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    tiling: Tiling | None


def load_inpaint_transformer(folder: Path, device: str, dtype: torch.dtype) -> InpaintTransformer:
    """Returns the transformer stored in a folder (config.json and safetensors), ready to run."""
    with torch.device("meta"):
        network = InpaintTransformer(InpaintConfig.from_json(read_released_config(folder)))
    network.load_state_dict(read_checkpoint(folder), assign=True)
    return network.to(device, dtype).eval().requires_grad_(False)


def load_causal_vae(folder: Path, device: str, dtype: torch.dtype) -> CausalVAE:
    """Returns the autoencoder stored in a folder (config.json and a checkpoint), ready to run."""
    with torch.device("meta"):
        vae = CausalVAE(CausalVAEConfig.from_json(read_released_config(folder)))
    vae.load_state_dict(unwrapped(read_checkpoint(folder)), assign=True)
    return vae.to(device, dtype).eval().requires_grad_(False)


@torch.no_grad()
def continue_frame(
    network: InpaintTransformer,
    vae: CausalVAE,
    texts: tuple[TextEmbedding, TextEmbedding],
    first: Frames,
    settings: OpenSoraPlanSampling,
    generator: torch.Generator,
) -> Frames:
    """Returns a chunk, [num_frames, H, W, 3], whose first frame re-renders the given one.

    Args:
        network: the transformer.
        vae: the autoencoder.
        texts: negative prompt and prompt.
        first: the given frame, [1, H, W, 3]; H and W multiples of 16.
        settings: how the chunk is drawn.
        generator: all noise of the chunk, on the CPU: posterior, then start.
    """
    weight = network.proj_out.weight
    video = as_video(first)
    masked = torch.zeros(1, 3, settings.num_frames, *video.shape[3:])
    masked[:, :, :1] = video
    posterior = vae.encode(masked.to(weight), settings.tiling)
    masked_latents = drawn(*posterior, generator).float() * vae.config.scaling_factor
    mask = fold_mask(given_frames_mask(settings.num_frames, (0,), *masked_latents.shape[3:])).to(masked_latents)
    start = torch.randn(masked_latents.shape, generator=generator).to(masked_latents)
    tokens = torch.cat([text.tokens for text in texts]).to(weight)
    keep = torch.cat([text.mask for text in texts]).to(weight.device)

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        both = torch.cat([latents, masked_latents, mask], dim=1).repeat(2, 1, 1, 1, 1)
        negative, positive = network(both, timestep.expand(2), tokens, keep).float().chunk(2)
        noise: Tensor = negative + settings.guidance_scale * (positive - negative)
        return noise

    latents = denoise(predict, start, settings.num_inference_steps)
    decoded = vae.decode((latents / vae.config.scaling_factor).to(weight.dtype), settings.tiling)
    return to_frames(decoded[0].transpose(0, 1).float() / 2 + 0.5)


def denoise(predict: Callable[[Tensor, Tensor], Tensor], latents: Tensor, num_inference_steps: int) -> Tensor:
    """Returns denoised latents; `predict(latents, timestep)` gives the noise in them.

    PNDM with diffusers' defaults: linear betas 1e-4..0.02, Runge-Kutta warm-up. Source: sample_inpaint.py (its shell
    script misspells the sampler's name; README:355 asks for PNDM).
    """
    scheduler = PNDMScheduler()
    scheduler.set_timesteps(num_inference_steps, device=latents.device)
    latents = latents * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        latents = scheduler.step(predict(latents, timestep), timestep, latents, return_dict=False)[0]
    return latents
