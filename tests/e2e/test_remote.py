"""A run in object storage: moto's server on loopback stands for S3, a folder behind fsspec for any other kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.catalog import find_plugins
from bench.errors import ConfigError
from bench.ffv1 import VideoWriter
from bench.locations import open_store
from bench.plan import plan
from bench.profile import load_profile
from bench.store import Store
from generators.api import Start
from tests.tiny_grid import call

GRID = ["--methods", "still,pan", "--prompts", "1", "--frames", "20", "--set", "run.metrics=['scuts']"]
GRID += ["--set", "video.height=32", "--set", "video.width=32"]

FAULTY = """
from dataclasses import dataclass
from generators.api import method

@method(name="faulty", title="Faulty", paper="", licence="none", continues_start=True)
@dataclass
class Faulty:
    def generate(self, request, start):
        yield 1 / 0
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Yields the address of an S3 server on loopback."""
    server = pytest.importorskip("moto.server", reason="the extra `dev` brings moto").ThreadedMotoServer(port=0)
    pytest.importorskip("s3fs", reason="the extra `remote` is not installed")
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Yields the address of an empty bucket."""
    import fsspec

    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    files = fsspec.filesystem("s3")
    files.mkdir("bench-test")
    yield "s3://bench-test"
    files.rm("bench-test", recursive=True)


def lay_start(location: str) -> None:
    """Stores the first chunk, so that no text-to-video model is needed."""
    profile = load_profile("mini", ["video.num_frames=20", "video.height=32", "video.width=32", "run.metrics=[]"])
    for cell in plan(find_plugins(), profile, methods="still", prompts="1").cells:
        frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
        if isinstance(store := open_store(location), Store) and "://" not in location:
            (store.path / "starts").mkdir(parents=True)
        store.save_start(cell.start_key, Start(frames, frames), 10.0)


