"""FreeNoise on VideoCrafter2: the whole video in one text-to-video call, with shared noise and windows in time.

It cannot take frames, so as published it ignores the shared first chunk and makes all frames itself; `shared_start =
"noised"` instead takes its base noise from the noised latents of that chunk. Which was used is in every record.

Source: arXiv:2310.15169; AILab-CVC/FreeNoise, scripts/run_text2video_freenoise_512.sh (320 x 512, 50 DDIM steps, eta 0,
guidance 12, fps 16, window 16, stride 4).

Example:
    >>> FreeNoise().context_length
    16
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.freenoise.noise_rescheduling import SHARED_STARTS, covering, encode_start, long_noise
from baselines.padding import unletterbox
from generators.api import Frames, Request, Start, method
from generators.frames import to_frames
from generators.pipelines import TEXT_FILLS, PipelineSettings, check_option, check_sides, check_steps, cpu_generator
from generators.seeds import chunk_seed
from generators.weights import resolve_weights

if TYPE_CHECKING:
    import torch

    from baselines.networks.ddim import DdimSchedule, Prediction

SCHEDULES = ("uniform", "trailing")
"""VideoCrafter2's steps (the network predicts noise), or steps from zero signal on (it predicts velocity)."""


@method(
    name="freenoise",
    title="FreeNoise",
    paper="arXiv:2310.15169",
    licence="research and non-commercial use (authors' note)",
    continues_start=False,
)
@dataclass
class FreeNoise(PipelineSettings):
    """One long text-to-video call with shared noise and windows in time.

    Attributes:
        weights: location of VideoCrafter2's `model.ckpt` (or its folder), or of a folder with `unet/`.
        encoders: location of a folder with OpenCLIP ViT-H's text tower: `tokenizer/`, `text_encoder/`. I2VGen-XL's
            repository holds the same frozen tower in transformers' layout. `variant` is theirs.
        text_fill: one of `generators.pipelines.TEXT_FILLS`: what stands behind a short text; OpenCLIP's was token 0.
        vae: location of an autoencoder's folder; empty for `vae/` among the weights.
        height: native height in pixels; 0 for that of the request.
        width: native width in pixels; 0 for that of the request.
        num_inference_steps: DDIM steps; a divisor of 1000.
        guidance_scale: weight of classifier-free guidance.
        negative_prompt: what the unconditional branch reads.
        fps: frames per second told to the network.
        schedule: one of `SCHEDULES`, as the network was trained.
        terminal_scale: scale of clean latents at the noisy end of the schedule (0.7 as trained; 1 for none).
        context_length: frames of a window, and of the noise that is repeated.
        context_stride: frames from one window to the next.
        shared_start: one of `SHARED_STARTS`.
        decode_chunk_size: frames decoded at once.
        unpad: cut the native frame to the shape of the request; False squashes it.
    """

    variant: str = "fp16"
    weights: str = "hub:VideoCrafter/VideoCrafter2"
    encoders: str = "hub:ali-vilab/i2vgen-xl"
    text_fill: str = "zero"
    vae: str = ""
    height: int = 320
    width: int = 512
    num_inference_steps: int = 50
    guidance_scale: float = 12.0
    negative_prompt: str = ""
    fps: int = 16
    schedule: str = "uniform"
    terminal_scale: float = 0.7
    context_length: int = 16
    context_stride: int = 4
    shared_start: str = "none"
    decode_chunk_size: int = 16
    unpad: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options, or if two of them cannot go together."""
        super().__post_init__()
        check_option("shared_start", self.shared_start, SHARED_STARTS)
        check_option("schedule", self.schedule, SCHEDULES)
        check_option("text_fill", self.text_fill, TEXT_FILLS)
        check_steps("num_inference_steps", self.num_inference_steps)
        if self.schedule == "uniform" and (1000 % self.num_inference_steps or self.num_inference_steps == 1000):
            raise ValueError(f"num_inference_steps = {self.num_inference_steps} must divide 1000, and be less")
        if self.shared_start == "noised" and self.schedule == "trailing":
            raise ValueError(
                'schedule = "trailing" begins without signal, so nothing of the first chunk would be left: '
                'set shared_start = "none"'
            )

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the whole video at once: it has no seams."""
        from baselines.networks.clip_encoders import encode_text
        from baselines.networks.frame_latents import decode_latents
        from baselines.networks.offload import on_device

        height, width = self.height or request.height, self.width or request.width
        check_sides((height, width), 8)
        generator = cpu_generator(chunk_seed(request.seed, request.prompt, 1))
        total = covering(request.num_frames, self.context_length, self.context_stride)
        encoders = resolve_weights(self.encoders, self.weights_dir)
        texts = [request.prompt, self.negative_prompt]
        text = encode_text(encoders, texts, skip_last=True, fill=self.text_fill, settings=self)
        first = self._first_window(start, height, width, generator)
        latents = self._denoise(long_noise(first, total, self.context_stride, generator), text, generator)
        with on_device(self._vae, self) as vae:
            video = decode_latents(vae, latents[:, :, : request.num_frames], self.decode_chunk_size)
        yield unletterbox(to_frames(video), request.height, request.width, crop=self.unpad)

    def _first_window(self, start: Start, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        """Returns the noise [1, 4, context_length, h, w] that is repeated."""
        import torch

        from baselines.networks.offload import on_device

        config = self._vae.config
        factor = 2 ** (len(config.block_out_channels) - 1)
        shape = (1, config.latent_channels, self.context_length, height // factor, width // factor)
        noise = torch.randn(shape, generator=generator).to(self.device)
        if self.shared_start == "none":
            return noise
        with on_device(self._vae, self) as vae:
            latents = encode_start(vae, start, self.context_length, height, width, self.device).to(noise)
        signal = self._steps[0].signal[0]
        noised: torch.Tensor = signal**0.5 * self.terminal_scale * latents + (1 - signal) ** 0.5 * noise
        return noised

    def _denoise(self, noise: torch.Tensor, text: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Returns clean latents [1, 4, F, h, w]; `text` holds the tokens of the prompt and of the negative prompt."""
        import torch

        from baselines.networks.ddim import ddim_sample, guide
        from baselines.networks.offload import on_device

        rates = torch.full((2,), self.fps, device=noise.device)
        with on_device(self._unet, self) as unet, torch.no_grad():

            def predict(latents: torch.Tensor, timestep: int) -> torch.Tensor:
                both = latents.to(text.dtype).expand(2, -1, -1, -1, -1)
                predicted = unet(both, torch.full_like(rates, timestep), text, rates).float()
                positive, negative = predicted.chunk(2)
                return guide(positive, negative, self.guidance_scale)

            schedule, prediction = self._steps
            return ddim_sample(predict, noise, schedule, prediction, 0.0, generator)

    @cached_property
    def _steps(self) -> tuple[DdimSchedule, Prediction]:
        from baselines.networks.ddim import trailing_schedule, uniform_schedule

        if self.schedule == "uniform":
            return uniform_schedule(self.num_inference_steps, self.terminal_scale), "epsilon"
        return trailing_schedule(self.num_inference_steps, self.terminal_scale), "v_prediction"

    @cached_property
    def _folder(self) -> Path:
        from baselines.networks.checkpoints import network_folder, write_videocrafter

        return network_folder(
            resolve_weights(self.weights, self.weights_dir), "model.ckpt", self.weights_dir, write_videocrafter
        )

    @cached_property
    def _unet(self) -> Any:
        from baselines.freenoise.windows import attend_in_windows
        from baselines.networks.offload import load_offloadable
        from baselines.networks.videocrafter import VideoCrafterUNet

        unet = load_offloadable(VideoCrafterUNet, self._folder / "unet", self)
        attend_in_windows(unet, self.context_length, self.context_stride)
        return unet

    @cached_property
    def _vae(self) -> Any:
        from diffusers import AutoencoderKL

        from baselines.networks.offload import load_offloadable

        folder = resolve_weights(self.vae, self.weights_dir) if self.vae else self._folder / "vae"
        return load_offloadable(AutoencoderKL, folder, self)
