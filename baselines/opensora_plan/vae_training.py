"""OpenSoraPlan's causal autoencoder in miniature: 4k + 1 frames of pixels to k + 1 latent frames and back.

It starts from the shared autoencoder of single frames and learns from rendered clips of several lengths, single images
included, because the group norms in its middle see a whole clip at once.

Example:
    >>> OpenSoraPlanVaeTask.lengths
    ((1, 16), (5, 5), (9, 3), (17, 1), (25, 1))
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.opensora.vae import drawn
from baselines.opensora_plan.vae import CausalVAE, CausalVAEConfig
from generators.mini.data import as_pixels
from generators.mini.denoising import CACHE, WEIGHTS, consecutive_frames
from generators.mini.latents import SHARED
from generators.mini.rendered import load_rendered
from generators.mini.training import Recipe, StepRandom

# Widths and blocks are those of the shared autoencoder, so that its weights can start it. Blocks of a level work frame
# by frame: what moves is put in place where time is folded and unfolded, and in the middle, where 3D costs little.
CONFIG = {
    "hidden_size": 32,
    "hidden_size_mult": [1, 1, 2, 2],
    "z_channels": 16,  # both are as narrow as the narrower of the two
    "embed_dim": 16,
    "num_res_blocks": 1,
    "encoder_resnet_blocks": ["ResnetBlock2D"] * 4,
    "decoder_resnet_blocks": ["ResnetBlock2D"] * 4,
    "norm_groups": 8,
}

DIVERGENCE = 1e-4
"""Weight of the divergence from the unit normal, which keeps latents smooth."""

QUIET = -4.0
"""Log variance at the start of latent channels that the shared autoencoder lacks."""


class OpenSoraPlanVaeTask:
    """Reconstruction of rendered clips: L1 + 2 MSE, and a little divergence."""

    name = "opensora_plan_vae"
    recipe = Recipe(steps=520, batch=20, learning_rate=2.5e-4, average=0.995)
    compiled: tuple[str, ...] = ()
    lengths = ((1, 16), (5, 5), (9, 3), (17, 1), (25, 1))
    """(frames, clips) of a step, drawn by `shares`; `recipe.batch` is about how many frames that is."""

    shares = (0.1, 0.5, 0.25, 0.1, 0.05)

    def __init__(self) -> None:
        self.rendered = load_rendered(CACHE)

    def build(self) -> nn.Module:
        """Returns the network at initialisation: an autoencoder of single frames."""
        image = AutoencoderKL.from_pretrained(WEIGHTS / SHARED, torch_dtype=torch.float32)
        network = CausalVAE(CausalVAEConfig.from_json(CONFIG))
        start_from_images(network, image.state_dict(), image.config.scaling_factor)
        return network

    def loss(self, network: Any, random: StepRandom) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the loss of one batch and, for the log, the PSNR in dB."""
        frames, count = self.lengths[random.scenes.choice(len(self.lengths), p=self.shares)]
        video = self._draw(random.scenes, count, frames)
        mean, log_variance = network.encode(video)
        mean, log_variance = mean.float(), log_variance.float()
        error = network.decode(drawn(mean, log_variance, random.noise)).float() - video
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        mse = error.square().mean()
        psnr = 10 * torch.log10(4 / mse.detach())
        figures = {"frames": frames, "psnr": psnr, "divergence": divergence.detach()}
        return error.abs().mean() + 2 * mse + DIVERGENCE * divergence, figures

    def _draw(self, rng: np.random.Generator, count: int, frames: int) -> Tensor:
        """Returns `count` random clips [count, 3, frames, 64, 64] in -1..1; single frames are of many more scenes."""
        if frames == 1:
            rows = rng.integers(len(self.rendered.stills), size=count)
            return as_pixels(self.rendered.stills[torch.as_tensor(rows)])[:, :, None]
        rows = rng.integers(len(self.rendered.clips), size=count)
        starts = rng.integers(self.rendered.clips.shape[1] - frames + 1, size=count)
        return as_pixels(consecutive_frames(self.rendered.clips, rows, starts, frames)).transpose(1, 2).contiguous()

    @torch.no_grad()
    def export(self, network: Any, weights: Path) -> None:
        """Writes `opensora_plan/vae` with the scaling factor that gives latents unit variance."""
        rng = StepRandom.of("opensora_plan_vae-scale", 0).scenes
        latents = torch.cat([network.encode(self._draw(rng, 1, 25))[0] for _ in range(32)])
        config = CONFIG | {"scaling_factor": round(1 / latents.std().item(), 5)}
        folder = weights / "opensora_plan" / "vae"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
        save_file(state, folder / "model.safetensors")


