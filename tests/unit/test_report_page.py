"""`bench.report`: a small synthetic store in, every file of the report out."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from bench.errors import ConfigError
from bench.ffv1 import VideoWriter, file_digest
from bench.prompts import PAPER_LABEL
from bench.records import Record, RunInfo, StoredScore
from bench.report import write_report
from bench.report.contact import MARGIN, SHEET_COLUMNS, TEXT_WIDTH, _fitted, frames_over_time
from bench.report.curves import Curve, Curves, Timeline, trace, windows_for
from bench.report.data_files import videos_csv
from bench.report.derive import report_data
from bench.report.figures import COLOURS, MARKERS, _figure, _legend, _literal, _plot_means, _strip_panel, draw_figures
from bench.report.findings import Flag, ReportData, TableRow
from bench.report.html import claims, with_code
from bench.report.latex import costs_latex, latex, tex
from bench.report.lettering import Lettering
from bench.report.notes import notes_of, obstacles
from bench.report.published import load_published
from bench.report.rows import other_start
from bench.report.seams import seam_profiles
from bench.report.tables import markdown, shown_value
from bench.spec import SCHEMA, Prompt
from bench.stats import Summary
from bench.store import Store
from generators.api import MethodInfo
from metrics.api import MetricInfo
from metrics.curves import PREFIXES

NUM_FRAMES, FPS = 24, 2.0
HOSTILE = "A fox & <script>alert('x')</script> 50% | $1_000 #1 {a}~^\\ `b`"
PROMPTS = (Prompt("fox", HOSTILE, ("animal",)), Prompt("otter", "An otter"), Prompt("crane", "A paper crane"))
COLUMNS_OF_RUN = (
    MetricInfo("wobble", "Wobble", "px", "lower", "1"),
    MetricInfo("match", "Match", "%", "higher", "1"),
)
PLUGIN = """
import dataclasses
from metrics.api import mean_or_none, metric

def reader(name, title, better):
    @metric(name=name, title=title, unit="px", better=better, version="1")
    @dataclasses.dataclass
    class Reader:
        scale: float = 1.0
        def begin(self, prompt, fps):
            raise RuntimeError("a report never scores")
        def window(self, series, start, stop):
            mean = mean_or_none(series["values"][start:stop])
            return None if mean is None else self.scale * mean
    return Reader

Wobble = reader("wobble", "Wobble", "lower")
Match = reader("match", "Match", "higher")
"""


def score(values: list[float], scale: float = 1.0) -> StoredScore:
    value = scale * float(np.mean(values))
    return StoredScore(value, {"frames": len(values), "mode": "plain"}, {"values": values}, "1", "", {"scale": scale})


def record(method: str, prompt: Prompt, level: float, **changes: object) -> Record:
    rising = [level * (1 + t / NUM_FRAMES) for t in range(NUM_FRAMES)]
    made = Record(
        key=f"{method}-{prompt.id}",
        method=method,
        title=method.title(),
        prompt=prompt,
        seed=0,
        status="ok",
        start=f"start of {prompt.id}",
        num_frames=NUM_FRAMES,
        height=16,
        width=16,
        fps=FPS,
        seams=(8, 16),
        video_sha256="0" * 64,
        cost={"seconds_per_frame": 0.5, "peak_rss_mb": 100.0 + level, "seconds_to_first_chunk": 2.0, "cold": 0.0},
        scores={"wobble": score(rising, 2.0), "match": score([30.0 - level] * NUM_FRAMES)},
    )
    return replace(made, **changes)


def run_info(methods: tuple[str, ...], plugin: Path) -> RunInfo:
    return RunInfo(
        schema=SCHEMA,
        name="synthetic",
        created="2026-01-01T00:00:00+00:00",
        prompt_set="made up",
        methods=methods,
        metrics=COLUMNS_OF_RUN,
        prompts=PROMPTS,
        seeds=(0,),
        profile="mini",
        settings={"video": {"num_frames": NUM_FRAMES}},
        provenance={"packages": {"numpy": "2"}, "commit": None},
        plugins=(str(plugin),),
        cells=tuple(f"{method}/{method}-{prompt.id}" for method in methods for prompt in PROMPTS),
    )


def film(store: Store, made: Record) -> Record:
    """Writes a video whose red channel is ten times the frame's index."""
    with VideoWriter(store.video_path(made), FPS) as video:
        for t in range(NUM_FRAMES):
            video.write(np.full((1, 16, 16, 3), (10 * t, 40, 90), np.uint8))
    path = store.video_path(made)
    return replace(made, video_bytes=path.stat().st_size, video_sha256=file_digest(path))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """alpha and beta are whole; gamma has a failed, a skipped and an unmade video; delta has another start."""
    folder = tmp_path_factory.mktemp("run")
    plugin = folder / "plugin.py"
    plugin.write_text(PLUGIN)
    store = Store(folder / "synthetic")
    store.open(run_info(("alpha", "beta", "gamma", "delta"), plugin))
    undefined = StoredScore(None, {}, {"values": [None] * NUM_FRAMES}, "1", "nothing moves", {"scale": 2.0})
    for index, prompt in enumerate(PROMPTS):
        alpha = record("alpha", prompt, 1.0 + index)
        if prompt.id == "crane":
            alpha = replace(alpha, scores={**alpha.scores, "wobble": undefined})
        for made in (alpha, record("beta", prompt, 4.0), record("delta", prompt, 0.5, start="elsewhere")):
            store.save(film(store, made))
    for prompt, status in zip(PROMPTS, ("failed", "skipped"), strict=False):
        reason = f"gamma {status}: weights & <b>bytes</b>"
        store.save(record("gamma", prompt, 9.0, status=status, reason=reason, scores={}, cost={}, num_frames=0))
    return store


