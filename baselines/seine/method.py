"""SEINE, used autoregressively: a clip of which the first frame is given, the others masked.

The released prediction recipe gives one frame (mask `first1`); the code also accepts more, so their number is a
setting. The network has no frame-rate input. Missing frames are mid-grey, as in training.

Source: Vchitect/SEINE, sample_scripts/with_mask_sample.py and configs/sample_i2v.yaml (250 DDPM steps, guidance 8, no
negative prompt, the suffix); the 512x512 size is one of the three the authors list.

Example:
    >>> Seine().num_frames, Seine().conditioning_frames, Seine(sampler="ddim").steps
    (16, 1, 50)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, method
from generators.frames import to_frames
from generators.pipelines import PipelineSettings, check_option, cpu_generator
from generators.weights import resolve_weights

if TYPE_CHECKING:
    import torch

STEPS = {"ddpm": 250, "ddim": 50}
"""Solver steps of each sampler: ddpm as released, ddim the fast setting."""


@method(
    name="seine",
    title="SEINE",
    paper="arXiv:2310.20700",
    licence="academic research; commercial use after applying to the authors",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class Seine(ChunkModel, PipelineSettings):
    """SEINE continued chunk by chunk.

    Attributes:
        weights: location of `seine.pt` (or its folder), or of a folder with `unet/`.
        base: location of Stable Diffusion 1.4's folder: `tokenizer/`, `text_encoder/`, `vae/`. `variant` is its.
        num_frames: frames per network call, given ones included; what the network was built for.
        conditioning_frames: given frames; 1 as released, the paper doesn't say, up to 5 is sensible.
        height: native height in pixels; 0 for that of the request. 512 for square videos: no padding.
        sampler: "ddpm" as released, or "ddim": five times faster.
        num_inference_steps: solver steps; 0 for the sampler's own number (250 or 50).
        guidance_scale: weight of classifier-free guidance; 1 or less turns it off.
        prompt_suffix: appended to the prompt, as the released image-to-video configuration does.
        negative_prompt: what the unconditional branch reads.
        decode_chunk_size: frames encoded or decoded at once.
    """

    size_multiple: ClassVar[int] = 8

    weights: str = "hub:Vchitect/SEINE"
    base: str = "hub:CompVis/stable-diffusion-v1-4"
    conditioning_frames: int = 1
    height: int = 512
    width: int = 512
    sampler: str = "ddpm"
    num_inference_steps: int = 0
    guidance_scale: float = 8.0
    prompt_suffix: str = ", slow motion."
    negative_prompt: str = ""
    decode_chunk_size: int = 4

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        super().__post_init__()
        check_option("sampler", self.sampler, tuple(STEPS))

    @property
    def steps(self) -> int:
        """Solver steps."""
        return self.num_inference_steps or STEPS[self.sampler]

    def begin(self, prompt: str) -> Extend:
        """Returns the function that continues given frames under the prompt, which is encoded here, once."""
        from baselines.networks.clip_encoders import encode_text

        if prompt not in self._texts:
            texts = [prompt + self.prompt_suffix, self.negative_prompt]
            base = resolve_weights(self.base, self.weights_dir)
            self._texts[prompt] = encode_text(base, texts, skip_last=False, fill="tokenizer", settings=self)
        text = self._texts[prompt]
        return lambda conditioning, seed: self._extend(conditioning, seed, text)

    def _extend(self, conditioning: Frames, seed: int, text: torch.Tensor) -> Frames:
        import torch

        from baselines.networks.ddim import ddim_sample, respaced_schedule
        from baselines.networks.frame_latents import decode_latents
        from baselines.networks.offload import on_device
        from baselines.seine.ddpm import ddpm_sample

        generator = cpu_generator(seed)
        mask, given = self._condition(conditioning, generator)
        noise = torch.randn(given.shape, generator=generator).to(self.device)
        with on_device(self._unet, self) as unet, torch.no_grad():

            def predict(latents: torch.Tensor, timestep: int) -> torch.Tensor:
                return self._guided(unet, torch.cat([latents, mask, given], dim=1), timestep, text)

            if self.sampler == "ddpm":
                latents = ddpm_sample(predict, noise, self.steps, generator, unet.config.prediction_type)
            else:
                schedule = respaced_schedule(self.steps)
                latents = ddim_sample(predict, noise, schedule, unet.config.prediction_type, 0.0, generator)
        with on_device(self._vae, self) as vae:
            return to_frames(decode_latents(vae, latents, self.decode_chunk_size))

    def _condition(self, conditioning: Frames, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mask [1, 1, F, h, w] (0 = given) and the latents [1, 4, F, h, w] of the clip, grey in gaps."""
        import torch

        from baselines.networks.frame_latents import encode_frames, to_pixels
        from baselines.networks.offload import on_device

        known = to_pixels(conditioning, self.device)
        missing = known.new_zeros(self.num_frames - len(known), *known.shape[1:])
        with on_device(self._vae, self) as vae:
            given = encode_frames(vae, torch.cat([known, missing]), self.decode_chunk_size, generator)
        mask = torch.ones_like(given[:, :1])
        mask[:, :, : len(known)] = 0
        return mask, given

    def _guided(self, unet: Any, clip: torch.Tensor, timestep: int, text: torch.Tensor) -> torch.Tensor:
        """Returns the guided prediction [1, 4, F, h, w], both branches from one network call."""
        import torch

        from baselines.networks.ddim import guide

        branches = 2 if self.guidance_scale > 1 else 1
        clips = clip.to(text.dtype).expand(branches, -1, -1, -1, -1)
        predicted: torch.Tensor = unet(clips, torch.full((branches,), timestep, device=clip.device), text[:branches])
        conditional, *unconditional = predicted.float().chunk(branches)
        return guide(conditional, unconditional[0], self.guidance_scale) if unconditional else conditional

    @cached_property
    def _texts(self) -> dict[str, torch.Tensor]:
        """Encoded prompts [2, L, D], so that another seed or a retry doesn't load the text encoder again."""
        return {}

    @cached_property
    def _unet(self) -> Any:
        from baselines.networks.checkpoints import network_folder
        from baselines.networks.offload import load_offloadable
        from baselines.seine.checkpoint import write_seine
        from baselines.seine.network import SeineUNet

        folder = network_folder(
            resolve_weights(self.weights, self.weights_dir), "seine.pt", self.weights_dir, write_seine
        )
        return load_offloadable(SeineUNet, folder / "unet", self)

    @cached_property
    def _vae(self) -> Any:
        from diffusers import AutoencoderKL

        from baselines.networks.offload import load_offloadable

        return load_offloadable(AutoencoderKL, resolve_weights(self.base, self.weights_dir) / "vae", self, self.variant)
