from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
from huggingface_hub import constants

from baselines.animatediff.pipeline import LINEAR_BETAS
from bench.catalog import find_plugins
from generators import weights, weights_table
from generators.pipelines import PipelineSettings, load_part
from generators.weights import (
    TABLE,
    MissingWeightsError,
    Weights,
    find_weights,
    how_to_get,
    lacking,
    needed,
    resolve_weights,
    verify,
)

SVD = "stabilityai/stable-video-diffusion-img2vid-xt"


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gives every test an empty hub cache and empty torch caches."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


def fill(folder: Path, entry: Weights) -> Path:
    for pattern in entry.files:
        file = folder / pattern.replace("*", "some")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights")
    return folder


def cached(cache: Path, entry: Weights) -> Path:
    place = cache / ("models--" + entry.repository.replace("/", "--"))
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    return fill(place / "snapshots" / ("0" * 40), entry)


def test_every_system_of_table_1_and_every_scorer_is_listed() -> None:
    systems = ["streaming_t2v", "svd", "i2vgen_xl", "sparsectrl", "freenoise", "freenoise_animatediff"]
    systems += ["seine", "dynamicrafter_xl", "opensora", "opensora_plan"]
    for name in [*systems, "first_chunk", "clip", "mawe"]:
        assert needed(name), name
    assert needed("still") == ()
    assert len({entry.repository for entry in TABLE}) == len(TABLE)
    for entry in TABLE:
        assert entry.licence
        assert entry.files
        assert entry.size_gb > 0
        assert entry.sha256.keys() <= set(entry.files), entry.repository


def test_a_pattern_in_the_table_stands_beside_names_that_tell_whether_its_folder_is_there() -> None:
    for entry in weights_table.TABLE:
        patterns = [name for name in entry.files if "*" in name]
        for pattern in patterns:
            named = [name for name in entry.files if name not in patterns and fnmatch(name, pattern)]
            assert named, f"{entry.repository}: an interrupted download of {pattern} would pass for a complete one"


def test_miniature_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights" / "svd" / "unet").mkdir(parents=True)
    monkeypatch.setattr(weights.importlib.resources, "files", lambda package: tmp_path)
    assert resolve_weights("mini:svd") == tmp_path / "weights" / "svd"
    assert resolve_weights("mini:svd/unet") == tmp_path / "weights" / "svd" / "unet"
    for name in ("nobody", "", "../weights/svd"):
        with pytest.raises(MissingWeightsError, match=r"docs/mini\.md"):
            resolve_weights(f"mini:{name}")


def test_plain_paths(tmp_path: Path) -> None:
    assert resolve_weights(str(tmp_path)) == tmp_path
    for location in ("", str(tmp_path / "nothing")):
        with pytest.raises(MissingWeightsError, match="hub:OWNER/NAME"):
            resolve_weights(location)


def test_hub_weights_in_the_cache(tmp_path: Path) -> None:
    (entry,) = needed("svd")
    folder = cached(tmp_path / "hub", entry)
    assert resolve_weights(f"hub:{SVD}") == folder
    assert resolve_weights(f"hub:{SVD}@main") == folder
    assert resolve_weights(f"hub:{SVD}/unet") == folder / "unet"
    assert find_weights(entry) == folder
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    assert find_weights(entry) is None
    with pytest.raises(MissingWeightsError, match=r"without vae/diffusion_pytorch_model\.fp16\.safetensors \(rev"):
        resolve_weights(f"hub:{SVD}")


def test_hub_weights_in_a_folder(tmp_path: Path) -> None:
    (entry,) = needed("svd")
    folder = fill(tmp_path / "w" / SVD, entry)
    assert resolve_weights(f"hub:{SVD}", str(tmp_path / "w")) == folder
    assert find_weights(entry, str(tmp_path / "w")) == folder
    entry = next(entry for entry in needed("freenoise") if entry.files == ("model.ckpt",))
    file = fill(tmp_path / "w" / entry.repository, entry) / "model.ckpt"
    assert resolve_weights(f"hub:{entry.repository}/model.ckpt", str(tmp_path / "w")) == file


