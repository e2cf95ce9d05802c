"""STDiT3 with the memories of StreamingT2V: the paper's section 6, on OpenSora's transformer.

CAM: a copy of the patch embedding and of the first block pairs reads the latents of the previous frames, clean, as the
network reads given frames. Each of the last block pairs begins by attending to the feature of the copied pair of its
number, per spatial position over time, through a projection that starts at zero (eq. 4 and 5). Nothing in it depends on
the noise, so it runs once per chunk. APM: image tokens of an anchor frame join the text in each text attention (eq. 6).

Example:
    >>> base = STDiT3Config(depth=2, hidden_size=48, num_heads=2, caption_channels=8, model_max_length=4)
    >>> sizes = MemoryConfig(base, pairs=1, image_tokens=2, image_width=6, anchor_hidden_width=10)
    >>> network, text = StreamingSTDiT3(sizes).eval(), Text(torch.randn(1, 1, 4, 8), torch.ones(1, 4))
    >>> video = VideoFormat(torch.tensor([24.0]), 48, 48)
    >>> memory = network.remember(torch.randn(1, 4, 5, 6, 6), torch.randn(1, 6), text, video)
    >>> network(torch.randn(1, 4, 5, 6, 6), torch.tensor([900.0]), memory).shape
    torch.Size([1, 8, 5, 6, 6])
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from baselines.opensora.stdit3 import PatchEmbedder, STDiT3, STDiT3Config, STDiTBlock, kept_tokens
from baselines.opensora.stdit3_layers import FrameRotary
from generators.streaming_t2v.appearance import AnchoredCrossAttention, AnchorTokens
from generators.streaming_t2v.conditional_attention import LOGIT_AT_START
from generators.streaming_t2v.network import (
    BASE_NOTE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    CheckpointError,
    check_base,
    load_exactly,
    needs_base,
    same_tensor,
    weights_fingerprint,
)
from generators.weights import MissingWeightsError

COPIED = ("x_embedder.", "spatial_blocks.", "temporal_blocks.")
"""Parts of the base model that CAM copies: where their names begin."""


@dataclass(frozen=True)
class MemoryConfig:
    """Sizes of the network; the defaults are those of the released base model.

    The paper says that the attention stands in the last 14 of 28 layers and that the features come from a copy of the
    first half; what it leaves open is said here.

    Attributes:
        base: sizes of OpenSora's transformer.
        pairs: the last block pairs that attend, and the first ones that are copied.
        known_latents: latents at the start of a window that are given, of those the memory ends with. OpenSora's 5 (17
            frames) make every window begin with a new stretch of the autoencoder, and stretches decode apart. With 3 (9
            frames) the join lies inside of a stretch.
        memory_latents: latents CAM reads: one stretch, the least that is encoded as in training.
        rotary: whether queries and keys are rotated by their frame's number, as in the temporal blocks: STDiT3 knows
            frames by nothing else, so a merger without it would know less than every attention around it.
        image_tokens: tokens made from the anchor frame, as in the released StreamingT2V.
        image_width: width of the CLIP image embedding, as there.
        anchor_hidden_width: hidden width of the anchor MLP, as there.

    Raises:
        ValueError: more pairs than the transformer has, or more known latents than the memory.
    """

    base: STDiT3Config = field(default_factory=STDiT3Config)
    pairs: int = 14
    known_latents: int = 3
    memory_latents: int = 5
    rotary: bool = True
    image_tokens: int = 16
    image_width: int = 1024
    anchor_hidden_width: int = 1280

    def __post_init__(self) -> None:
        """Checks the counts."""
        if not 1 <= self.pairs <= self.base.depth:
            raise ValueError(f"pairs = {self.pairs} must be 1 to {self.base.depth}, the pairs of the transformer")
        if not 1 <= self.known_latents <= self.memory_latents:
            raise ValueError(f"known_latents = {self.known_latents} must be 1 to {self.memory_latents}, the memory's")


def known_frames(known_latents: int) -> int:
    """Returns how many frames the first latents of a stretch stand for: one, and four for each further latent."""
    return 4 * known_latents - 3


class Text(NamedTuple):
    """Text of each sample.

    Attributes:
        tokens: [B, 1, L, caption channels].
        mask: [B, L], 1 for a token, 0 for padding.
    """

    tokens: Tensor
    mask: Tensor


class VideoFormat(NamedTuple):
    """What the network is told of a video: frames per second [B], height and width in pixels."""

    fps: Tensor
    height: float
    width: float


@dataclass(frozen=True)
class Memory:
    """What conditions a window, computed once for all of its denoising steps.

    Attributes:
        features: of each attending pair, [B, K * S, C] from K latents with S tokens each.
        texts: what each text attention reads, spatial and temporal block of every pair in turn, [B, L, C].
        keep: text tokens that are no padding, bool [B, L].
        video: as it was given.
    """

    features: tuple[Tensor, ...]
    texts: tuple[Tensor, ...]
    keep: Tensor
    video: VideoFormat


class LatentMerger(nn.Module):
    """Temporal cross attention of tokens to a feature of the previous frames, per spatial position.

    Tokens are normalised as STDiT3 normalises them, where the paper's U-Net has a group norm; so is the feature, whose
    size grows with depth. The projections start as in `conditional_attention.TemporalMerger`: identity, with enlarged
    queries, so that a frame finds its counterpart from the first step on; the last one at zero.

    Source: StreamingT2V eq. 4-5.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.proj_in = nn.Linear(channels, channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.proj_out = nn.Linear(channels, channels)
        for layer in (self.proj_in, self.to_q, self.to_k, self.to_v):
            nn.init.eye_(layer.weight)
        nn.init.zeros_(self.proj_in.bias)
        with torch.no_grad():
            self.to_q.weight.mul_(LOGIT_AT_START / (channels / num_heads) ** 0.5)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(
        self, tokens: Tensor, feature: Tensor, frames: tuple[int, int], rotary: FrameRotary | None, first: int
    ) -> Tensor:
        """Returns the tokens after they have attended, [B, T * S, C].

        Args:
            tokens: [B, T * S, C].
            feature: [B, K * S, C].
            frames: (T, K).
            rotary: rotates queries and keys by their frame's number, if given.
            first: number of the first token's frame, counted from the first of the feature.
        """
        query = self._heads(self.to_q(self.proj_in(_normed(tokens))), frames[0])
        key, value = (self._heads(project(_normed(feature)), frames[1]) for project in (self.to_k, self.to_v))
        if rotary is not None:
            query, key = rotary(query, first), rotary(key)
        attended = F.scaled_dot_product_attention(query, key, value)  # [B, S, heads, T, C / heads]
        merged: Tensor = self.proj_out(attended.permute(0, 3, 1, 2, 4).flatten(3).flatten(1, 2))
        return tokens + merged

    def _heads(self, x: Tensor, frames: int) -> Tensor:
        """Returns [B, S, heads, T, C / heads] from [B, T * S, C]."""
        split = torch.unflatten(torch.unflatten(x, 1, (frames, -1)), -1, (self.num_heads, -1))
        return split.permute(0, 2, 3, 1, 4)


def _normed(tokens: Tensor) -> Tensor:
    """Returns tokens of mean 0 and variance 1, as STDiT3's blocks see them before they are modulated."""
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)


