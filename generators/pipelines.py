"""What every system that runs on a diffusers pipeline shares: settings, loading, placing on a device, noise.

Released and miniature weights go through `load_pipeline`, so that only the folder differs between them. Nothing here
touches the network, and diffusers' and transformers' bars and notices are off only while a call of ours runs.

Example:
    >>> settings = PipelineSettings(device="cpu", dtype="float32")
    >>> settings.offload
    'none'
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.weights import MissingWeightsError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")
OFFLOADS = ("none", "model", "sequential")
TEXT_FILLS = ("zero", "tokenizer")
"""What stands behind a short text: token 0, as open_clip fills up, or the tokenizer's own token for it."""


@dataclass(kw_only=True)
class PipelineSettings:
    """Where and how a pipeline runs.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        dtype: one of `DTYPES`.
        weights_dir: folder that holds "hub:" weights on machines without a hub cache; empty for the cache.
        variant: file variant of the checkpoint, such as "fp16"; empty for plain file names.
        offload: "none"; "model" keeps one network at a time on the GPU; "sequential" one layer at a time.
    """

    device: str = "cpu"
    dtype: str = "float32"
    weights_dir: str = ""
    variant: str = ""
    offload: str = "none"

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not one of its options."""
        check_option("dtype", self.dtype, DTYPES)
        check_option("offload", self.offload, OFFLOADS)
        if self.offload != "none" and self.device == "cpu":
            raise ValueError(f'offload = "{self.offload}" moves networks between CPU and GPU: set device = "cuda"')


@dataclass(kw_only=True)
class ImageVaeSettings(PipelineSettings):
    """Settings of pipelines that decode with Stable Diffusion's image autoencoder, which can trade time for memory.

    Attributes:
        vae_slicing: encode and decode one frame at a time.
        vae_tiling: encode and decode a frame in tiles; seams between tiles can show.
    """

    vae_slicing: bool = False
    vae_tiling: bool = False


def check_sides(size: tuple[int, int], multiple: int) -> None:
    """Raises ValueError unless height and width are multiples of a number."""
    if any(side % multiple for side in size):
        raise ValueError(f"{size[0]} x {size[1]} pixels: set a height and width that are multiples of {multiple}")


def check_steps(name: str, steps: int) -> None:
    """Raises ValueError unless a number of solver steps is 1 or more."""
    if steps < 1:
        raise ValueError(f"{name} = {steps}: a solver takes 1 step or more")


def check_option(name: str, value: str, options: tuple[str, ...]) -> None:
    """Raises ValueError, naming the setting and its options, unless `value` is one of them."""
    if value not in options:
        raise ValueError(f'{name} = "{value}" is not one of {", ".join(repr(option) for option in options)}')


def torch_dtype(name: str) -> torch.dtype:
    """Returns torch's dtype for one of `DTYPES`."""
    import torch

    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[name]


