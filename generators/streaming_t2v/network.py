"""The whole network of the streaming stage: video UNet, short-term memory and long-term memory.

One class covers the method and its ablations, so that all of them are trained, stored, loaded and sampled by the same
code; which memories a network has is part of its configuration.

Example:
    >>> tiny = NetworkConfig(
    ...     unet=VideoUNetConfig(block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=4,
    ...                          cross_attention_dim=8),
    ...     text_tokens=5, image_tokens=2, image_width=6, anchor_hidden_width=10, merger_head_dim=4,
    ...     merger_norm_groups=4, frame_encoder_channels=(4, 4, 4, 4))
    >>> network = StreamingNetwork(tiny)
    >>> prepared = network.prepare(torch.randn(1, 5, 8), torch.randn(1, 1, 6), torch.zeros(1, 8, 3, 64, 64))
    >>> network(torch.randn(1, 4, 16, 8, 8), torch.tensor(7), prepared).shape
    torch.Size([1, 4, 16, 8, 8])
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from diffusers import UNet3DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from generators.streaming_t2v.appearance import AnchorTokens
from generators.streaming_t2v.conditional_attention import (
    ConditionalAttentionModule,
    FrameEncoder,
    Injector,
    SparseEncoder,
    pad_with_mask,
)
from generators.streaming_t2v.unet import VideoUNetConfig, add_projection_blocks, decode, encode, video_unet
from generators.weights import MissingWeightsError

ShortTerm = Literal["cam", "none", "concat", "sparse"]
"""How the last frames reach the network: CAM, not at all, as input channels, or by a zero-padded sparse encoder."""

DECODER_HALF = ("up_blocks.", "conv_norm_out.", "conv_out.")
"""Where the names of the base model's second half begin."""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"

BASE_NOTE = "base_fingerprint"
"""Metadata of a weights file that lacks what its base model has."""


