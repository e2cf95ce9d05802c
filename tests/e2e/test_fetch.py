"""The first `fetch` of a user, against a hub on this machine: bring, find, resolve, doctor, and one method on it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants

from baselines.svd import Svd
from bench.settings import located
from generators import weights_fetch
from generators.api import Request, Start
from generators.weights import MissingWeightsError, Weights, find_weights, needed, resolve_weights
from generators.weights_fetch import Fetched, fetch_weights
from tests.hub import COMMIT, Hub, serve

(SVD,) = needed("svd")
(CLIP,), (FLOW,) = needed("clip"), needed("mawe")
MINI = Path(resolve_weights("mini:svd"))
VAE = Path(resolve_weights("mini:text_to_video/vae"))
LARGEST = "unet/diffusion_pytorch_model.fp16.safetensors"
PATIENCE = 240.0
"""Seconds a download may take to come to its largest file: a loaded machine is slow to start a command."""


def released_svd() -> dict[str, bytes]:
    """Returns the miniature SVD under the names of the released one, among files that nobody asked for."""
    files = {file.relative_to(MINI).as_posix(): file for file in MINI.rglob("*") if file.is_file()}
    files |= {f"vae/{file.name}": file for file in VAE.iterdir()}
    halves = {name.replace(".safetensors", ".fp16.safetensors"): file.read_bytes() for name, file in files.items()}
    return {**halves, "README.md": b"read me", "svd_xt.safetensors": b"all in one file", ".gitattributes": b""}


@contextmanager
def hub_of(hub: Hub, home: Path) -> Iterator[Hub]:
    """Returns a context in which this process and its children know no hub but this one."""
    with serve(hub), pytest.MonkeyPatch.context() as patch:
        environment = hub.environment(home)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(constants, "HF_HUB_CACHE", environment["HF_HUB_CACHE"])
        patch.setattr(constants, "ENDPOINT", hub.address)
        patch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.address)
        patch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(torch.hub, "get_dir", lambda: str(home / "torch" / "hub"))
        yield hub


def bench(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench", *arguments]


def appears(name: str, folder: Path) -> bool:
    """Returns whether a file of this name is anywhere below a folder within some minutes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if any(folder.rglob(name)):
            return True
        time.sleep(0.1)
    return False


def made(weights_dir: str) -> np.ndarray:
    """Returns the frames that the method makes of the fetched weights."""
    method = Svd(
        variant="fp16", weights_dir=weights_dir, num_frames=3, height=64, width=64, parts={},
        arguments={"num_inference_steps": 1, "decode_chunk_size": 3},
    )  # fmt: skip
    start = Start(np.full((16, 64, 64, 3), 90, np.uint8), np.full((16, 64, 64, 3), 90, np.uint8))
    return np.concatenate([*method.generate(Request("a ball", 0, 18, 64, 64, 10.0), start)])


@pytest.mark.parametrize("place", ["", "weights of mine"])
def test_what_a_fetch_brings_is_found_listed_and_used(place: str, tmp_path: Path) -> None:
    folder = str(tmp_path / place) if place else ""
    into = ["--weights-dir", folder] if folder else []
    hub = Hub({SVD.repository: released_svd()}, stalls=LARGEST)
    with hub_of(hub, tmp_path / "home"):
        killed = subprocess.Popen(bench("fetch", "svd", *into), stderr=subprocess.DEVNULL, start_new_session=True)
        stalled = hub.stalled.wait(PATIENCE) and appears("model_index.json", tmp_path)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        assert stalled, "the download never came to the largest file"
        assert find_weights(SVD, folder) is None
        with pytest.raises(MissingWeightsError, match=re.escape(LARGEST)):
            resolve_weights(f"hub:{SVD.repository}", folder)

        hub.go_on.set()
        hub.sent.clear()
        again = subprocess.run(bench("fetch", "svd", *into), capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert LARGEST in hub.sent
        assert "README.md" not in hub.sent
        assert "svd_xt.safetensors" not in hub.sent
        assert "model_index.json" not in hub.sent, "what was complete is kept"

        asked = len(hub.sent)
        found = find_weights(SVD, folder)
        assert found is not None
        assert str(found) in again.stdout
        assert found == (Path(folder) / SVD.repository if folder else found)
        assert resolve_weights(f"hub:{SVD.repository}/unet", folder) == found / "unet"
        doctor = subprocess.run(bench("doctor", *into), capture_output=True, text=True, check=True).stdout
        (row,) = (line for line in doctor.splitlines() if line.startswith(SVD.repository))
        assert row.endswith("present")
        frames = made(folder)
        assert frames.shape == (2, 64, 64, 3)
        assert frames.std() > 0
        assert len(hub.sent) == asked, "only `fetch` asks the hub"


@pytest.fixture
def small() -> Weights:
    return replace(SVD, repository="owner/name", files=("config.json", "networks/one.bin"), sha256={})


FILES = {"config.json": b"{}", "networks/one.bin": b"12345678", "other.bin": b"87654321"}


def test_a_name_that_a_repository_lacks_is_said_before_the_first_byte_with_what_it_holds(
    small: Weights, tmp_path: Path
) -> None:
    with hub_of(Hub({"owner/name": FILES}), tmp_path) as hub:
        with pytest.raises(MissingWeightsError) as missing:
            fetch_weights(replace(small, files=("config.json", "*/*.txt")))
        assert re.search(
            r"no file for \*/\*\.txt; it holds config\.json, networks/one\.bin, other\.bin", str(missing.value)
        )
        assert hub.sent == []


def test_a_moved_repository_is_followed_and_said(small: Weights, tmp_path: Path) -> None:
    with hub_of(Hub({"new/place": FILES}, moved={"owner/name": "new/place"}), tmp_path):
        fetched = fetch_weights(small)
        assert find_weights(small) == fetched.path
        assert fetched.path.name == COMMIT
        assert "owner/name is now called new/place" in fetched.notes[0]


def test_a_gated_repository_answers_with_the_steps(small: Weights, tmp_path: Path) -> None:
    with (
        hub_of(Hub({"owner/name": FILES}, gated=frozenset({"owner/name"})), tmp_path),
        pytest.raises(MissingWeightsError, match=r"refuses owner/name: .*accept its licence.*hf auth login.*fetch svd"),
    ):
        fetch_weights(small)


def test_an_unknown_repository_and_a_hub_that_is_not_there_are_sentences(small: Weights, tmp_path: Path) -> None:
    with hub_of(Hub({}), tmp_path), pytest.raises(MissingWeightsError, match=r"could not fetch owner/name: .*404"):
        fetch_weights(small)
    with hub_of(Hub({}), tmp_path) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.address.rsplit(":", 1)[0] + ":9")
        with pytest.raises(MissingWeightsError, match=r"could not fetch owner/name: .*check the connection"):
            fetch_weights(small)


