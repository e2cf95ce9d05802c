"""DynamiCrafter at 576x1024 ("XL"), used autoregressively: every chunk animates the last frame of the one before.

A square frame is fitted to the height with black bars, which is also what the authors' own loader does to square
images. Image tokens and text both reach the cross attention; the frame's latents are concatenated to every frame.

Source: Doubiiu/DynamiCrafter, scripts/run.sh (1024: 50 DDIM steps, eta 1, guidance 7.5 rescaled by 0.7, fps 10,
uniform trailing steps), scripts/evaluation/inference.py, configs/inference_1024_v1.0.yaml (dynamic rescale to 0.3).

Example:
    >>> DynamiCrafterXl().num_frames, DynamiCrafterXl().conditioning_frames
    (16, 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, method
from generators.frames import to_frames
from generators.pipelines import TEXT_FILLS, PipelineSettings, check_option, cpu_generator
from generators.weights import resolve_weights

if TYPE_CHECKING:
    import torch


@method(
    name="dynamicrafter_xl",
    title="DynamiCrafter-XL",
    paper="arXiv:2310.12190",
    licence="see LICENSE on the model page",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class DynamiCrafterXl(ChunkModel, PipelineSettings):
    """DynamiCrafter continued chunk by chunk.

    Attributes:
        weights: location of `model.ckpt` (or its folder), or of a folder with `unet/`, `image_projection/`, `vae/`.
        encoders: location of a folder with OpenCLIP ViT-H's towers: `tokenizer/`, `text_encoder/`, `image_encoder/`.
            I2VGen-XL's repository holds the same frozen towers in transformers' layout. `variant` is theirs.
        text_fill: one of `generators.pipelines.TEXT_FILLS`: what stands behind a short text; OpenCLIP's was token 0.
        image_tower: location of a folder with `image_encoder/`; empty for the one among the encoders.
        vae: location of an autoencoder's folder; empty for `vae/` among the weights.
        num_frames: frames per network call, the re-rendered first one included; the image projection makes tokens
            for as many.
        num_inference_steps: DDIM steps.
        eta: share of fresh noise per step, 0..1.
        guidance_scale: weight of classifier-free guidance; 1 or less turns it off.
        guidance_rescale: how far guidance is moved back to the contrast of the conditional prediction, 0..1.
        fps: frames per second told to the network, 5..15; less means more motion.
        terminal_scale: scale of the clean latents at high noise the network was trained with (dynamic rescale).
        negative_prompt: what the unconditional branch reads.
        decode_chunk_size: frames decoded at once.
    """

    size_multiple: ClassVar[int] = 8

    variant: str = "fp16"
    weights: str = "hub:Doubiiu/DynamiCrafter_1024"
    encoders: str = "hub:ali-vilab/i2vgen-xl"
    text_fill: str = "zero"
    image_tower: str = ""
    vae: str = ""
    height: int = 576
    width: int = 1024
    num_inference_steps: int = 50
    eta: float = 1.0
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.7
    fps: int = 10
    terminal_scale: float = 0.3
    negative_prompt: str = ""
    decode_chunk_size: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        super().__post_init__()
        check_option("text_fill", self.text_fill, TEXT_FILLS)

    @property
    def conditioning_frames(self) -> int:
        """One: the network animates a single image."""
        return 1

    def begin(self, prompt: str) -> Extend:
        """Returns the function that animates one frame under the prompt, which is encoded here, once."""
        from baselines.networks.clip_encoders import encode_text

        if prompt not in self._texts:
            encoders = resolve_weights(self.encoders, self.weights_dir)
            texts = [prompt, self.negative_prompt]
            self._texts[prompt] = encode_text(encoders, texts, skip_last=True, fill=self.text_fill, settings=self)
        text = self._texts[prompt]
        return lambda conditioning, seed: self._extend(conditioning, seed, text)

    def _extend(self, conditioning: Frames, seed: int, text: torch.Tensor) -> Frames:
        import torch

        from baselines.networks.ddim import ddim_sample, trailing_schedule
        from baselines.networks.frame_latents import decode_latents, encode_frames, to_pixels
        from baselines.networks.offload import on_device

        generator = cpu_generator(seed)
        pixels = to_pixels(conditioning, self.device)
        with on_device(self._vae, self) as vae:
            still = encode_frames(vae, pixels, 1, generator).expand(-1, -1, self.num_frames, -1, -1)
        image = self._image_tokens(pixels)
        noise = torch.randn(still.shape, generator=generator).to(self.device)
        schedule = trailing_schedule(self.num_inference_steps, self.terminal_scale)
        with on_device(self._unet, self) as unet, torch.no_grad():

            def predict(latents: torch.Tensor, timestep: int) -> torch.Tensor:
                return self._guided(unet, torch.cat([latents, still], dim=1), timestep, text, image)

            latents = ddim_sample(predict, noise, schedule, "v_prediction", self.eta, generator)
        with on_device(self._vae, self) as vae:
            return to_frames(decode_latents(vae, latents, self.decode_chunk_size))

    def _image_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns tokens [2, F * 16, D]: of the frame, and of mid-grey for the unconditional branch."""
        import torch

        from baselines.networks.clip_encoders import encode_image
        from baselines.networks.offload import on_device

        with on_device(self._image_tower, self) as tower:
            patches = encode_image(tower, torch.cat([pixels, torch.zeros_like(pixels)]))
        with on_device(self._image_projection, self) as project, torch.no_grad():
            tokens: torch.Tensor = project(patches)
        return tokens

    def _guided(
        self, unet: Any, clip: torch.Tensor, timestep: int, text: torch.Tensor, image: torch.Tensor
    ) -> torch.Tensor:
        """Returns the predicted velocity [1, 4, F, h, w], both branches from one network call."""
        import torch

        from baselines.networks.ddim import guide

        branches = 2 if self.guidance_scale > 1 else 1
        clips = clip.to(text.dtype).expand(branches, -1, -1, -1, -1)
        steps, fps = (torch.full((branches,), value, device=clip.device) for value in (timestep, self.fps))
        predicted: torch.Tensor = unet(clips, steps, text[:branches], image[:branches], fps)
        conditional, *unconditional = predicted.float().chunk(branches)
        if not unconditional:
            return conditional
        return guide(conditional, unconditional[0], self.guidance_scale, self.guidance_rescale)

    @cached_property
    def _texts(self) -> dict[str, torch.Tensor]:
        """Encoded prompts [2, L, D], so that another seed or a retry doesn't load the text encoder again."""
        return {}

    @cached_property
    def _image_tower(self) -> Any:
        from baselines.networks.clip_encoders import load_image_tower

        return load_image_tower(resolve_weights(self.image_tower or self.encoders, self.weights_dir), self)

    @cached_property
    def _folder(self) -> Path:
        from baselines.dynamicrafter_xl.checkpoint import write_dynamicrafter
        from baselines.networks.checkpoints import network_folder

        return network_folder(
            resolve_weights(self.weights, self.weights_dir), "model.ckpt", self.weights_dir, write_dynamicrafter
        )

    @cached_property
    def _unet(self) -> Any:
        from baselines.dynamicrafter_xl.network import DynamiCrafterUNet
        from baselines.networks.offload import load_offloadable

        return load_offloadable(DynamiCrafterUNet, self._folder / "unet", self)

    @cached_property
    def _image_projection(self) -> Any:
        from baselines.dynamicrafter_xl.resampler import Resampler
        from baselines.networks.offload import load_offloadable

        return load_offloadable(Resampler, self._folder / "image_projection", self)

    @cached_property
    def _vae(self) -> Any:
        from diffusers import AutoencoderKL

        from baselines.networks.offload import load_offloadable

        folder = resolve_weights(self.vae, self.weights_dir) if self.vae else self._folder / "vae"
        return load_offloadable(AutoencoderKL, folder, self)
