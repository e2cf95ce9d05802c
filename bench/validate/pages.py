"""Writes the validation: an index, the cards, pages on flow and harmless changes, figures, and all numbers as JSON.

Example:
    >>> write_pages(validation, Path("docs/metric-cards"))   # doctest: +SKIP
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.report.answer import in_words
from bench.report.definitions import DEFINITIONS
from bench.validate.cards import ALL_METRICS, drift_card, metric_card
from bench.validate.cover import MOST_COLUMNS, column_cover
from bench.validate.doses import DOSE_FRAMES, STRENGTHS
from bench.validate.figures import draw_card_figures
from bench.validate.flow_error import PAIRS
from bench.validate.instruments import DRIFT_CARD, FLOW_SIZE, MEASUREMENTS, Measurement
from bench.validate.markdown import (
    SIGNS,
    CardRow,
    faults_by_verdict,
    invariance_table,
    joined,
    markdown_table,
    with_doses,
)
from bench.validate.ranks import FAINT, MONOTONE, MOST, WEAK
from bench.validate.results import FULL, ValidationResults
from generators.mini.faults import UNITS


def write_pages(validation: ValidationResults, out: Path) -> None:
    """Writes everything into an existing folder."""
    draw_card_figures(validation, out)
    _write(out / "numbers.json", json.dumps(_short(asdict(validation)), separators=(",", ":"), allow_nan=False) + "\n")
    _write(out / "README.md", _index(validation))
    for definition in DEFINITIONS:
        _write(out / f"{definition.name}.md", metric_card(validation, definition))
    _write(out / f"{DRIFT_CARD}.md", drift_card(validation))
    _write(out / "flow.md", _flow_page(validation))
    _write(out / "invariances.md", _invariance_page(validation))


def summary(validation: ValidationResults) -> list[str]:
    """Returns the results that matter most, a line each, for the terminal."""
    lines = list(validation.absent)
    for name, error in validation.flow.estimators.items():
        lines.append(f"flow {name}: end-point error {error.everywhere:.3f} px (nothing moves: {error.motion:.3f} px)")
    place, anything = validation.cuts.other_place, validation.cuts.any_scene
    lines.append(
        f"SCuts: F1 {place.f1:.3f} on {place.cuts} cuts in {place.videos} videos; any scene: {anything.f1:.3f}"
    )
    alarms = sum(count for _, _, count in validation.cuts.pans)
    lines.append(f"SCuts: {alarms} false alarms on {sum(v for _, v, _ in validation.cuts.pans)} fast pans")
    lines += ["", _plain_answers(validation)]
    outside = sum(not row.holds for row in validation.invariances)
    return [*lines, "", f"invariances: {outside} of {len(validation.invariances)} outside of their tolerance"]


# -- pages -------------------------------------------------------------------------------------------------------------


def _index(validation: ValidationResults) -> str:
    counts = validation.counts
    outside = [row for row in validation.invariances if not row.holds]
    return joined(
        "# Metric cards: what every metric sees, and what it is blind to",
        "Written by `python -m bench validate`; all numbers are in [numbers.json](numbers.json). The ground truth is "
        "the miniature world (`generators/mini/world.py`), whose motion is known exactly, and the faults one can put "
        "into it (`generators/mini/faults.py`).",
        "" if counts == FULL else "> A reduced run: its numbers are too few to quote.",
        *(f"> {line}" for line in validation.absent),
        _overview(validation),
        "## The dose-response table",
        f"{counts.scenes} scenes x {len(STRENGTHS)} faults x {len(STRENGTHS['freeze'])} strengths, "
        f"{DOSE_FRAMES} frames each, against the same scene without a fault. "
        + (f"The slow networks measured in {counts.network_scenes} of the scenes." if counts.network_scenes else ""),
        "![answers](answers.png)",
        _answer_table(validation),
        _legend(),
        _cover_sentence(validation),
        "Doses: " + "; ".join(f"{k} {', '.join(f'{s:g}' for s in STRENGTHS[k])} {UNITS[k]}" for k in STRENGTHS) + ".",
        "## Optical flow",
        _flow_table(validation),
        "More on [flow](flow.md).",
        "## Harmless changes",
        f"{len(validation.invariances) - len(outside)} of {len(validation.invariances)} readings stay within their "
        "tolerance; those that do not:"
        if outside
        else "All readings stay within their tolerance.",
        invariance_table(outside) if outside else "",
        "All of them, and the tolerances: [invariances](invariances.md).",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in validation.versions.items()) + ".",
    )


def _flow_page(validation: ValidationResults) -> str:
    backgrounds = list(next(iter(validation.flow.estimators.values())).by_background)
    rows = [("estimator", *backgrounds)]
    for name, error in validation.flow.estimators.items():
        rows.append((name, *(f"{error.by_background[b]:.3f}" for b in backgrounds)))
    return joined(
        "# Optical flow: end-point error of every estimator",
        f"{validation.counts.flow_clips} clips unseen in training, {PAIRS} consecutive pairs each, frames resized to "
        f"{FLOW_SIZE} x {FLOW_SIZE}, against the exact flow. Error: mean length of the difference of the two vectors, "
        "in pixels.",
        *(f"> {line}" for line in validation.absent if "flow" in line),
        _flow_table(validation),
        "*Nothing moves* is the error of a flow of zero: an estimator must be well below it. *Visible* pixels are seen "
        "in both frames. *Warp error* is what MAWE's warp makes of the estimator's flow, of the true one, and of none, "
        "in grey levels²; an estimator that is wrong where the picture is smooth warps as well as a right one.",
        "![end-point error](flow-error.png)",
        "Over all pixels, by background:",
        markdown_table(rows),
        ALL_METRICS,
    )


def _invariance_page(validation: ValidationResults) -> str:
    groups = {
        "chunking": "The same frames in updates of another length. Nothing may change.",
        "batch": "The same frames through the networks in batches of another size, against batches of eight.",
        "resolution": "The same frames enlarged (bicubic), against the original.",
        "coding": "Frames enlarged four times, through H.264 in 4:2:0, against the original. A codec blurs, and "
        "repeats pictures it finds alike, so measures of exactly zero motion do not survive it.",
    }
    parts = []
    for group, text in groups.items():
        own = [row for row in validation.invariances if row.group == group]
        if own:
            parts += [f"## {group.capitalize()}", text, invariance_table(own)]
    return joined(
        "# Harmless changes: what must not change a score",
        f"{validation.counts.invariance_videos} videos: sound ones, with a cut, with a frozen span, with seams. "
        "Changes are those of the median and of the worst video; the tolerance, fixed beforehand, is of the median. A "
        "*flip* is a score that becomes undefined or ceases to be.",
        *parts,
        ALL_METRICS,
    )


# -- pieces ------------------------------------------------------------------------------------------------------------


def _few(validation: ValidationResults, reading: Measurement) -> str:
    """Returns in how many scenes a reading was measured, where these are fewer than most."""
    curves = validation.doses.curves.get(reading.name, {})
    scenes = min(map(len, curves.values()), default=validation.counts.scenes)
    return f" ({scenes} scenes)" if scenes < validation.counts.scenes else ""


def _overview(validation: ValidationResults) -> str:
    """Returns one line per reading, linked to the card of its metric."""
    rows: list[CardRow] = [("reading", "sees", "blind to", "rewards")]
    for reading in MEASUREMENTS:
        link = f"[{reading.title}]({reading.card}.md){_few(validation, reading)}"
        if reading.name not in validation.doses.answers:
            rows.append((link, "not measured", "", ""))
            continue
        kinds = faults_by_verdict(validation, reading)
        seen = kinds["sees"] + with_doses(validation, reading, kinds["detects"])
        seen += [f"{kind} (in part)" for kind in kinds["in part"]]
        blind = kinds["blind"] + [f"{kind} (faint)" for kind in kinds["faint"]]
        blind += [f"{kind} (no value)" for kind in kinds["undefined"]]
        rows.append((link, ", ".join(seen), ", ".join(blind), ", ".join(kinds["rewards"])))
    return markdown_table(rows)


def _cover_sentence(validation: ValidationResults) -> str:
    """Returns which columns to read together."""
    found = column_cover(validation.doses)
    titles = {reading.name: reading.title for reading in MEASUREMENTS}
    columns = in_words([f"*{titles[name]}*" for name in found.columns])
    rest = f"all faults but {in_words(sorted(found.unseen))}" if found.unseen else "every fault"
    return f"**Read together.** Of all choices of {MOST_COLUMNS} columns, {columns} see the most: {rest}."


def _answer_table(validation: ValidationResults) -> str:
    rows: list[CardRow] = [("", *STRENGTHS)]
    for reading in MEASUREMENTS:
        if reading.name in validation.doses.answers:
            answers = validation.doses.answers[reading.name]
            cells = (f"{SIGNS[answers[k].verdict]} {answers[k].rho:+.2f}" for k in STRENGTHS)
            rows.append((f"{reading.title}{_few(validation, reading)}", *cells))
    return markdown_table(rows)


def _plain_answers(validation: ValidationResults) -> str:
    from bench.listing import text_table

    rows: list[CardRow] = [("", *STRENGTHS)]
    for reading in MEASUREMENTS:
        if reading.name in validation.doses.answers:
            answers = validation.doses.answers[reading.name]
            rows.append((reading.title, *(answers[k].verdict for k in STRENGTHS)))
    return text_table(rows)


def _legend() -> str:
    return (
        "Number: median over scenes of Spearman's correlation between dose and badness. "
        f"● sees: {MONOTONE:g} or more, and {MOST:.0%} of the scenes scored worse at the strongest dose than sound. "
        f"◌ faint: the same, but the change is small: below {FAINT:g} quartile ranges of the sound scenes, or below "
        f"what matters ({', '.join(f'{r.title} {r.least:g}' for r in MEASUREMENTS if r.least)}). "
        f"■ detects: {WEAK:g} or more, and so many scored worse from some dose on, but not in proportion to it. "
        f"▼ rewards: {-MONOTONE:g} or less, and at most {1 - MOST:.0%} scored worse. "
        f"· blind: between {-WEAK:g} and {WEAK:g}, or any small change that is not faint. ◐ in part: all else. "
        "– undefined in most scenes at the strongest dose."
    )


def _flow_table(validation: ValidationResults) -> str:
    errors = ("error", "visible", "occluded", "median clip", "worst clip", "nothing moves")
    rows: list[CardRow] = [("estimator", *errors, "warp error: own", "true", "none")]
    for name, e in validation.flow.estimators.items():
        numbers = (e.everywhere, e.visible, e.occluded, e.median, e.worst, e.motion)
        cells = ("–" if number is None else f"{number:.3f}" for number in numbers)
        rows.append((name, *cells, *(f"{warp:.1f}" for warp in e.warp_error)))
    return markdown_table(rows)


def _short(value: Any) -> Any:
    """Returns what JSON can hold, numbers with five digits: more would differ from machine to machine."""
    match value:
        case float():
            return float(f"{value:.5g}")
        case dict():
            return {key: _short(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_short(entry) for entry in value]
        case _:
            return value


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