@torch.no_grad()
def start_from_images(network: CausalVAE, image: Mapping[str, Tensor], factor: float) -> None:
    """Copies an autoencoder of images of the same widths, which may have fewer latent channels, into a causal one.

    The image's kernels become the last in time of the causal ones and the others zero, so each latent frame shows the
    last of its frames. Latent channels that the image lacks start with little noise, and hardly heard by the decoder.

    Args:
        network: to be changed.
        image: tensors of diffusers' `AutoencoderKL`.
        factor: what gives its latents unit variance, as all channels have it here.

    Source: Open-Sora-Plan v1.0, docs/CausalVideoVAE.md ("tail initialization" from Stable Diffusion's autoencoder); the
        further channels are ours.
    """
    own = network.state_dict()  # views of the parameters
    for tensor in own.values():
        if tensor.ndim == 5:
            tensor[:, :, :-1] = 0
    ends = ("encoder.conv_out.", "quant_conv.", "post_quant_conv.", "decoder.conv_in.")
    for name, tensor in image.items():
        if not name.startswith(ends):
            target = _last_in_time(own[_causal_name(name, own)])
            target.copy_(tensor.reshape(target.shape))
    known, wide = image["post_quant_conv.weight"].shape[0], network.config.embed_dim
    moments = torch.tensor([*range(known), *range(wide, wide + known)])  # means, then log variances
    own["encoder.conv_out.conv.weight"].mul_(3.0)  # about unit variance, too
    own["encoder.conv_out.conv.bias"][wide:] = QUIET
    own["decoder.conv_in.conv.weight"].mul_(0.1)
    for side in ("quant_conv.conv", "post_quant_conv.conv"):
        nn.init.dirac_(own[f"{side}.weight"])
        own[f"{side}.bias"].zero_()
    for kind in ("weight", "bias"):
        _last_in_time(own[f"encoder.conv_out.conv.{kind}"])[moments] = image[f"encoder.conv_out.{kind}"]
    _last_in_time(own["decoder.conv_in.conv.weight"])[:, :known] = image["decoder.conv_in.weight"]
    own["decoder.conv_in.conv.bias"].copy_(image["decoder.conv_in.bias"])
    scale = torch.tensor([factor] * known + [1.0] * known)
    own["quant_conv.conv.weight"][moments[:, None], moments, 0] = image["quant_conv.weight"] * scale.view(-1, 1, 1, 1)
    shift = torch.tensor([0.0] * known + [2 * math.log(factor)] * known)
    own["quant_conv.conv.bias"][moments] = image["quant_conv.bias"] * scale + shift
    own["post_quant_conv.conv.weight"][:known, :known, 0] = image["post_quant_conv.weight"] / factor
    own["post_quant_conv.conv.bias"][:known] = image["post_quant_conv.bias"]


def _last_in_time(tensor: Tensor) -> Tensor:
    """Returns a view of what a causal kernel does to the latest frame; any other tensor as it is."""
    return tensor[:, :, -1] if tensor.ndim == 5 else tensor


_CAUSAL_WORDS = (
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"up_blocks\.(\d)\.resnets", lambda found: f"up.{3 - int(found[1])}.block"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
    (r"group_norm", "norm"),
    (r"to_([qkv])\.", r"\1."),
    (r"to_out\.0", "proj_out"),
)
"""Words of diffusers' names of tensors, and what they are called here; its decoder counts levels from the lowest."""


def _causal_name(name: str, own: Mapping[str, Tensor]) -> str:
    """Returns the name here of a tensor of diffusers' `AutoencoderKL`; causal convolutions wrap one of torch."""
    for pattern, word in _CAUSAL_WORDS:
        name = re.sub(pattern, word, name)
    stem, _, kind = name.rpartition(".")
    return name if name in own else f"{stem}.conv.{kind}"