class CopiedPairs(nn.Module):
    """CAM's own copy of the base model's patch embedding and first block pairs."""

    def __init__(self, config: STDiT3Config, pairs: int) -> None:
        super().__init__()
        self.x_embedder = PatchEmbedder(config)
        self.spatial_blocks = nn.ModuleList(STDiTBlock(config) for _ in range(pairs))
        self.temporal_blocks = nn.ModuleList(STDiTBlock(config) for _ in range(pairs))


class StreamingSTDiT3(nn.Module):
    """OpenSora's transformer with short-term and long-term memory."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.base
        self.base = STDiT3(sizes)
        self.cam = CopiedPairs(sizes, config.pairs)
        self.mergers = nn.ModuleList(LatentMerger(sizes.hidden_size, sizes.num_heads) for _ in range(config.pairs))
        self.anchor_tokens = AnchorTokens(
            config.image_width, config.anchor_hidden_width, sizes.hidden_size, config.image_tokens
        )
        self.projections = nn.ModuleList(
            AnchoredCrossAttention(sizes.model_max_length, config.image_tokens, sizes.hidden_size)
            for _ in range(2 * sizes.depth)
        )

    @classmethod
    def from_base(cls, config: MemoryConfig, state: Mapping[str, Tensor]) -> StreamingSTDiT3:
        """Returns a network at initialisation, which computes exactly what the base model of this state computes."""
        network = cls(config)
        taken = {name: value.clone() for name, value in taken_over(config, state).items()}
        load_exactly(network, network.state_dict() | taken, "OpenSora's transformer")
        return network

    def remember(self, latents: Tensor, image: Tensor, text: Text, video: VideoFormat) -> Memory:
        """Returns what conditions a window; call it once per window.

        Args:
            latents: of the previous frames, normalised as the transformer takes them, [B, C, K, h, w].
            image: embedding of the anchor frame, [B, W].
            text: of the window.
            video: facts of the window's video.
        """
        read, keep = self.base.y_embedder(text.tokens.to(image.dtype)), kept_tokens(text.mask)
        texts = self._texts(read, keep, image)
        tokens, grid = self.base.embed(latents, video.height, video.width, self.cam.x_embedder)
        modulation = self.base.modulation(self.base.frame_times(torch.zeros_like(video.fps), video.fps, None))
        places = (grid[0], grid[1] * grid[2])
        features = []
        for spatial, temporal in zip(self.cam.spatial_blocks, self.cam.temporal_blocks, strict=True):
            tokens = spatial(tokens, read, keep, modulation, places, None)
            tokens = temporal(tokens, read, keep, modulation, places, self.base.rope)
            features.append(tokens)
        return Memory(tuple(features), texts, keep, video)

    def _texts(self, read: Tensor, keep: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        """Returns each text attention's text, [B, L, C]: the plain one and what its projection block mixes in.

        Padding takes no part in the mix, as it takes none in the attention.
        """
        tokens = torch.cat([read * keep[:, :, None], self.anchor_tokens(image[:, None])], dim=1)
        mixes = [projection.mix(tokens) for projection in self.projections]  # type: ignore[operator]
        return tuple(read + mix for mix in mixes)

    def forward(self, x: Tensor, timestep: Tensor, memory: Memory, x_mask: Tensor | None = None) -> Tensor:
        """Returns velocity and unused variance as `STDiT3.forward` does, [B, 2 * in_channels, T, h, w].

        Args:
            x: latents [B, in_channels, T, h, w].
            timestep: [B] in 0..1000, fractions allowed.
            memory: from `remember`.
            x_mask: bool [B, T], false for given frames.
        """
        base, video = self.base, memory.video
        tokens, grid = base.embed(x, video.height, video.width)
        places = (grid[0], grid[1] * grid[2])
        time = base.frame_times(timestep, video.fps, x_mask)
        modulation = base.modulation(time)
        rotary = base.rope if self.config.rotary else None
        first = self.config.memory_latents - self.config.known_latents
        plain = self.config.base.depth - self.config.pairs
        for number, blocks in enumerate(zip(base.spatial_blocks, base.temporal_blocks, strict=True)):
            if number >= plain:
                feature = memory.features[number - plain]
                frames = (grid[0], feature.shape[1] // places[1])
                tokens = self.mergers[number - plain](tokens, feature, frames, rotary, first)
            for block, text, turn in zip(blocks, memory.texts[2 * number :], (None, base.rope), strict=False):
                tokens = block(tokens, text, memory.keep, modulation, places, turn)
        return base.finish(tokens, time, grid, x.shape)

    def save(self, folder: Path, dtype: torch.dtype | None = None, base: Mapping[str, Tensor] | None = None) -> None:
        """Writes config.json and the weights into a folder.

        Args:
            folder: where to.
            dtype: type to cast to; None keeps each tensor's own.
            base: tensors of OpenSora's transformer: what still equals it is left out, and loading needs it again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        state, notes = self.state_dict(), {}
        if base is not None:
            taken = taken_over(self.config, base)
            state = {name: value for name, value in state.items() if not same_tensor(value, taken.get(name))}
            notes = {BASE_NOTE: weights_fingerprint(base)}
        stored = {name: value.to(dtype or value.dtype).contiguous() for name, value in state.items()}
        save_file(stored, folder / WEIGHTS_FILE, notes)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self.config), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, folder: Path, dtype: torch.dtype, device: str, base: Mapping[str, Tensor] | None = None
    ) -> StreamingSTDiT3:
        """Returns the network `save` wrote, in evaluation mode, frozen.

        Args:
            folder: where it is.
            dtype: type of its parameters.
            device: where they go.
            base: tensors of OpenSora's transformer, for a network that was saved without them.

        Raises:
            MissingWeightsError: the folder holds no network.
            CheckpointError: its files do not fit together or do not fit the base model.
        """
        if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
            raise MissingWeightsError(
                f"{folder} holds no {CONFIG_FILE} with {WEIGHTS_FILE}: nobody has released such a network; train one "
                "with `python -m baselines.streaming_opensora.train`"
            )
        config = read_memory_config(folder / CONFIG_FILE)
        with torch.device("meta"):
            network = cls(config)
        state: dict[str, Tensor] = load_file(folder / WEIGHTS_FILE)
        source, wanted = str(folder / WEIGHTS_FILE), needs_base(folder)
        if wanted:
            check_base(wanted, base, source)
            state = taken_over(config, base or {}) | state
            source += " with its base model"
        load_exactly(network, {name: value.to(device, dtype, copy=True) for name, value in state.items()}, source)
        return network.eval().requires_grad_(False)


def taken_over(config: MemoryConfig, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns every tensor a network takes over from OpenSora's transformer, under the network's names."""
    copied = {
        f"cam.{name}": value
        for name, value in base.items()
        if name.startswith(COPIED) and (name.startswith("x_embedder.") or int(name.split(".")[1]) < config.pairs)
    }
    return {f"base.{name}": value for name, value in base.items()} | copied


def read_memory_config(path: Path) -> MemoryConfig:
    """Returns the configuration stored as JSON.

    Raises:
        CheckpointError: the file is not such a configuration.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return MemoryConfig(STDiT3Config.from_json(values.pop("base")), **values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is not the configuration of a streaming transformer: {error}") from error