@pytest.fixture(scope="module")
def report(store: Store) -> Path:
    return write_report(store).parent


@pytest.fixture(scope="module")
def findings(store: Store) -> ReportData:
    return report_data(store.info(), store.records(), load_published())


def row(findings: ReportData, method: str) -> TableRow:
    return next(row for row in findings.rows if row.method == method)


# -- findings ----------------------------------------------------------------------------------------------------------


def test_means_leave_out_undefined_values_and_count_them(findings: ReportData) -> None:
    wobble = row(findings, "alpha").scores["wobble"]
    factor = 2.0 * np.mean([1 + t / NUM_FRAMES for t in range(NUM_FRAMES)])
    assert wobble.mean == pytest.approx(1.5 * factor)
    assert (wobble.n, wobble.undefined) == (2, 1)
    undefined = [problem for problem in findings.problems if problem.status == "undefined"]
    assert [(p.method, p.prompt, p.what, p.reason) for p in undefined] == [
        ("alpha", "crane", "wobble", "nothing moves")
    ]


def test_failed_skipped_and_unmade_videos_are_counted(findings: ReportData) -> None:
    gamma = row(findings, "gamma")
    assert (gamma.planned, gamma.ok, gamma.failed, gamma.skipped, gamma.pending) == (3, 0, 1, 1, 1)
    assert gamma.scores["match"].mean is None
    assert {problem.status for problem in findings.problems if problem.method == "gamma"} == {"failed", "skipped"}


def test_a_row_with_another_start_is_neither_ranked_nor_tested(findings: ReportData) -> None:
    delta = row(findings, "delta")
    assert delta.scores["wobble"].mean < row(findings, "alpha").scores["wobble"].mean
    assert not delta.ranked
    assert delta.marks == {}
    assert any("another first chunk" in note for note in findings.notes)
    assert {name for c in findings.comparisons for name in (c.first, c.second)} == {"alpha", "beta"}


def test_best_and_second_follow_the_direction_of_the_metric(findings: ReportData) -> None:
    assert row(findings, "alpha").marks == {"wobble": "best", "match": "best"}
    assert row(findings, "beta").marks == {"wobble": "second", "match": "second"}
    assert row(findings, "gamma").marks == {}


def test_ties_share_a_mark() -> None:
    levels = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 3.0}
    assert marks_of(levels) == {"a": "best", "b": "best", "c": "second", "d": None}


def test_a_column_where_most_rows_share_the_best_value_marks_nobody() -> None:
    assert set(marks_of({"a": 1.0, "b": 1.0, "c": 1.0, "d": 2.0}).values()) == {None}


def marks_of(levels: dict[str, float]) -> dict[str, str | None]:
    info = run_info(tuple(levels), Path("none"))
    records = [record(method, prompt, level) for method, level in levels.items() for prompt in PROMPTS]
    return {row.method: row.marks.get("match") for row in report_data(info, records, load_published()).rows}


