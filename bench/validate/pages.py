"""Writes the findings: an index, the cards, pages on flow and harmless changes, figures, and all numbers as JSON.

Example:
    >>> write_pages(findings, Path("docs/metric-cards"))   # doctest: +SKIP
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
from bench.validate.findings import FULL, ValidationResults
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
from generators.mini.faults import UNITS


def write_pages(findings: ValidationResults, out: Path) -> None:
    """Writes everything into an existing folder."""
    draw_card_figures(findings, out)
    _write(out / "numbers.json", json.dumps(_short(asdict(findings)), separators=(",", ":"), allow_nan=False) + "\n")
    _write(out / "README.md", _index(findings))
    for definition in DEFINITIONS:
        _write(out / f"{definition.name}.md", metric_card(findings, definition))
    _write(out / f"{DRIFT_CARD}.md", drift_card(findings))
    _write(out / "flow.md", _flow_page(findings))
    _write(out / "invariances.md", _invariance_page(findings))


def summary(findings: ValidationResults) -> list[str]:
    """Returns the findings that matter most, a line each, for the terminal."""
    lines = list(findings.absent)
    for name, error in findings.flow.estimators.items():
        lines.append(f"flow {name}: end-point error {error.everywhere:.3f} px (nothing moves: {error.motion:.3f} px)")
    place, anything = findings.cuts.other_place, findings.cuts.any_scene
    lines.append(
        f"SCuts: F1 {place.f1:.3f} on {place.cuts} cuts in {place.videos} videos; any scene: {anything.f1:.3f}"
    )
    alarms = sum(count for _, _, count in findings.cuts.pans)
    lines.append(f"SCuts: {alarms} false alarms on {sum(v for _, v, _ in findings.cuts.pans)} fast pans")
    lines += ["", _plain_answers(findings)]
    outside = sum(not row.holds for row in findings.invariances)
    return [*lines, "", f"invariances: {outside} of {len(findings.invariances)} outside of their tolerance"]


# -- pages -------------------------------------------------------------------------------------------------------------


def _index(findings: ValidationResults) -> str:
    counts = findings.counts
    outside = [row for row in findings.invariances if not row.holds]
    return joined(
        "# Metric cards: what every metric sees, and what it is blind to",
        "Written by `python -m bench validate`; all numbers are in [numbers.json](numbers.json). The ground truth is "
        "the miniature world (`generators/mini/world.py`), whose motion is known exactly, and the faults one can put "
        "into it (`generators/mini/faults.py`).",
        "" if counts == FULL else "> A reduced run: its numbers are too few to quote.",
        *(f"> {line}" for line in findings.absent),
        _overview(findings),
        "## The dose-response table",
        f"{counts.scenes} scenes x {len(STRENGTHS)} faults x {len(STRENGTHS['freeze'])} strengths, "
        f"{DOSE_FRAMES} frames each, against the same scene without a fault. "
        + (f"The slow networks measured in {counts.network_scenes} of the scenes." if counts.network_scenes else ""),
        "![answers](answers.png)",
        _answer_table(findings),
        _legend(),
        _cover_sentence(findings),
        "Doses: " + "; ".join(f"{k} {', '.join(f'{s:g}' for s in STRENGTHS[k])} {UNITS[k]}" for k in STRENGTHS) + ".",
        "## Optical flow",
        _flow_table(findings),
        "More on [flow](flow.md).",
        "## Harmless changes",
        f"{len(findings.invariances) - len(outside)} of {len(findings.invariances)} readings stay within their "
        "tolerance; those that do not:"
        if outside
        else "All readings stay within their tolerance.",
        invariance_table(outside) if outside else "",
        "All of them, and the tolerances: [invariances](invariances.md).",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in findings.versions.items()) + ".",
    )


def _flow_page(findings: ValidationResults) -> str:
    backgrounds = list(next(iter(findings.flow.estimators.values())).by_background)
    rows = [("estimator", *backgrounds)]
    for name, error in findings.flow.estimators.items():
        rows.append((name, *(f"{error.by_background[b]:.3f}" for b in backgrounds)))
    return joined(
        "# Optical flow: end-point error of every estimator",
        f"{findings.counts.flow_clips} clips unseen in training, {PAIRS} consecutive pairs each, frames resized to "
        f"{FLOW_SIZE} x {FLOW_SIZE}, against the exact flow. Error: mean length of the difference of the two vectors, "
        "in pixels.",
        *(f"> {line}" for line in findings.absent if "flow" in line),
        _flow_table(findings),
        "*Nothing moves* is the error of a flow of zero: an estimator must be well below it. *Visible* pixels are seen "
        "in both frames. *Warp error* is what MAWE's warp makes of the estimator's flow, of the true one, and of none, "
        "in grey levels²; an estimator that is wrong where the picture is smooth warps as well as a right one.",
        "![end-point error](flow-error.png)",
        "Over all pixels, by background:",
        markdown_table(rows),
        ALL_METRICS,
    )


def _invariance_page(findings: ValidationResults) -> str:
    groups = {
        "chunking": "The same frames in updates of another length. Nothing may change.",
        "batch": "The same frames through the networks in batches of another size, against batches of eight.",
        "resolution": "The same frames enlarged (bicubic), against the original.",
        "coding": "Frames enlarged four times, through H.264 in 4:2:0, against the original. A codec blurs, and "
        "repeats pictures it finds alike, so measures of exactly zero motion do not survive it.",
    }
    parts = []
    for group, text in groups.items():
        own = [row for row in findings.invariances if row.group == group]
        if own:
            parts += [f"## {group.capitalize()}", text, invariance_table(own)]
    return joined(
        "# Harmless changes: what must not change a score",
        f"{findings.counts.invariance_videos} videos: sound ones, with a cut, with a frozen span, with seams. Changes "
        "are those of the median and of the worst video; the tolerance, fixed beforehand, is of the median. A "
        "*flip* is a score that becomes undefined or ceases to be.",
        *parts,
        ALL_METRICS,
    )


# -- pieces ------------------------------------------------------------------------------------------------------------


def _few(findings: ValidationResults, reading: Measurement) -> str:
    """Returns in how many scenes a reading was measured, where these are fewer than most."""
    curves = findings.doses.curves.get(reading.name, {})
    scenes = min(map(len, curves.values()), default=findings.counts.scenes)
    return f" ({scenes} scenes)" if scenes < findings.counts.scenes else ""


def _overview(findings: ValidationResults) -> str:
    """Returns one line per reading, linked to the card of its metric."""
    rows: list[CardRow] = [("reading", "sees", "blind to", "rewards")]
    for reading in MEASUREMENTS:
        link = f"[{reading.title}]({reading.card}.md){_few(findings, reading)}"
        if reading.name not in findings.doses.answers:
            rows.append((link, "not measured", "", ""))
            continue
        kinds = faults_by_verdict(findings, reading)
        seen = kinds["sees"] + with_doses(findings, reading, kinds["detects"])
        seen += [f"{kind} (in part)" for kind in kinds["in part"]]
        blind = kinds["blind"] + [f"{kind} (faint)" for kind in kinds["faint"]]
        blind += [f"{kind} (no value)" for kind in kinds["undefined"]]
        rows.append((link, ", ".join(seen), ", ".join(blind), ", ".join(kinds["rewards"])))
    return markdown_table(rows)


def _cover_sentence(findings: ValidationResults) -> str:
    """Returns which columns to read together."""
    found = column_cover(findings.doses)
    titles = {reading.name: reading.title for reading in MEASUREMENTS}
    columns = in_words([f"*{titles[name]}*" for name in found.columns])
    rest = f"all faults but {in_words(sorted(found.unseen))}" if found.unseen else "every fault"
    return f"**Read together.** Of all choices of {MOST_COLUMNS} columns, {columns} see the most: {rest}."


def _answer_table(findings: ValidationResults) -> str:
    rows: list[CardRow] = [("", *STRENGTHS)]
    for reading in MEASUREMENTS:
        if reading.name in findings.doses.answers:
            answers = findings.doses.answers[reading.name]
            cells = (f"{SIGNS[answers[k].verdict]} {answers[k].rho:+.2f}" for k in STRENGTHS)
            rows.append((f"{reading.title}{_few(findings, reading)}", *cells))
    return markdown_table(rows)


def _plain_answers(findings: ValidationResults) -> str:
    from bench.listing import text_table

    rows: list[CardRow] = [("", *STRENGTHS)]
    for reading in MEASUREMENTS:
        if reading.name in findings.doses.answers:
            answers = findings.doses.answers[reading.name]
            rows.append((reading.title, *(answers[k].verdict for k in STRENGTHS)))
    return text_table(rows)


def _legend() -> str:
    return (
        "Number: median over scenes of Spearman's correlation between dose and badness. "
        f"● sees: {MONOTONE:g} or more, and {MOST:.0%} of the scenes scored worse at the strongest dose than sound. "
        "■ detects: so many scored worse from some dose on, but not in proportion to it. "
        f"◌ faint: monotone, but the change is below {FAINT:g} quartile ranges of the sound scenes, or below what "
        f"matters ({', '.join(f'{r.title} {r.least:g}' for r in MEASUREMENTS if r.least)}). ◐ in part. "
        f"· blind: below {WEAK:g}, or such a small change without order. "
        "▼ rewards: monotone the wrong way. – undefined in most scenes at the strongest dose."
    )


def _flow_table(findings: ValidationResults) -> str:
    errors = ("error", "visible", "occluded", "median clip", "worst clip", "nothing moves")
    rows: list[CardRow] = [("estimator", *errors, "warp error: own", "true", "none")]
    for name, e in findings.flow.estimators.items():
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
