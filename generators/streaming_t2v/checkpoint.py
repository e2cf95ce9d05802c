"""The released files, turned once into safetensors under our names.

`streaming_t2v.ckpt` holds six networks under one prefix each, MS-Vid2Vid-XL's file holds the refiner's UNet under first
names. Both are pickles: they are opened with `weights_only=True`, checked against a hash, mapped name by name onto our
modules, whose shapes are known without their weights, and written as folders that every later run loads directly.

Example:
    python -m generators.streaming_t2v.checkpoint streaming_t2v.ckpt weights/streaming_t2v --sha256 ab12…
    python -m generators.streaming_t2v.checkpoint non_ema_0035000.pth weights/refiner --refiner
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from generators.streaming_t2v.lvdm_keys import convert_lvdm_keys
from generators.streaming_t2v.network import CheckpointError, NetworkConfig, StreamingNetwork, check_fit

UNUSED = {
    r"image_encoder\.model\.(positional_embedding|token_embedding\.weight|ln_final\.(weight|bias)|text_projection)":
        "left over from open_clip's text tower, whose transformer the authors removed; only images are encoded",
    r"image_encoder\.model\.logit_scale": "temperature of CLIP's contrastive loss; only embeddings are read",
    r"image_encoder\.(mean|std)": "constants of the CLIP normalisation, which stand in appearance.py",
    r"text_encoder\.text_model\.embeddings\.position_ids": "0, 1, 2, …; a buffer older transformers stored",
}  # fmt: skip
"""Tensors of the released file that nothing of ours reads (pattern of the name -> reason)."""

_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_VISION = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "proj": "visual_projection.weight",
}
_VISION_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Released:
    """The tensors of `streaming_t2v.ckpt`, sorted into the networks they belong to under our names.

    Attributes:
        components: per component ("network", "vae", "text_encoder", "image_encoder") its state dict.
        unused: every name that nothing reads, with the reason.
    """

    components: dict[str, Parts]
    unused: dict[str, str]


def map_checkpoint(state_dict: Mapping[str, Tensor]) -> Released:
    """The released tensors under our names.

    Raises:
        CheckpointError: names that belong to none of the six networks; the first ten are listed.
    """
    components: dict[str, Parts] = {"network": {}, "vae": {}, "text_encoder": {}, "image_encoder": {}}
    unused: dict[str, str] = {}
    unknown = []
    for key, tensor in state_dict.items():
        reason = next((reason for pattern, reason in UNUSED.items() if re.fullmatch(pattern, key)), None)
        prefix, _, rest = key.partition(".")
        if reason is not None:
            unused[key] = reason
        elif prefix in _MAPS:
            component, translate = _MAPS[prefix]
            components[component].update(translate(rest, tensor))
        else:
            unknown.append(key)
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} tensors belong to no part of StreamingT2V: {', '.join(unknown[:10])}; "
            "is this streaming_t2v.ckpt?"
        )
    return Released(components, unused)


def map_base_model(key: str, tensor: Tensor) -> Parts:
    """A tensor of `base_model.`: the video UNet with mergers and projection blocks."""
    merger = re.fullmatch(r"cross_attention_merger_(?:down_blocks\.(\d+)|mid_block)\.temporal_transformer\.(.+)", key)
    if merger is not None:
        place = "middle" if merger[1] is None else f"skips.{merger[1]}"
        return {f"injector.{place}.{merger[2]}": tensor}
    return {"unet." + re.sub(r"\.attn2\.(conv\.|conv_ln\.|alpha$)", r".attn2.processor.\1", key): tensor}


def map_cam(key: str, tensor: Tensor) -> Parts:
    """A tensor of `unet.`, which is the released name of the Conditional Attention Module."""
    embedding = "controlnet_cond_embedding."
    return {("cam." if key.startswith(embedding) else "cam.encoder.") + key: tensor}


def map_anchor_tokens(key: str, tensor: Tensor) -> Parts:
    """A tensor of `resampler.`: the MLP of the Appearance Preservation Module."""
    return {f"anchor_tokens.{key}": tensor}


def map_vae(key: str, tensor: Tensor) -> Parts:
    """A tensor of `vae.`, whose attention carries older names in older files."""
    match = re.fullmatch(r"(.+\.attentions\.0\.)(query|key|value|proj_attn)(\..+)", key)
    return {key if match is None else match[1] + _VAE_ATTENTION[match[2]] + match[3]: tensor}


def map_text_encoder(key: str, tensor: Tensor) -> Parts:
    """A tensor of `text_encoder.`; transformers dropped the inner prefix."""
    return {key.removeprefix("text_model."): tensor}


def map_image_encoder(key: str, tensor: Tensor) -> Parts:
    """A tensor of `image_encoder.`: open_clip's vision transformer as transformers spells it."""
    key = key.removeprefix("model.visual.")
    if key in _VISION:
        return {_VISION[key]: tensor.T.contiguous() if key == "proj" else tensor}
    outer = re.fullmatch(r"ln_(pre|post)\.(weight|bias)", key)
    if outer is not None:
        name = {"pre": "pre_layrnorm", "post": "post_layernorm"}[outer[1]]  # "layrnorm" is transformers' spelling
        return {f"vision_model.{name}.{outer[2]}": tensor}
    layer = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", key)
    if layer is None:
        return {key: tensor}
    place = f"vision_model.encoder.layers.{layer[1]}"
    if layer[2] == "attn.in_proj":
        names = (f"{place}.self_attn.{part}_proj.{layer[3]}" for part in "qkv")
        return dict(zip(names, tensor.chunk(3), strict=True))
    return {f"{place}.{_VISION_LAYER.get(layer[2], layer[2])}.{layer[3]}": tensor}


