"""The package as a whole: its examples run, and finding a metric stays cheap."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
import tempfile

import pytest

import baselines
import bench
import generators
import metrics

PACKAGES = (baselines, bench, generators, metrics)
MODULES = [
    name
    for package in PACKAGES
    for name in (package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")))
    if not name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_metric_classes_import_without_heavy_libraries():
    code = (
        "import sys, metrics, importlib\n"
        "targets = [target.split(':') for target in metrics.BUILT_IN.values()]\n"
        "classes = [getattr(importlib.import_module(module), name) for module, name in targets]\n"
        "assert [c().info.name for c in classes] == list(metrics.BUILT_IN)\n"
        "print([m for m in ('torch', 'cv2', 'av', 'scenedetect', 'open_clip', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_metric_is_named_with_the_known_ones():
    with pytest.raises(metrics.SettingError, match=r"'mawee'.*clip.*mawe.*scuts"):
        metrics.score("nowhere.mp4", metrics=["mawee"])