class CheckpointError(ValueError):
    """Weights do not fit the network, or a file of weights is not what it should be."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and memories of a network; the defaults are the released ones.

    Attributes:
        unet: sizes of the base video model.
        short_term: how the conditioning frames reach the network.
        long_term: whether it has the appearance memory.
        window: frames of one window.
        conditioning_frames: frames of the previous chunk that condition it.
        text_tokens: length of the encoded prompt.
        image_tokens: tokens made from the anchor frame.
        image_width: width of the CLIP image embedding.
        anchor_hidden_width: hidden width of the anchor MLP.
        merger_head_dim: size of one head in the mergers.
        merger_norm_groups: groups of the norms in the mergers.
        frame_encoder_channels: width of each level of the frame encoder; its scale must be the autoencoder's.
        cam_positions: whether CAM's attention knows frames by their number, an ablation.

    Source: Picsart-AI-Research/StreamingT2V, configs/text_to_video/config.yaml and the sizes fixed in its code.
    """

    unet: VideoUNetConfig = field(default_factory=VideoUNetConfig)
    short_term: ShortTerm = "cam"
    long_term: bool = True
    window: int = 16
    conditioning_frames: int = 8
    text_tokens: int = 77
    image_tokens: int = 16
    image_width: int = 1024
    anchor_hidden_width: int = 1280
    merger_head_dim: int = 64
    merger_norm_groups: int = 32
    frame_encoder_channels: tuple[int, ...] = (32, 96, 256, 512)
    cam_positions: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown short-term memory or a window without new frames."""
        if self.short_term not in get_args(ShortTerm):
            raise ValueError(f"short_term = {self.short_term!r} is not one of {', '.join(get_args(ShortTerm))}")
        if not 0 < self.conditioning_frames < self.window:
            raise ValueError(
                f"conditioning_frames = {self.conditioning_frames} must be at least 1 and leave new frames in a "
                f"window of {self.window}"
            )

    @property
    def new_frames(self) -> int:
        """Frames a window adds to the video."""
        return self.window - self.conditioning_frames


@dataclass(frozen=True)
class Prepared:
    """What conditions one window, computed once for all of its denoising steps.

    Attributes:
        text: text tokens [k B, N, D].
        context: text tokens, with image tokens where the network has the appearance memory [k B, N (+ M), D].
        frames: conditioning frames as the short-term memory reads them, or None.
    """

    text: Tensor
    context: Tensor
    frames: Tensor | None


class StreamingNetwork(nn.Module):
    """Prediction of the noise of a window from text, anchor frame and conditioning frames."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        base = config.unet
        if config.short_term == "concat":
            base = replace(base, in_channels=2 * base.in_channels + 1)
        self.unet: UNet3DConditionModel = video_unet(base)
        self.anchor_tokens: AnchorTokens | None = None
        if config.long_term:
            self.anchor_tokens = AnchorTokens(
                config.image_width, config.anchor_hidden_width, base.cross_attention_dim, config.image_tokens
            )
            add_projection_blocks(self.unet, config.text_tokens, config.image_tokens, base.cross_attention_dim)
        self.cam: ConditionalAttentionModule | None = None
        self.injector: Injector | None = None
        self.sparse: SparseEncoder | None = None
        channels, width = config.frame_encoder_channels, base.block_out_channels[0]
        if config.short_term == "cam":
            self.cam = ConditionalAttentionModule(video_unet(base), FrameEncoder(channels, width))
            self.injector = Injector(base, config.merger_head_dim, config.merger_norm_groups, config.cam_positions)
        elif config.short_term == "sparse":
            self.sparse = SparseEncoder(video_unet(base), FrameEncoder(channels, width, in_channels=4), base)

    @classmethod
    def from_base(cls, config: NetworkConfig, state_dict: Mapping[str, Tensor]) -> StreamingNetwork:
        """A network at initialisation that computes exactly what its base video model computes.

        Args:
            config: sizes and memories; `config.unet` must be the base model's.
            state_dict: the base model's tensors under diffusers' names.
        """
        network = cls(config)
        taken = {key: value.clone() for key, value in inherited(config, state_dict).items()}
        fresh = {key: value for key, value in network.state_dict().items() if not is_inherited(key)}
        load_exactly(network, fresh | taken, "the base video model")
        return network

    def prepare(
        self,
        text: Tensor,
        image_embeddings: Tensor | None = None,
        frames: Tensor | None = None,
        frame_latents: Tensor | None = None,
    ) -> Prepared:
        """What conditions one window; call it once per window.

        Args:
            text: text tokens [k B, N, D]; under guidance k = 2, all without the prompt first.
            image_embeddings: of A anchor frames [k B, A, W]; read by the appearance memory only.
            frames: conditioning frames [B, K, 3, H, W] in -1..1; read by "cam" and "sparse".
            frame_latents: their latents [B, C, K, h, w]; read by "concat".
        """
        context = text
        if self.anchor_tokens is not None:
            assert image_embeddings is not None, "the appearance memory reads an anchor frame"
            context = torch.cat([text, self.anchor_tokens(image_embeddings)], dim=1)
        memory: Tensor | None = None
        if self.cam is not None:
            assert frames is not None, "CAM reads conditioning frames"
            memory = self.cam.embed(frames)
        elif self.sparse is not None:
            assert frames is not None, "the sparse encoder reads conditioning frames"
            memory = self.sparse.embed(frames, self.config.window)
        elif self.config.short_term == "concat":
            assert frame_latents is not None, "concatenation reads conditioning latents"
            memory = pad_with_mask(frame_latents, self.config.window)
        return Prepared(text, context, memory)

    def forward(self, latents: Tensor, timestep: Tensor, prepared: Prepared) -> Tensor:
        """The prediction [k B, C, F, h, w] for noisy latents [B, C, F, h, w] at a timestep [] or [B]."""
        sample, memory = latents, prepared.frames
        if memory is not None and self.config.short_term == "concat":
            sample = torch.cat([latents, memory], dim=1)
        encoded = encode(self.unet, sample, timestep, prepared.context)
        if self.cam is not None and self.injector is not None and memory is not None:
            encoded = self.injector(encoded, self.cam(latents, timestep, prepared.text, memory))
        elif self.sparse is not None and memory is not None:
            encoded = self.sparse(encoded, latents, timestep, prepared.text, memory)
        return decode(self.unet, encoded, prepared.context)

    def save(self, folder: Path, dtype: torch.dtype | None = None, base: Mapping[str, Tensor] | None = None) -> None:
        """Writes config.json and the weights into a folder.

        Args:
            folder: where to.
            dtype: type to cast to; None keeps each tensor's own.
            base: tensors of the base video model: what still equals it is left out, and loading needs it again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        state, notes = self.state_dict(), {}
        if base is not None:
            taken = inherited(self.config, base)
            state = {key: value for key, value in state.items() if not same_tensor(value, taken.get(key))}
            notes = {BASE_NOTE: weights_fingerprint(base)}
        stored = {key: value.to(dtype or value.dtype).contiguous() for key, value in state.items()}
        save_file(stored, folder / WEIGHTS_FILE, notes)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls,
        folder: Path,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        base: Mapping[str, Tensor] | None = None,
    ) -> StreamingNetwork:
        """The network `save` wrote, in evaluation mode.

        Args:
            folder: where it is.
            dtype: type of its parameters.
            device: where they go.
            base: tensors of the base video model, for a network that was saved without them (see `needs_base`).

        Raises:
            MissingWeightsError: the folder holds no network.
            CheckpointError: its files do not fit together or do not fit the base model.
        """
        if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
            raise MissingWeightsError(
                f"{folder} holds no {CONFIG_FILE} with {WEIGHTS_FILE}: convert the released checkpoint with "
                "`python -m generators.streaming_t2v.checkpoint`, or train a network with "
                "`python -m generators.streaming_t2v.train`"
            )
        config = read_network_config((folder / CONFIG_FILE).read_text(encoding="utf-8"), folder / CONFIG_FILE)
        with torch.device("meta"):
            network = cls(config)
        state: dict[str, Tensor] = load_file(folder / WEIGHTS_FILE, device=device)
        source = str(folder / WEIGHTS_FILE)
        wanted = needs_base(folder)
        if wanted:
            check_base(wanted, base, source)
            state = {key: value.to(device) for key, value in inherited(config, base or {}).items()} | state
            source += " with its base model"
        load_exactly(network, {key: value.to(dtype, copy=True) for key, value in state.items()}, source)
        return network.eval()


def is_inherited(name: str) -> bool:
    """Whether a network takes a tensor of this name over from its base model when it is made."""
    own = ".attn2.processor." in name  # projection blocks live inside the base model's attention
    return name.startswith(("unet.", "cam.encoder.", "sparse.encoder.")) and not own


def inherited(config: NetworkConfig, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor a network takes over from its base video model, under the network's names.

    Args:
        config: which memories there are.
        base: the base model's tensors under diffusers' names.
    """
    taken = {f"unet.{key}": value for key, value in base.items()}
    if config.short_term in ("cam", "sparse"):
        half = {key: value for key, value in base.items() if not key.startswith(DECODER_HALF)}
        taken |= {f"{config.short_term}.encoder.{key}": value for key, value in half.items()}
    elif config.short_term == "concat":
        weight = base["conv_in.weight"]  # the channels of the conditioning latents and their mask start at zero
        added = weight.new_zeros(weight.shape[0], weight.shape[1] + 1, *weight.shape[2:])
        taken["unet.conv_in.weight"] = torch.cat([weight, added], dim=1)
    return taken


