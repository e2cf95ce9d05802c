"""The README's own two commands over every row of the default table, on the real miniature networks, in short."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.catalog import find_plugins
from bench.profile import load_profile
from bench.store import Store
from tests.tiny_grid import call

STEPS = {"opensora_plan": 4}
"""Solver steps of a method that takes no fewer."""


def few_steps() -> list[str]:
    """Settings that give every method of the default table as few solver steps as it takes."""
    catalog, profile = find_plugins(), load_profile("mini")
    settings = ["first_chunk.num_inference_steps=2"]
    for name in catalog.choose_methods("all", profile.run.also):
        fields = {field.name for field in dataclasses.fields(catalog.methods[name].cls)}
        own = profile.methods.get(name, {})
        if "num_inference_steps" in fields:
            settings.append(f"methods.{name}.num_inference_steps={STEPS.get(name, 2)}")
        elif "num_inference_steps" in own.get("arguments", {}):
            settings.append(f"methods.{name}.arguments.num_inference_steps=2")
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.slow
def test_every_row_of_the_default_table_is_made_and_reported(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    size = ["--prompts", "1", "--frames", "20", "--metrics", "scuts,clip", "--executor", "serial"]
    assert call("run", "--methods", "all", *size, *few_steps(), "--out", out) == 0
    rows = {record.method: (record.status, record.reason) for record in Store(out).records()}
    assert set(rows) == set(find_plugins().choose_methods("all", load_profile("mini").run.also))
    assert set(rows.values()) == {("ok", "")}
    assert call("report", "--out", out) == 0
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert all(record.title in page for record in Store(out).records())