@contextmanager
def silenced() -> Iterator[None]:
    """Silences diffusers' and transformers' notices and bars inside the block and restores them afterwards.

    Errors still show. The harness draws its own progress, and the notices (deprecated pipelines, truncated prompts)
    would be repeated for every chunk.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    with ExitStack() as restore:
        for log in (diffusers_logging, transformers_logging):
            restore.callback(log.set_verbosity, log.get_verbosity())
            log.set_verbosity_error()
            if log.is_progress_bar_enabled():
                restore.callback(log.enable_progress_bar)
                log.disable_progress_bar()
        yield


def load_pipeline(
    pipeline_class: Any,
    folder: Path,
    settings: PipelineSettings,
    components: Mapping[str, object] | None = None,
    part_dtypes: Mapping[str, str] | None = None,
) -> Any:
    """Returns the diffusers pipeline stored in a folder, placed on its device, quiet, in the wanted precision.

    Args:
        pipeline_class: a `diffusers.DiffusionPipeline` class.
        folder: Hugging Face layout with a model_index.json; safetensors only.
        settings: device, dtype and memory options.
        components: networks that take the place of those in the folder or that it lacks.
        part_dtypes: precision of single parts by their names in the pipeline, where it is another.

    Raises:
        MissingWeightsError: the folder is no pipeline folder.
    """
    precisions = {name: torch_dtype(dtype) for name, dtype in (part_dtypes or {}).items()}
    if not (folder / "model_index.json").is_file():
        raise MissingWeightsError(
            f"{folder} holds no model_index.json, so it is not a pipeline folder: fetch the whole repository, or point "
            "the method's weights setting at the folder that holds that file"
        )
    with silenced():
        pipeline = pipeline_class.from_pretrained(
            folder,
            dtype={**precisions, "default": torch_dtype(settings.dtype)} if precisions else torch_dtype(settings.dtype),
            variant=settings.variant or None,
            use_safetensors=True,
            local_files_only=True,
            **(components or {}),
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_network(network_class: Any, folder: Path, settings: PipelineSettings) -> Any:
    """Returns one network of a pipeline, stored in a folder of its own (config.json and safetensors).

    The settings' file variant is used where the folder has it: authors of add-on networks often publish one file only.
    """
    if not (folder / "config.json").is_file():
        raise MissingWeightsError(f"{folder} holds no config.json, so it is not a network's folder: fetch it again")
    variant = settings.variant if any(folder.glob(f"*.{settings.variant}.*")) else ""
    with silenced():
        return network_class.from_pretrained(
            folder,
            dtype=torch_dtype(settings.dtype),
            variant=variant or None,
            use_safetensors=True,
            local_files_only=True,
        )


def load_part(pipeline_class: Any, name: str, folder: Path, settings: PipelineSettings) -> Any:
    """Returns one part of a pipeline (network, tokenizer, processor) that is stored in a folder of its own.

    A network's configuration names its class; where that is unknown, as after a renaming, and for any other part it is
    the class that the pipeline expects.

    Args:
        pipeline_class: a `diffusers.DiffusionPipeline` class.
        name: the part's name in it, such as "vae".
        folder: where it lies.
        settings: the precision.

    Raises:
        MissingWeightsError: the folder does not hold such a part.
        ValueError: the pipeline has no part of that name.
    """
    expected = inspect.signature(pipeline_class).parameters
    if name not in expected:
        raise ValueError(f"parts.{name}: {pipeline_class.__name__} has no such part; there are {', '.join(expected)}")
    wanted = expected[name].annotation
    if not (folder / "config.json").is_file() and isinstance(wanted, type):
        with silenced():
            return wanted.from_pretrained(folder, local_files_only=True)  # type: ignore[attr-defined]
    return load_network(_network_class(folder, name, wanted), folder, settings)


def _network_class(folder: Path, name: str, expected: object) -> Any:
    """Returns the class that the configuration of a network names, in diffusers or in transformers, or the expected."""
    import diffusers
    import transformers

    if not (folder / "config.json").is_file():
        raise MissingWeightsError(f"parts.{name}: {folder} holds no config.json, so it is not a network's folder")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wanted = str(config.get("_class_name") or (config.get("architectures") or [""])[0])
    found = getattr(diffusers if "_class_name" in config else transformers, wanted, None)
    if not isinstance(found, type):
        found = expected
    if not isinstance(found, type):
        raise MissingWeightsError(
            f"parts.{name}: {folder} holds a {wanted or 'network without a name'}, which is not known here: fetch the "
            "folder again, or update diffusers and transformers"
        )
    return found


def place(pipeline: Any, settings: PipelineSettings) -> None:
    """Moves a pipeline to its device, or lets diffusers move its parts there and back as they are needed."""
    if settings.offload == "model":
        pipeline.enable_model_cpu_offload(device=settings.device)
    elif settings.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=settings.device)
    else:
        pipeline.to(settings.device)


def limit_vae_memory(vae: Any, settings: ImageVaeSettings) -> None:
    """Makes an image autoencoder work on slices or tiles, as the settings say."""
    if settings.vae_slicing:
        vae.enable_slicing()
    if settings.vae_tiling:
        vae.enable_tiling()


def use_scheduler(pipeline: Any, name: str, overrides: Mapping[str, object] | None = None) -> None:
    """Gives a pipeline another solver for the noise schedule its checkpoint was trained with.

    Args:
        pipeline: a loaded pipeline; its scheduler is replaced.
        name: a solver's class name in diffusers; empty keeps the checkpoint's own.
        overrides: entries of the scheduler's configuration to change.

    Raises:
        ValueError: diffusers has no such solver, or the solver no such entry (which it would ignore).
    """
    if not name and not overrides:
        return
    import diffusers

    solver: Any = getattr(diffusers, name, None) if name else type(pipeline.scheduler)
    known_solver = isinstance(solver, type) and issubclass(solver, diffusers.SchedulerMixin)
    if not known_solver:
        raise ValueError(
            f"scheduler = {name!r} is no solver of diffusers {diffusers.__version__}; see its list of schedulers"
        )
    known = inspect.signature(solver).parameters
    for entry in overrides or {}:
        if entry not in known:
            close = ", ".join(get_close_matches(entry, known)) or ", ".join(known)
            raise ValueError(f"scheduler setting {entry!r}: {solver.__name__} has none of that name; there are {close}")
    with silenced():
        pipeline.scheduler = solver.from_config(pipeline.scheduler.config, **(overrides or {}))


def clip_token_ids(tokenizer: Any, texts: Sequence[str], fill: str) -> torch.Tensor:
    """Returns the tokens [N, L] of texts, cut or filled up to the tokenizer's length.

    No mask goes with them: CLIP's text tower and the networks behind it read every place, so what fills the text up
    counts.

    Args:
        tokenizer: a `CLIPTokenizer`.
        texts: N texts.
        fill: one of `TEXT_FILLS`. A folder of transformers may name another token than the encoder was trained with.

    Source: mlfoundations/open_clip, src/open_clip/tokenizer.py (rows of zeros that the text is written into).
    """
    read = tokenizer(
        list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = read.input_ids
    return ids.masked_fill(read.attention_mask == 0, 0) if fill == "zero" else ids


def encode_penultimate(tokenizer: Any, text_encoder: Any, texts: Sequence[str], device: str, fill: str) -> torch.Tensor:
    """Returns text tokens [N, L, C]: hidden states before the last layer, through the final layer norm.

    What OpenCLIP-H conditioned models were trained with. Written out here because the pipelines' own `clip_skip` reads
    an attribute that transformers dropped in 5.6.

    Args:
        tokenizer: a `CLIPTokenizer`.
        text_encoder: a `CLIPTextModel`.
        texts: prompts; longer ones are truncated to the tokenizer's length.
        device: where the encoder runs.
        fill: what stands behind a short text, one of `TEXT_FILLS`.

    Source: ali-vilab/VGen, tools/modules/clip_embedder.py (layer "penultimate").
    """
    import torch

    ids = clip_token_ids(tokenizer, texts, fill)
    with torch.no_grad():
        states = text_encoder(ids.to(device), output_hidden_states=True).hidden_states
        tokens: torch.Tensor = text_encoder.final_layer_norm(states[-2])
    return tokens


def cpu_generator(seed: int) -> torch.Generator:
    """Returns a fresh generator on the CPU: the same noise whatever the device, the order or the batch."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


@contextmanager
def private_noise(seed: int, device: str) -> Iterator[None]:
    """Seeds torch's global generators inside the block and gives them back as they were.

    For the few places where a diffusers pipeline samples an autoencoder's posterior without taking a generator.
    """
    import torch

    cuda = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield
