"""OpenSoraPlan 1.2 image-to-video: every chunk inpaints 92 frames after the last frame of the one before.

The only released image-to-video checkpoint draws 93 frames at 480x640; other lengths give noise. Frames are fitted
into that size and padded (see `baselines.padding`).

Source: Open-Sora-Plan eb1311b, opensora/sample/sample_inpaint.py (settings, prompts), pipeline_inpaint.py.

Example:
    >>> settings = OpenSoraPlan()
    >>> settings.num_frames - settings.conditioning_frames
    92
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from baselines.autoregressive import ChunkModel, Extend
from generators.api import Frames, Request, Start, method
from generators.pipelines import DTYPES, check_option, cpu_generator, silenced, torch_dtype
from generators.weights import resolve_weights

if TYPE_CHECKING:
    from baselines.networks.text_embeddings import PromptEncoder, TextEmbedding
    from baselines.opensora_plan.transformer import InpaintTransformer
    from baselines.opensora_plan.vae import CausalVAE

NEGATIVE_PROMPT = (
    "nsfw, lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, "
    "worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry."
)
"""What guidance steers away from, before it is cleaned. Source: Open-Sora-Plan@eb1311b,
opensora/sample/sample_inpaint.py, word by word."""


@method(
    name="opensora_plan",
    title="OpenSoraPlan",
    paper="arXiv:2412.00131",
    licence="MIT",
    continues_start=True,
    follows_prompts=True,
)
@dataclass
class OpenSoraPlan(ChunkModel):
    """OpenSoraPlan 1.2 image-to-video continued chunk by chunk.

    Attributes:
        weights: location of a folder with the folders `transformer` and `vae`.
        transformer: name of the transformer's folder; the default is the only released image-to-video one.
        text_encoder: location of the mT5 encoder's folder, tokenizer included.
        num_frames: frames per chunk, the re-rendered first one included; 4 k + 1, and 93 for the released weights.
        height: native height in pixels, a multiple of 16; 0 for that of the request.
        width: native width in pixels, a multiple of 16; 0 for that of the request.
        num_inference_steps: steps of PNDM, at least 4; its warm-up adds nine network calls.
        guidance_scale: weight of classifier-free guidance.
        prompt_template: what the prompt is set into, at "{}"; both this and `negative_prompt` are cleaned as released
            (see `baselines.networks.prompt_cleaning`), which makes blanks of the brackets.
        negative_prompt: what guidance steers away from.
        max_text_tokens: length to which texts are padded or cut.
        vae_tiling: run the autoencoder in overlapping tiles where a video exceeds 29 frames or 512 pixels, as the
            released script does; changes the frames a little and bounds the memory.
        device: "cpu", "cuda" or "cuda:N".
        dtype: precision of transformer and autoencoder; released with "bfloat16".
        text_dtype: precision of the text encoder, which is freed after use.
        weights_dir: folder that holds "hub:" weights on machines without a hub cache; empty for the cache.
    """

    weights: str = "hub:LanguageBind/Open-Sora-Plan-v1.2.0"
    transformer: str = "93x480p_i2v"
    text_encoder: str = "hub:google/mt5-xxl"
    num_frames: int = 93
    height: int = 480
    width: int = 640
    num_inference_steps: int = 100
    guidance_scale: float = 7.5
    prompt_template: str = "(masterpiece), (best quality), (ultra-detailed), {}."
    negative_prompt: str = NEGATIVE_PROMPT
    max_text_tokens: int = 512
    vae_tiling: bool = True
    device: str = "cpu"
    dtype: str = "bfloat16"
    text_dtype: str = "bfloat16"
    weights_dir: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        check_option("dtype", self.dtype, DTYPES)
        check_option("text_dtype", self.text_dtype, DTYPES)
        if self.num_frames % 4 != 1 or self.num_frames < 5:
            raise ValueError(f"num_frames = {self.num_frames} must be a multiple of 4 plus 1, at least 5")
        if self.height % 16 or self.width % 16:
            raise ValueError(f"height = {self.height} and width = {self.width} must be multiples of 16")
        if self.num_inference_steps < 4:
            raise ValueError(f"num_inference_steps = {self.num_inference_steps}: PNDM needs at least 4")
        if "{}" not in self.prompt_template:
            raise ValueError(f'prompt_template = "{self.prompt_template}" lacks "{{}}", where the prompt goes')

    @property
    def conditioning_frames(self) -> int:
        """One: the released image-to-video recipe gives the first frame."""
        return 1

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, `num_frames` - 1 per network call.

        Raises:
            ValueError: the request's size is used and is no multiple of 16.
        """
        if (self.height or request.height) % 16 or (self.width or request.width) % 16:
            raise ValueError(
                f"OpenSoraPlan draws multiples of 16 pixels, not {request.height}x{request.width}: set height and width"
            )
        return super().generate(request, start)

    def begin(self, prompt: str) -> Extend:
        """Returns the function that continues one frame of one video; the texts are encoded here."""
        from baselines.networks.prompt_cleaning import clean_prompt

        texts = [self.negative_prompt, self.prompt_template.replace("{}", prompt)]
        negative, wanted = self._texts.encode([clean_prompt(text, keep_chinese=True) for text in texts])
        return partial(self._extend, (negative, wanted))

    def _extend(self, texts: tuple[TextEmbedding, TextEmbedding], conditioning: Frames, seed: int) -> Frames:
        from baselines.opensora_plan.continuation import OpenSoraPlanSampling, continue_frame
        from baselines.opensora_plan.vae_tiling import Tiling

        tiling = Tiling() if self.vae_tiling else None
        settings = OpenSoraPlanSampling(self.num_frames, self.num_inference_steps, self.guidance_scale, tiling)
        return continue_frame(self._transformer, self._autoencoder, texts, conditioning, settings, cpu_generator(seed))

    @cached_property
    def _texts(self) -> PromptEncoder:
        from baselines.networks.text_embeddings import PromptEncoder

        return PromptEncoder(self.text_encoder, self.weights_dir, self.max_text_tokens, self.text_dtype, self.device)

    @cached_property
    def _transformer(self) -> InpaintTransformer:
        from baselines.opensora_plan.continuation import load_inpaint_transformer

        folder = resolve_weights(self.weights, self.weights_dir) / self.transformer
        with silenced():
            return load_inpaint_transformer(folder, self.device, torch_dtype(self.dtype))

    @cached_property
    def _autoencoder(self) -> CausalVAE:
        from baselines.opensora_plan.continuation import load_causal_vae

        folder = resolve_weights(self.weights, self.weights_dir) / "vae"
        return load_causal_vae(folder, self.device, torch_dtype(self.dtype))
