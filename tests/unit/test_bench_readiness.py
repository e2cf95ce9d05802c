from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.catalog import find_plugins
from bench.errors import ConfigError
from bench.plan import plan
from bench.profile import load_profile
from bench.readiness import Machine, readiness

LARGE = Machine(gpu_gb=(80.0,), free_gb=1e6)


def reasons(name: str, profile: str, machine: Machine, *overrides: str) -> tuple[str, ...]:
    (found,) = readiness(find_plugins(), load_profile(profile, overrides), machine, [name])
    return found.reasons


def test_a_method_with_all_it_needs_can_run() -> None:
    assert reasons("pan", "mini", Machine((), 1.0)) == ()


def test_what_a_method_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = " ".join(reasons("streaming_t2v", "paper", Machine((), 1e-6), f"run.weights_dir={tmp_path}"))
    assert 'no CUDA GPU, and the profile paper says device = "cuda"' in found
    assert "python -m bench fetch" in found
    assert "GB, 0.0 GB are free here: give --out on another disk" in found


def test_a_gpu_that_is_too_small_is_named() -> None:
    (found,) = [r for r in reasons("svd", "paper", Machine((2.0, 4.0), 1e6)) if "GPU memory" in r]
    assert "the largest GPU here has 4 GB: try --set methods.svd.offload=model" in found
    assert not [r for r in reasons("svd", "paper", LARGE) if "GPU" in r]


def test_memory_is_saved_only_by_a_setting_that_the_method_takes() -> None:
    catalog = find_plugins()
    hints = 0
    for name in catalog.choose_methods("all"):
        said = " ".join(reasons(name, "paper", Machine((1.0,), 1e6)))
        if option := re.search(r"--set (methods\S+)", said):
            plan(catalog, load_profile("paper", [option[1]]), methods=name)
            hints += 1
        elif "GPU memory" in said:
            assert "no setting of it saves more memory" in said
            with pytest.raises(ConfigError):
                plan(catalog, load_profile("paper", [f"methods.{name}.offload=model"]), methods=name)
    assert hints > 3
    (found,) = [r for r in reasons("svd", "paper", Machine((1.0,), 1e6), "methods.svd.offload=model") if "GPU" in r]
    assert "methods.svd.offload=sequential" in found
    for name in ("streaming_t2v", "opensora", "opensora_plan"):
        assert "no setting of it saves more memory" in " ".join(reasons(name, "paper", Machine((1.0,), 1e6)))


def test_every_method_has_one_line() -> None:
    catalog = find_plugins()
    lines = [found.line() for found in readiness(catalog, load_profile("mini"), Machine((), 1e3))]
    assert {name for name, _ in lines} >= set(catalog.methods)
    assert all("\n" not in said for _, said in lines)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="stil"):
        reasons("stil", "mini", LARGE)