def test_the_start_most_methods_had_is_the_shared_one() -> None:
    def made(method: str, start: str) -> Record:
        return record(method, PROMPTS[0], 1.0, start=start)

    assert other_start([made("a", "x"), made("b", "y"), made("c", "y")]) == {"a"}
    assert other_start([made("a", "x"), made("b", "y")]) == {"b"}
    assert other_start([made("a", "x"), made("b", "")]) == frozenset()


def test_scores_of_the_mini_profile_are_called_not_comparable(findings: ReportData) -> None:
    assert not findings.comparable
    assert "not comparable with the published ones" in findings.notes[0]
    assert "`mini` profile" in findings.notes[0]


def test_published_rows_stand_beside_measured_ones() -> None:
    info = run_info(("svd",), Path("none"))
    findings = report_data(info, [record("svd", PROMPTS[0], 1.0)], load_published())
    assert findings.rows[0].published == {"mawe": 857.2, "scuts": 1.1, "clip": 23.95}
    assert "857.2 / 1.1 / 23.95" in markdown(findings)
    assert findings.rows[0].group == "I2V"


def test_scores_of_other_settings_are_not_the_papers() -> None:
    """The name of the profile is not enough: a mode of the metric and the size of the videos decide the numbers."""
    info = replace(run_info(("svd",), Path("none")), profile="paper", prompt_set=PAPER_LABEL)

    def found(height: int, settings: dict[str, object]) -> list[str]:
        made = replace(record("svd", PROMPTS[0], 1.0), num_frames=240, height=height, width=720)
        score = StoredScore(1.0, version="1", settings=settings)
        return obstacles(info, [replace(made, scores={"mawe": score})])

    assert found(720, {"mode": "official", "device": "cpu", "flow_weights": "elsewhere.pth"}) == []
    assert found(720, {"mode": "paper"}) == ["`mawe` was computed with mode = paper, not official"]
    assert found(64, {}) == ["there are videos of 64 x 720, not of 720 x 720"]


def test_a_return_in_a_text_does_not_end_a_row_of_the_videos_file() -> None:
    told = pd.DataFrame({"text": ["one\rtwo"], "value": [1.5], "video": [""], "record": ["a/k1.json"]})
    row = {"text": "one\ntwo", "value": "1.5", "key": "k1"}
    assert list(csv.DictReader(io.StringIO(videos_csv(told), newline=""))) == [row]


def test_long_text_is_cut_to_its_width_in_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    letters, tried, measure = Lettering(), [], Lettering.width

    def width(self: Lettering, text: str, size: int, *, bold: bool = False) -> float:
        tried.append(text)
        return measure(self, text, size, bold=bold)

    monkeypatch.setattr(Lettering, "width", width)
    text = _fitted(letters, "ก" * 2000, 100, 11)
    assert len(tried) <= 13  # halving, where every length was tried before
    assert text.endswith("…")
    assert letters.width(text, 11) <= 100
    assert letters.width(text[:-1] + "ก…", 11) > 100


def test_published_table_has_all_nine_systems_and_the_windows() -> None:
    published = load_published()
    assert len(published.methods) == 9
    assert {method.group for method in published.methods.values()} == set(published.groups)
    assert published.windows["streaming_t2v"]["clip"][220] == 31.79
    assert list(published.windows["streaming_t2v"]["mawe"]) == [120, 140, 160, 180, 200, 220]


def test_frozen_videos_are_flagged_and_cannot_win() -> None:
    def still(made: Record, flag: str) -> Record:
        return replace(made, scores={**made.scores, "stillness": StoredScore(0.0, {"flag": flag})})

    flags = {"a": ("frozen", "loop", ""), "b": ("frozen", "", ""), "c": ("", "", "")}
    records = [
        still(record(method, prompt, level), flag)
        for level, (method, of_method) in enumerate(flags.items(), start=1)
        for prompt, flag in zip(PROMPTS, of_method, strict=True)
    ]
    rows = report_data(run_info(tuple(flags), Path("none")), records, load_published()).rows
    assert [[flag.word for flag in row.flags] for row in rows] == [["frozen 2/3"], ["frozen 1/3"], []]
    assert [row.ranked for row in rows] == [False, True, True]
    assert [row.marks.get("match") for row in rows] == [None, "best", "second"]


