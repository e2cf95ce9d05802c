"""AnimateDiff: an image model given motion, the base of SparseCtrl and of FreeNoise's AnimateDiff variant.

Three repositories make one pipeline: a Stable Diffusion 1.5 folder, a motion adapter, and (released weights only) a
LoRA that takes the watermarks of the video data out of the image layers again. The image network may come from a
fourth: motion learned once serves every network fine-tuned from the same one, which is what AnimateDiff is for.

Source: guoyww/AnimateDiff, configs/inference/inference-v3.yaml (linear betas 0.00085 to 0.012, offset 1, no clipping).

Example:
    >>> LINEAR_BETAS["beta_start"], LINEAR_BETAS["beta_end"], LINEAR_BETAS["steps_offset"]
    (0.00085, 0.012, 1)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.pipelines import ImageVaeSettings, limit_vae_memory, load_network, load_pipeline, use_scheduler
from generators.weights import MissingWeightsError, resolve_weights

if TYPE_CHECKING:
    import torch

LINEAR_BETAS = {
    "beta_schedule": "linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": True,
}
"""The schedule AnimateDiff was trained with; Stable Diffusion 1.5's folder says "scaled_linear".

The last step leaves no noise: AnimateDiff builds DDIM's schedule anew, and does not take over Stable Diffusion's choice
for PNDM. Source: AnimateDiff, configs/inference/inference-v3.yaml, and DDIMScheduler's defaults.
"""

_LORA_KEY = re.compile(r"(?:module\.|unet\.)?(.+)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")


@dataclass(kw_only=True)
class AnimateDiffSettings(ImageVaeSettings):
    """Where the parts of an AnimateDiff pipeline lie, and its noise schedule.

    Attributes:
        weights: location of a Stable Diffusion 1.5 folder.
        unet: location of the image network's folder (a `UNet2DConditionModel`), such as a personalised one; empty for
            the one in `weights`.
        motion_adapter: location of a `MotionAdapter` folder.
        scheduler: a solver's class name in diffusers; empty for the folder's own.
        linear_betas: force AnimateDiff's linear noise schedule on the folder's.
    """

    weights: str = "hub:stable-diffusion-v1-5/stable-diffusion-v1-5"
    unet: str = ""
    motion_adapter: str = "hub:guoyww/animatediff-motion-adapter-v1-5-3"
    scheduler: str = "DDIMScheduler"
    linear_betas: bool = True


def load_animatediff(pipeline_class: Any, settings: AnimateDiffSettings, extra: Mapping[str, object]) -> Any:
    """Returns an AnimateDiff pipeline, not yet placed on its device.

    Args:
        pipeline_class: one of diffusers' AnimateDiff pipelines.
        settings: its parts, noise schedule, device, dtype and memory options.
        extra: further networks of the pipeline.
    """
    from diffusers import MotionAdapter, UNet2DConditionModel

    def load(network_class: Any, location: str) -> Any:
        return load_network(network_class, resolve_weights(location, settings.weights_dir), settings)

    networks: dict[str, object] = {
        "motion_adapter": load(MotionAdapter, settings.motion_adapter),
        # A Stable Diffusion folder lists an image processor and encoder that text and frames make superfluous.
        "feature_extractor": None,
        "image_encoder": None,
        **extra,
    }
    if settings.unet:
        networks["unet"] = load(UNet2DConditionModel, settings.unet)
    pipeline = load_pipeline(
        pipeline_class, resolve_weights(settings.weights, settings.weights_dir), settings, networks
    )
    use_scheduler(pipeline, settings.scheduler, LINEAR_BETAS if settings.linear_betas else None)
    limit_vae_memory(pipeline.vae, settings)
    return pipeline


def fuse_lora(unet: Any, tensors: Mapping[str, torch.Tensor], scale: float) -> None:
    """Adds a LoRA to the attention weights of a UNet in place: W += scale * up @ down.

    Args:
        unet: the network.
        tensors: `...processor.to_{q,k,v,out}_lora.{down,up}.weight`, names of AnimateDiff's released file.
        scale: strength, 1 as released.

    Raises:
        ValueError: a name is not of this kind, or has no partner.

    Source: guoyww/AnimateDiff, animatediff/utils/convert_lora_safetensor_to_diffusers.py (names and product).
    """
    halves: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _LORA_KEY.fullmatch(key)
        if match is None:
            raise ValueError(f'"{key}" is not a LoRA of attention layers as AnimateDiff releases it')
        block, layer, half = match.groups()
        halves.setdefault((block, layer), {})[half] = tensor
    for (block, layer), pair in halves.items():
        if set(pair) != {"down", "up"}:
            raise ValueError(f'the LoRA of "{block}" lacks one of the halves down and up of {layer}')
        target = unet.get_submodule(f"{block}.{'to_out.0' if layer == 'to_out' else layer}").weight
        change = scale * (pair["up"].float() @ pair["down"].float())
        target.data += change.to(target)


def read_lora(file: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a LoRA file, safetensors or a torch checkpoint opened as data only."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors: dict[str, torch.Tensor] = load_file(file)
        return tensors
    if not file.is_file():
        raise MissingWeightsError(f"{file} is not a file: name the LoRA file itself, as in hub:OWNER/NAME/FILE")
    import torch

    stored = torch.load(file, map_location="cpu", weights_only=True)
    stored = stored.get("state_dict", stored)
    return {name: value for name, value in stored.items() if isinstance(value, torch.Tensor)}