_MAPS: dict[str, tuple[str, Callable[[str, Tensor], Parts]]] = {
    "base_model": ("network", map_base_model),
    "unet": ("network", map_cam),
    "resampler": ("network", map_anchor_tokens),
    "vae": ("vae", map_vae),
    "text_encoder": ("text_encoder", map_text_encoder),
    "image_encoder": ("image_encoder", map_image_encoder),
}


def released_modules() -> dict[str, nn.Module]:
    """Every network of the released method at full size on the meta device, so without its weights.

    Source: ali-vilab/text-to-video-ms-1.7b (vae, text_encoder) and open_clip's ViT-H-14 (image encoder).
    """
    text = CLIPTextConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, hidden_act="gelu",
        projection_dim=512,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, hidden_act="gelu",
        patch_size=14, image_size=224, projection_dim=1024,
    )  # fmt: skip
    with torch.device("meta"):
        return {
            "network": StreamingNetwork(NetworkConfig()),
            "vae": AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=4,
                sample_size=256,
                scaling_factor=0.18215,
            ),
            "text_encoder": CLIPTextModel(text),
            "image_encoder": CLIPVisionModelWithProjection(vision),
        }


def refiner_module() -> UNet3DConditionModel:
    """MS-Vid2Vid-XL's UNet at full size on the meta device."""
    with torch.device("meta"):
        return UNet3DConditionModel(attention_head_dim=64, cross_attention_dim=1024)


def read_pickle(path: Path, sha256: str = "") -> Parts:
    """The tensors in the "state_dict" entry of a pickle, which is never allowed to run code.

    Raises:
        CheckpointError: no file, another hash than `sha256`, damaged, or not such a pickle.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: give the downloaded checkpoint file")
    digest = file_hash(path)
    if sha256 and digest != sha256.lower():
        raise CheckpointError(
            f"{path} has SHA-256 {digest}, not {sha256}: it is damaged or another file; fetch it again"
        )
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or holds more than tensors, so it is not opened: {first}") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f'{path} has no entry "state_dict" of tensors: it is not a released checkpoint')
    return state


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def convert_streaming(path: Path, out: Path, sha256: str = "") -> Path:
    """Writes the networks of `streaming_t2v.ckpt` as folders below `out`; does nothing if that was done before.

    Raises:
        CheckpointError: as `read_pickle`; or tensors missing, extra or misshapen, the first ten named.
    """
    if _converted_before(path, out):
        return out
    released = map_checkpoint(read_pickle(path, sha256))
    modules = released_modules()
    for name, module in modules.items():
        check_fit(module.state_dict(), released.components[name], f"{path} ({name})")
    for name, module in modules.items():
        module.load_state_dict(released.components[name], strict=True, assign=True)
        if isinstance(module, StreamingNetwork):
            module.save(out / name)
        else:
            module.save_pretrained(out / name)  # type: ignore[operator]
    return _note_source(path, out)


def convert_refiner(path: Path, out: Path, sha256: str = "") -> Path:
    """Writes MS-Vid2Vid-XL's UNet to `out`/unet under diffusers' names; does nothing if that was done before.

    Raises:
        CheckpointError: as `convert_streaming`.
    """
    if _converted_before(path, out):
        return out
    state = read_pickle(path, sha256)
    try:
        converted = convert_lvdm_keys(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    unet = refiner_module()
    check_fit(unet.state_dict(), converted, str(path))
    unet.load_state_dict(converted, strict=True, assign=True)
    unet.save_pretrained(out / "unet")
    return _note_source(path, out)


def _converted_before(path: Path, out: Path) -> bool:
    """Whether `out` was made from this file: same size and time of change, or else the same hash."""
    note = out / "source.json"
    if not note.is_file() or not path.is_file():
        return False
    recorded: object = json.loads(note.read_text(encoding="utf-8"))
    if not isinstance(recorded, dict):
        return False
    return _stamp(path).items() <= recorded.items() or recorded.get("sha256") == file_hash(path)


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "changed_ns": status.st_mtime_ns}


def _note_source(path: Path, out: Path) -> Path:
    note = {"file": path.name, "sha256": file_hash(path), **_stamp(path)}
    (out / "source.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return out


def main() -> None:
    """Converts a released file from the command line."""
    parser = argparse.ArgumentParser(prog="python -m generators.streaming_t2v.checkpoint", description=__doc__)
    parser.add_argument("file", type=Path, help="streaming_t2v.ckpt, or the refiner's file")
    parser.add_argument("out", type=Path, help="folder for the converted networks")
    parser.add_argument("--sha256", default="", help="expected hash of the file")
    parser.add_argument("--refiner", action="store_true", help="the file is MS-Vid2Vid-XL's")
    options = parser.parse_args()
    convert = convert_refiner if options.refiner else convert_streaming
    try:
        folder = convert(options.file, options.out, options.sha256)
    except CheckpointError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{folder}: converted")


if __name__ == "__main__":
    main()
