"""I2VGen-XL, used autoregressively: every chunk continues the last frame of the one before, under the same text.

Two things differ from diffusers' pipeline as shipped. Text is encoded here, because the pipeline's own way breaks with
today's transformers. And the image branch counts twice, as in the code the released weights were trained with.

Source: ali-vilab/VGen, configs/i2vgen_xl_infer.yaml (50 DDIM steps, guidance 9, 704 x 1280, fps 16) and
tools/modules/config.py (negative prompt); diffusers' `I2VGenXLPipeline`.

Example:
    >>> I2vgenXl().num_frames, I2vgenXl().conditioning_frames
    (16, 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, method
from generators.frames import to_frames
from generators.pipelines import (
    TEXT_FILLS,
    ImageVaeSettings,
    check_option,
    cpu_generator,
    encode_penultimate,
    limit_vae_memory,
    load_network,
    load_pipeline,
    place,
    private_noise,
    silenced,
    use_scheduler,
)
from generators.weights import resolve_weights

if TYPE_CHECKING:
    import torch


@method(
    name="i2vgen_xl",
    title="I2VGen-XL",
    paper="arXiv:2311.04145",
    licence="research and non-commercial use (authors' note)",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class I2vgenXl(ChunkModel, ImageVaeSettings):
    """I2VGen-XL continued chunk by chunk.

    Attributes:
        weights: location of an `I2VGenXLPipeline` folder.
        text_tower: location of a folder with `tokenizer/`, `text_encoder/`; empty for those among the weights.
        text_fill: one of `generators.pipelines.TEXT_FILLS`: what stands behind a short text; OpenCLIP's was token 0.
        image_tower: location of a folder with `feature_extractor/`, `image_encoder/`; empty as well.
        vae: location of an autoencoder's folder; empty as well.
        scheduler: a solver's class name in diffusers; empty for the checkpoint's own (DDIM).
        num_inference_steps: solver steps.
        guidance_scale: weight of classifier-free guidance.
        negative_prompt: what the unconditional branch reads.
        target_fps: frames per second told to the network.
        decode_chunk_size: frames decoded at once.
        double_image_latents: count the encoded image latents twice, as the released weights expect.
    """

    weights: str = "hub:ali-vilab/i2vgen-xl"
    text_tower: str = ""
    text_fill: str = "zero"
    image_tower: str = ""
    vae: str = ""
    scheduler: str = ""
    height: int = 704
    width: int = 1280
    num_inference_steps: int = 50
    guidance_scale: float = 9.0
    negative_prompt: str = (
        "Distorted, discontinuous, Ugly, blurry, low resolution, motionless, static, disfigured, disconnected limbs, "
        "Ugly faces, incomplete arms"
    )
    target_fps: int = 16
    decode_chunk_size: int = 1
    double_image_latents: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        super().__post_init__()
        check_option("text_fill", self.text_fill, TEXT_FILLS)

    @property
    def conditioning_frames(self) -> int:
        """One: the network is conditioned on a single image."""
        return 1

    def begin(self, prompt: str) -> Extend:
        """Returns the function that continues a frame of a video of this prompt; the prompt is encoded here, once."""
        pipeline = self._pipeline
        with silenced():
            texts = [prompt, self.negative_prompt]
            text = encode_penultimate(pipeline.tokenizer, pipeline.text_encoder, texts, self.device, self.text_fill)

        def extend(conditioning: Frames, seed: int) -> Frames:
            return self._sample(text, conditioning, seed)

        return extend

    def _sample(self, text: torch.Tensor, conditioning: Frames, seed: int) -> Frames:
        from PIL import Image

        height, width = conditioning.shape[1:3]
        # The pipeline samples the posterior of the conditioning frame without taking a generator for it.
        with silenced(), private_noise(seed, self.device):
            videos = self._pipeline(
                image=Image.fromarray(conditioning[-1]),
                prompt_embeds=text[:1],
                negative_prompt_embeds=text[1:],
                height=height,
                width=width,
                target_fps=self.target_fps,
                num_frames=self.num_frames,
                num_inference_steps=self.num_inference_steps,
                guidance_scale=self.guidance_scale,
                decode_chunk_size=self.decode_chunk_size,
                clip_skip=None,
                generator=cpu_generator(seed),
                output_type="pt",
            ).frames
        return to_frames(videos[0])

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import I2VGenXLPipeline

        from baselines.i2vgen_xl.network import double_image_latents

        pipeline = load_pipeline(
            I2VGenXLPipeline, resolve_weights(self.weights, self.weights_dir), self, self._networks_elsewhere()
        )
        use_scheduler(pipeline, self.scheduler)
        limit_vae_memory(pipeline.vae, self)
        if self.double_image_latents:
            double_image_latents(pipeline.unet)
        place(pipeline, self)
        return pipeline

    def _networks_elsewhere(self) -> dict[str, object]:
        """Returns the parts of the pipeline that do not lie among its weights, by their names in it."""
        from diffusers import AutoencoderKL
        from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

        parts: dict[str, object] = {}
        if self.text_tower:
            folder = resolve_weights(self.text_tower, self.weights_dir)
            parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            parts["text_encoder"] = load_network(CLIPTextModel, folder / "text_encoder", self)
        if self.image_tower:
            folder = resolve_weights(self.image_tower, self.weights_dir)
            processor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor", local_files_only=True)
            parts["feature_extractor"] = processor
            parts["image_encoder"] = load_network(CLIPVisionModelWithProjection, folder / "image_encoder", self)
        if self.vae:
            parts["vae"] = load_network(AutoencoderKL, resolve_weights(self.vae, self.weights_dir), self)
        return parts
