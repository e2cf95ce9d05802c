"""Draws contact sheets: what the videos show, rows = prompts, columns = frames over time.

Numbers alone have fooled every benchmark of video so far; these sheets are what one looks at first.

Example:
    >>> draw_sheets(sources, findings, worst, Path("report"))   # doctest: +SKIP
    Sheets(by_method={'svd': 'contact-svd.png'}, together='', worst='worst.png', unreadable=())
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import numpy as np

from bench.errors import StoreError
from bench.files import replacing
from bench.records import Record
from bench.report.curves import LOCAL_FRAMES, WorstMoment
from bench.report.findings import ReportData
from bench.report.lettering import Lettering
from bench.report.sources import Sources
from bench.terminal import say
from generators.api import Frames

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SHEET_COLUMNS = 9
"""Frames per row of a contact sheet, first and last included: every third second of a 240-frame video."""

WORST_COLUMNS = 8
"""Frames per row of the sheet of worst moments: every second frame of a sliding window."""

THUMB_HEIGHT = 96
TEXT_WIDTH = 212
GAP = 3
HEAD_HEIGHT = 26
MARGIN = 12

MOST_STRIPS = 60
"""Videos on one contact sheet: more would be a picture that nothing opens."""

INK, FAINT, PAPER, EMPTY = "#0f172a", "#64748b", "#ffffff", "#f1f5f9"

Thumbs = Mapping[int, Frames]
"""Small frames [h, w, 3] by frame index."""


@dataclass(frozen=True)
class SheetPicture:
    """A picture of the page: a row of frames, whose words stand beside it in the page, in any script.

    Attributes:
        file: path below the folder of the report.
        width: in pixels.
        height: in pixels.
        captions: what stands under each frame.
    """

    file: str
    width: int
    height: int
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Sheets:
    """File names of the sheets.

    Attributes:
        by_method: contact sheet of each method with a video or a reason why not.
        together: sheet of the first prompt by every method; empty unless there are several.
        worst: sheet of worst moments; empty if there is none.
        strips: the row of frames of each finished video, by key of its record.
        close_ups: the row of frames of each worst moment, by method.
        unreadable: sentences about videos that could not be read.
    """

    by_method: Mapping[str, str]
    together: str
    worst: str
    strips: Mapping[str, SheetPicture]
    close_ups: Mapping[str, SheetPicture]
    unreadable: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all pictures below the folder of the report."""
        pictures = (picture.file for picture in (*self.strips.values(), *self.close_ups.values()))
        return tuple(file for file in (*self.by_method.values(), self.together, self.worst, *pictures) if file)


@dataclass(frozen=True)
class _Strip:
    """One row of a sheet: text at the left, frames with captions, or a sentence in their place."""

    title: str
    text: str
    thumbs: Sequence[Frames]
    captions: Sequence[str]
    reason: str


