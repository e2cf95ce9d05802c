from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from bench.catalog import find_plugins
from generators import weights
from generators.weights import (
    TABLE,
    MissingWeightsError,
    Weights,
    fetch_weights,
    find_weights,
    lacking,
    needed,
    resolve_weights,
    verify,
)

SVD = "stabilityai/stable-video-diffusion-img2vid-xt"


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gives every test an empty hub cache and fails it if anything goes out to the network."""
    cache = tmp_path / "hub"
    real = huggingface_hub.snapshot_download

    def local(repository: str, **options: object) -> str:
        assert options.get("local_files_only"), "resolve and find must not touch the network"
        return real(repository, cache_dir=cache, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", local)


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
    assert resolve_weights(f"hub:{SVD}/some") == folder / "some"
    assert find_weights(entry) == folder
    (folder / "some" / "some.fp16.safetensors").unlink()
    assert find_weights(entry) is None
    with pytest.raises(MissingWeightsError, match=r"without \*/\*\.fp16\.safetensors"):
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
    with pytest.raises(MissingWeightsError) as gated:
        resolve_weights(f"hub:{SVD}", "/tmp/w")
    for part in (
        SVD,
        "accept its licence",
        "hf auth login",
        "python -m bench fetch svd --weights-dir /tmp/w",
        "4.5 GB",
    ):
        assert part in str(gated.value), part
    with pytest.raises(MissingWeightsError, match=r"hf download someone/else --revision v2"):
        resolve_weights("hub:someone/else@v2/unet")


def test_lacking_reads_patterns(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "a.safetensors").touch()
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


def test_fetch_downloads_what_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (entry,) = needed("svd")
    asked: dict[str, object] = {}

    def download(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        return str(fill(tmp_path / "w" / repository, entry))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch_weights(entry, str(tmp_path / "w")) == tmp_path / "w" / SVD
    assert asked["allow_patterns"] == list(entry.files)
    assert asked["local_dir"] == tmp_path / "w" / SVD
    assert asked["revision"] == entry.revision


def test_fetch_translates_what_goes_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (entry,) = needed("svd")

    def offline(repository: str, **options: object) -> str:
        raise LocalEntryNotFoundError("no connection\nand a long story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(MissingWeightsError, match="no connection; check the connection"):
        fetch_weights(entry)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repository, **options: str(tmp_path))
    with pytest.raises(MissingWeightsError, match="layout has changed"):
        fetch_weights(entry)


def test_torchvision_weights_are_found_where_torch_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (entry,) = needed("mawe")
    assert find_weights(entry) is None
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
