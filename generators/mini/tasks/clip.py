"""The two CLIPs of the miniature world, trained apart: the scorer judges videos, the image encoder conditions methods.

The scorer is `open_clip`'s CLIP. The image encoder is the image half of transformers' CLIP: no method sees the network
it is scored with.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionModelWithProjection,
)

from generators.mini import grammar
from generators.mini.data import to_tensor
from generators.mini.grammar import Scene, Thing, caption, random_scene
from generators.mini.tokenizer import build_tokenizer
from generators.mini.training import Recipe, StepRandom
from generators.mini.world import Clip

CLIP_TOKENS = 77
"""Tokens of a caption, as in every CLIP."""

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Normalisation of every CLIP since OpenAI's, RGB in 0..1."""

SCORER = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 12, "head_width": 32},  # a small RN50
    "text_cfg": {
        "context_length": CLIP_TOKENS,
        "vocab_size": 640,
        "width": 96,
        "heads": 4,
        "layers": 3,
        "hf_tokenizer_name": "tokenizer beside this file",
    },
    "quick_gelu": True,
}

IMAGE_ENCODER_TEXT = {
    "vocab_size": 640,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": CLIP_TOKENS,
    "bos_token_id": 638,
    "eos_token_id": 639,
    "pad_token_id": 639,
    "projection_dim": 96,
}
IMAGE_ENCODER_VISION = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 224,
    "patch_size": 28,
    "projection_dim": 96,
}

SIBLINGS = 4
"""Captions of a batch come in families that differ in one word: the easy way to learn every word."""