def test_videos_that_needed_less_memory_are_flagged_and_still_ranked() -> None:
    records = [record(method, prompt, 1.0) for method in ("a", "b") for prompt in PROMPTS]
    records[1] = replace(records[1], memory='offload = "model", because with "none" a raised OutOfMemoryError: x')
    first, second = report_data(run_info(("a", "b"), Path("none")), records, load_published()).rows
    assert [flag.word for flag in first.flags] == ["offloaded 1/3"]
    assert "because with" in first.flags[0].sentence
    assert (first.ranked, second.flags) == (True, ())


def test_seam_profile_averages_each_seam_over_videos() -> None:
    def seamed(prompt: Prompt, contrasts: list[float | None]) -> Record:
        series = {"seam": [8.0, 16.0], "contrast": contrasts}
        return record("a", prompt, 1.0, scores={"seams": StoredScore(2.0, {}, series)})

    records = [seamed(PROMPTS[0], [2.0, 5.0]), seamed(PROMPTS[1], [4.0, None])]
    (profile,) = seam_profiles(report_data(run_info(("a",), Path("none")), records, load_published()))
    assert profile.frames == (8, 16)
    assert [(point.mean, point.n, point.undefined) for point in profile.points] == [(3.0, 2, 0), (5.0, 1, 1)]


def test_loading_time_stays_out_of_the_wait_for_the_first_chunk() -> None:
    cold = record("a", PROMPTS[0], 1.0, cost={"seconds_to_first_chunk": 60.0, "cold": 1.0})
    warm = record("a", PROMPTS[1], 1.0, cost={"seconds_to_first_chunk": 2.0, "cold": 0.0})
    info = run_info(("a",), Path("none"))
    assert report_data(info, [cold, warm], load_published()).rows[0].cost["seconds_to_first_chunk"] == 2.0
    assert report_data(info, [cold], load_published()).rows[0].cost["seconds_to_first_chunk"] == 60.0


# -- files -------------------------------------------------------------------------------------------------------------


def test_csv_holds_full_precision(report: Path, findings: ReportData) -> None:
    lines = {line["method"]: line for line in read_csv(report / "table1.csv")}
    assert float(lines["alpha"]["wobble_mean"]) == row(findings, "alpha").scores["wobble"].mean
    assert lines["alpha"]["wobble_undefined"] == "1"
    assert lines["gamma"]["match_mean"] == ""
    assert (lines["delta"]["ranked"], lines["delta"]["flags"]) == ("False", "other start")
    assert float(lines["beta"]["peak_rss_mb"]) == 104.0


def test_markdown_is_one_table_with_marks_counts_and_notes(report: Path) -> None:
    text = (report / "table1.md").read_text()
    alpha = next(line for line in text.splitlines() if line.startswith("| Alpha"))
    assert "(2 of 3)" in alpha
    assert "**28.00**" in alpha
    assert "<u>26.00</u>" in text
    assert "0/3 (1 failed, 1 skipped, 1 not made yet)" in text
    heads = text.split("\n\n")[2].splitlines()
    assert len({line.count("|") for line in heads}) == 1


def test_text_of_others_is_no_formula_and_no_missing_letter() -> None:
    assert tex("a \U0001f600 狐 é $x$ \x07") == r"a \texttt{U+1F600} \texttt{U+72D0} é \$x\$ \texttt{U+0007}"
    figure = _figure(2.0, 1.0)
    figure.suptitle(_literal(r"$\frac{$"))
    assert _literal("Ours\n(24 fps)\x1b") == r"Ours (24 fps)\x1b"
    figure.savefig(io.BytesIO())


def test_a_page_of_drifts_keeps_the_curves_of_the_metrics(store: Store, tmp_path: Path) -> None:
    text = write_report(store, folder=tmp_path, drift="start_end_15").read_text()
    assert "Wobble, start_end_15" in text
    assert "Drift of Wobble: mean over videos" in text
    assert (tmp_path / "curve-wobble.png").is_file()
    with pytest.raises(ConfigError, match="give one of them"):
        write_report(store, folder=tmp_path, drift="start_end_15", scale="vbench")