def needs_base(folder: Path) -> str:
    """Fingerprint of the base model without which the network in a folder is not complete; empty if it is."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        notes: dict[str, str] = file.metadata() or {}
    return notes.get(BASE_NOTE, "")


def weights_fingerprint(base: Mapping[str, Tensor]) -> str:
    """SHA-256 of a base model's tensors and their names, rounded to half precision, 16 digits."""
    digest = hashlib.sha256()
    for key in sorted(base):
        digest.update(key.encode())
        digest.update(base[key].detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_base(wanted: str, base: Mapping[str, Tensor] | None, source: str) -> None:
    """Raises CheckpointError unless a base model is given and has the fingerprint a weights file asks for."""
    if base is None:
        raise CheckpointError(f"{source} holds only what differs from its base model: give the base model, too")
    found = weights_fingerprint(base)
    if found != wanted:
        raise CheckpointError(
            f"{source} was trained over a base model with fingerprint {wanted}, but the one given has {found}: point "
            "base_weights at that model, or train the network again over this one"
        )


def same_tensor(value: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors have the same shape and values, wherever they are."""
    return other is not None and value.shape == other.shape and torch.equal(value.cpu(), other.cpu())


def read_network_config(text: str, source: Path) -> NetworkConfig:
    """The configuration written as JSON.

    Raises:
        CheckpointError: the text is not such a configuration.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        sizes = VideoUNetConfig(**{key: _frozen(value) for key, value in raw.pop("unet").items()})
        return NetworkConfig(unet=sizes, **{key: _frozen(value) for key, value in raw.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{source} is not the configuration of a streaming network: {error}") from error


def _frozen(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Gives a module the tensors of a state dict that must fit it name by name and shape by shape.

    Raises:
        CheckpointError: names the first ten missing, extra and misshapen tensors.
    """
    check_fit(module.state_dict(), state, source)
    module.load_state_dict(dict(state), strict=True, assign=True)


def check_fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError, naming the first ten of each kind, unless both have the same names and shapes."""
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    misshapen = [
        f"{key} {list(state[key].shape)} instead of {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    problems = [
        f"{len(found)} {kind}: {_first_ten(found)}"
        for kind, found in (("missing", missing), ("extra", extra), ("misshapen", misshapen))
        if found
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(problems)}")


def _first_ten(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