def draw_sheets(sources: Sources, findings: ReportData, worst: Sequence[WorstMoment], folder: Path) -> Sheets:
    """Returns the names of the sheets it wrote into `folder`; every video is decoded once, up to the last frame shown.

    Args:
        sources: where the videos are.
        findings: rows and records.
        worst: moments to show close up.
        folder: an existing folder.
    """
    letters = Lettering()
    by_method, unreadable, close_ups = {}, [], dict[tuple[str, str], _Strip]()
    together: list[_Strip] = []
    pictures: dict[str, SheetPicture] = {}
    (folder / "strips").mkdir(exist_ok=True)
    first = next(((record.prompt_key, record.seed) for record in findings.records), None)
    metrics = {name: metric.title for name, metric in findings.by_name.items()}
    for row in findings.rows:
        strips, left_out = list[_Strip](), 0
        for record in (record for record in findings.records if record.method == row.method):
            moments = [moment for moment in worst if moment.record.key == record.key]
            try:
                thumbs = _thumbs(sources, record, moments)
                strip = _overview(record, thumbs)
            except StoreError as error:
                unreadable.append(str(error))
                thumbs, moments = {}, []
                strip = _Strip(record.prompt.id, record.prompt.text, (), (), "the video cannot be read")
            if len(strips) < MOST_STRIPS:
                strips.append(strip)
            else:
                left_out += 1
            if strip.thumbs:
                pictures[record.key] = _picture(strip, folder, record.key)
            if (record.prompt_key, record.seed) == first:
                together.append(replace(strip, title=row.title))
            close_ups |= {(m.metric, row.method): _close_up(m, row.title, metrics[m.metric], thumbs) for m in moments}
        if left_out:
            strips.append(_Strip("…", "", (), (), f"{left_out} more videos: see the page"))
        if strips:
            by_method[row.method] = _save(strips, SHEET_COLUMNS, folder / f"contact-{row.method}.png", letters)
    places = [(moment.metric, moment.record.method) for moment in worst]
    ordered = [close_ups[place] for place in places if place in close_ups]
    near = {
        method: _picture(close_ups[metric, method], folder, f"worst-{method}")
        for metric, method in places
        if (metric, method) in close_ups
    }
    sheets = Sheets(
        by_method,
        together=_save(together, SHEET_COLUMNS, folder / "together.png", letters) if len(together) > 1 else "",
        worst=_save(ordered, WORST_COLUMNS, folder / "worst.png", letters) if ordered else "",
        strips=pictures,
        close_ups=near,
        unreadable=tuple(unreadable),
    )
    if letters.missing:
        say(f"warning: {letters.missing_sentence()}")
    return sheets


def frames_over_time(num_frames: int, columns: int = SHEET_COLUMNS) -> tuple[int, ...]:
    """Returns evenly spaced frame indices from the first to the last; fewer for a shorter video."""
    spaced = np.linspace(0, num_frames - 1, num=min(columns, num_frames))
    return tuple(int(index) for index in np.round(spaced))


