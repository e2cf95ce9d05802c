"""SparseCtrl (AnimateDiff v3, RGB), used autoregressively: four given frames at the head of every sixteen.

The released prediction recipe gives frames 0 to 3. The network draws them again, in its own way, and these copies are
dropped; pasting the given frames over them would hide the jump that the paper measures.

Source: guoyww/AnimateDiff, configs/prompts/3_sparsectrl/3_1_sparsectrl_i2v.yaml (25 steps, guidance 8.5, indices 0..3,
negative prompt) and scripts/animate.py (512 x 512); diffusers' `AnimateDiffSparseControlNetPipeline`.

Example:
    >>> SparseCtrl().num_frames - SparseCtrl().conditioning_frames
    12
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from baselines.animatediff.pipeline import AnimateDiffSettings, fuse_lora, load_animatediff, read_lora
from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, method
from generators.frames import to_frames
from generators.pipelines import cpu_generator, load_network, place, private_noise, silenced
from generators.weights import resolve_weights


@method(
    name="sparsectrl",
    title="SparseCtrl",
    paper="arXiv:2311.16933",
    licence="Apache-2.0 on CreativeML OpenRAIL-M",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class SparseCtrl(ChunkModel, AnimateDiffSettings):
    """SparseCtrl continued chunk by chunk.

    Attributes:
        controlnet: location of a `SparseControlNetModel` folder.
        adapter_lora: location of the adapter's LoRA file; empty for none.
        adapter_lora_scale: strength of that LoRA.
        conditioning_frames: given frames, at indices 0, 1, ... (4 as released; 1 and 8 are sensible too).
        num_inference_steps: solver steps.
        guidance_scale: weight of classifier-free guidance.
        negative_prompt: what the unconditional branch reads.
        controlnet_conditioning_scale: weight of the sparse encoder.
    """

    controlnet: str = "hub:guoyww/animatediff-sparsectrl-rgb"
    adapter_lora: str = "hub:guoyww/animatediff/v3_sd15_adapter.ckpt"
    adapter_lora_scale: float = 1.0
    conditioning_frames: int = 4
    height: int = 512
    width: int = 512
    num_inference_steps: int = 25
    guidance_scale: float = 8.5
    negative_prompt: str = "worst quality, low quality, letterboxed"
    controlnet_conditioning_scale: float = 1.0

    def begin(self, prompt: str) -> Extend:
        """Returns the function that continues frames of a video of this prompt; the prompt is encoded here, once."""
        import torch

        with silenced(), torch.no_grad():
            positive, negative = self._pipeline.encode_prompt(
                prompt, torch.device(self.device), 1, self.guidance_scale > 1, self.negative_prompt
            )

        def extend(conditioning: Frames, seed: int) -> Frames:
            return self._sample(positive, negative, conditioning, seed)

        return extend

    def _sample(self, positive: Any, negative: Any, conditioning: Frames, seed: int) -> Frames:
        from PIL import Image

        height, width = conditioning.shape[1:3]
        # The pipeline samples the posterior of the conditioning frames without taking a generator for it.
        with silenced(), private_noise(seed, self.device):
            videos = self._pipeline(
                prompt_embeds=positive,
                negative_prompt_embeds=negative,
                conditioning_frames=[Image.fromarray(frame) for frame in conditioning],
                controlnet_frame_indices=list(range(len(conditioning))),
                controlnet_conditioning_scale=self.controlnet_conditioning_scale,
                height=height,
                width=width,
                num_frames=self.num_frames,
                num_inference_steps=self.num_inference_steps,
                guidance_scale=self.guidance_scale,
                generator=cpu_generator(seed),
                output_type="pt",
            ).frames
        return to_frames(videos[0])

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import AnimateDiffSparseControlNetPipeline, SparseControlNetModel

        controlnet = load_network(SparseControlNetModel, resolve_weights(self.controlnet, self.weights_dir), self)
        pipeline = load_animatediff(AnimateDiffSparseControlNetPipeline, self, {"controlnet": controlnet})
        if self.adapter_lora:
            tensors = read_lora(resolve_weights(self.adapter_lora, self.weights_dir))
            fuse_lora(pipeline.unet, tensors, self.adapter_lora_scale)
        place(pipeline, self)
        return pipeline
