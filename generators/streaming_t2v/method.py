"""StreamingT2V as a method of the benchmark, and four ablations of it.

Importing this file does not import torch; the first `generate` loads the networks.

Example:
    >>> StreamingT2V.info.name, StreamingT2V().num_inference_steps
    ('streaming_t2v', 50)
    >>> StreamingT2VNoCam.info.group
    'ablations'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

from generators.api import Frames, Request, Start, method
from generators.frames import resize, to_frames
from generators.pipelines import DTYPES, PipelineSettings, check_option, check_steps
from generators.seeds import chunk_seed
from generators.weights import resolve_weights

if TYPE_CHECKING:
    from torch import Tensor

    from generators.streaming_t2v.pipeline import StreamingStage, StreamState, Window
    from generators.streaming_t2v.refiner import Refiner

BLENDINGS = ("released", "paper", "shared_noise", "independent")
"""How chunks of the refiner are brought together; see `generators.streaming_t2v.blending`."""

PAPER = "arXiv:2403.14773"
LICENCE = "no licence on its page; derived from ModelScope (CC-BY-NC-4.0)"


@method(
    name="streaming_t2v", title="StreamingT2V", paper=PAPER, licence=LICENCE, continues_start=True, follows_prompts=True
)
@dataclass(kw_only=True)
class StreamingT2V(PipelineSettings):
    """Windows of 16 frames conditioned by CAM and APM; refined where the video is larger than the base model's.

    Attributes:
        weights: location of the streaming network (see `generators.weights.resolve_weights`).
        base_weights: location of the base model: tokenizer, noise schedule, and what `weights` lacks.
        image_weights: location of a folder with `image_encoder`, if neither of those has one.
        refiner_weights: location of the refiner; read only where the video is larger than the base model's; empty to
            enlarge by bicubic resizing there.
        base_height: rows of the base model's frames in pixels.
        base_width: columns of the base model's frames in pixels.
        num_inference_steps: DDIM steps a window.
        eta: share of fresh noise in a DDIM step.
        guidance_scale: weight of classifier-free guidance; 1 or less turns it off, at half the cost.
        negative_prompt: what the unconditional branch reads.
        blending: "released" or "paper"; for the ablation of fig. 4 "shared_noise" or "independent".
        refiner_start: noise level the refiner starts from, a timestep of 1000.
        refiner_steps: solver steps of the refiner.
        refiner_guidance_scale: weight of the refiner's guidance; 1 or less turns it off, at half the cost.
        refiner_chunk: frames of a refiner chunk.
        refiner_overlap: frames two refiner chunks share, at most half of one: blending joins two chunks, not three.
        canvas_height: rows in pixels the refiner works on.
        canvas_width: columns in pixels the refiner works on.
        refiner_dtype: precision of the refiner's network, one of `generators.pipelines.DTYPES`; empty for `dtype`, in
            which its autoencoder and text encoder run anyway. As released, `dtype` is "float32" and this "float16".
        vae_batch: frames the autoencoder takes at a time at base size; the refiner decodes them one by one.
        compile: compile the streaming network with `torch.compile`.
    """

    short_term: ClassVar[str] = "cam"
    long_term: ClassVar[bool] = True

    weights: str = "hub:PAIR/StreamingT2V"
    base_weights: str = "hub:ali-vilab/text-to-video-ms-1.7b"
    image_weights: str = ""
    refiner_weights: str = "hub:ali-vilab/MS-Vid2Vid-XL"
    base_height: int = 256
    base_width: int = 256
    num_inference_steps: int = 50
    eta: float = 1.0
    guidance_scale: float = 7.5
    negative_prompt: str = ""
    blending: Literal["released", "paper", "shared_noise", "independent"] = "released"
    refiner_start: int = 599
    refiner_steps: int = 30
    refiner_guidance_scale: float = 7.5
    refiner_chunk: int = 24
    refiner_overlap: int = 8
    canvas_height: int = 720
    canvas_width: int = 1280
    refiner_dtype: str = ""
    vae_batch: int = 8
    compile: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a setting this method cannot follow."""
        super().__post_init__()
        check_option("blending", self.blending, BLENDINGS)
        check_option("refiner_dtype", self.refiner_dtype, ("", *DTYPES))
        check_steps("num_inference_steps", self.num_inference_steps)
        check_steps("refiner_steps", self.refiner_steps)
        if not 0 <= self.refiner_overlap <= self.refiner_chunk // 2:
            raise ValueError(f"refiner_overlap = {self.refiner_overlap} must be 0 to half of refiner_chunk")
        if self.offload != "none":
            raise ValueError(f'offload = "{self.offload}": StreamingT2V keeps its networks on the device; use "none"')

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, eight at a time, or refined chunk by refined chunk.

        Raises:
            ValueError: the first chunk has another size than the base model's, or the video is shorter than it.
            MissingWeightsError: weights are not on this machine.
            CheckpointError: weights do not fit.
        """
        self._check(request, start)
        if request.num_frames == len(start.frames):
            return
        small = self._tensor(start.base)
        seed = chunk_seed(request.seed, request.prompt, 1)
        stage = self._stage
        windows = _stream(stage, request, stage.begin(small, seed), len(start.frames))
        pieces: Iterator[Frames] = (to_frames(window.frames) for window in windows)
        refined = self._refined_size(request)
        if refined is not None:
            made = (frame * 2 - 1 for window in windows for frame in window.frames)
            known = self._tensor(resize(start.frames, *refined))
            texts = [(piece.first, piece.text) for piece in request.stretches(0)]
            large = self._refiner.refine(chain(small, made), texts, *refined, seed, known)
            pieces = _skip(map(to_frames, large), len(start.frames))
        for piece in pieces:
            yield resize(piece, request.height, request.width)

    def _refined_size(self, request: Request) -> tuple[int, int] | None:
        """Height and width the refiner makes; None where nothing is refined."""
        larger = request.height > self.base_height or request.width > self.base_width
        return (request.height, request.width) if larger and self.refiner_weights else None

    def _check(self, request: Request, start: Start) -> None:
        if request.num_frames < len(start.frames):
            raise ValueError(
                f"num_frames = {request.num_frames} is less than the {len(start.frames)} frames of the first chunk: "
                "ask for at least as many"
            )
        if start.base.shape[1:3] != (self.base_height, self.base_width):
            height, width = start.base.shape[1:3]
            raise ValueError(
                f"the first chunk is {width}x{height} pixels but this model continues {self.base_width}x"
                f"{self.base_height}: set base_height and base_width to the first chunk's, if the weights allow"
            )
        if len(start.base) != len(start.frames):
            raise ValueError(
                f"the first chunk has {len(start.base)} frames at base size but {len(start.frames)} at full size: "
                "make it again"
            )

    @staticmethod
    def _tensor(frames: Frames) -> Tensor:
        import torch

        from generators.streaming_t2v.pipeline import tensor_frames

        return tensor_frames(torch.from_numpy(frames))

    @cached_property
    def _stage(self) -> StreamingStage:
        from generators.streaming_t2v import loading
        from generators.streaming_t2v.network import CheckpointError
        from generators.streaming_t2v.pipeline import StreamingStage

        own = loading.streaming_folder(self.weights, self.weights_dir)
        config = loading.streaming_config(own)
        found = (config.short_term, config.long_term)
        if found != (self.short_term, self.long_term):
            raise CheckpointError(
                f"{own} holds a network with short_term = {found[0]!r}, long_term = {found[1]}, but "
                f"{type(self).__name__} needs {self.short_term!r}, {self.long_term}: point `weights` at its own folder"
            )
        folders = [own, resolve_weights(self.base_weights, self.weights_dir)]
        network = loading.load_streaming_network(own, self, folders)
        if self.compile:
            network.compile()
        images = folders + ([resolve_weights(self.image_weights, self.weights_dir)] if self.image_weights else [])
        return StreamingStage(
            network,
            loading.load_scheduler(folders),
            loading.load_codec(folders, self, self.vae_batch),
            loading.load_text_encoder(folders, self),
            loading.load_image_encoder(images, self) if self.long_term else None,
            self.num_inference_steps,
            self.eta,
            self.guidance_scale,
            self.negative_prompt,
        )

    @cached_property
    def _refiner(self) -> Refiner:
        from generators.streaming_t2v import loading
        from generators.streaming_t2v.refiner import Refiner

        folder = loading.refiner_folder(self.refiner_weights, self.weights_dir)
        stage = self._stage
        return Refiner(
            *loading.load_refiner_parts(
                folder, self, lambda: stage.codec.vae, lambda: stage.encode_text, self.refiner_dtype
            ),
            self.blending,
            self.refiner_chunk,
            self.refiner_overlap,
            self.canvas_height,
            self.canvas_width,
            start=self.refiner_start,
            steps=self.refiner_steps,
            guidance_scale=self.refiner_guidance_scale,
        )


def _stream(stage: StreamingStage, request: Request, state: StreamState, first: int) -> Iterator[Window]:
    """Yields windows of new frames from frame `first` on; a window reads the text in force at its first frame."""
    size = stage.network.config.new_frames
    for stretch in request.stretches(first):
        whole_windows = -(-(stretch.stop - first) // size) * size
        for window in stage.stream(stretch.text, state, min(whole_windows, request.num_frames - first)):
            state, first = window.state, first + len(window.frames)
            yield window


def _skip(pieces: Iterator[Frames], count: int) -> Iterator[Frames]:
    """Yields pieces without their first `count` frames."""
    for piece in pieces:
        if count < len(piece):
            yield piece[count:]
        count = max(0, count - len(piece))


@method(
    name="streaming_t2v_refined", title="StreamingT2V, enhanced", paper=PAPER, licence=LICENCE, continues_start=True,
    group="enhancement", follows_prompts=True,
)  # fmt: skip
@dataclass(kw_only=True)
class StreamingT2VRefined(StreamingT2V):
    """With the enhancement stage whatever the size of the video is, whose frames are resized from what it makes.

    Attributes:
        refined_height: rows of the refiner's frames in pixels.
        refined_width: columns of the refiner's frames in pixels.
    """

    refined_height: int = 720
    refined_width: int = 720

    def _refined_size(self, request: Request) -> tuple[int, int] | None:
        return self.refined_height, self.refined_width


@method(
    name="streaming_t2v_no_apm", title="StreamingT2V without APM", paper=PAPER, licence="none", continues_start=True,
    follows_prompts=True,
    group="ablations",
)  # fmt: skip
@dataclass(kw_only=True)
class StreamingT2VNoApm(StreamingT2V):
    """Without the appearance memory: no anchor frame."""

    long_term: ClassVar[bool] = False
    weights: str = "mini:streaming_t2v_no_apm"


@method(
    name="streaming_t2v_no_cam", title="StreamingT2V without CAM", paper=PAPER, licence="none", continues_start=True,
    follows_prompts=True,
    group="ablations",
)  # fmt: skip
@dataclass(kw_only=True)
class StreamingT2VNoCam(StreamingT2V):
    """Without the short-term memory: each window knows the text and the anchor frame only."""

    short_term: ClassVar[str] = "none"
    weights: str = "mini:streaming_t2v_no_cam"


@method(
    name="streaming_t2v_concat", title="StreamingT2V, concatenation", paper=PAPER, licence="none",
    continues_start=True, group="ablations", follows_prompts=True,
)  # fmt: skip
@dataclass(kw_only=True)
class StreamingT2VConcat(StreamingT2V):
    """With the latents of the conditioning frames as input channels instead of CAM."""

    short_term: ClassVar[str] = "concat"
    weights: str = "mini:streaming_t2v_concat"


@method(
    name="streaming_t2v_sparse", title="StreamingT2V, sparse encoder", paper=PAPER, licence="none",
    continues_start=True, group="ablations", follows_prompts=True,
)  # fmt: skip
@dataclass(kw_only=True)
class StreamingT2VSparse(StreamingT2V):
    """With a zero-padded sparse encoder whose features are added, instead of CAM."""

    short_term: ClassVar[str] = "sparse"
    weights: str = "mini:streaming_t2v_sparse"
