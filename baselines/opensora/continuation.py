"""One chunk of Open-Sora 1.2: given frames in, given and new frames out.

Why it exists: transformer, autoencoder and sampler meet here, and only here is it decided which latents are given. The
adapter `baselines/opensora/method.py` adds what a method of the benchmark needs around it.

Source: Open-Sora branch opensora/v1.2, scripts/inference.py and opensora/utils/inference_utils.py (references written
into the first latents, mask 0 there).

Example:
    >>> settings = OpenSoraSampling(num_frames=51, num_inference_steps=30, guidance_scale=7.0, fps=24.0)
    >>> latent_frames(settings.num_frames)
    15
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from baselines.networks.checkpoint_files import read_checkpoint, read_released_config
from baselines.networks.text_embeddings import TextEmbedding
from baselines.opensora.rectified_flow import Velocity, guided_velocity, sample, transformed_timesteps
from baselines.opensora.stdit3 import STDiT3, STDiT3Config, load_released_stdit3
from baselines.opensora.vae import STRETCH_FRAMES, STRETCH_LATENTS, OpenSoraVAE, latent_frames
from generators.api import Frames
from generators.frames import to_frames


@dataclass(frozen=True)
class OpenSoraSampling:
    """How a chunk is drawn.

    Attributes:
        num_frames: frames of the chunk, the given ones included.
        num_inference_steps: steps of the rectified flow.
        guidance_scale: weight of classifier-free guidance.
        fps: frames per second told to the network.
    """

    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    fps: float


def load_stdit3(folder: Path, device: str, dtype: torch.dtype) -> STDiT3:
    """Returns the transformer stored in a folder (config.json and safetensors), ready to run."""
    with torch.device("meta"):
        network = STDiT3(STDiT3Config.from_json(read_released_config(folder)))
    load_released_stdit3(network, read_checkpoint(folder), assign=True)
    return network.to(device, dtype).eval().requires_grad_(False)


def load_opensora_vae(folder: Path, device: str, dtype: torch.dtype, frame_vae: Path | None = None) -> OpenSoraVAE:
    """Returns the autoencoder stored in a folder (config.json and safetensors), ready to run.

    Args:
        folder: holds both halves, as released, or the temporal half only.
        device: where it will run.
        dtype: its precision.
        frame_vae: folder of the image autoencoder, its sizes and weights as diffusers stores them, if `folder` lacks
            that half.
    """
    config = read_released_config(folder)
    state = read_checkpoint(folder)
    if frame_vae is not None:
        config |= {"vae_2d": read_released_config(frame_vae)}
        state |= {f"spatial_vae.module.{name}": value for name, value in read_checkpoint(frame_vae).items()}
    vae = OpenSoraVAE.from_json(config)
    vae.load_released(state)
    return vae.to(device, dtype).eval().requires_grad_(False)


@torch.no_grad()
def continue_frames(
    network: STDiT3,
    vae: OpenSoraVAE,
    text: TextEmbedding,
    conditioning: Frames,
    settings: OpenSoraSampling,
    generator: torch.Generator,
) -> Frames:
    """Returns a chunk, [num_frames, H, W, 3], whose first frames are the conditioning frames.

    Stretches of 17 given frames come back as they are; a single one is drawn again with the stretch it begins.

    Args:
        network: the transformer.
        vae: the autoencoder.
        text: the prompt; guidance sets the empty text beside it, under the prompt's own mask (no golden data covers
            this).
        conditioning: [C, H, W, 3]; H and W multiples of 8; C is 1 or a multiple of 17 and less than num_frames.
        settings: how the chunk is drawn.
        generator: all noise of the chunk, on the CPU: posteriors, start, then every step.
    """
    weight = network.x_embedder.proj.weight
    given = vae.encode(as_video(conditioning).to(weight), generator).float()
    height, width = conditioning.shape[1:3]
    y, keep = beside_empty_text(network, text)
    fps = torch.full((2,), settings.fps, device=weight.device)

    def predict(latents: Tensor, t: Tensor, live: Tensor | None) -> Tensor:
        out: Tensor = network(latents, t, y, keep, fps, height, width, x_mask=live)
        return out

    finished = draw_latents(predict, given, settings, (height, width), generator)
    known = given.shape[2]
    whole = known // STRETCH_LATENTS  # stretches decode apart, and whoever gave these frames has them already
    fresh = finished[:, :, whole * STRETCH_LATENTS :].to(weight.dtype)
    video = vae.decode(fresh, settings.num_frames - whole * STRETCH_FRAMES)
    return np.concatenate([conditioning[: whole * STRETCH_FRAMES], as_frames(video)])


def beside_empty_text(network: STDiT3, text: TextEmbedding) -> tuple[Tensor, Tensor]:
    """Returns the prompt's tokens and those of the empty text, [2, 1, L, C], and the prompt's mask for both, [2, L].

    Source: stdit3.py, encode_text, which repeats the mask over the batch.
    """
    weight = network.x_embedder.proj.weight
    empty = network.y_embedder.y_embedding[None, : text.tokens.shape[1]]
    return torch.cat([text.tokens.to(weight), empty])[:, None], text.mask.to(weight.device).repeat(2, 1)


def draw_latents(
    predict: Velocity, given: Tensor, settings: OpenSoraSampling, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Returns the latents of a chunk, [1, C, T', h, w], float32, whose first ones are the given latents.

    Args:
        predict: the network; it sees every latent twice, with the prompt and with the empty text.
        given: latents [1, C, K, h, w], float32.
        settings: how the chunk is drawn.
        size: height and width of the video in pixels.
        generator: start noise, then that of every step, on the CPU.
    """
    known, device = given.shape[2], given.device
    shape = (*given.shape[:2], latent_frames(settings.num_frames), *given.shape[3:])

    def draw_noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(like.device)

    z = draw_noise(torch.empty(shape, device=device))
    z[:, :, :known] = given
    mask = torch.ones(1, shape[2], device=device)
    mask[:, :known] = 0.0
    steps = transformed_timesteps(
        settings.num_inference_steps, height=size[0], width=size[1], num_frames=settings.num_frames
    )
    return sample(guided_velocity(predict, settings.guidance_scale), z, mask, steps, draw_noise)


def as_frames(video: Tensor) -> Frames:
    """Returns frames [T, H, W, 3] of a video [1, 3, T, H, W] in about -1..1."""
    return to_frames(video[0].transpose(0, 1).float() / 2 + 0.5)


def as_video(frames: Frames) -> Tensor:
    """Returns frames [T, H, W, 3] as a video [1, 3, T, H, W] in -1..1, float32."""
    return torch.from_numpy(frames.copy()).permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0
