"""A built wheel works from any folder: code, prompts, published table, profiles and miniature weights travel in it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PROBE = """
import json
from importlib.resources import files
from pathlib import Path
import bench
from bench.profile import load_profile
from bench.prompts import load_prompts
from bench.report.published import load_published
from generators.weights import resolve_weights
print(json.dumps({
    "home": str(Path(bench.__file__).parents[1]),
    "profile": load_profile("mini", []).name,
    "prompts": [len(load_prompts(name).prompts) for name in ("mini", "long50")],
    "template": files("bench.report").joinpath("page", "index.html.j2").is_file(),
    "weights": resolve_weights("mini:text_to_video").name,
    "published": len(load_published().methods),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder the wheel was unpacked into, as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building writes beside the sources, so it gets a copy
    for package in ("baselines", "bench", "generators", "metrics", "prompts", "results/published"):
        unwanted = shutil.ignore_patterns("cache", "__pycache__")
        shutil.copytree(REPOSITORY / package, source / package, ignore=unwanted)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source / file)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_data_travels_in_the_wheel(installed, tmp_path):
    found = json.loads(run(installed, tmp_path, "-c", PROBE))
    assert found == {
        "home": str(installed),
        "profile": "mini",
        "prompts": [50, 50],
        "template": True,
        "weights": "text_to_video",
        "published": 9,
    }


def test_the_command_line_works_elsewhere(installed, tmp_path):
    assert "still" in run(installed, tmp_path, "-m", "bench", "list", "methods")


USER = """
from metrics import Score, score
from generators.api import Request

found: dict[str, Score] = score("a.mp4", prompt="a cat")
score(3)
Request(prompt="a", seed="0", num_frames=1, height=8, width=8, fps=8.0)
"""

MYPY = """
[mypy]
strict = True
[mypy-torch.*,torchvision.*,cv2.*,open_clip.*,PIL.*,av.*,scenedetect.*,transformers.*,huggingface_hub.*,pandas.*]
follow_imports = skip
ignore_missing_imports = True
"""


@pytest.mark.slow
def test_users_of_the_wheel_get_types(installed, tmp_path):
    """A user's mypy checks calls against our signatures; without `py.typed` it would know nothing of them."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    shutil.copytree(installed, site, dirs_exist_ok=True)
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(MYPY)
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--config-file", "mypy.ini", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 2, done.stdout
    assert 'Argument 1 to "score" has incompatible type "int"' in errors[0]
    assert 'Argument "seed" to "Request" has incompatible type "str"' in errors[1]
