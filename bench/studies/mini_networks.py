"""`python -m bench.studies.mini_networks`: held-out figures of the miniature networks, each beside the one to reach.

Held out means seeds that no training step draws from. The networks are loaded as users load them, from `weights/`.

Example:
    python -m bench.studies.mini_networks --run results/default     # with the CLIP scores of a run's rows
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.profile import load_profile
from bench.studies.mini_motion import MovingThing, camera_path, covered, estimate, name_camera, name_motion
from generators.api import Frames, Request
from generators.first_chunk import FirstChunk
from generators.frames import to_frames
from generators.mini import grammar
from generators.mini.data import random_clip, to_tensor
from generators.mini.grammar import Scene, Thing, caption, random_scene
from generators.mini.world import FPS, SIZE, Clip
from generators.pipelines import PipelineSettings
from generators.streaming_t2v.encoders import LatentCodec
from generators.streaming_t2v.loading import load_codec
from generators.weights import resolve_weights
from metrics.features.clip import ClipFeatures
from metrics.flow.estimators import load_estimator
from metrics.flow.warping import resize_frames

HELD_OUT = 7_000_000_001
"""Seed of everything below; training seeds are (32-bit hash of a task's name, step)."""

SHOWN = 0.03
"""Share of a frame that a thing covers, at least: half of the smallest's."""

ATTRIBUTES = ("colour", "shape", "texture", "background", "motion", "camera")


@dataclass(frozen=True)
class Figure:
    """One held-out figure.

    Attributes:
        name: what is measured.
        value: the measurement.
        goal: what it should be at least (or at most, where `below`); None for a figure without a goal.
        below: whether smaller is better.
    """

    name: str
    value: float
    goal: float | None = None
    below: bool = False

    def line(self) -> str:
        """Returns the figure as a line for people."""
        if self.goal is None:
            return f"{self.name:<58} {self.value:8.3f}"
        reached = self.value <= self.goal if self.below else self.value >= self.goal
        sign = "<=" if self.below else ">="
        return f"{self.name:<58} {self.value:8.3f}   goal {sign} {self.goal:g}: {'reached' if reached else 'MISSED'}"


@torch.no_grad()
def autoencoders(count: int = 400) -> Iterator[Figure]:
    """Yields the PSNR in dB of `count` frames that went through each of the two image autoencoders."""
    from diffusers import AutoencoderKL

    from generators.mini.latents import LIGHT, SHARED

    rng = np.random.default_rng(HELD_OUT)
    clips = [random_clip(rng)[0].render(0, 8) for _ in range(count // 8)]
    frames = to_tensor(np.concatenate(clips))
    for name, folder in (("autoencoder", SHARED), ("light autoencoder", LIGHT)):
        vae = AutoencoderKL.from_pretrained(resolve_weights(f"mini:{folder}"), torch_dtype=torch.float32).eval()
        parts = torch.split(frames, 8)
        errors = [(vae.decode(vae.encode(x).latent_dist.mode()).sample - x).square().mean() for x in parts]
        yield Figure(f"{name}, PSNR in dB", float(10 * torch.log10(4 / torch.stack(errors).mean())), 27)


@torch.no_grad()
def plan_autoencoder(namer: Namer, count: int = 8) -> Iterator[Figure]:
    """Yields what rendered clips of the default prompts keep of themselves in OpenSoraPlan's autoencoder."""
    from baselines.opensora_plan.continuation import load_causal_vae
    from baselines.opensora_plan.training import NUM_FRAMES
    from bench.prompts import load_prompts

    vae = load_causal_vae(resolve_weights("mini:opensora_plan") / "vae", "cpu", torch.float32)
    errors, scores = [], []
    for seed, prompt in enumerate(load_prompts("mini").prompts[:count]):
        video = to_tensor(Clip(grammar.parse(prompt.text), HELD_OUT + seed).render(0, NUM_FRAMES)).transpose(0, 1)[None]
        again = vae.decode(vae.encode(video)[0]).clamp(-1, 1)
        errors.append((again - video).square().mean())
        frames = ((again[0].permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
        scores.append(namer.fit(frames, prompt.text))
    yield Figure("OpenSoraPlan's autoencoder, PSNR in dB", float(10 * torch.log10(4 / torch.stack(errors).mean())), 27)
    yield Figure("CLIP of rendered clips through it", float(np.mean(scores)), 85)


def flow(clips: int = 60, pairs: int = 8) -> Iterator[Figure]:
    """Yields the end-point error in pixels at 128 x 128 of the trained RAFT and of OpenCV's DIS on the same clips.

    And what RAFT costs on one thread; the fewest milliseconds of all clips count, because other work disturbs the rest.
    """
    rng = np.random.default_rng(HELD_OUT + 1)
    estimators = {
        "RAFT": load_estimator("mini", str(resolve_weights("mini:raft"))),
        "DIS": load_estimator("dis"),
    }
    errors: dict[str, list[NDArray[np.float32]]] = {name: [] for name in estimators}
    seconds: dict[str, list[float]] = {name: [] for name in estimators}
    torch.set_num_threads(1)
    for _ in range(clips):
        clip, _ = random_clip(rng, two_things=0.4)
        frames = resize_frames(clip.render(0, pairs + 1), 128)
        truth = np.stack([clip.flow(t, size=128)[0] for t in range(pairs)])
        for name, estimator in estimators.items():
            began = time.process_time()
            stream = estimator.stream()
            found = [*stream.push(frames), *stream.flush()]
            seconds[name].append((time.process_time() - began) / pairs)
            guess = np.concatenate([pair.flow.numpy() for pair in found])
            errors[name].append(np.linalg.norm(guess - truth, axis=1))
    epe = {name: float(np.mean(np.stack(error))) for name, error in errors.items()}
    yield Figure("RAFT, end-point error in px at 128 x 128", epe["RAFT"], 0.11, below=True)
    yield Figure("DIS, end-point error in px at 128 x 128", epe["DIS"])
    yield Figure("RAFT / DIS", epe["RAFT"] / epe["DIS"], 0.5, below=True)
    yield Figure("RAFT, CPU ms a pair on one thread", 1000 * min(seconds["RAFT"]), 20, below=True)


class Namer:
    """Names what a frame or video shows: the option whose caption the scorer finds most similar."""

    def __init__(self) -> None:
        self._clip = ClipFeatures(weights=str(resolve_weights("mini:clip_score"))).load()

    def look(self, frames: Frames) -> torch.Tensor:
        """Returns the mean of the normalised image features [D] of a video."""
        features = torch.nn.functional.normalize(self._clip.images(frames), dim=-1)
        return features.mean(0)

    def fit(self, frames: Frames, text: str) -> float:
        """Returns the CLIP score of a video, 100 x the mean cosine of its frames and the text."""
        features = torch.nn.functional.normalize(self._clip.images(frames), dim=-1)
        return 100 * float((features @ torch.nn.functional.normalize(self._clip.text(text)[0], dim=-1)).mean())

    def name(self, look: torch.Tensor, scene: Scene, attribute: str) -> str:
        """Returns the word for one attribute of the scene's first thing, all other words being told."""
        options = options_for(scene, attribute)
        texts = torch.stack([self._clip.text(caption(option))[0] for option in options.values()])
        scores = torch.nn.functional.normalize(texts, dim=-1) @ look
        return list(options)[int(scores.argmax())]


def options_for(scene: Scene, attribute: str) -> dict[str, Scene]:
    """Returns every word for one attribute -> the scene with that word in its first thing or place."""
    words: dict[str, Sequence[str]] = {
        "colour": grammar.COLOURS,
        "shape": grammar.SHAPES,
        "texture": grammar.TEXTURES,
        "motion": grammar.MOTIONS,
        "background": grammar.BACKGROUNDS,
        "camera": grammar.CAMERAS,
    }
    first, *others = scene.things

    def with_word(word: str) -> Scene:
        if attribute == "background":
            return replace(scene, background=word)
        if attribute == "camera":
            return replace(scene, camera=word)
        return replace(scene, things=(Thing(**(vars(first) | {attribute: word})), *others))

    return {word: with_word(word) for word in words[attribute]}


def truth(scene: Scene, attribute: str) -> str:
    """Returns the scene's own word for an attribute."""
    return str(getattr(scene if attribute in ("background", "camera") else scene.things[0], attribute))


def naming(namer: Namer, videos: Sequence[tuple[Scene, Frames]]) -> dict[str, float]:
    """Returns for each attribute how often, in percent, the scorer names it rightly."""
    looks = [(scene, namer.look(frames)) for scene, frames in videos]
    return {
        attribute: 100
        * float(np.mean([namer.name(look, scene, attribute) == truth(scene, attribute) for scene, look in looks]))
        for attribute in ATTRIBUTES
    }


def rendered(namer: Namer, count: int = 300) -> Iterator[Figure]:
    """Yields how well the scorer names `count` rendered clips of 16 frames with one thing."""
    rng = np.random.default_rng(HELD_OUT + 2)
    scenes = [random_scene(rng, two_things=0) for _ in range(count)]
    videos = [(scene, Clip(scene, int(rng.integers(2**31))).render(0, 16)) for scene in scenes]
    for attribute, right in naming(namer, videos).items():
        goal = 95 if attribute in ("colour", "shape", "background") else None
        yield Figure(f"scorer names {attribute} of rendered clips, %", right, goal)


def generated(namer: Namer, count: int = 192) -> Iterator[Figure]:
    """Yields how well the scorer names the prompt's words in `count` generated first chunks (mini profile's solver)."""
    model = FirstChunk(**load_profile("mini").first_chunk)
    rng = np.random.default_rng(HELD_OUT + 3)
    videos = []
    for index in range(count):
        scene = random_scene(rng, two_things=0)
        request = Request(caption(scene), index, 16, SIZE, SIZE, FPS)
        videos.append((scene, model.draw(request).frames))
    for attribute, right in naming(namer, videos).items():
        goal = {"colour": 80, "shape": 90, "background": 80}.get(attribute)
        yield Figure(f"scorer names {attribute} of generated first chunks, %", right, goal)
    yield from _moving("generated first chunks", videos, 60)


def rendered_motion(count: int = 120) -> Iterator[Figure]:
    """Yields how well motion and camera of `count` rendered clips of 16 frames with one thing are named by flow.

    As rendered, and after the autoencoder: what it loses no denoiser can show.
    """
    rng = np.random.default_rng(HELD_OUT + 4)
    scenes = [random_scene(rng, two_things=0) for _ in range(count)]
    videos = [(scene, Clip(scene, int(rng.integers(2**31))).render(0, 16)) for scene in scenes]
    yield from _moving("rendered clips", videos, None)
    codec = load_codec([resolve_weights("mini:text_to_video")], PipelineSettings(), batch=16)
    yield from _moving("clips through the autoencoder", [(scene, _again(codec, clip)) for scene, clip in videos], None)


def _again(codec: LatentCodec, frames: Frames) -> Frames:
    return to_frames(codec.decode(codec.encode(to_tensor(frames))) / 2 + 0.5)


def _moving(what: str, videos: Sequence[tuple[Scene, Frames]], goal: float | None) -> Iterator[Figure]:
    estimator = load_estimator("mini", str(resolve_weights("mini:raft")))
    motion, camera = [], []
    for scene, frames in videos:
        thing, flow = scene.things[0], estimate(estimator, frames)
        things = np.stack([covered(frame, thing.colour, scene.background) for frame in frames[:-1]])
        path = camera_path(flow, things)
        camera.append(name_camera(path) == scene.camera)
        motion.append(name_motion(MovingThing.of(frames, thing.colour, scene.background, path, flow)) == thing.motion)
    yield Figure(f"flow names motion of {what}, %", 100 * float(np.mean(motion)), goal)
    yield Figure(f"flow names camera of {what}, %", 100 * float(np.mean(camera)), goal)


def pairs_of_things(count: int = 32) -> Iterator[Figure]:
    """Yields in how many generated first chunks with two things both have their colours in every frame."""
    model = FirstChunk(**load_profile("mini").first_chunk)
    rng = np.random.default_rng(HELD_OUT + 5)
    kept = []
    for index in range(count):
        scene = random_scene(rng, two_things=1)
        frames = model.draw(Request(caption(scene), index, 16, SIZE, SIZE, FPS)).frames
        kept.append(all(shown(frames, thing.colour, scene) for thing in scene.things))
    yield Figure("two things keep their colours in generated chunks, %", 100 * float(np.mean(kept)), 70)


def shown(frames: Frames, colour: str, scene: Scene) -> bool:
    """Whether a colour covers `SHOWN` of every frame, among the paints of the scene's things and its ground."""
    others = [thing.colour for thing in scene.things if thing.colour != colour]
    return all(covered(frame, colour, scene.background, others).mean() >= SHOWN for frame in frames)


def rows_of(run: str) -> Iterator[Figure]:
    """Yields the mean CLIP score of every row of a run."""
    from bench import load

    goals = {"svd": 78, "opensora": 82, "opensora_plan": 70}
    scores = load(run)
    clip = scores[scores.metric == "clip"].groupby("method").value.mean()
    for method, value in clip.items():
        yield Figure(f"CLIP of {method}", float(value), goals.get(str(method)))


def main() -> None:
    """Prints the figures, or writes them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.mini_networks", description=__doc__)
    parser.add_argument("--only", choices=("autoencoders", "plan", "flow", "rendered", "moving", "generated", "pairs"))
    parser.add_argument("--run", default="", help="a run folder whose rows' CLIP scores are printed, too")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures: list[Figure] = []
    parts: dict[str, Callable[[], Iterator[Figure]]] = {
        "autoencoders": autoencoders,
        "plan": lambda: plan_autoencoder(Namer()),
        "flow": flow,
        "rendered": lambda: rendered(Namer()),
        "moving": rendered_motion,
        "generated": lambda: generated(Namer()),
        "pairs": pairs_of_things,
    }
    if options.run:
        parts["rows"] = lambda: rows_of(options.run)
    for name, part in parts.items():
        if options.only in (None, name):
            for figure in part():
                print(figure.line(), flush=True)
                figures.append(figure)
    if options.json:
        text = json.dumps([vars(figure) for figure in figures], indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
