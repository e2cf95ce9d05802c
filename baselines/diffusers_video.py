"""Any video pipeline of diffusers as a method, without a line of Python: a section of a profile says all of it.

    [methods.wan22_i2v]
    class = "diffusers_video"
    title = "Wan 2.2"
    pipeline = "WanImageToVideoPipeline"
    weights = "hub:Wan-AI/Wan2.2-I2V-A14B-Diffusers"
    num_frames = 81
    arguments = { num_inference_steps = 40, guidance_scale = 3.5 }

The pipeline is shown the newest frames, answers with a clip, and what of the clip is new is kept; until the video is
complete. Pipelines change counts, sizes and contexts silently where they do not fit (`baselines.diffusers_pipelines`
knows how); here that is an error before any weights load, and it names what would fit.

Example:
    >>> method = DiffusersVideo(pipeline="WanImageToVideoPipeline", weights="a/folder", num_frames=81)
    >>> method.facts.takes, method.facts.frame_step, method.facts.drop
    ('image', 4, 1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from baselines.autoregressive import continue_video
from baselines.diffusers_checks import (
    check_answer,
    check_arguments,
    check_context,
    check_frame_count,
    check_size,
    check_tokenizers,
    known_facts,
)
from baselines.diffusers_context import context_of, given_arguments
from baselines.diffusers_pipelines import KNOWN, Drop, PipelineFacts
from baselines.padding import unletterbox
from generators.api import Frames, Request, Start, method_class
from generators.frames import resize, to_frames
from generators.pipelines import (
    ImageVaeSettings,
    PipelineSettings,
    cpu_generator,
    limit_vae_memory,
    load_part,
    load_pipeline,
    place,
    private_noise,
    silenced,
    use_scheduler,
)
from generators.seeds import chunk_seed
from generators.weights import resolve_weights

SEED_LIMIT = 2**31
"""Pipelines that take a seed as a number expect one below this."""


def continues_start(section: Mapping[str, Any]) -> bool:
    """Returns whether the method of a section is shown the shared first chunk."""
    facts = KNOWN.get(str(section.get("pipeline", "")))
    return (section.get("takes") or (facts.takes if facts else "")) != "nothing"


@method_class(name="diffusers_video", continues_start=continues_start, follows_prompts=True, draws_start=True)
@dataclass(kw_only=True)
class DiffusersVideo(ImageVaeSettings):
    """A pipeline of diffusers that continues a video, clip by clip, or makes one from text.

    What is not set is taken from `baselines.diffusers_pipelines.KNOWN`, for the pipelines that are in it.

    Attributes:
        pipeline: name of the pipeline's class in diffusers. Always the one to run: folders name siblings of it.
        weights: location of its folder.
        revision: branch, tag or commit of "hub:" weights; empty for the default.
        parts: locations of networks, tokenizers and processors that do not lie in that folder, by name in the pipeline.
        part_dtypes: precision of single parts, such as { vae = "float32" }; `dtype` for all others.
        scheduler: a solver's class name in diffusers; empty for the folder's own.
        scheduler_settings: entries of the solver's configuration to change.
        guider: settings of the pipeline's guider, where it has one (HunyuanVideo 1.5).
        takes: what it is shown of the video so far: "nothing", "image", "video", "conditions" or "masked_video".
        form: "pil", or "tensor" for a pipeline that takes floats.
        context_frames: how many frames it is shown at most; fewer while there are fewer.
        context_step: it reads k * context_step + 1 frames.
        min_context: it is shown no fewer; the first one is repeated in front.
        num_frames: frames asked for per call; 0 for all that are missing, rounded up to what it makes.
        frame_step: it makes k * frame_step + 1 frames.
        drop: frames at the head of an answer that are not new: a number, "context" or "twice" (the context, or double).
        height: native height in pixels; 0 for that of the request.
        width: native width in pixels; 0 for that of the request.
        size_multiple: height and width must be multiples of it.
        names: what its arguments are called: frames, given, context, fps, seed; the last three are sent where named.
        fps: frames per second told to the pipeline; 0 for the request's.
        prompt_suffix: appended to every text.
        negative_prompt: what is not wanted; empty for the pipeline's own.
        pad: one of `baselines.padding.PADS`.
        unpad: crop the padding off new frames before scaling them back; False squashes the padded frame.
        start_frames: frames of a first chunk, where the section is [first_chunk].
        arguments: everything else the pipeline is called with.
    """

    pipeline: str = ""
    weights: str = ""
    revision: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    part_dtypes: dict[str, str] = field(default_factory=dict)
    scheduler: str = ""
    scheduler_settings: dict[str, Any] = field(default_factory=dict)
    guider: dict[str, Any] = field(default_factory=dict)
    takes: str = ""
    form: str = ""
    context_frames: int = 0
    context_step: int = 0
    min_context: int = 0
    num_frames: int = 0
    frame_step: int = 0
    drop: Drop | None = None
    height: int = 0
    width: int = 0
    size_multiple: int = 0
    names: dict[str, str] = field(default_factory=dict)
    fps: float = 0.0
    prompt_suffix: str = ""
    negative_prompt: str = ""
    pad: str = "once"
    unpad: bool = True
    start_frames: int = 16
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError if the settings do not fit each other or what the pipeline is known to do."""
        super().__post_init__()
        facts = self.facts
        check_context(self.pipeline, facts)
        if self.num_frames:
            check_frame_count(self.pipeline, self.num_frames, facts)
        check_size(self.pipeline, self.height, self.width, facts)
        if self.fps and "fps" not in facts.names:
            raise ValueError(
                f'fps = {self.fps:g}: {self.pipeline} is told no rate; set names = {{ fps = "..." }} if it is'
            )

    @cached_property
    def facts(self) -> PipelineFacts:
        """How the pipeline takes and gives frames: what is known of it, changed by the settings."""
        told = {
            "takes": self.takes,
            "form": self.form,
            "context_frames": self.context_frames,
            "context_step": self.context_step,
            "min_context": self.min_context,
            "frame_step": self.frame_step,
            "size_multiple": self.size_multiple,
        }
        changes = {name: value for name, value in told.items() if value}
        return known_facts(self.pipeline, changes, self.drop, self.names)

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, one item per call of the pipeline.

        Raises:
            ValueError: the pipeline does not take what the settings say, or answers otherwise than it should.
            MissingWeightsError: weights are not on this machine.
        """
        if self.facts.takes == "nothing":  # its clips do not know each other: a change of text would be one more cut
            return self._continued(replace(request, changes=()), start.frames[:0])
        return self._continued(request, start.frames)

    def draw(self, request: Request) -> Start:
        """Returns a first chunk of `start_frames` frames, for a pipeline that takes nothing but text.

        Raises:
            ValueError: the pipeline has to be shown frames, or makes too few.
        """
        if self.facts.takes != "nothing":
            raise ValueError(f'{self.pipeline} continues frames and cannot draw the first ones: set takes = "nothing"')
        size = self._size(request)
        empty = np.empty((0, *size, 3), dtype=np.uint8)
        seed = chunk_seed(request.seed, request.prompt, 0)
        frames = self._make(request, request.prompt, empty, seed, self.start_frames)[: self.start_frames]
        if len(frames) < self.start_frames:
            raise ValueError(f"{self.pipeline} made {len(frames)} frames of {self.start_frames}: raise num_frames")
        scale = min(size[0] / request.height, size[1] / request.width)
        base = unletterbox(frames, round(request.height * scale), round(request.width * scale), crop=self.unpad)
        return Start(unletterbox(frames, request.height, request.width, crop=self.unpad), base)

    def _continued(self, request: Request, given: Frames) -> Iterator[Frames]:
        def make(text: str, history: Frames, seed: int, wanted: int) -> Frames:
            return self._make(request, text, history, seed, wanted)

        keep = self.facts.context_frames if len(given) else 0
        size = self._size(request)
        return continue_video(make, request, given, size, keep=keep, pad=self.pad, unpad=self.unpad)

    def _size(self, request: Request) -> tuple[int, int]:
        size = self.height or request.height, self.width or request.width
        check_size(self.pipeline, *size, self.facts)
        return size

    def _make(self, request: Request, text: str, history: Frames, seed: int, wanted: int) -> Frames:
        """Returns the new frames of one call [n, h, w, 3], at least one.

        Args:
            request: gives the frame rate.
            text: the text in force.
            history: the newest frames at native size; none where nothing is taken.
            seed: fixes all noise of the call.
            wanted: how many frames are missing.
        """
        facts, (height, width) = self.facts, history.shape[1:3]
        context = history
        if facts.takes != "nothing":
            context = context_of(history, facts.context_frames, facts.context_step, facts.min_context)
        repeated = {"context": len(context), "twice": len(context)}.get(str(facts.drop), facts.drop)
        asked = self.num_frames or -(-(wanted + int(repeated) - 1) // facts.frame_step) * facts.frame_step + 1
        sent = self._arguments(request, text, context, seed, asked)
        pipeline = self._pipeline
        with silenced(), private_noise(seed, self.device):
            answer = pipeline(**sent).frames[0]
        drop = 2 * len(context) if facts.drop == "twice" else int(repeated)
        sized = (height, width) if "height" in sent else answer.shape[1:3]
        check_answer(self.pipeline, answer, sized, drop)
        frames = to_frames(_tensor(answer[drop:]))
        return resize(frames, height, width)

    def _arguments(self, request: Request, text: str, context: Frames, seed: int, asked: int) -> dict[str, Any]:
        facts, valid = self.facts, self._parameters
        height, width = context.shape[1:3]
        told = {
            "prompt": text + self.prompt_suffix,
            "negative_prompt": self.negative_prompt or None,
            "height": height,
            "width": width,
            facts.names.get("frames", "num_frames"): asked,
            "generator": cpu_generator(seed),
            "output_type": "np",
        }
        rate = self.fps or request.fps
        rates = {facts.names.get("fps", ""): int(rate) if rate == int(rate) else rate}
        named = {facts.names.get("context", ""): len(context), facts.names.get("seed", ""): seed % SEED_LIMIT}
        given = given_arguments(self.pipeline, facts.takes, facts.form, facts.names.get("given", ""), context, asked)
        usual = {name: value for name, value in told.items() if name in valid and value is not None}
        return usual | {n: v for n, v in (rates | named).items() if n} | given | self.arguments

    @cached_property
    def _parameters(self) -> frozenset[str]:
        """Names of what the pipeline may be called with; the settings are checked against them, once."""
        return check_arguments(self.pipeline, self.facts, self.arguments, bool(self.negative_prompt))

    @cached_property
    def _pipeline(self) -> Any:
        import diffusers

        cls = getattr(diffusers, self.pipeline)
        folder = resolve_weights(self.weights, self.weights_dir, self.revision)
        parts = {
            name: load_part(cls, name, resolve_weights(location, self.weights_dir), self._part_settings(name))
            for name, location in self.parts.items()
        }
        pipeline = load_pipeline(cls, folder, self, parts, self.part_dtypes)
        check_tokenizers(pipeline.components)
        use_scheduler(pipeline, self.scheduler, self.scheduler_settings)
        if self.guider:
            pipeline.guider = pipeline.guider.new(**self.guider)
        limit_vae_memory(pipeline.vae, self)
        place(pipeline, self)
        return pipeline

    def _part_settings(self, name: str) -> PipelineSettings:
        return PipelineSettings(dtype=self.part_dtypes.get(name, self.dtype), variant=self.variant)


def _tensor(answer: Any) -> Any:
    """Returns frames [T, H, W, 3] of floats as the tensor [T, 3, H, W] that `to_frames` reads."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(answer)).permute(0, 3, 1, 2)