@pytest.mark.parametrize("place", ["", "weights"])
def test_a_full_disk_is_known_before_the_first_byte(small: Weights, place: str, tmp_path: Path) -> None:
    folder = str(tmp_path / place) if place else ""
    with hub_of(Hub({"owner/name": FILES}, sizes={"networks/one.bin": 10**18}), tmp_path / "home") as hub:
        with pytest.raises(MissingWeightsError, match=r"GB free in .*1000000000\.0 GB are to be fetched"):
            fetch_weights(small, folder)
        assert hub.sent == []


def test_what_is_there_already_needs_no_room(small: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of(Hub({"owner/name": FILES}), tmp_path):
        path = fetch_weights(small).path
        monkeypatch.setattr(weights_fetch, "shortage", lambda needed, free, folder: "too much" if needed else "")
        monkeypatch.setattr(weights_fetch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0}))
        assert fetch_weights(small) == Fetched(path)


@pytest.mark.parametrize("place", ["", "weights"])
def test_a_pattern_is_not_met_by_a_part_of_an_interrupted_download(small: Weights, place: str, tmp_path: Path) -> None:
    folder = str(tmp_path / place) if place else ""
    entry = replace(small, files=("config.json", "networks/*"))
    files = {**FILES, "networks/two.bin": b"2"}
    whole = huggingface_hub.snapshot_download

    def cut(repository: str, **options: object) -> str:
        whole(repository, **{**options, "allow_patterns": ["config.json", "networks/one.bin"]})  # type: ignore[arg-type]
        raise OSError("connection lost")

    with hub_of(Hub({"owner/name": files}), tmp_path / "home"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", cut)
        with pytest.raises(MissingWeightsError, match="connection lost"):
            fetch_weights(entry, folder)
        assert find_weights(entry, folder) is None
        patch.setattr(huggingface_hub, "snapshot_download", whole)
        assert fetch_weights(entry, folder).path == find_weights(entry, folder)


def test_another_file_under_the_known_name_is_refused(small: Weights, tmp_path: Path) -> None:
    with (
        hub_of(Hub({"owner/name": FILES}), tmp_path),
        pytest.raises(MissingWeightsError, match=r"has SHA-256 [0-9a-f]{64}, not abc"),
    ):
        fetch_weights(replace(small, sha256={"networks/one.bin": "abc"}))


def test_flow_weights_come_from_their_publisher_into_either_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(url: str, file: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url.rsplit("/", 1)[-1], hash_prefix))
        Path(file).write_bytes(b"flow")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(weights_fetch, "verify", lambda path, entry: None)
    for place in ("", str(tmp_path / "w")):
        assert fetch_weights(FLOW, place).path == find_weights(FLOW, place)
    assert asked == [(FLOW.files[0], "ff5fadd5")] * 2


def test_metrics_read_released_weights_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "empty"))
    flow = {"flow": "raft_large", "flow_weights": ""}
    clip = {"model": "ViT-B-32-quickgelu", "pretrained": "openai", "weights": ""}
    folder = str(tmp_path / "w")
    assert located("mawe", flow, folder) == flow
    for entry in (FLOW, CLIP):
        place = tmp_path / "w" / ("torchvision" if entry is FLOW else entry.repository)
        place.mkdir(parents=True)
        for name in entry.files:
            (place / name).touch()
    assert located("mawe", flow, folder)["flow_weights"] == f"{folder}/torchvision/{FLOW.files[0]}"
    file = f"{folder}/{CLIP.repository}/open_clip_model.safetensors"
    assert located("clip", clip, folder)["pretrained"] == file
    assert located("clip", {**clip, "pretrained": "laion2b_s34b_b79k"}, folder)["pretrained"] == "laion2b_s34b_b79k"
    seams = {**flow, **{f"clip_{name}": value for name, value in clip.items()}}
    assert located("seams", seams, folder)["clip_pretrained"] == file
    assert located("seams", {**seams, "clip_model": ""}, folder)["clip_pretrained"] == "openai"
    assert located("mawe", {**flow, "flow": "dis"}, folder)["flow_weights"] == ""