def frames_of_moment(moment: WorstMoment) -> tuple[int, ...]:
    """Returns the frames of a worst moment that the sheet shows."""
    last = min(moment.start + LOCAL_FRAMES, moment.record.num_frames)
    return tuple(range(moment.start, last, LOCAL_FRAMES // WORST_COLUMNS))


def _thumbs(sources: Sources, record: Record, moments: Sequence[WorstMoment]) -> Thumbs:
    """Returns the small frames that the sheets need of one video; none unless it is finished."""
    if record.status != "ok":
        return {}
    wanted = set(frames_over_time(record.num_frames)).union(*map(frames_of_moment, moments))
    return {index: _shrink(frame) for index, frame in sources.pick_frames(record, wanted).items()}


def _shrink(frame: Frames) -> Frames:
    from PIL import Image

    height, width = frame.shape[:2]
    size = (max(1, round(width * THUMB_HEIGHT / height)), THUMB_HEIGHT)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def _overview(record: Record, thumbs: Thumbs) -> _Strip:
    title = record.prompt.id if record.seed == 0 else f"{record.prompt.id}, seed {record.seed}"
    if record.status != "ok":
        return _Strip(title, record.prompt.text, (), (), f"{record.status}: {record.reason}")
    shown = frames_over_time(record.num_frames)
    captions = [f"{index / record.fps:.1f} s" for index in shown]
    return _Strip(title, record.prompt.text, [thumbs[index] for index in shown], captions, "")


def _close_up(moment: WorstMoment, title: str, metric: str, thumbs: Thumbs) -> _Strip:
    shown = frames_of_moment(moment)
    record = moment.record
    text = f"{metric} {moment.value:.4g}, {record.prompt.id}: {record.prompt.text}"
    seams = set(record.seams)
    captions = [f"{i} | seam" if seams & {i, i + 1} else str(i) for i in shown]
    return _Strip(title, text, [thumbs[index] for index in shown], captions, "")


def _picture(strip: _Strip, folder: Path, stem: str) -> SheetPicture:
    """Writes the frames of a strip side by side and returns the picture."""
    from PIL import Image

    row = np.concatenate([np.pad(thumb, ((0, 0), (0, GAP), (0, 0)), constant_values=255) for thumb in strip.thumbs], 1)
    row = row[:, :-GAP]
    name = f"strips/{stem}.jpg"
    with replacing(folder / name) as temporary:
        Image.fromarray(row).save(temporary, format="JPEG", quality=92, subsampling=0)
    return SheetPicture(name, row.shape[1], row.shape[0], tuple(strip.captions))


def _save(strips: Sequence[_Strip], columns: int, path: Path, letters: Lettering) -> str:
    _sheet(strips, columns, letters).save(path)
    return path.name


def _sheet(strips: Sequence[_Strip], columns: int, letters: Lettering) -> Image:
    """Returns a picture of the strips; captions that all strips share stand once, at the top."""
    from PIL import Image, ImageDraw

    width = max((thumb.shape[1] for strip in strips for thumb in strip.thumbs), default=THUMB_HEIGHT)
    filled = {tuple(strip.captions) for strip in strips if strip.thumbs}
    shared = len(filled) == 1
    pitch = THUMB_HEIGHT + GAP + (0 if shared else 14)
    top = MARGIN + (HEAD_HEIGHT if shared else 0)
    size = (2 * MARGIN + TEXT_WIDTH + columns * (width + GAP), top + len(strips) * pitch + MARGIN)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    if shared:
        _captions(draw, letters, filled.pop(), MARGIN + 6, width)
    for number, strip in enumerate(strips):
        y = top + number * pitch
        _labels(draw, letters, strip, y)
        if not strip.thumbs:
            box = (MARGIN + TEXT_WIDTH, y, size[0] - MARGIN - GAP, y + THUMB_HEIGHT - 1)
            draw.rectangle(box, fill=EMPTY)
            _wrapped(draw, letters, strip.reason, (box[0] + 12, y + 12), box[2] - box[0] - 24, 5, FAINT)
        for column, thumb in enumerate(strip.thumbs):
            image.paste(Image.fromarray(thumb), (MARGIN + TEXT_WIDTH + column * (width + GAP), y))
        if not shared:
            _captions(draw, letters, strip.captions, y + THUMB_HEIGHT, width)
    return image


def _captions(draw: ImageDraw, letters: Lettering, captions: Sequence[str], y: int, width: int) -> None:
    for column, caption in enumerate(captions):
        x = MARGIN + TEXT_WIDTH + column * (width + GAP)
        letters.write(draw, (x + 1, y), caption, 10, FAINT)


def _labels(draw: ImageDraw, letters: Lettering, strip: _Strip, y: int) -> None:
    title = _fitted(letters, strip.title, TEXT_WIDTH - 16, 12, bold=True)
    letters.write(draw, (MARGIN, y + 2), title, 12, INK, bold=True)
    _wrapped(draw, letters, strip.text, (MARGIN, y + 20), TEXT_WIDTH - 16, 5, FAINT)


def _wrapped(
    draw: ImageDraw, letters: Lettering, text: str, at: tuple[int, int], width: int, lines: int, ink: str
) -> None:
    """Writes text broken into at most `lines` lines; what does not fit ends in an ellipsis."""
    rows: list[str] = [""]
    for word, blank in _units(text):
        longer = f"{rows[-1]}{blank}{word}".strip()
        if letters.width(longer, 11) <= width or not rows[-1]:
            rows[-1] = longer
        else:
            rows.append(word)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], f"{rows[lines - 1]} …"]
    for number, row in enumerate(rows):
        letters.write(draw, (at[0], at[1] + 15 * number), _fitted(letters, row, width, 11), 11, ink)


def _units(text: str) -> Iterator[tuple[str, str]]:
    """Yields the words of a text with the blank before each; wide characters, as of Chinese, are words of their own."""
    for word in text.split():
        blank = " "
        for wide, run in groupby(word, key=lambda char: east_asian_width(char) in "WF"):
            for piece in run if wide else ["".join(run)]:
                yield piece, blank
                blank = ""


def _fitted(letters: Lettering, text: str, width: int, size: int, *, bold: bool = False) -> str:
    """Returns text cut to a width in pixels, with an ellipsis where something is missing; one character at least."""
    if letters.width(text, size, bold=bold) <= width:
        return text
    fits = bisect_left(range(1, len(text)), True, key=lambda n: letters.width(f"{text[:n]}…", size, bold=bold) > width)
    return f"{text[: max(fits, 1)]}…"