def test_latex_is_booktabs_with_everything_escaped(findings: ReportData, report: Path) -> None:
    info = replace(findings.info, prompt_set="a_b & 50%")
    hostile = replace(findings, info=info, rows=tuple(replace(r, title="X_1 & {y}") for r in findings.rows))
    text = latex(hostile)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"X\_1 \& \{y\}" in text
    assert r"a\_b \& 50\%" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"\textbf{28.00}" in (report / "table1.tex").read_text()


DOCUMENT = r"""
\documentclass[twocolumn,10pt,letterpaper]{article}
\usepackage[margin=1in]{geometry}
\usepackage{booktabs,textcomp}
\begin{document}
\input{table1.tex}\input{costs.tex}Text.
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here (texlive-latex-recommended)")
def test_latex_compiles_without_an_overfull_box(findings: ReportData, tmp_path: Path) -> None:
    """Eight metrics with wide numbers and intervals, long names and flags, on the text width of a narrow page."""
    columns = tuple(MetricInfo(f"m{i}", f"Metric {i}", "px", "lower", "1") for i in range(8))
    score = Summary(6069.7, 6069.7, 1.0, 5123.4, 7123.4, 4, 0)
    flags = (Flag("frozen 12/50", "of its videos, some are frozen."), Flag("mixed lengths", "it has 24 and 48 frames."))
    rows = tuple(
        replace(row, title="FreeNoise (AnimateDiff)", flags=flags, marks={"m1": "best", "m2": "second"},
                scores={c.name: score for c in columns}, cost=dict.fromkeys(row.cost, 12345.6))
        for row in findings.rows
    )  # fmt: skip
    wide = replace(findings, columns=columns, rows=rows, comparable=True)
    (tmp_path / "table1.tex").write_text(latex(wide))
    (tmp_path / "costs.tex").write_text(costs_latex(wide))
    (tmp_path / "all.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    made = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "TEXMFVAR": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Overfull" not in made.stdout, made.stdout


def test_parquet_is_long_and_complete(report: Path) -> None:
    rows = pq.read_table(report / "scores.parquet").to_pylist()
    beta = [r for r in rows if r["method"] == "beta" and r["metric"] == "match" and r["name"] == "value"]
    assert [(r["prompt_id"], r["value"]) for r in beta] == [("fox", 26.0), ("otter", 26.0), ("crane", 26.0)]
    assert {r["status"] for r in rows if r["method"] == "gamma"} == {"failed", "skipped"}
    assert any(r["metric"] == "cost" and r["name"] == "seconds_per_frame" and r["value"] == 0.5 for r in rows)
    assert any(r["name"] == "frames" and r["value"] == NUM_FRAMES for r in rows)


def test_curves_are_the_metrics_own_windows(report: Path) -> None:
    lines = read_csv(report / "curves.csv")
    beta = {int(line["frames"]): line for line in lines if (line["metric"], line["method"]) == ("wobble", "beta")}
    assert tuple(beta) == windows_for(NUM_FRAMES) == (12, 14, 16, 18, 20, 22, 24)
    for n, line in beta.items():
        assert float(line["mean"]) == pytest.approx(8.0 * np.mean([1 + t / NUM_FRAMES for t in range(n)]))
    alpha = [line for line in lines if (line["metric"], line["method"]) == ("wobble", "alpha")]
    assert {line["undefined"] for line in alpha} == {"1"}


def test_means_over_time_show_where_they_are_not_over_all_videos(report: Path) -> None:
    for figure in ("curve-wobble.svg", "curve-wobble-narrow.svg", "breaks.svg"):
        text = (report / figure).read_text()
        assert "<!-- Alpha (2 of 3) -->" in text
        assert "<!-- Beta -->" in text
        assert "over fewer videos" in text
    assert "over fewer videos" not in (report / "curve-match.svg").read_text()
    _, _, over_time = (report / "index.html").read_text().partition('<section id="curves">')
    drifts, _, grids = over_time.partition("</table>")
    alpha = next(line for line in drifts.splitlines() if "<td>" in line)  # Wobble, then Match
    assert re.search(r"[\d.]+ → [\d.]+<span class=\"more\">change [\d.]+ +<span[^>]*>2 of 3</span>", alpha)
    assert alpha.count("2 of 3") == 2  # change and slope of Wobble
    assert "2 of 3" in grids


def test_windows_are_the_papers_and_reach_the_end_of_longer_videos() -> None:
    assert windows_for(240) == PREFIXES == (120, 140, 160, 180, 200, 220, 240)
    assert windows_for(1200) == (*PREFIXES, 400, 560, 720, 880, 1040, 1200)
    assert windows_for(241) == (*PREFIXES, 241)
    assert windows_for(150) == (120, 140)
    assert windows_for(2) == (2,)


def test_a_row_too_short_for_a_line_over_time_is_named(findings: ReportData) -> None:
    scope: dict[str, type] = {}
    exec(PLUGIN, scope)
    classes = {"match": scope["Match"]}

    def lasting(records: Sequence[Record], method: str, frames: int) -> tuple[Record, ...]:
        return tuple(replace(r, num_frames=frames) if r.method == method and r.num_frames else r for r in records)

    assert trace(findings, classes).notes == ()
    mixed = lasting(findings.records, "alpha", 240)
    assert trace(replace(findings, records=mixed), classes).notes == (
        "Over time, Beta and Delta have no line: their videos end before the first point of the curves, 120 frames.",
    )
    mixed = lasting(mixed, "delta", 120)
    assert trace(replace(findings, records=mixed), classes).notes[0].startswith("Over time, Beta has no line: its vid")


def test_contact_sheet_shows_the_frames_in_order(report: Path) -> None:
    sheet = np.asarray(Image.open(report / "contact-beta.png"))
    indices = frames_over_time(NUM_FRAMES)
    assert indices == (0, 3, 6, 9, 12, 14, 17, 20, 23)
    pitch = (sheet.shape[1] - 2 * MARGIN - TEXT_WIDTH) // SHEET_COLUMNS
    middle = MARGIN + TEXT_WIDTH + 48 + pitch * np.arange(SHEET_COLUMNS)
    assert sheet[100, middle].tolist() == [[10 * index, 40, 90] for index in indices]


def test_all_methods_stand_together_on_the_first_prompt(report: Path) -> None:
    together = np.asarray(Image.open(report / "together.png"))
    left = MARGIN + TEXT_WIDTH + 48
    column = together[:, left].tolist()
    shown_rows = [y for y in range(1, len(column)) if column[y] == [0, 40, 90] != column[y - 1]]
    assert len(shown_rows) == 3  # alpha, beta and delta; gamma says why it has no video
    assert "together.png" in (report / "index.html").read_text()


def test_page_escapes_what_others_wrote(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert r"\u003cscript\u003ealert" in text  # in the data of the players
    assert "weights &amp; &lt;b&gt;bytes" in text


def test_page_is_well_formed_and_every_link_leads_somewhere(report: Path) -> None:
    page = Links((report / "index.html").read_text())
    assert page.open == []
    anchors = {link[1:] for link in page.links if link.startswith("#") and "?" not in link}
    files = [link for link in page.links if not link.startswith("#")]
    assert anchors <= page.ids
    assert any(link.endswith("alpha-fox.mkv") for link in files)
    for link in files:
        assert (report / link).is_file(), link


def test_page_says_why_there_is_no_result(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "nothing moves" in text
    assert "not made yet" in text
    assert "other start" in text
    assert re.search(r"cannot give an uncorrected p below 0\.25", text)


def test_same_store_gives_the_same_bytes_and_nothing_else_is_touched(store: Store, report: Path) -> None:
    before = snapshot(store.path)
    shutil.rmtree(report)
    write_report(store)
    assert snapshot(store.path) == before


def test_damaged_video_costs_its_pictures_only(store: Store, report: Path, tmp_path: Path) -> None:
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.path, copy.path)
    (copy.path / "cells" / "beta" / "beta-fox.mkv").write_bytes(b"torn")
    text = write_report(copy).read_text()
    assert re.search(r"beta-fox\.mkv: damaged", text)
    assert (copy.path / "report" / "table1.csv").read_bytes() == (report / "table1.csv").read_bytes()


def test_report_of_a_run_that_has_only_begun(tmp_path: Path) -> None:
    store = Store(tmp_path / "empty")
    store.open(replace(run_info(("alpha",), tmp_path / "gone.py")))
    text = write_report(store).read_text()
    assert "No videos yet" in text
    assert "drop-in file" in text  # the plugin of the run is gone, and the page says what is missing for that


def test_a_metric_that_cannot_read_its_series_costs_its_curves_only(store: Store, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN.replace('series["values"]', 'series["renamed" if self.scale == 2.0 else "values"]'))
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.path, copy.path, ignore=shutil.ignore_patterns("report"))
    copy.open(replace(store.info(), plugins=(str(plugin),)))
    text = write_report(copy).read_text()
    assert "No curves for Wobble: metric wobble on its own series raised KeyError" in text
    assert (copy.path / "report" / "curve-match.svg").is_file()
    assert not (copy.path / "report" / "curve-wobble.svg").exists()


# -- sentences that must be true of the run ----------------------------------------------------------------------------


def as_given(run: Store, folder: Path, **changes: object) -> Store:
    """Returns a copy of a run as if all its videos had been made elsewhere."""
    given = Store(folder / "given")
    shutil.copytree(run.path, given.path, ignore=shutil.ignore_patterns("report"))
    for made in run.records():
        source = str(run.video_path(made).absolute()) if made.status == "ok" else ""
        given.save(replace(made, start="", seams=(), source=source, **changes))
    return given


def test_a_page_of_given_videos_speaks_of_no_shared_chunk_and_of_no_lossless_file(store: Store, tmp_path: Path) -> None:
    text = write_report(as_given(store, tmp_path)).read_text()
    for claim in ("the same first chunk", "hatched part", "lossless", "FFV1"):
        assert claim not in text, claim
    assert "Every video is scored by the same metrics" in text
    assert 'alpha-fox.mkv">original</a>' in text


def test_a_page_of_made_videos_speaks_of_the_shared_chunk_and_of_lossless_files(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "Every system continues the same first chunk of every prompt;" in text
    assert 'alpha-fox.mkv">lossless</a>' in text
    assert "The lossless files (FFV1 in Matroska)" in text
    assert "original" not in text.partition('<section id="videos">')[2].partition("</section>")[0]


def test_a_page_without_links_speaks_of_no_file_behind_the_previews(store: Store, tmp_path: Path) -> None:
    write_report(store, bundle=tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as bundle:
        text = bundle.read("report/index.html").decode()
    assert "Previews play in a browser" in text
    assert "lossless" not in text


def test_strips_are_called_hatched_where_the_chunk_they_continue_is_known(findings: ReportData) -> None:
    stamp = MethodInfo("alpha", "Alpha", "", "none", True)
    strips = Curves(timelines=(Timeline("wobble", "alpha", (0,), (1.0,), (1,), 1),))
    assert claims(replace(findings, stamps={"alpha": stamp}), strips)["hatched"]
    assert not claims(replace(findings, stamps={}), strips)["hatched"]
    assert not claims(replace(findings, stamps={"alpha": stamp}), Curves())["hatched"]


def test_a_chunk_that_every_row_replaces_is_continued_by_none(findings: ReportData) -> None:
    own = tuple(replace(row, own_start=True) for row in findings.rows)
    assert claims(findings, Curves())["continued"]
    assert not claims(replace(findings, rows=own), Curves())["continued"]


def test_intervals_are_spoken_of_only_where_there_are_some(store: Store, report: Path, tmp_path: Path) -> None:
    text = (report / "index.html").read_text()
    sentences = ("Bands are 95", "with their intervals. “3", "Scores: mean over videos, in brackets")
    two = Store(tmp_path / "two")
    shutil.copytree(store.path, two.path, ignore=shutil.ignore_patterns("report"))
    info = store.info()
    cells = tuple(cell for cell in info.cells if not cell.endswith("-crane"))
    two.open(replace(info, prompts=info.prompts[:2], cells=cells))
    fewer = write_report(two).read_text()
    assert "No intervals: 2 prompts" in fewer
    for sentence in sentences:
        assert sentence in text
        assert sentence not in fewer, sentence


def test_a_page_says_why_short_videos_have_no_first_and_last_seconds(
    store: Store, report: Path, tmp_path: Path
) -> None:
    why = "videos under 10 s have no such ends"
    assert why not in (report / "index.html").read_text()  # they last 12 s
    assert why in write_report(as_given(store, tmp_path, fps=8.0)).read_text()


# -- small things ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.00"), (6069.7, "6069.7"), (52.34, "52.34"), (0.04, "0.04"), (-0.00123, "-0.0012")],
)
def test_numbers_as_tables_show_them(value: float | None, text: str) -> None:
    assert shown_value(value) == text


def test_text_of_others_is_no_link_no_entity_and_no_code(findings: ReportData) -> None:
    title = "[Fast](javascript:alert(1)) b &lt;i&gt; \\*x_y `z`"
    rows = [replace(row, title=title, own_start=True) for row in findings.rows]
    notes = notes_of(findings.info, rows, findings.columns, findings.comparisons, findings.power, findings.records)
    escaped = r"\[Fast\](javascript:alert(1)) b &amp;lt;i&amp;gt; \\\*x\_y"
    assert not any("`z`" in note for note in notes)
    assert all("<code>z" not in with_code(note) for note in notes)
    text = markdown(replace(findings, rows=tuple(rows), notes=(*notes, "see `a_[b]` for x_y")))
    assert f"| {escaped} \\`z\\` " in text
    assert f"{escaped} 'z'" in text
    assert "[Fast](" not in text.replace(r"\[Fast\](", "")
    assert r"- see `a_[b]` for x\_y" in text


def test_latex_escapes() -> None:
    assert tex("a `b` -- --- ''c'' ,, it's") == (
        r"a \textasciigrave{}b\textasciigrave{} -{}- -{}-{}- '{}'c'{}' ,{}, it's"
    )
    assert tex("[ours] SVD") == "{[}ours] SVD"
    assert tex("50% of $x_1 & {y}~\\") == r"50\% of \$x\_1 \& \{y\}\textasciitilde{}\textbackslash{}"


def test_backticks_become_code_and_the_rest_stays_text() -> None:
    assert with_code("a <b> `x < y` c") == "a &lt;b&gt; <code>x &lt; y</code> c"


def test_markers_tell_methods_of_one_colour_apart() -> None:
    assert len(set(COLOURS)) == len(COLOURS) >= 14
    assert len({(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i in range(100)}) == 100


def test_legends_list_lines_as_they_end() -> None:
    axes = _figure(4.0, 3.0).add_subplot()
    for label, values in {
        "low": [9.0, 1.0],
        "none": [np.nan, np.nan],
        "high": [0.0, 5.0],
        "mid": [2.0, np.nan],
    }.items():
        axes.plot([1, 2], values, label=label)
    _legend(axes)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["high", "mid", "low", "none"]


def test_points_and_windows_over_fewer_videos_are_marked(findings: ReportData) -> None:
    points = [Summary(mean, mean, None, None, None, n, 3 - n) for mean, n in ((1.0, 3), (2.0, 2), (None, 0))]
    axes = _figure(4.0, 3.0).add_subplot()
    _plot_means(axes, findings, "beta", (10, 20, 30), points, width=1.0)
    _, hollow = axes.get_lines()
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([20], [2.0])
    assert hollow.get_markerfacecolor() == "white"
    figure = _figure(4.0, 3.0)
    axes = figure.add_subplot()
    strip = Timeline("wobble", "beta", starts=(0, 4, 8), values=(1.0, 2.0, None), counts=(3, 2, 0), videos=3)
    _strip_panel(figure, axes, findings, findings.columns[0], [strip])
    _, above = (lines for lines in axes.collections if isinstance(lines, LineCollection))  # the first has the seams
    assert [segment.tolist() for segment in above.get_segments()] == [[[10.0, -0.43], [14.0, -0.43]]]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def snapshot(folder: Path) -> dict[str, bytes]:
    files: Iterator[Path] = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Links(HTMLParser):
    """Collects links and ids, and the tags that are still open at the end."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input", "source"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [link for name in ("href", "src") if (link := given.get(name))]
        if given.get("id"):
            self.ids.add(str(given["id"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        while (last := self.open.pop()) != tag:
            assert last in {"p", "li", "td", "tr"}, f"<{last}> is not closed before </{tag}>"


def test_a_metric_without_a_course_takes_no_other_curve_along(findings: ReportData, tmp_path: Path) -> None:
    columns = tuple(replace(findings.columns[0], name=name) for name in ("match_long", "match"))
    known, unknown = (Summary(mean, mean, None, None, None, 1, 0) for mean in (1.0, None))
    drawn = Curve("match_long", "alpha", (10, 20), (known, known))
    none = Curve("match", "alpha", (10, 20), (unknown, unknown))
    draw_figures(replace(findings, columns=columns), Curves(prefixes=(drawn, none)), (), tmp_path)
    assert (tmp_path / "curve-match_long.svg").is_file()
    assert not (tmp_path / "curve-match.svg").exists()
