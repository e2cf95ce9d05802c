"""The cards: one page a metric, and one on the definitions of drift."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.definitions import Definition
from bench.validate.cuts import CUT_FRAMES, MOST_CUTS, Detection
from bench.validate.doses import STRENGTHS
from bench.validate.figures import drawn_readings
from bench.validate.instruments import DRIFT_CARD, MEASUREMENTS, Measurement
from bench.validate.markdown import (
    SIGNS,
    CardRow,
    faults_by_verdict,
    invariance_table,
    joined,
    markdown_table,
    with_doses,
)
from bench.validate.ranks import DoseAnswer
from bench.validate.results import ValidationResults
from metrics.drift import DRIFTS
from metrics.scuts import MIN_SCENE_LEN

SENTENCES = {
    "sees": "It sees",
    "detects": "It detects, from the dose given on but not in proportion,",
    "faint": "It answers faintly (a change too small to matter) to",
    "in part": "It answers in part to",
    "blind": "It is **blind** to",
    "rewards": "It **rewards**, that is, scores the better the worse it gets,",
    "undefined": "It has no value under",
}
"""How a card begins what it says of a verdict."""

ALL_METRICS = "[All metrics](README.md)"
"""The last line of a page."""


def metric_card(validation: ValidationResults, definition: Definition) -> str:
    """Returns the page of a metric: what it is, what it answered to, and how to read it."""
    readings = _measured(validation, definition.name)
    drawn = drawn_readings(validation.doses, definition.name)
    extra = {"mawe": _mawe_extra, "scuts": _scuts_extra, "exposure": _exposure_extra}.get(definition.name)
    own = [row for row in validation.invariances if row.reading in {r.name for r in readings}]
    return joined(
        f"# {definition.title}",
        definition.text,
        "## Formula",
        definition.formula,
        f"**Source.** {definition.source}",
        f"**Range.** {definition.range}",
        "## What it sees, and what it is blind to",
        *(
            [_verdicts(validation, r) for r in readings]
            or ["Not measured: its weights do not travel with the repository."]
        ),
        f"![answers to doses]({definition.name}-doses.png)" if drawn else "",
        f"Median and quartiles over {' and '.join(dict.fromkeys(_scenes(validation, r) for r in drawn))} scenes; "
        "the title of a panel is the verdict" + (f" on {drawn[0].title}." if len(drawn) > 1 else ".")
        if drawn
        else "",
        *(_dose_rows(validation, r) for r in readings),
        *(extra(validation) if extra else ()),
        "## Harmless changes" if own else "",
        invariance_table(own) if own else "",
        "## How to read it",
        definition.advice,
        ALL_METRICS,
    )


def drift_card(validation: ValidationResults) -> str:
    """Returns the page of the definitions of drift, by what each makes of the mean luma of the frames."""
    own = {reading.drift: reading for reading in _measured(validation, DRIFT_CARD)}
    sections = []
    for name, definition in DRIFTS.items():
        sections += [
            f"## `{name}`: {definition.title}",
            f"**Cannot see.** {definition.blind}",
            f"**Source.** {definition.source}",
            *(
                [_verdicts(validation, own[name]), _dose_rows(validation, own[name])]
                if name in own
                else ["Not measured."]
            ),
        ]
    return joined(
        "# Drift: what every definition of it sees",
        "A definition of drift compares the values that a metric has on stretches of one video, so every metric has a "
        "drift by every definition (`metrics/drift.py`). Here each reads the mean luma of the frames, in percent of "
        "the range, which is the series behind [exposure drift](exposure.md); `vde…` are relative to the first chunk.",
        "The faults to compare are `exposure`, a change that stays, and `dip`, which is over before the end.",
        *sections,
        ALL_METRICS,
    )


def _measured(validation: ValidationResults, card: str) -> list[Measurement]:
    return [r for r in MEASUREMENTS if r.card == card and r.name in validation.doses.answers]


def _mawe_extra(validation: ValidationResults) -> Iterable[str]:
    rows: list[CardRow] = [
        ("side of the frames", "true flow, not at outlines", "visible pixels", "all pixels", "no flow")
    ]
    for floor in validation.flow.floor:
        errors = (floor.inner, floor.visible, floor.everywhere, floor.still)
        rows.append((str(floor.size), *(f"{error:.2f}" for error in errors)))
    yield "## The warp of a true flow"
    yield (
        "Even the exact flow leaves an error, because pixels go to the nearest cell: at most half a pixel off. It "
        "shrinks as frames get larger and smoother, down to what the world's own 64 pixels leave. Pixels at outlines, "
        "which mix two layers that move apart, and background that the object in front hides or uncovers keep theirs. "
        "Grey levels², mean over clips:"
    )
    yield markdown_table(rows)
    yield "![floor of the warp error](mawe-floor.png)"


def _exposure_extra(validation: ValidationResults) -> Iterable[str]:
    yield f"What every definition of drift makes of the same frames: [drift]({DRIFT_CARD}.md)."


def _scuts_extra(validation: ValidationResults) -> Iterable[str]:
    cuts = validation.cuts
    rows: list[CardRow] = [("cuts", "videos", "true", "found", "right", "precision", "recall", "F1")]
    rows += [_detection("to another place", cuts.other_place), _detection("to any scene", cuts.any_scene)]
    yield "## Hard cuts"
    yield (
        f"Rendered videos of {CUT_FRAMES} frames with 0 to {MOST_CUTS} hard cuts, no scene shorter "
        f"than the detector's minimum of {MIN_SCENE_LEN} frames; a cut counts only on exactly the right "
        "frame. *Another place* has another background. *Any scene* may have the same one: what is missed there "
        "are cuts between scenes of like colours."
    )
    yield markdown_table(rows)
    yield "![cuts and false alarms](scuts-cuts.png)"
    yield markdown_table(
        [
            ("camera", *(f"{speed:g} ×" for speed, _, _ in cuts.pans)),
            ("steady pan: false alarms / videos", *(f"{count} / {videos}" for _, videos, count in cuts.pans)),
            ("whip pan: false alarms / videos", *(f"{count} / {videos}" for _, videos, count in cuts.whips)),
        ]
    )
    yield "A steady pan runs at so many times the world's own pace; a whip pan does so for six frames and rests around."


def _scenes(validation: ValidationResults, reading: Measurement) -> str:
    return str(len(next(iter(validation.doses.curves[reading.name].values()))))


def _verdicts(validation: ValidationResults, reading: Measurement) -> str:
    kinds = faults_by_verdict(validation, reading)
    kinds |= {"detects": with_doses(validation, reading, kinds["detects"])}
    sentences = [f"{SENTENCES[v]} {', '.join(kinds[v])}." for v in SIGNS if kinds[v]]
    return f"**{reading.title}.** {' '.join(sentences)}"


def _dose_rows(validation: ValidationResults, reading: Measurement) -> str:
    head = (
        "fault",
        "verdict",
        "Spearman",
        "worse at the strongest",
        "change",
        "in quartile ranges",
        "from dose",
        "none",
    )
    rows: list[CardRow] = [head]
    for kind, found in validation.doses.answers[reading.name].items():
        rows.append((kind, found.verdict, *_answer_cells(kind, found)))
    return f"### {reading.title}\n\n{markdown_table(rows)}"


def _answer_cells(kind: str, found: DoseAnswer) -> tuple[str, ...]:
    start = "never" if found.threshold is None else f"{STRENGTHS[kind][found.threshold]:g}"
    return (
        f"{found.rho:+.2f}",
        f"{found.worse:.0%}",
        "–" if found.change is None else f"{found.change:+.3g}",
        "–" if found.size is None else f"{found.size:+.2g}",
        start,
        f"{found.undefined:.0%}",
    )


def _detection(name: str, found: Detection) -> tuple[str, ...]:
    shares = (f"{share:.3f}" for share in (found.precision, found.recall, found.f1))
    return (name, str(found.videos), str(found.cuts), str(found.found), str(found.hits), *shares)
