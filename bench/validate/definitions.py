"""What every metric is, in words: the part of a metric card that no measurement can give.

Example:
    >>> [definition.name for definition in DEFINITIONS]
    ['mawe', 'scuts', 'clip', 'seams', 'stillness']
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """One metric.

    Attributes:
        name: as on the command line.
        title: for people.
        text: what it measures and why.
        formula: Markdown with mathematics.
        source: where it comes from.
        range: unit and range, and which way is good.
        advice: how to read it.
    """

    name: str
    title: str
    text: str
    formula: str
    source: str
    range: str
    advice: str


DEFINITIONS = (
    Definition(
        "mawe",
        "MAWE: motion-aware warp error",
        "Optical flow predicts each frame from the one before. What the prediction misses, per unit of motion, is the "
        "motion-aware warp error: a video that moves a lot may err a little.",
        "For the pair of frames $i, i+1$ with flow $f_i$: $W_i$ is the mean squared error per channel between frame "
        "$i+1$ and frame $i$ moved along $f_i$ (nearest cell, last source pixel wins, cells that nothing reaches are "
        "left out), $O_i$ the mean length of $f_i$.\n\n"
        "- `official`: $\\frac{1}{P}\\sum_i \\frac{W_i}{c\\,O_i}$ with $c = 9.5$, the mean of ratios\n"
        "- `paper`: $\\sum_i W_i \\,/\\, \\sum_i O^2_i$ with $O^2_i$ the mean squared length, the ratio of means",
        "StreamingT2V (arXiv:2403.14773 v2): the released `mawe.py` (`official`) and the appendix (`paper`). They "
        "differ by orders of magnitude; every score names its mode.",
        "Grey levels² per pixel of motion, 0 and up, lower is better. Undefined where a pair has no motion at all.",
        "Never read MAWE without `stillness`: what does not move has no warp error. `parts` counts the unusual pairs "
        "and gives the median and the largest pair ratio; a mean of ratios is decided by its smallest denominators.",
    ),
    Definition(
        "scuts",
        "SCuts: scene cuts",
        "The number of scene cuts a detector finds, where a continuous video should have none.",
        "Per frame the mean absolute change of hue, saturation and value. A cut where it is at least 15, at least "
        "three times its mean over the two frames before and the two after, and at least 15 frames after the last "
        "cut.",
        "StreamingT2V (arXiv:2403.14773 v2), appendix, with PySceneDetect's `AdaptiveDetector` and its defaults. "
        "Rule `0.6.2` is the version current when the paper appeared.",
        "Cuts, 0 and up, lower is better.",
        "It finds changes of place and little else. A video of seams that jump in pose but not in colour has no cuts; "
        "read `seams` beside it.",
    ),
    Definition(
        "clip",
        "CLIP score: does the video show what the prompt says",
        "Cosine between the features of the prompt and of every frame, averaged over the video.",
        "$\\frac{100}{T}\\sum_t \\cos(\\mathrm{image}(x_t), \\mathrm{text}(\\mathrm{prompt}))$, not clamped at zero; "
        "features are normalised, multiplied and averaged in float32.",
        "StreamingT2V (arXiv:2403.14773 v2), section 5; preprocessing as openai/CLIP `clip/clip.py:79-86`.",
        "100 × cosine, -100 to 100; with OpenAI's ViT-B/32 about 25 to 35 for frames that match. Higher is better.",
        "Frames are scored one by one: order, speed, repetition and standstill leave it unmoved. Scores of different "
        "models are not comparable, those of the miniature CLIP with the paper's least of all.",
    ),
    Definition(
        "seams",
        "Seams: contrast at the joins of chunks",
        "Long videos are made chunk by chunk. Every declared join is compared with the inside of the two chunks it "
        "joins.",
        "For boundary $b$ and signal $s$: $(s_b + \\varepsilon_s) / (\\mathrm{median}_{\\mathrm{inside}}\\, s + "
        "\\varepsilon_s)$; the contrast of a boundary is the geometric mean over the signals: warp error, change of "
        "the flow, mean absolute difference, jump of luminance, jump of colour, and CLIP distance of neighbouring "
        "frames. The score is the mean over boundaries.",
        "Ours. The floors $\\varepsilon_s$ stand in `metrics/seams.py`.",
        "Ratio, above 0; 1 is a join that cannot be told from the inside. Lower is better. Undefined without declared "
        "boundaries; `parts` then holds a guess.",
        "It answers to what happens *at* joins and to nothing else; an even flaw, however bad, leaves it at 1. The "
        "worst boundary is named in `parts`.",
    ),
    Definition(
        "stillness",
        "Stillness: frozen and repeated frames",
        "Warp errors reward what does not move. This says how much of a video stands still or repeats itself, and "
        "flags it.",
        "Share of frame pairs whose mean absolute difference is at most 0.25 grey levels, in percent. `parts`: the "
        "longest frozen span, the share of frames that equal (thumbnails within 1.5 grey levels) the frame one period "
        "before while differing halfway between, the period, the motion floor, and `flag`.",
        "Ours; thresholds in `metrics/stillness.py`.",
        "Percent of frame pairs, 0 to 100, lower is better; `repeated_share` is 0 to 1.",
        "A period longer than half the video cannot be found, and an honestly periodic motion under a still camera "
        "is a repetition: `flag` points at a row to look at, it does not convict.",
    ),
)
"""One per metric, in the order of the table."""