class _Contrastive:
    """Matches frames to captions within a batch.

    Source: Radford et al., CLIP (arXiv:2103.00020), figure 3.
    """

    recipe: Recipe

    def __init__(self) -> None:
        self.tokenizer = build_tokenizer(CLIP_TOKENS)

    def batch(self, random: StepRandom) -> tuple[Tensor, Tensor]:
        """Returns frames [N, 3, 64, 64] in 0..1 with the defects of generated video, and token numbers [N, 77]."""
        scenes = [s for _ in range(self.recipe.batch // SIBLINGS) for s in family(random.scenes)]
        clips = [Clip(scene, int(random.scenes.integers(2**31))) for scene in scenes]
        frames = to_tensor(np.concatenate([clip.render_at(random.scenes.uniform(0, 100, 1)) for clip in clips]))
        tokens = self.tokenizer([caption(scene) for scene in scenes], padding="max_length", return_tensors="pt")
        device = torch.get_default_device()
        return spoil_frames(frames.to(device), random.noise) / 2 + 0.5, tokens.input_ids.to(device)

    def match(self, logits: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Returns the symmetric cross entropy of an N x N table of similarities, and how often the best is right."""
        truth = torch.arange(len(logits), device=logits.device)
        loss = (cross_entropy(logits, truth) + cross_entropy(logits.T, truth)) / 2
        return loss, {"right": (logits.argmax(1) == truth).float().mean().item()}


class ScorerTask(_Contrastive):
    """The CLIP that gives the CLIP score."""

    name = "scorer"
    recipe = Recipe(steps=3400, batch=64, learning_rate=1.5e-3, weight_decay=0.05)
    compiled = ()

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        import open_clip  # which no other network needs

        config = json.loads(json.dumps(SCORER))
        network: nn.Module = open_clip.CLIP(**config)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the contrastive loss of one batch."""
        frames, tokens = self.batch(random)
        image, text, scale = network(normalise(frames), tokens)
        return self.match(scale.clamp(max=100).float() * image.float() @ text.float().T)

    def export(self, network: Any, weights: Path) -> None:
        """Writes `clip_score` as open_clip's `local-dir:` reads it."""
        folder = weights / "clip_score"
        folder.mkdir(parents=True, exist_ok=True)
        preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
        config = {"model_cfg": SCORER, "preprocess_cfg": preprocess}
        (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        save_file(_halved(network), folder / "open_clip_model.safetensors")
        self.tokenizer.save_pretrained(folder)


class ImageEncoderTask(_Contrastive):
    """The CLIP that tells methods what a frame shows."""

    name = "image_encoder"
    recipe = Recipe(steps=1500, batch=64, learning_rate=1.5e-3, weight_decay=0.05)
    compiled = ()

    def build(self) -> nn.Module:
        """Returns the network at initialisation."""
        network: nn.Module = CLIPModel(
            CLIPConfig(text_config=IMAGE_ENCODER_TEXT, vision_config=IMAGE_ENCODER_VISION, projection_dim=96)
        )
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        """Returns the contrastive loss of one batch."""
        frames, tokens = self.batch(random)
        side = IMAGE_ENCODER_VISION["image_size"]
        large = interpolate(frames, size=(side, side), mode="bilinear", align_corners=False)
        output = network(input_ids=tokens, pixel_values=normalise(large))
        return self.match(output.logits_per_image.float())

    def export(self, network: Any, weights: Path) -> None:
        """Writes `svd/{image_encoder,feature_extractor}`."""
        vision = CLIPVisionModelWithProjection(network.config.vision_config)
        vision.vision_model.load_state_dict(network.vision_model.state_dict())
        vision.visual_projection.load_state_dict(network.visual_projection.state_dict())
        vision.half().save_pretrained(weights / "svd" / "image_encoder")
        side = IMAGE_ENCODER_VISION["image_size"]
        CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_mean=MEAN, image_std=STD
        ).save_pretrained(weights / "svd" / "feature_extractor")


def family(rng: np.random.Generator) -> list[Scene]:
    """Returns SIBLINGS scenes: a random one, and copies of it with one attribute changed each."""
    first = random_scene(rng)
    scenes = [first]
    while len(scenes) < SIBLINGS:
        other = vary(first, rng)
        if other not in scenes:
            scenes.append(other)
    return scenes


def vary(scene: Scene, rng: np.random.Generator) -> Scene:
    """Returns the scene with one attribute, of one of its things or of the whole, drawn anew."""
    # Shape is by far the slowest to learn; motion and camera cannot be seen in one frame and are left to chance.
    attribute = rng.choice(["shape", "shape", "shape", "shape", "colour", "texture", "background"])
    options = {
        "colour": grammar.COLOURS,
        "shape": grammar.SHAPES,
        "texture": grammar.TEXTURES,
        "background": grammar.BACKGROUNDS,
    }[attribute]
    value = str(rng.choice(options))
    if attribute == "background":
        return replace(scene, background=value)
    index = int(rng.integers(len(scene.things)))
    changed = Thing(**(vars(scene.things[index]) | {attribute: value}))
    return replace(scene, things=(*scene.things[:index], changed, *scene.things[index + 1 :]))


def spoil_frames(frames: Tensor, noise: torch.Generator) -> Tensor:
    """Returns frames in -1..1, some blurred, noisy or off in brightness as generated frames are."""
    count = len(frames)
    blurred = interpolate(avg_pool2d(frames, 3, 1, 1), scale_factor=0.5, mode="bilinear", align_corners=False)
    blurred = interpolate(blurred, scale_factor=2, mode="bilinear", align_corners=False)
    amount = torch.rand(count, 1, 1, 1, generator=noise)
    amount = amount * (torch.rand(count, 1, 1, 1, generator=noise) < 0.5)
    grain = 0.08 * torch.rand(count, 1, 1, 1, generator=noise) * torch.randn(frames.shape, generator=noise)
    light = 0.08 * torch.randn(count, 3, 1, 1, generator=noise)
    return (frames + amount * (blurred - frames) + grain + light).clamp(-1, 1)


def normalise(frames: Tensor) -> Tensor:
    """Returns frames [N, 3, H, W] in 0..1 normalised as CLIP's image encoders expect."""
    return (frames - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _halved(network: Any) -> dict[str, Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
