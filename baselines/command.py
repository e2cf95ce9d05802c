"""Any program as a method: a section of a profile says how it is called, what it is shown and where its answer lies.

    [methods.longlive]
    class = "command"
    title = "LongLive"
    argv = ["python", "inference.py", "--prompts", "{prompt_file}", "--frames", "{num_frames}", "--out", "{out}"]
    cwd = "/home/me/LongLive"
    takes = "nothing"

`argv` is a list, never a line for a shell, so a prompt cannot become a command. The program gets a fresh work folder
for every call and a process group of its own; when its time is up the whole group ends.

Example:
    >>> Command(argv=["make-video", "{out}"], takes="image").repeated(context=1)
    1
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from baselines.autoregressive import continue_video
from baselines.command_placeholders import check_placeholders, filled
from generators.api import Frames, Request, Start, method_class
from generators.frames import resize
from generators.pipelines import check_option
from generators.video_files import read_answer_frames, write_clip, write_pictures
from generators.weights import MissingWeightsError

COMMAND_TAKES = ("nothing", "image", "video")
PLACEHOLDER_UNITS = ("frames", "latents")
LATENT_FRAMES = 4
"""Frames in a latent after the first. Source: Wan's autoencoder, which the programs that count latents share."""

LAST_LINES = 15
"""Lines of a program's output that stand in the reason of a failure."""

PATIENCE = 5.0
"""Seconds between the polite and the final signal at a timeout."""