def test_missing_weights_say_what_to_do() -> None:
    with pytest.raises(MissingWeightsError) as missing:
        resolve_weights(f"hub:{SVD}", "/tmp/my weights")
    for part in (SVD, "`python -m bench fetch svd --weights-dir '/tmp/my weights'`", "4.5 GB", "Community"):
        assert part in str(missing.value), part
    with pytest.raises(MissingWeightsError, match=r"hf download someone/else --revision v2"):
        resolve_weights("hub:someone/else@v2/unet")
    for part in ("accept its licence", "hf auth login", "fetch svd"):
        assert part in how_to_get(dataclasses.replace(needed("svd")[0], gated=True)), part


def test_lacking_reads_patterns(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "a.safetensors").touch()
    (tmp_path / ".cache" / "huggingface" / "trees").mkdir(parents=True)
    (tmp_path / ".cache" / "huggingface" / "trees" / "b.json").touch()
    assert lacking(tmp_path, ("unet/*.safetensors", "*.json", "unet/a.safetensors")) == ("*.json",)


def test_verify_compares_known_hashes(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    entry = dataclasses.replace(TABLE[0], sha256={"a.bin": digest})
    verify(tmp_path, entry)
    verify(tmp_path / "a.bin", dataclasses.replace(entry, sha256={"a.bin": digest[:8]}))
    (tmp_path / "a.bin").write_bytes(b"abd")
    with pytest.raises(MissingWeightsError, match=r"a\.bin has SHA-256"):
        verify(tmp_path, entry)


def test_torchvision_weights_are_found_where_torch_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (entry,) = needed("mawe")
    assert find_weights(entry) is None
    (tmp_path / "w" / "torchvision").mkdir(parents=True)
    (tmp_path / "w" / "torchvision" / entry.files[0]).touch()
    assert find_weights(entry) is None
    assert find_weights(entry, str(tmp_path / "w")) == tmp_path / "w" / "torchvision" / entry.files[0]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / entry.files[0]).touch()
    assert find_weights(entry) == tmp_path / "checkpoints" / entry.files[0]


def test_the_guide_names_every_repository_and_real_settings() -> None:
    docs = Path(__file__).parents[2] / "docs"
    guide = (docs / "reproducing-table-1.md").read_text(encoding="utf-8")
    modern = (docs / "modern-systems.md").read_text(encoding="utf-8")
    for entry in TABLE:
        if entry.source == "hub":
            assert entry.repository in guide + modern, entry.repository
    catalog = find_plugins().methods
    for name, setting in re.findall(r"methods\.(\w+)\.(\w+)", guide):
        if name in catalog:
            assert setting in {field.name for field in dataclasses.fields(catalog[name].cls)}, (name, setting)


def test_a_renamed_class_is_the_one_that_the_pipeline_expects(tmp_path: Path) -> None:
    folder = shutil.copytree(resolve_weights("mini:svd") / "unet", tmp_path / "unet")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_class_name": "UNetOfAnEarlierName"}))
    found = load_part(StableVideoDiffusionPipeline, "unet", folder, PipelineSettings())
    assert isinstance(found, UNetSpatioTemporalConditionModel)


@pytest.mark.parametrize(
    ("method", "missing"),
    [("cogvideox_5b_i2v", "tokenizer/spiece.model"), ("framepack", "diffusion_pytorch_model.safetensors.index.json")],
)
def test_what_a_system_cannot_do_without_is_fetched(method: str, missing: str) -> None:
    assert any(fnmatch(missing, pattern) for entry in needed(method) for pattern in entry.files)


def test_a_tokenizer_without_its_vocabulary_is_not_complete(tmp_path: Path) -> None:
    (entry,) = needed("cogvideox_5b_i2v")
    for name in ("model_index.json", "tokenizer/tokenizer_config.json", "vae/config.json", "vae/a.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert lacking(tmp_path, entry.files) == ("tokenizer/spiece.model",)


def test_animatediffs_last_step_leaves_no_noise() -> None:
    stored = PNDMScheduler(beta_schedule="scaled_linear", set_alpha_to_one=False, steps_offset=1).config
    assert DDIMScheduler.from_config({**stored, **LINEAR_BETAS}).final_alpha_cumprod == 1


@pytest.mark.parametrize("name", sorted(find_plugins().methods))
def test_every_weights_of_the_hub_that_a_method_names_is_in_its_rows(name: str) -> None:
    fields = dataclasses.fields(find_plugins().methods[name].cls)
    named = [f.default for f in fields if isinstance(f.default, str) and f.default.startswith("hub:")]
    repositories = {"/".join(location.removeprefix("hub:").split("/")[:2]) for location in named}
    assert repositories <= {entry.repository for entry in needed(name)}