def objects(location: str) -> dict[str, int]:
    import fsspec

    files, root = fsspec.core.url_to_fs(location, use_listings_cache=False)
    files.invalidate_cache()
    return {path.removeprefix(root + "/"): about["size"] for path, about in files.find(root, detail=True).items()}


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_run_in_a_bucket_is_that_of_a_folder(bucket: str, executor: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = f"{bucket}/runs/one"
    lay_start(there)
    lay_start("here")
    options = ["--executor", executor, "--workers", "2"]
    assert call("run", *GRID, *options, "--out", there) == 0
    assert capsys.readouterr().out == f"{there}: 2 videos ok. Next: python -m bench report --out {there}\n"
    assert call("run", *GRID, "--executor", "serial", "--out", "here") == 0
    records, expected = open_store(there).records(), Store("here").records()
    assert [(r.key, r.video_sha256) for r in records] == [(r.key, r.video_sha256) for r in expected]
    assert {name for name in objects(there) if name.startswith("cells/")} == {
        path.relative_to("here").as_posix() for path in Path("here").glob("cells/*/*")
    }
    capsys.readouterr()
    before = objects(there)
    assert call("run", *GRID, *options, "--out", there) == 0
    assert "cells]" not in capsys.readouterr().err
    assert call("run", *GRID, *options, "--out", there, "--set", "run.metrics=['scuts','stillness']") == 0
    assert {len(record.scores) for record in open_store(there).records()} == {2}
    videos = {name: size for name, size in before.items() if name.endswith(".mkv")}
    assert {name: size for name, size in objects(there).items() if name.endswith(".mkv")} == videos


def test_the_report_of_a_bucket_is_written_beside_the_run(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = f"{bucket}/run"
    lay_start(there)
    assert call("run", *GRID, "--executor", "serial", "--out", there) == 0
    capsys.readouterr()
    assert call("report", "--out", there) == 0
    assert capsys.readouterr().out == f"Open {there}/report/index.html\n"
    assert "report/index.html" in objects(there)


def test_given_videos_are_scored_into_a_bucket(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = f"{bucket}/scores"
    for name, level in (("a.mkv", 10), ("b.mkv", 30)):
        with VideoWriter(Path(name), 8.0) as video:
            video.write(np.full((12, 32, 32, 3), level, np.uint8))
    words = ["score", "a.mkv", "b.mkv", "--metrics", "scuts", "--no-cache", "--executor", "serial", "--out", there]
    assert call(*words, "--dry-run") == 0
    assert "2 videos to score, 0 to score again, by this process" in capsys.readouterr().out
    assert objects(there) == {}
    assert call(*words) == 0
    assert f"{there}: 2 videos ok. Next: python -m bench report --out {there}" in capsys.readouterr().out
    records = open_store(there).records()
    assert [record.source for record in records] == [str(Path(name).absolute()) for name in ("a.mkv", "b.mkv")]
    before = objects(there)
    assert set(before) == {"run.json", *(f"cells/{record.method}/{record.key}.json" for record in records)}
    Path("b.mkv").rename("c.mkv")  # not scored again: its content is known, and its new path is kept
    assert call(*[word.replace("b.mkv", "c.mkv") for word in words]) == 0
    said = capsys.readouterr()
    assert "b.mkv has moved to" in said.err
    assert "cells]" not in said.err
    assert {Path(record.source).name for record in open_store(there).records()} == {"a.mkv", "c.mkv"}
    assert call("report", "--out", there) == 0
    assert "report/index.html" in objects(there)


def test_what_failed_is_explained_in_the_bucket(bucket: str) -> None:
    import fsspec

    there = f"{bucket}/run"
    lay_start(there)
    Path("plugin.py").write_text(FAULTY)
    for _ in range(2):
        words = ("--methods", "faulty", "--plugin", "plugin.py", "--executor", "serial", "--redo", "failed")
        assert call("run", *GRID, *words, "--out", there) == 1
    log = fsspec.filesystem("s3").cat_file(f"{there}/run.log").decode()
    assert log.count("ZeroDivisionError: division by zero\n") == 2


def test_a_lost_or_damaged_video_in_a_bucket_is_made_anew(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    import fsspec

    there = f"{bucket}/run"
    lay_start(there)
    assert call("run", *GRID, "--executor", "serial", "--out", there) == 0
    before = objects(there)
    first, second = (name for name in before if name.startswith("cells/") and name.endswith(".mkv"))
    files = fsspec.filesystem("s3")
    files.rm_file(f"{there}/{first}")
    files.pipe_file(f"{there}/{second}", b"torn")
    capsys.readouterr()
    assert call("run", *GRID, "--executor", "serial", "--out", there) == 0
    assert "the video is missing" in (said := capsys.readouterr().err)
    assert "the video has 4 bytes" in said
    after = objects(there)
    assert {first: before[first], second: before[second]} == {first: after[first], second: after[second]}


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("s3://no-such-bucket/run", 4, "s3://no-such-bucket/run: the storage, asked to write run.json, raised"),
        ("nonsense://a/b", 2, "--out nonsense://a/b: Protocol not known: nonsense"),
    ],
)
def test_a_bucket_that_cannot_be_written_is_one_sentence(
    bucket: str, capsys: pytest.CaptureFixture[str], address: str, code: int, words: str
) -> None:
    assert call("run", *GRID, "--executor", "serial", "--out", address) == code
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_any_kind_of_address_that_fsspec_knows_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    there = f"file://{tmp_path}/run"
    lay_start(there)
    assert call("run", *GRID, "--executor", "serial", "--out", there) == 0
    assert len(Store("run").records()) == 2
    assert call("verify", there) == 0
    (video,) = Path("run").glob("cells/still/*.mkv")
    content = bytearray(video.read_bytes())
    content[-1] ^= 1
    video.write_bytes(content)
    assert call("verify", there) == 4


def test_without_the_package_for_an_address_the_error_names_it() -> None:
    with pytest.raises(ConfigError, match="gcsfs"):
        open_store("gs://bucket/run")
