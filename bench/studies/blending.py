"""What randomized blending does at chunk boundaries: the table and the pictures of docs/streaming-t2v.md (fig. 4).

Every variant refines the same videos of the miniature world: rendered at 64 pixels and worsened as a generator would
(`generators.mini.pairs`), so that the truth at 128 pixels is known. The refiner is that of the profile `mini`. What is
made or scored lies in the folder and is not made again.

Example:
    python -m bench.studies.blending results/blending              (the table; about half an hour of one core)
    python -m bench.studies.blending results/blending --draw       (the pictures, from what lies there)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from bench.profile import load_profile
from bench.prompts import load_prompts
from bench.settings import construct, located, resolve_settings, run_settings
from bench.spec import Prompt
from bench.stats import summarise
from bench.studies.ablation_scores import with_interval
from bench.studies.ablations import DOCUMENT
from generators.api import Frames
from generators.frames import to_frames
from generators.mini.data import to_tensor
from generators.mini.grammar import parse
from generators.mini.pairs import LARGE, worsened
from generators.mini.training import StepRandom
from generators.mini.world import FPS, Clip
from generators.streaming_t2v import loading
from generators.streaming_t2v.blending import Blending, spans
from generators.streaming_t2v.method import StreamingT2VRefined
from generators.streaming_t2v.refiner import Refiner
from generators.weights import resolve_weights
from metrics.clip import ClipScore
from metrics.features.clip import ClipFeatures
from metrics.features.flow_statistics import FlowStatistics
from metrics.features.frame_statistics import FrameStatistics
from metrics.scoring import VideoScorer
from metrics.seams import Seams, contrasts, pair_signals

VARIANTS: tuple[Blending, ...] = ("independent", "shared_noise", "paper", "released")
CONTROLS = ("truth", "bilinear")
"""The rendered truth, and the refiner's input enlarged bilinearly."""

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of R, G, B in luminance. Source: ITU-R BT.601."""


@dataclass(frozen=True)
class Measured:
    """One video.

    Attributes:
        seams: contrast of the places where a chunk that is not blended would join the one before.
        overlap: for every overlap the largest contrast of any place in it, their mean; blending moves joins about.
        psnr: against the truth, in dB; None for the truth itself.
        clip: CLIP score of the prompt.
        sharpness: mean length of the luminance's gradient, in percent of the truth's.
    """

    seams: float
    overlap: float
    psnr: float | None
    clip: float
    sharpness: float


@dataclass
class BlendingStudy:
    """The videos of a folder, made when they are asked for.

    Attributes:
        folder: where videos, latents and scores are kept.
        num_frames: frames of a video.
    """

    folder: Path
    num_frames: int = 240

    @cached_property
    def method(self) -> StreamingT2VRefined:
        """The enhanced method as the profile `mini` sets it."""
        return StreamingT2VRefined(**load_profile("mini").methods["streaming_t2v_refined"])

    @cached_property
    def refiner(self) -> Refiner:
        """Its refiner, with its own blending."""
        method, base = self.method, [resolve_weights(self.method.base_weights)]
        parts = loading.load_refiner_parts(
            resolve_weights(method.refiner_weights),
            method,
            lambda: loading.load_codec(base, method, 1).vae,
            lambda: loading.load_text_encoder(base, method),
            method.refiner_dtype,
        )
        return Refiner(
            *parts,
            self.method.blending,
            self.method.refiner_chunk,
            self.method.refiner_overlap,
            LARGE,
            LARGE,
            self.method.refiner_start,
            self.method.refiner_steps,
            self.method.refiner_guidance_scale,
        )

    @cached_property
    def joins(self) -> list[int]:
        """First frame that each chunk but the first adds to the video."""
        chunks = spans(self.num_frames, self.method.refiner_chunk, self.method.refiner_overlap)
        return [stop for _, stop in chunks[:-1]]

    def video(self, prompt: Prompt, name: str) -> Frames:
        """Returns one video [num_frames, LARGE, LARGE, 3]: a control or a variant."""
        path = self.folder / prompt.id / f"{name}.npy"
        if not path.exists():
            keep(path, self._made(prompt, name))
        frames: Frames = np.load(path)
        return frames

    def _made(self, prompt: Prompt, name: str) -> Frames:
        if name == "truth":
            return Clip(parse(prompt.text), seed=0).render(0, self.num_frames, LARGE)
        if name == "bilinear":
            large = interpolate(to_tensor(self.small(prompt)), size=(LARGE, LARGE), mode="bilinear")
            return to_frames(large / 2 + 0.5)
        (variant,) = (variant for variant in get_args(Blending) if variant == name)
        refined = replace(self.refiner, blending=variant).denoise(self.latents(prompt), prompt.text, seed=0)
        pieces = [to_frames(self.refiner.codec.decode(piece) / 2 + 0.5) for piece in refined]
        return np.concatenate(pieces)

    def small(self, prompt: Prompt) -> Frames:
        """Returns the worsened small video, the refiner's input."""
        path = self.folder / prompt.id / "small.npy"
        if not path.exists():
            rendered = Clip(parse(prompt.text), seed=0).render(0, self.num_frames)
            random = StepRandom.of("blending", int(prompt.id.rpartition("-")[2]))
            worse = worsened(to_tensor(rendered), replace(self.refiner.codec, batch=8), random)
            keep(path, to_frames(worse / 2 + 0.5))
        frames: Frames = np.load(path)
        return frames

    def latents(self, prompt: Prompt) -> Iterator[Tensor]:
        """Yields the latents of the small video, enlarged; the same for all variants."""
        path = self.folder / prompt.id / "latents.npy"
        if not path.exists():
            place = self.refiner.placement(LARGE, LARGE)
            found = torch.stack(list(self.refiner.latents(to_tensor(self.small(prompt)), place, seed=0)))
            keep(path, found.numpy())
        yield from torch.from_numpy(np.load(path))

    def measured(self, prompt: Prompt, name: str) -> Measured:
        """Returns the scores of one video."""
        path = self.folder / prompt.id / f"{name}.json"
        if not path.exists():
            scores = json.dumps(asdict(self._measure(prompt, name)), indent=1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(scores + "\n", encoding="utf-8")
        return Measured(**json.loads(path.read_text(encoding="utf-8")))

    def _measure(self, prompt: Prompt, name: str) -> Measured:
        frames, truth = self.video(prompt, name), self.video(prompt, "truth")
        scorer = VideoScorer(self._metrics, prompt.text, FPS)
        scorer.update(frames)
        scores = scorer.compute(self.joins)
        tables = {type(feature): arrays for feature, arrays in scorer.tables.items()}
        image = tables[ClipFeatures]["image"]
        signals = pair_signals(tables[FlowStatistics], tables[FrameStatistics], image)
        shifted = [
            contrasts(signals, [join - shift for join in self.joins], self.num_frames)["contrast"]
            for shift in range(self.method.refiner_overlap + 1)
        ]
        seams, clip = scores["seams"].value, scores["clip"].value
        assert seams is not None
        assert clip is not None
        return Measured(
            seams,
            float(np.mean(np.max(np.array(shifted, dtype=float), axis=0))),
            None if name == "truth" else psnr(frames, truth),
            clip,
            100 * steepness(frames) / steepness(truth),
        )

    @cached_property
    def _metrics(self) -> dict[str, Seams | ClipScore]:
        profile = load_profile("mini")

        def made(cls: type, name: str) -> Seams | ClipScore:
            section = f"metrics.{name}"
            settings = resolve_settings(cls, profile.metrics[name], run_settings(profile.run), section)
            metric: Seams | ClipScore = construct(cls, located(name, settings, ""), section)
            return metric

        return {"seams": made(Seams, "seams"), "clip": made(ClipScore, "clip")}


def keep(path: Path, array: NDArray[np.generic]) -> None:
    """Writes an array so that its file is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, array)
    part.replace(path)


def psnr(frames: Frames, truth: Frames) -> float:
    """Returns the peak signal-to-noise ratio of a video in dB."""
    errors = [np.square(a.astype(np.float32) - b).mean() for a, b in zip(frames, truth, strict=True)]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def steepness(frames: Frames) -> float:
    """Returns the mean length of the luminance's gradient over a video, in grey levels per pixel."""
    found = []
    for frame in frames:
        rows, columns = np.gradient(frame @ LUMA)
        found.append(np.hypot(rows, columns).mean())
    return float(np.mean(found))


SHOWN_PARTS: Mapping[str, str] = {
    "seam contrast ↓": "seams",
    "largest in an overlap ↓": "overlap",
    "PSNR, dB ↑": "psnr",
    "CLIP ↑": "clip",
    "sharpness, % of the truth's": "sharpness",
}


def table(measured: Mapping[str, Sequence[Measured]]) -> str:
    """Returns the Markdown table, one variant a row, each with one measurement per prompt."""
    lines = ["| video | " + " | ".join(SHOWN_PARTS) + " |", "|---" * (len(SHOWN_PARTS) + 1) + "|"]
    for name, videos in measured.items():
        clusters = range(len(videos))
        cells = [
            with_interval(summarise([getattr(v, part) for v in videos], clusters)) for part in SHOWN_PARTS.values()
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(measured: Mapping[str, Sequence[Measured]]) -> Iterator[str]:
    """Yields sentences: by how much each blending's seams fall below each ablation's, and what a variant gains."""

    def less(left: str, right: str, part: str) -> str:
        pairs = zip(measured[left], measured[right], strict=True)
        found = [getattr(a, part) - getattr(b, part) for a, b in pairs]
        return with_interval(summarise(found, range(len(found))))

    for blended in ("paper", "released"):
        for ablation in ("independent", "shared_noise"):
            yield f"seam contrast of {blended} minus {ablation}: {less(blended, ablation, 'seams')}"
            yield f"largest in an overlap of {blended} minus {ablation}: {less(blended, ablation, 'overlap')}"
    for variant in VARIANTS:
        gains = [f"{less(variant, 'bilinear', part)} {unit}" for part, unit in (("psnr", "dB"), ("clip", "CLIP"))]
        yield f"{variant} minus bilinear: " + ", ".join(gains)


def draw_slices(
    videos: Mapping[str, Frames], joins: Sequence[int], path: Path, first: int = 8, count: int = 96
) -> None:
    """Draws X-T slices: the middle row of every frame under that of the frame before, chunk boundaries marked.

    Source: the figure is StreamingT2V's fig. 4 (a) to (c).
    """
    figure = Figure(figsize=(2 * len(videos), 2.4), layout="constrained")
    for axes, (name, frames) in zip(figure.subplots(1, len(videos)), videos.items(), strict=True):
        rows = frames[first : first + count, frames.shape[1] // 2]
        axes.imshow(rows, extent=(0, rows.shape[1], first + count, first), aspect="auto", interpolation="nearest")
        axes.set_yticks([join for join in joins if first < join < first + count])
        axes.tick_params(labelsize=7)
        axes.set_xticks([])
        axes.set_title(name, fontsize=8)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def draw_frames(videos: Mapping[str, Frames], times: Sequence[int], path: Path) -> None:
    """Draws the same frames of several videos, one video a row in the order given."""
    rows = [np.concatenate(list(frames[list(times)]), axis=1) for frames in videos.values()]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


def main() -> None:
    """Prints the table and the differences, or draws the pictures."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.blending", description=__doc__)
    parser.add_argument("folder", type=Path, help="where videos and scores are kept")
    parser.add_argument("--prompts", type=int, default=8, help="how many prompts of the suite `mini`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--draw", action="store_true", help="draw the pictures of the document instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    study, prompts = BlendingStudy(options.folder), load_prompts("mini").prompts[: options.prompts]
    names = (*CONTROLS, *VARIANTS)
    if options.draw:
        for prompt in prompts[:2]:
            videos = {name: study.video(prompt, name) for name in names}
            draw_slices(videos, study.joins, DOCUMENT / f"slices-{prompt.id}.png")
            draw_frames(videos, (22, 23, 24, 25, 100, 180), DOCUMENT / f"refined-{prompt.id}.png")
        return
    by_prompt = [{name: study.measured(prompt, name) for name in names} for prompt in prompts]
    measured = {name: [found[name] for found in by_prompt] for name in names}
    print(table(measured))
    print()
    print("\n".join(differences(measured)))


if __name__ == "__main__":
    main()
