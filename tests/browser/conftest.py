"""Debian's Chromium, driven headless, and a small report to open in it: hostile prompts, a floor, seams and a cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.ffv1 import VideoWriter, file_digest
from bench.records import Record, RunInfo, StoredScore
from bench.report import write_report
from bench.spec import SCHEMA, Prompt
from bench.store import Store
from generators.api import MethodInfo
from metrics.api import MetricInfo

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HERE = Path(__file__).resolve().parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
FRAMES, FPS, SHARED = 48, 8.0, 16
PROMPTS = (
    Prompt(
        "alert",
        "<script>document.title = 'pwned'</script> & \"quotes\" 'too' <img src=x onerror=\"document.title='pwned'\">",
    ),
    Prompt("rtl", "قطة تركض \u202e123\u202c 纸鹤在雪中飞"),
    Prompt("plain", "A paper crane over the sea"),
)
METHODS = ("streaming_t2v", "freenoise", "mine", "still")
STAMPS = {
    "streaming_t2v": MethodInfo("streaming_t2v", "StreamingT2V", "", "none", True),
    "freenoise": MethodInfo("freenoise", "FreeNoise", "", "none", False),
    "mine": MethodInfo("mine", "<b>Mine</b>", "", "none", True),
    "still": MethodInfo("still", "Still", "", "none", True, "floor"),
}
METRICS = (
    MetricInfo("clip", "CLIP", "100 × cosine", "higher", "1", "How well the frames fit."),
    MetricInfo("scuts", "SCuts", "cuts", "lower", "1", "Cuts."),
)


def missing(what: str) -> None:
    """Skips the tests without a browser; where the environment says `CI=true` they fail instead."""
    sentence = f"{what} is not here: run tests/browser/install (Debian: chromium, chromium-driver, axe-core)"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished run of four methods on three prompts; nothing of it was made by a network."""
    store = Store(tmp_path_factory.mktemp("browser") / "run")
    cells = tuple(f"{method}/{method}-{prompt.id}" for method in METHODS for prompt in PROMPTS)
    store.open(
        RunInfo(
            SCHEMA, "run", "2026-01-01", "made up", METHODS, METRICS, PROMPTS, (0,), "mini",
            {"video": {"num_frames": FRAMES}}, {"commit": None}, (), cells, STAMPS,
        )
    )  # fmt: skip
    for number, method in enumerate(METHODS):
        for place, prompt in enumerate(PROMPTS):
            store.save(filmed(store, made(method, number, prompt, place), number))
    return store


def made(method: str, number: int, prompt: Prompt, place: int) -> Record:
    cosines = [0.3 - 0.02 * number * (place + 1) - 0.001 * t * number for t in range(FRAMES)]
    scores = {
        "clip": StoredScore(100 * float(np.mean(cosines)), series={"cosine": cosines}, version="1"),
        "scuts": StoredScore(float(number), series={"cuts": [20.0] * (number > 0)}, version="1"),
    }
    return Record(
        f"{method}-{prompt.id}", method, STAMPS[method].title, prompt, 0, "ok", start=prompt.id, num_frames=FRAMES,
        height=32, width=32, fps=FPS, seams=(SHARED, 32), scores=scores,
    )  # fmt: skip


def filmed(store: Store, record: Record, number: int) -> Record:
    path = store.video_path(record)
    with VideoWriter(path, FPS) as video:
        for t in range(FRAMES):
            frame = np.full((1, 32, 32, 3), 40 + 20 * number, np.uint8)
            frame[0, :, : 1 + t * 31 // FRAMES, 0] = 220
            video.write(frame)
    digest, size = file_digest(path), path.stat().st_size
    return Record(**{**vars(record), "video_sha256": digest, "video_bytes": size})


@pytest.fixture(scope="session")
def report(run: Store) -> Path:
    """The report's page; beside the run lies the bundle of it."""
    return write_report(run, bundle=run.path.parent / "run.zip")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless browser without a network."""
    selenium = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        missing("Chromium or its driver")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    profile = tmp_path_factory.mktemp("profile")
    for switch in (
        *("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", "autoplay-policy=no-user-gesture-required"),
        *(f"user-data-dir={profile}", "host-resolver-rules=MAP * ~NOTFOUND", "window-size=1400,1000"),
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    chrome.set_script_timeout(60)
    yield chrome
    chrome.quit()


@pytest.fixture
def page(browser: Chrome, report: Path) -> Chrome:
    """The report, freshly opened from disk at a desk's width in light colours."""
    return opened(browser, report)


def opened(browser: Chrome, report: Path, hash_: str = "", width: int = 1400, dark: bool = False) -> Chrome:
    """Returns the browser with a page of a width and a colour scheme."""
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get("about:blank")
    browser.get(report.as_uri() + hash_)
    return browser
