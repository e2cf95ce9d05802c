"""The contract of a method: what anyone implements to enter the benchmark.

A method is a class with a `generate` function, stamped with `@method(...)`. It is a dataclass: its fields are its
settings, with defaults, and profiles set them by name. Fields called `device`, `dtype` and `weights_dir` are filled
from the profile when the profile sets them. Construction is cheap and loads nothing; the first `generate` loads.

Example:
    >>> import dataclasses
    >>> @method(name="hold", title="Hold", paper="", licence="none", continues_start=True)
    ... @dataclasses.dataclass
    ... class Hold:
    ...     '''Repeats the last frame of the first chunk.'''
    ...     chunk: int = 8
    ...     def generate(self, request, start):
    ...         missing = request.num_frames - len(start.frames)
    ...         while missing > 0:
    ...             size = min(self.chunk, missing)
    ...             yield np.repeat(start.frames[-1:], size, axis=0)
    ...             missing -= size
    >>> Hold.info.name
    'hold'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
"""RGB video frames [T, H, W, 3], uint8 in 0..255, T >= 1: the only array that crosses a package line."""


NAME = "[a-z0-9_]{1,64}"
"""What names of methods and groups are made of: they become folders and words of the command line."""


@dataclass(frozen=True)
class TextChange:
    """Another text from a frame on.

    Attributes:
        at: first frame that the text is for, counted from the start of the video; >= 1.
        text: what the video shows from there on.
    """

    at: int
    text: str


@dataclass(frozen=True)
class Request:
    """One video to make.

    Attributes:
        prompt: what the video shows, as the user wrote it; where the text changes, the first one.
        seed: fixes the video together with the prompt; >= 0.
        num_frames: length of the whole video in frames, the shared first chunk included.
        height: frame height in pixels.
        width: frame width in pixels.
        fps: frames per second at which the video is shown.
        changes: the texts that follow the first one, by rising frame. A method that says `follows_prompts` reads them,
            any other makes the whole video from `prompt`.

    Example:
        >>> request = Request("rain", 0, 100, 8, 8, 10.0, changes=(TextChange(40, "sunshine"),))
        >>> [(piece.first, piece.stop, piece.text) for piece in request.stretches(16)]
        [(16, 40, 'rain'), (40, 100, 'sunshine')]
    """

    prompt: str
    seed: int
    num_frames: int
    height: int
    width: int
    fps: float
    changes: tuple[TextChange, ...] = ()

    def stretches(self, first: int) -> list[Stretch]:
        """Returns the stretches of one text each that frames `first` .. `num_frames` - 1 fall into, in order."""
        begins = [TextChange(0, self.prompt), *self.changes]
        ends = [change.at for change in self.changes] + [self.num_frames]
        pieces = [
            Stretch(max(first, begin.at), min(end, self.num_frames), begin.text)
            for begin, end in zip(begins, ends, strict=True)
        ]
        return [piece for piece in pieces if piece.first < piece.stop]


@dataclass(frozen=True)
class Stretch:
    """Frames `first` <= i < `stop` of a video, which one text is for."""

    first: int
    stop: int
    text: str


@dataclass(frozen=True)
class Start:
    """The shared first chunk every method continues.

    Attributes:
        frames: [T, height, width, 3] at the size of the request (refined in the paper profile).
        base: [T, h, w, 3] the same frames at the size of the model that drew them.
    """

    frames: Frames
    base: Frames


@dataclass(frozen=True)
class MethodInfo:
    """What `list methods` prints about a method; readable without importing torch.

    Attributes:
        name: identifier on the command line and name of a folder: 1 to 64 lower case letters, digits, underscores; not
            "all" and not the name of a group.
        title: name in tables, as its authors write it.
        paper: citation such as "arXiv:2403.14773", empty if there is none.
        licence: licence of the released weights ("none" where no weights are needed).
        continues_start: True if the video continues `Start.frames`; False if the method makes every frame itself.
        group: "table" for systems and "floor" for what shows how low a score can go without a video model, both part of
            `all`; "ceiling" for what no model can pass; or another name (such as "ablations") selected explicitly.
        follows_prompts: True if the method reads `Request.changes`; False if it reads the first text only.
        note: what a reader of a table has to know, such as "not run here"; empty if there is nothing.
    """

    name: str
    title: str
    paper: str
    licence: str
    continues_start: bool
    group: str = "table"
    follows_prompts: bool = False
    note: str = ""


class UnsupportedRequestError(Exception):
    """A method cannot make this video by its nature, as a renderer cannot whose grammar lacks the prompt's words.

    The cell then counts as skipped, with this sentence as the reason, and not as a failure of the method.
    """


class Method(Protocol):
    """A way to make a long video. Classes are stamped with `@method`, which sets `info`."""

    info: ClassVar[MethodInfo]

    def generate(self, request: Request, start: Start) -> Iterator[Frames]:
        """Yields the new frames of the video in order, in chunks of any size >= 1.

        The total is exact: `request.num_frames - len(start.frames)` where `info.continues_start`, else
        `request.num_frames`. Every chunk is uint8 [t, request.height, request.width, 3]. Where one chunk ends and
        the next begins is a seam, and the harness records it. The same request and start give the same bytes.
        """
        ...


M = TypeVar("M")


def method(
    *,
    name: str,
    title: str,
    paper: str,
    licence: str,
    continues_start: bool,
    group: str = "table",
    follows_prompts: bool = False,
    note: str = "",
) -> Callable[[type[M]], type[M]]:
    """Stamps a class as a method: sets its `info` (see `MethodInfo` for the arguments).

    Raises:
        ValueError: the name or the group is not made as it must be.
    """
    for word, said in (("name", name), ("group", group)):
        if not re.fullmatch(NAME, said):
            raise ValueError(f"{word} {said!r}: give 1 to 64 lower case letters, digits and underscores")
    info = MethodInfo(name, title, paper, licence, continues_start, group, follows_prompts, note)

    def stamp(cls: type[M]) -> type[M]:
        cls.info = info  # type: ignore[attr-defined]
        return cls

    return stamp


@dataclass(frozen=True)
class MethodClassInfo:
    """What a class says of itself whose methods are sections of a profile: `[methods.NAME]` with `class = "..."`.

    Attributes:
        name: what a section writes after `class =`.
        continues_start: says of the settings in a section whether its videos continue the shared first chunk.
        follows_prompts: see `MethodInfo`.
        draws_start: True if the class has `draw(request) -> Start` and may be the class of [first_chunk].
    """

    name: str
    continues_start: Callable[[Mapping[str, Any]], bool]
    follows_prompts: bool
    draws_start: bool


def method_class(
    *,
    name: str,
    continues_start: Callable[[Mapping[str, Any]], bool],
    follows_prompts: bool = False,
    draws_start: bool = False,
) -> Callable[[type[M]], type[M]]:
    """Stamps a class whose methods are sections of a profile: sets its `class_info` (see `MethodClassInfo`).

    Title, paper, licence and group of such a method come from its section, every other key is a setting: a field of the
    class. In all else it is a method: a dataclass with `generate`.
    """
    info = MethodClassInfo(name, continues_start, follows_prompts, draws_start)

    def stamp(cls: type[M]) -> type[M]:
        cls.class_info = info  # type: ignore[attr-defined]
        return cls

    return stamp