NOT_FOR_OTHERS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of this process that would lead a program in another environment astray."""


def continues_start(section: Mapping[str, Any]) -> bool:
    """Returns whether the program of a section is shown the shared first chunk."""
    return bool(section.get("takes", "nothing") != "nothing")


@method_class(name="command", continues_start=continues_start, follows_prompts=True)
@dataclass(kw_only=True)
class Command:
    """A program that continues a video, or makes one from text.

    Attributes:
        argv: the program and its arguments; placeholders as in docs/adding-a-method.md.
        cwd: the folder it runs in; a clone of its repository. Missing: the row is skipped.
        env: variables to set; placeholders count.
        files: templates of files it reads, by name; {file:NAME} is where one lies.
        result: where its answer is: a pattern, relative to the work folder. The newest match counts: a video, or a
            folder of pictures.
        takes: "nothing", "image" (the newest frame) or "video" (the newest frames).
        context_frames: frames of the video that it is shown, the newest ones; 0 for as many as the first chunk has.
        drop: frames at the head of its answer that are not new: a number, or "context" for those it was shown.
        num_frames: frames asked for per call; 0 for all that are missing.
        frame_step: it makes k * frame_step + 1 frames; 1 for any number.
        unit: "frames", or "latents" where it counts those: {latents} is then a multiple of `block`.
        block: see `unit`.
        rollout: new frames of one rollout, for {rollouts}.
        height: native height in pixels; 0 for that of the request.
        width: native width in pixels; 0 for that of the request.
        fps: its own frame rate, at which {start_video} is written; 0 for the request's.
        timeout: seconds a call may take.
        logs: folder that keeps what the program printed, one file per call; empty to keep the last lines of a failure.
        pad: one of `baselines.padding.PADS`.
        unpad: crop the padding off new frames before scaling them back.
    """

    argv: list[str] = field(default_factory=list)
    cwd: str = ""
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    result: str = "out.mp4"
    takes: str = "nothing"
    context_frames: int = 0
    drop: int | str | None = None
    num_frames: int = 0
    frame_step: int = 1
    unit: str = "frames"
    block: int = 1
    rollout: int = 0
    height: int = 0
    width: int = 0
    fps: float = 0.0
    timeout: float = 3600.0
    logs: str = ""
    pad: str = "once"
    unpad: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError if the settings do not fit each other."""
        if not self.argv:
            raise ValueError('argv is missing: give the program and its arguments, such as argv = ["program", "{out}"]')
        check_option("takes", self.takes, COMMAND_TAKES)
        check_option("unit", self.unit, PLACEHOLDER_UNITS)
        if not (self.drop in (None, "context") or (type(self.drop) is int and self.drop >= 0)):
            raise ValueError(f'drop = {self.drop!r} is no number of frames and not "context"')
        if min(self.frame_step, self.block) < 1 or self.timeout <= 0:
            raise ValueError("frame_step and block are 1 or more, and timeout is above 0")
        check_placeholders([*self.argv, *self.env.values(), *self.files.values(), self.result], self.files)

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames, one item per call of the program.

        Raises:
            ValueError: the program failed, ran out of time, or its answer is missing or too short.
            MissingWeightsError: the folder it runs in is not there.
        """
        if self.cwd and not Path(self.cwd).expanduser().is_dir():
            raise MissingWeightsError(f"no folder {self.cwd}: clone the program there, or set cwd to where it lies")
        continues = self.takes != "nothing"
        # A program that sees no frame would begin anew at every change of the text: it gets the first text only.
        request = request if continues else replace(request, changes=())
        given = start.frames if continues else start.frames[:0]
        keep = (1 if self.takes == "image" else self.context_frames or len(given)) if continues else 0

        def make(text: str, history: Frames, seed: int, wanted: int) -> Frames:
            return self._call(text, request, history, seed, wanted)

        size = self.height or request.height, self.width or request.width
        return continue_video(make, request, given, size, keep=keep, pad=self.pad, unpad=self.unpad)

    def repeated(self, context: int) -> int:
        """Returns how many frames at the head of an answer are not new, for so many frames shown."""
        if self.drop is None:
            return 1 if self.takes == "image" else context
        return context if self.drop == "context" else int(self.drop)

    def _call(self, text: str, request: Request, context: Frames, seed: int, wanted: int) -> Frames:
        """Returns the new frames of one call, at native size."""
        drop = self.repeated(len(context))
        with tempfile.TemporaryDirectory(prefix="bench_command_") as folder:
            work = Path(folder)
            values = self._values(work, text, request, context, seed, wanted + drop)
            for name, template in self.files.items():
                (work / name).write_text(filled(template, values), encoding="utf-8")
            self._run([filled(word, values) for word in self.argv], values, work, seed)
            frames = read_answer_frames(newest(work, filled(self.result, values)))
        if len(frames) - drop < (1 if self.num_frames else wanted):
            raise ValueError(
                f"{self.argv[0]} made {len(frames)} frames, {drop} of them not new, and {wanted} are missing: set "
                "drop, num_frames or frame_step to what it does"
            )
        return resize(frames[drop:], *context.shape[1:3])

    def _values(
        self, work: Path, text: str, request: Request, context: Frames, seed: int, wanted: int
    ) -> dict[str, str]:
        """Returns what the placeholders stand for, and writes the files they name."""
        height, width = context.shape[1:3]
        asked = self.num_frames or math.ceil((wanted - 1) / self.frame_step) * self.frame_step + 1
        latents = math.ceil(((asked - 1) / LATENT_FRAMES + 1) / self.block) * self.block
        if self.unit == "latents":
            asked = (latents - 1) * LATENT_FRAMES + 1
        fps = self.fps or request.fps
        (work / "out").mkdir()
        (work / "prompt.txt").write_text(" ".join(text.split()) + "\n", encoding="utf-8")
        if len(context):
            write_clip(work / "start.mp4", context, fps)
            write_pictures(work / "start", context)
        drop = self.repeated(len(context))
        return {
            "prompt": text,
            "prompt_file": str(work / "prompt.txt"),
            "start_video": str(work / "start.mp4"),
            "start_image": str(work / "start" / f"{max(0, len(context) - 1):05d}.png"),
            "start_dir": str(work / "start"),
            "num_frames": str(asked),
            "new_frames": str(asked - drop),
            "latents": str(latents),
            "rollouts": str(math.ceil((asked - drop) / self.rollout)) if self.rollout else "0",
            "seed": str(seed % 2**31),
            "height": str(height),
            "width": str(width),
            "fps": f"{fps:g}",
            "out": str(work / "out.mp4"),
            "out_dir": str(work / "out"),
            "work": str(work),
            **{f"file:{name}": str(work / name) for name in self.files},
        }

    def _run(self, argv: list[str], values: Mapping[str, str], work: Path, seed: int) -> None:
        """Runs the program to its end; raises ValueError if it fails or takes too long."""
        env = {name: value for name, value in os.environ.items() if name not in NOT_FOR_OTHERS}
        env |= {name: filled(value, values) for name, value in self.env.items()}
        log = Path(self.logs) / f"{seed:016x}.log" if self.logs else work / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        cwd = str(Path(self.cwd).expanduser()) if self.cwd else str(work)
        with log.open("wb") as stream:
            try:
                code = run_group(argv, cwd, env, stream, self.timeout)
            except OSError as cause:
                raise ValueError(f"{argv[0]} cannot be started ({cause.strerror}): check argv and cwd") from cause
        if code != 0:
            what = (
                f"took more than {self.timeout:g} s and was ended" if code is None else f"ended with exit code {code}"
            )
            raise ValueError(f"{argv[0]} {what}; it said last: {last_lines(log)}")


def run_group(argv: list[str], cwd: str, env: Mapping[str, str], log: IO[bytes], timeout: float) -> int | None:
    """Returns the exit code of a program, or None if its time ran out; nothing that it started is left running."""
    process = subprocess.Popen(  # noqa: S603 (a list, and no shell)
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )  # fmt: skip
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def newest(work: Path, pattern: str) -> Path:
    """Returns the file or folder that matches a pattern and was written last.

    Raises:
        ValueError: nothing matches.
    """
    relative = Path(pattern).relative_to(work) if Path(pattern).is_absolute() else Path(pattern)
    found = sorted(work.glob(str(relative)), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not found:
        files = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
        raise ValueError(f"no result matches {relative}: the program left {', '.join(files[:10]) or 'nothing'}")
    return found[-1]


def last_lines(log: Path) -> str:
    """Returns the end of a program's output as one line."""
    text = log.read_bytes()[-8000:].decode("utf-8", "replace")
    return " | ".join(line.strip() for line in text.splitlines()[-LAST_LINES:] if line.strip()) or "nothing"
