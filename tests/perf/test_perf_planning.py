"""A grid of 10,000 cells is planned, and a finished one is gone through again, in seconds and little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CELLS = 10_000

SCRIPT = """
import json, sys, time
from pathlib import Path
from bench.catalog import find_plugins
from bench.plan import plan, run_info, todo
from bench.profile import load_profile
from bench.records import Record, StoredScore
from bench.settings import score_settings
from bench.store import Store

folder, cells, phase = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
began = time.perf_counter()
catalog = find_plugins()
profile = load_profile("mini", ["run.prompts=long50", "run.num_prompts=0", "run.metrics=['mawe', 'scuts']"])
spec = plan(catalog, profile, methods="still,pan", seeds=range(cells // 100))
assert len(spec.cells) == cells, len(spec.cells)
store = Store(folder)
if phase == "fill":
    store.open(run_info(spec, catalog, "large"))
    scores = {
        name: StoredScore(1.0, {"events": 2.0}, {"flow": [0.25] * 239}, catalog.metrics[name].info.version,
                          settings=score_settings(catalog.metrics[name].info, settings))
        for name, settings in spec.metrics.items()
    }
    for cell in spec.cells:
        record = Record(cell.key, cell.method, "t", cell.prompt, cell.seed, "ok", "", "s", 240, 64, 64, 10.0,
                        video_sha256="0" * 64, video_bytes=4, scores=scores)
        store.save(record)
        path = store.record_path(record)
        path.with_suffix(".mkv").write_bytes(b"mkv.")
left = todo(spec, catalog, store) if phase != "plan" else None
print(json.dumps({
    "seconds": time.process_time(),  # of this process alone: what else runs on the machine does not count
    "wall": time.perf_counter() - began,
    # `ru_maxrss` would not do: a process takes over that of the one that started it.
    "megabytes": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3,
    "left": len(left.videos) + len(left.scores) if left else cells,
    "torch": "torch" in sys.modules,
}))
"""


def measured(folder: Path, phase: str) -> dict[str, float]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(CELLS), phase]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    content: dict[str, float] = json.loads(answer.stdout)
    return content


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Returns what planning 10,000 cells took, and going through them twice when all are finished."""
    folder = tmp_path_factory.mktemp("large") / "run"
    measured(folder, "fill")
    found = {name: measured(folder, name.split()[0]) for name in ("plan", "resume", "resume again")}
    print("\n".join(f"{name}: {answer}" for name, answer in found.items()))
    return found


@pytest.mark.slow
def test_ten_thousand_finished_cells_take_little_memory_and_no_torch(answers: dict[str, dict[str, float]]) -> None:
    assert answers["resume"]["left"] == 0
    assert not answers["resume"]["torch"]
    assert max(answer["megabytes"] for answer in answers.values()) < 120  # 64 measured; all records at once take 300


@pytest.mark.slow
@pytest.mark.by_hand  # other work on the machine costs processor time, too
def test_ten_thousand_finished_cells_are_gone_through_in_seconds(answers: dict[str, dict[str, float]]) -> None:
    assert min(answers["resume"]["seconds"], answers["resume again"]["seconds"]) < 10
