"""What is refused before a pipeline of diffusers is called, and what of its answers: silent changes become errors.

Example:
    >>> neighbours(16, 4), neighbours(17, 4), neighbours(3, 8)
    ((13, 17), (17, 17), (1, 9))
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from baselines.diffusers_pipelines import KNOWN, TAKES, Drop, PipelineFacts
from generators.pipelines import check_option
from generators.weights import MissingWeightsError

OWN = frozenset({"self", "prompt", "negative_prompt", "height", "width", "generator", "output_type"})
"""Arguments that the adapter sends itself."""

RANGE_SLACK = 1e-3
"""How far beyond 0..1 rounding may take a value of an answer."""


TEXTS = ("a red ball rolls over the grass", "two old ships cross a stormy sea")
"""Texts of equally many words."""


def check_tokenizers(parts: Mapping[str, Any]) -> None:
    """Raises MissingWeightsError where a tokenizer cannot tell two texts apart, as one without its vocabulary cannot.

    Transformers opens such a folder all the same, and the video would then follow no prompt.
    """
    from transformers import PreTrainedTokenizerBase

    for name, part in parts.items():
        if isinstance(part, PreTrainedTokenizerBase) and len({tuple(part(text).input_ids) for text in TEXTS}) == 1:
            raise MissingWeightsError(
                f"{name} of {part.name_or_path} reads every text alike: its vocabulary (spiece.model, vocab.json or "
                "tokenizer.json) is not in the folder; fetch it again"
            )


def neighbours(count: int, step: int) -> tuple[int, int]:
    """Returns the nearest k * step + 1 at or below `count` (at least 1) and the nearest at or above it."""
    below = max(0, count - 1) // step * step + 1
    return below, below if below == count else below + step


def known_facts(
    pipeline: str, changes: Mapping[str, Any], drop: Drop | None, names: Mapping[str, str]
) -> PipelineFacts:
    """Returns how a pipeline takes and gives frames.

    Args:
        pipeline: its class's name.
        changes: what the settings say otherwise, by field of `PipelineFacts`.
        drop: what they say of the head of an answer; None if nothing.
        names: what they say of the arguments' names.

    Raises:
        ValueError: nothing is known of the pipeline and the settings do not say it, or they say what does not exist.
    """
    if not pipeline:
        raise ValueError('pipeline is missing: name a class of diffusers, such as pipeline = "WanImageToVideoPipeline"')
    known = KNOWN.get(pipeline)
    takes = str(changes.get("takes", known.takes if known else ""))
    if known is None:
        lacking = [name for name in ("takes", "frame_step", "size_multiple") if name not in changes]
        lacking += ["drop"] if drop is None and takes != "nothing" else []
        if lacking:
            raise ValueError(
                f"nothing is known of {pipeline}: say {', '.join(lacking)} as well (docs/modern-systems.md)"
            )
        known = PipelineFacts(takes, changes["frame_step"], changes["size_multiple"])
    check_option("takes", takes, TAKES)
    if drop is None:
        drop = 0 if takes == "nothing" else known.drop
    if not (drop in ("context", "twice") or (type(drop) is int and drop >= 0)):
        raise ValueError(f'drop = {drop!r} is no number of frames, "context" or "twice"')
    facts = replace(known, **changes, drop=drop, names={**known.names, **names})
    check_option("form", facts.form, ("pil", "tensor"))
    unknown = sorted(facts.names.keys() - {"frames", "given", "context", "fps", "seed"})
    if unknown:
        raise ValueError(f"names.{unknown[0]} is not read; there are frames, given, context, fps and seed")
    return facts


def check_context(pipeline: str, facts: PipelineFacts) -> None:
    """Raises ValueError if the pipeline would lose the newest of the frames it is shown."""
    below, above = neighbours(facts.context_frames, facts.context_step)
    if below != above:
        raise ValueError(
            f"context_frames = {facts.context_frames}: {pipeline} reads {facts.context_step}k + 1 frames and would "
            f"lose the newest {facts.context_frames - below}: give {below} or {above}"
        )
    if facts.takes == "image" and facts.context_frames != 1:
        raise ValueError(f"context_frames = {facts.context_frames}: {pipeline} takes a single image: give 1")
    if facts.context_frames < facts.min_context:
        raise ValueError(
            f"context_frames = {facts.context_frames}: {pipeline} takes {facts.min_context} or more: give so many"
        )


def check_frame_count(pipeline: str, num_frames: int, facts: PipelineFacts) -> None:
    """Raises ValueError if the pipeline would make another number of frames, or none that is new."""
    below, above = neighbours(num_frames, facts.frame_step)
    if below != above:
        raise ValueError(
            f"num_frames = {num_frames}: {pipeline} is made for {facts.frame_step}k + 1 frames and changes others "
            f"silently: give {below} or {above}"
        )
    repeated = facts.drop if isinstance(facts.drop, int) else facts.context_frames
    if num_frames <= repeated:
        least = neighbours(repeated + 1, facts.frame_step)[1]
        raise ValueError(f"num_frames = {num_frames}: {repeated} of them are not new: give at least {least}")


def check_size(pipeline: str, height: int, width: int, facts: PipelineFacts) -> None:
    """Raises ValueError if the pipeline would draw another size; 0 is none."""
    step = facts.size_multiple
    for name, size in (("height", height), ("width", width)):
        if size % step:
            below, above = size // step * step, (size // step + 1) * step
            valid = f"{below} or {above}" if below else f"{above}"
            raise ValueError(f"{name} = {size}: {pipeline} draws multiples of {step} pixels: set {name} to {valid}")


def check_arguments(
    pipeline: str, facts: PipelineFacts, arguments: Mapping[str, Any], negative: bool
) -> frozenset[str]:
    """Returns the names of what a pipeline may be called with.

    Args:
        pipeline: its class's name.
        facts: what its arguments are called.
        arguments: what the settings call it with.
        negative: whether they set a negative prompt.

    Raises:
        ValueError: diffusers has no such pipeline, or the pipeline no such argument.
    """
    import diffusers

    cls = getattr(diffusers, pipeline, None)
    if not (isinstance(cls, type) and issubclass(cls, diffusers.DiffusionPipeline)):
        close = get_close_matches(pipeline, [name for name in dir(diffusers) if name.endswith("Pipeline")])
        hint = f"; close to it are {', '.join(close)}" if close else ""
        raise ValueError(f"diffusers {diffusers.__version__} has no pipeline {pipeline!r}{hint}")
    valid = frozenset(inspect.signature(cls.__call__).parameters)
    wanted = [("arguments", name) for name in arguments] + [("names", name) for name in facts.names.values() if name]
    wanted += [("negative_prompt", "negative_prompt")] if negative else []
    for setting, name in wanted:
        if name not in valid:
            close = get_close_matches(name, valid) or sorted(valid - OWN)
            raise ValueError(f"{setting}: {pipeline} has no argument {name!r}; there are {', '.join(close)}")
    sent = OWN | {facts.names.get("frames", "num_frames")}
    for name in sorted(arguments.keys() & sent):
        setting = "num_frames" if name not in OWN else name
        raise ValueError(f"arguments.{name} is sent by the adapter itself: use the setting {setting} of the section")
    return valid


def check_answer(pipeline: str, answer: Any, size: tuple[int, int], drop: int) -> None:
    """Raises ValueError unless an answer is [T, H, W, 3] of floats in 0..1 at the size asked for, with new frames."""
    if answer.ndim != 4 or answer.shape[1:] != (*size, 3) or answer.dtype.kind != "f":
        raise ValueError(
            f"{pipeline} answered {answer.dtype} {list(answer.shape)}, not floats [T, {size[0]}, {size[1]}, 3]: it "
            "changed the size silently; set size_multiple, height and width to what it draws"
        )
    if len(answer) <= drop:
        raise ValueError(
            f"{pipeline} answered {len(answer)} frames and {drop} of them are not new: raise num_frames or lower drop"
        )
    if answer.min() < -RANGE_SLACK or answer.max() > 1 + RANGE_SLACK:
        raise ValueError(f"{pipeline} answered values from {answer.min():.2f} to {answer.max():.2f}, not 0 to 1")
