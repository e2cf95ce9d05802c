from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from diffusers import UNet3DConditionModel
from huggingface_hub import constants
from safetensors import SafetensorError

from generators.converted import converted
from generators.streaming_t2v import checkpoint
from generators.streaming_t2v.loading import refiner_folder
from generators.weights import MissingWeightsError
from tests.unit.test_streaming_checkpoint import lvdm_name, tiny_unet


@pytest.fixture
def released(tmp_path: Path) -> Path:
    file = tmp_path / "model.ckpt"
    file.write_bytes(b"released")
    return file


def copy(file: Path, folder: Path) -> None:
    """Writes slowly, and says in the checkpoint's folder that it did."""
    (file.parent / f"began-{os.getpid()}").touch()
    (folder / "unet").mkdir()
    time.sleep(0.3)
    (folder / "unet" / "config.json").write_bytes(file.read_bytes())


def refuse(file: Path, folder: Path) -> None:
    raise AssertionError("converted twice")


def use(file: Path, weights_dir: str) -> None:
    assert (converted(file, weights_dir, copy) / "unet" / "config.json").read_bytes() == b"released"


def test_of_several_processes_one_converts_and_all_read(released: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=use, args=(released, str(tmp_path / "weights"))) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(tmp_path.glob("began-*"))) == 1


def test_copies_lie_with_the_weights_and_those_of_the_cache_are_read_too(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    cached = converted(released, "", copy)
    assert cached.parent == tmp_path / "home" / "longvideo-bench"
    assert converted(released, str(tmp_path / "weights"), refuse) == cached
    shutil.rmtree(cached)
    folder = converted(released, str(tmp_path / "weights"), copy)
    assert folder.parent == tmp_path / "weights" / "longvideo-bench"
    assert converted(released, str(tmp_path / "weights"), refuse) == folder
    released.write_bytes(b"another release")
    assert converted(released, str(tmp_path / "weights"), copy) != folder


def test_what_a_killed_process_left_is_no_copy(released: Path, tmp_path: Path) -> None:
    folder = converted(released, str(tmp_path), copy)
    folder.rename(folder.with_name(f"{folder.name}.unfinished"))
    assert converted(released, str(tmp_path), copy) == folder
    assert list(folder.parent.glob("[!.]*")) == [folder]


def test_the_refiner_is_converted_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tiny_unet().state_dict()
    torch.save({"state_dict": {lvdm_name(key): value for key, value in own.items()}}, tmp_path / "refiner.pth")
    monkeypatch.setattr(checkpoint, "refiner_module", tiny_unet)
    monkeypatch.setattr(UNet3DConditionModel, "save_pretrained", fails_half_way)
    with pytest.raises(MissingWeightsError, match="No space left"):
        refiner_folder(str(tmp_path), str(tmp_path / "weights"))
    assert list((tmp_path / "weights" / "longvideo-bench").glob("[!.]*")) == []
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "refiner_module", tiny_unet)
    folder = refiner_folder(str(tmp_path), str(tmp_path / "weights"))
    assert folder.parent == tmp_path / "weights" / "longvideo-bench"
    assert (folder / "unet" / "config.json").is_file()


def fails_half_way(self: UNet3DConditionModel, folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").touch()
    raise SafetensorError("I/O error: No space left on device (os error 28)")


def test_a_place_that_cannot_be_written_is_passed_by_and_the_last_one_named(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").write_text("a file where the folder should be")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    assert converted(released, str(tmp_path / "weights"), copy).parent == tmp_path / "home" / "longvideo-bench"
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "weights"))
    with pytest.raises(
        MissingWeightsError, match=r"model\.ckpt cannot be converted into .*weights/longvideo-bench"
    ) as no:
        converted(released, str(tmp_path / "weights"), copy)
    assert "make that folder writable" in str(no.value)
