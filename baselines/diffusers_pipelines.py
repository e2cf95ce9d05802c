"""What pipelines of diffusers do silently: how many frames they make, at which sizes, what their answers begin with.

A section of a profile may name any pipeline; for these it need not say what is known. The rules were found by calling
every pipeline with tiny networks and comparing what was asked for with what came back (tests/contract/test_modern_*.py
do it again); none of them is in the pipelines' documentation as a table.

Example:
    >>> KNOWN["WanImageToVideoPipeline"].frame_step, KNOWN["StableVideoDiffusionPipeline"].drop
    (4, 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Drop = int | str
"""Frames at the head of an answer that are not new: a number; "context" for as many as were handed over; "twice" for
double that."""

TAKES = ("nothing", "image", "video", "conditions", "masked_video")
"""What a pipeline is shown of the video so far; see `baselines.diffusers_context`."""


@dataclass(frozen=True)
class PipelineFacts:
    """How a pipeline takes and gives frames.

    Attributes:
        takes: one of `TAKES`.
        frame_step: it makes k * frame_step + 1 frames and nothing else.
        size_multiple: height and width must be multiples of it.
        drop: frames at the head of an answer that are not new.
        context_frames: frames it is shown where a section does not say.
        context_step: it reads k * context_step + 1 frames; what is over is lost at the newest end.
        min_context: it raises for fewer frames.
        form: "pil", or "tensor" for floats 0..1 in [1, T, 3, H, W].
        names: what its arguments are called, by `frames`, `given`, `context`, `fps`, `seed`.
    """

    takes: str
    frame_step: int
    size_multiple: int
    drop: Drop = 1
    context_frames: int = 1
    context_step: int = 1
    min_context: int = 1
    form: str = "pil"
    names: Mapping[str, str] = field(default_factory=dict)


KNOWN: Mapping[str, PipelineFacts] = {
    "AnyFlowFARPipeline": PipelineFacts(
        "video", 4, 16, drop="context", context_frames=13, context_step=12, form="tensor"
    ),
    "CogVideoXImageToVideoPipeline": PipelineFacts("image", 8, 16),
    "Cosmos2VideoToWorldPipeline": PipelineFacts(
        "video", 4, 16, drop="context", context_frames=5, context_step=4, names={"fps": "fps"}
    ),
    "Cosmos2_5_PredictBasePipeline": PipelineFacts("video", 4, 16, drop="context", context_frames=5, context_step=4),
    "HeliosPipeline": PipelineFacts("video", 1, 16, drop=0, context_frames=33, min_context=33),
    "HeliosPyramidPipeline": PipelineFacts("video", 1, 64, drop=0, context_frames=33, min_context=33),
    "HunyuanVideo15ImageToVideoPipeline": PipelineFacts("image", 4, 16),
    "HunyuanVideoFramepackPipeline": PipelineFacts("image", 1, 16),
    "HunyuanVideoImageToVideoPipeline": PipelineFacts("image", 4, 16),
    "Kandinsky5I2VPipeline": PipelineFacts("image", 4, 16),
    "LTX2ConditionPipeline": PipelineFacts(
        "conditions", 8, 32, drop="context", context_frames=9, context_step=8, names={"fps": "frame_rate"}
    ),
    "LTXConditionPipeline": PipelineFacts(
        "conditions", 8, 32, drop="context", context_frames=9, context_step=8, names={"fps": "frame_rate"}
    ),
    "LTXI2VLongMultiPromptPipeline": PipelineFacts(
        "image", 8, 32, names={"given": "cond_image", "fps": "frame_rate", "seed": "seed"}
    ),
    "LTXPipeline": PipelineFacts("nothing", 8, 32, drop=0, names={"fps": "frame_rate"}),
    "SanaImageToVideoPipeline": PipelineFacts("image", 4, 32, names={"frames": "frames"}),
    "SkyReelsV2DiffusionForcingImageToVideoPipeline": PipelineFacts("image", 4, 16, names={"fps": "fps"}),
    "SkyReelsV2DiffusionForcingPipeline": PipelineFacts("nothing", 4, 16, drop=0, names={"fps": "fps"}),
    "SkyReelsV2DiffusionForcingVideoToVideoPipeline": PipelineFacts(
        "video", 4, 16, drop="twice", context_frames=17, context_step=4,
        names={"context": "overlap_history", "fps": "fps"},
    ),
    "StableVideoDiffusionPipeline": PipelineFacts("image", 1, 8, names={"fps": "fps"}),
    "WanImageToVideoPipeline": PipelineFacts("image", 4, 16),
    "WanPipeline": PipelineFacts("nothing", 4, 16, drop=0),
    "WanVACEPipeline": PipelineFacts("masked_video", 4, 16, drop="context", context_frames=13, context_step=4),
}  # fmt: skip
