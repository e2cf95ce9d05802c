"""Programs as methods: a toy for each shape of interface, one of them in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.command import Command
from baselines.command_placeholders import filled
from bench.catalog import find_plugins
from generators.api import Frames, Request, Start, TextChange
from generators.video_files import read_answer_frames, write_clip
from generators.weights import MissingWeightsError

ROOT = Path(__file__).resolve().parents[2]

FLAGS = """
import argparse, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import numpy as np
from generators.video_files import read_answer_frames, write_clip
parser = argparse.ArgumentParser()
for name in ("prompt", "video", "out"):
    parser.add_argument("--" + name)
for name in ("frames", "seed", "height", "width"):
    parser.add_argument("--" + name, type=int)
parser.add_argument("--fps", type=float)
a = parser.parse_args()
print("prompt:", a.prompt, flush=True)
if a.video:
    given = read_answer_frames(Path(a.video))
    assert given.shape[1:] == (a.height, a.width, 3), given.shape
    new = np.repeat(given[-1:] // 2, a.frames - len(given), axis=0)
    write_clip(Path(a.out), np.concatenate([given, new]), a.fps)
else:
    level = (a.seed + len(a.prompt)) % 200
    write_clip(Path(a.out), np.full((a.frames, a.height, a.width, 3), level, np.uint8), a.fps)
"""

BARE = """
import json, struct, sys, zlib
from pathlib import Path
try:
    import numpy
    sys.exit("this environment should be empty")
except ImportError:
    pass
config = json.loads(Path(sys.argv[1]).read_text())
height, width = config["size"]
folder = Path(config["out"]) / "frames"
folder.mkdir()
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
for t in range(config["frames"]):
    rows = b"".join(b"\\x00" + bytes([t, len(config["prompt"]), 7]) * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (folder / ("frame_%d.png" % t)).write_bytes(data)
"""

IMAGE = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from PIL import Image
image = Image.open(sys.argv[1])
folder = Path(sys.argv[2]); folder.mkdir(parents=True, exist_ok=True)
for t in range(int(sys.argv[3])):
    image.point(lambda level: max(0, level - t)).save(folder / ("%05d.png" % t))
"""


def program(folder: Path, source: str) -> str:
    file = folder / "program.py"
    file.write_text(source.format(root=str(ROOT)) if "{root!r}" in source else source)
    return str(file)


def request_(num_frames: int = 30, prompt: str = "a red ball", **options: Any) -> Request:
    return Request(prompt, 3, num_frames, 32, 48, 8.0, **options)


def ramp(count: int = 16) -> Start:
    frames = np.broadcast_to(
        np.arange(100, 100 + count, dtype=np.uint8)[:, None, None, None], (count, 32, 48, 3)
    ).copy()
    return Start(frames, frames)


def run(method: Command, request: Request | None = None) -> Frames:
    return np.concatenate(list(method.generate(request or request_(), ramp())))


def flags(folder: Path, **settings: Any) -> Command:
    argv = [
        sys.executable,
        program(folder, FLAGS),
        "--prompt",
        "{prompt}",
        "--out",
        "{out}",
        "--frames",
        "{num_frames}",
    ]
    argv += ["--seed", "{seed}", "--height", "{height}", "--width", "{width}", "--fps", "{fps}"]
    return Command(argv=argv + (["--video", "{start_video}"] if settings.get("takes") == "video" else []), **settings)


def test_flags_and_text_alone(tmp_path: Path) -> None:
    evil = 'a "ball"; touch {out} $(touch x) && {seed}'
    method = flags(tmp_path, logs=str(tmp_path / "logs"))
    video = run(method, request_(prompt=evil, changes=(TextChange(20, "not read"),)))
    assert video.shape == (30, 32, 48, 3)
    np.testing.assert_array_equal(video, run(method, request_(prompt=evil)))
    assert (video != run(method, request_(prompt=evil + "!"))).any()
    assert f"prompt: {evil}\n" in {file.read_text() for file in (tmp_path / "logs").iterdir()}


def test_a_video_goes_in_without_loss_and_what_it_repeats_is_dropped(tmp_path: Path) -> None:
    method = flags(tmp_path, takes="video", context_frames=9, drop="context")
    chunks = list(method.generate(request_(30, changes=(TextChange(20, "night"),)), ramp()))
    assert [len(chunk) for chunk in chunks] == [4, 10]
    assert np.unique(chunks[0]).tolist() == [115 // 2]
    assert np.unique(chunks[1]).tolist() == [115 // 4]


def test_calls_of_a_fixed_length(tmp_path: Path) -> None:
    chunks = list(flags(tmp_path, takes="video", context_frames=4, num_frames=9).generate(request_(30), ramp()))
    assert [len(chunk) for chunk in chunks] == [5, 5, 4]


def test_an_image_goes_in_and_a_folder_comes_back(tmp_path: Path) -> None:
    argv = [sys.executable, program(tmp_path, IMAGE), "{start_image}", "{out_dir}/frames", "{num_frames}"]
    video = run(Command(argv=argv, takes="image", result="out/frames"))
    np.testing.assert_array_equal(video[:, 0, 0, 0], 115 - np.arange(1, 15))


def test_another_environment_and_a_configuration_file(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    template = '{"prompt": {json:prompt}, "frames": {num_frames}, "size": [{height}, {width}], "out": {json:out_dir}}'
    method = Command(
        argv=[str(tmp_path / "venv" / "bin" / "python"), program(tmp_path, BARE), "{file:c.json}"],
        files={"c.json": template}, result="{out_dir}/frames", frame_step=4,
    )  # fmt: skip
    video = run(method, request_(30, 'say "hello"'))
    np.testing.assert_array_equal(video[:, 0, 0, 0], np.arange(30))  # frame_10 comes after frame_9
    assert set(video[:, :, :, 1].flat) == {len('say "hello"')}


def test_native_size_and_latents(tmp_path: Path) -> None:
    write = "from pathlib import Path; import sys; sys.path.insert(0, {root!r}); import numpy as np\n"
    write += "from generators.video_files import write_clip\n"
    write += "latents, height, width = map(int, sys.argv[1:4])\n"
    write += "write_clip(Path(sys.argv[4]), np.full((4 * latents - 3, height, width, 3), 9, np.uint8), 16)\n"
    argv = [sys.executable, program(tmp_path, write), "{latents}", "{height}", "{width}", "{out}"]
    method = Command(argv=argv, unit="latents", block=3, height=64, width=64)
    assert method._values(tmp_path, "a", request_(), ramp().frames[:0], 0, 30)["latents"] == "9"
    assert run(method).shape == (30, 32, 48, 3)


@pytest.mark.parametrize(
    ("source", "settings", "sentence"),
    [
        ("import sys; print('no weights at x'); sys.exit(3)", {}, "exit code 3; it said last: no weights at x"),
        ("pass", {}, r"no result matches out\.mp4: the program left"),
        ("open('out.mp4', 'w').write('x')", {}, "cannot be read as a video"),
        ("import os; os.mkdir('f')", {"result": "f"}, "holds no frame"),
    ],
)
def test_failures_say_what_the_program_said(
    tmp_path: Path, source: str, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(Command(argv=[sys.executable, program(tmp_path, source)], **settings))


def test_too_few_frames_are_a_failure(tmp_path: Path) -> None:
    method = flags(tmp_path, drop=5)
    method.argv[method.argv.index("{num_frames}")] = "20"
    with pytest.raises(ValueError, match="made 20 frames, 5 of them not new, and 30 are missing"):
        run(method)


def test_a_timeout_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.command.PATIENCE", 0.5)
    source = f"trap '' TERM; sleep 600 & echo $! > {tmp_path / 'pid'}; echo waiting; wait"  # a shell starts at once
    with pytest.raises(ValueError, match="took more than 5 s and was ended; it said last: waiting"):
        run(Command(argv=["sh", "-c", source], timeout=5))
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 120
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "argv is missing"),
        ({"argv": ["a", "{promt}"]}, r"\{promt\} is no placeholder; there are prompt"),
        ({"argv": ["a"], "takes": "sound"}, "takes"),
        ({"argv": ["a"], "drop": -1}, "drop"),
        ({"argv": ["a"], "files": {"../x": ""}}, "plain file name"),
        ({"argv": ["a"], "timeout": 0}, "timeout"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Command(**settings)


def test_what_is_not_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="clone the program there"):
        run(Command(argv=["x"], cwd=str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match="cannot be started"):
        run(Command(argv=[str(tmp_path / "nothing")]))


def test_a_section_is_marked_by_what_it_takes() -> None:
    sections = {name: {"class": "command", "argv": ["x"], "takes": name} for name in ("nothing", "video")}
    methods = find_plugins().with_sections(sections).methods
    assert {name: methods[name].info.continues_start for name in sections} == {"nothing": False, "video": True}
    assert {name: methods[name].info.follows_prompts for name in sections} == {"nothing": False, "video": True}


def test_a_placeholder_in_a_prompt_stays_text() -> None:
    assert filled("{prompt} {seed}", {"prompt": "{seed}", "seed": "3"}) == "{seed} 3"
    assert json.loads(filled("{json:prompt}", {"prompt": 'a\n"b"'})) == 'a\n"b"'


def test_clips_are_written_without_loss(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 32, 3)).astype(np.uint8)
    write_clip(tmp_path / "a.mp4", noise, 7.5)
    np.testing.assert_array_equal(read_answer_frames(tmp_path / "a.mp4"), noise)
