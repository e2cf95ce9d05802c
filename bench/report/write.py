"""The order in which a report is made: findings, then files, then the page that links them.

Example:
    >>> write(gather([Store("results/run")]), Path("results/run/report"), TableChoice(sort="mawe"))   # doctest: +SKIP
    PosixPath('results/run/report/index.html')
"""

from __future__ import annotations

import os
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from bench import catalog
from bench.catalog import Catalog
from bench.errors import PluginError, StoreError
from bench.files import read_json, replacing, write_json
from bench.records import RunInfo
from bench.report import (
    bundle,
    contact,
    curves,
    cuts,
    data_files,
    drift,
    figures,
    html,
    latex,
    previews,
    scale,
    seams,
    segments,
    tables,
)
from bench.report.derive import report_data
from bench.report.findings import ReportData
from bench.report.judged import judged
from bench.report.published import load_published
from bench.report.published_runs import published_folder, published_runs
from bench.report.sources import Sources
from bench.terminal import printable
from bench.tidy import tidy

LISTING = ".files.json"
"""Name of the list of what a report wrote, in its folder."""


@dataclass(frozen=True)
class TableChoice:
    """What Table 1 shows.

    Attributes:
        drift: a name of `metrics.drift.DRIFTS` whose drifts take the place of the scores; empty for scores.
        scale: "vbench" for its final scale in place of the metrics' own; empty for theirs.
        sort: metric by whose mean the rows of each block stand; empty for the order of the published table.
    """

    drift: str = ""
    scale: str = ""
    sort: str = ""

    @property
    def is_other(self) -> bool:
        """Whether the columns are not the metrics of the run."""
        return bool(self.drift or self.scale)


def write(sources: Sources, folder: Path, choice: TableChoice, bundle_path: Path | None = None) -> Path:
    """Returns the path of the page it wrote into `folder`; see `bench.report.write_report`."""
    info, records = sources.info, sources.records
    found, missing = _plugins(info)
    classes = {name: plugin.cls for name, plugin in found.metrics.items()}
    published, stamps = load_published(), {name: plugin.info for name, plugin in found.methods.items()}
    findings = report_data(info, records, published, stamps, "" if choice.is_other else choice.sort)
    over_time = curves.trace(findings, classes)
    drifts, pieces = drift.drift_table(findings, classes), segments.segments(findings, classes)
    drift_text = drift.drift_markdown(findings, drifts) + segments.segments_markdown(findings, pieces)
    if choice.is_other:
        shown = (
            drift.with_drift(info, records, classes, choice.drift) if choice.drift else scale.with_scale(info, records)
        )
        instead = f"they are drifts by `{choice.drift}`" if choice.drift else "they are on VBench's scale"
        findings = replace(report_data(*shown, published, stamps, choice.sort, instead), measured=info.metrics)
    others, unread = published_runs(findings, published_folder())
    notes = sources.notes + missing + over_time.notes + drifts.notes + cuts.cuts_notes(records) + unread
    findings = replace(findings, notes=findings.notes + notes)
    profiles = seams.seam_profiles(findings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise StoreError(
            f"{folder}: cannot be written ({cause.strerror}); make the folder of the run writable"
        ) from cause
    texts = _tables(sources, findings, over_time, profiles) | {
        "drift.md": drift_text,
        "drift.csv": drift.drift_csv(drifts),
        "drift-tests.csv": drift.drift_tests_csv(drifts),
        "segments.csv": segments.segments_csv(pieces),
        "cuts.csv": cuts.cuts_csv(records),
    }
    for name, text in texts.items():
        _write_text(folder / name, text)
    with replacing(folder / "scores.parquet") as temporary:
        data_files.write_parquet(findings, where(sources), temporary)
    drawn = figures.draw_figures(findings, over_time, profiles, folder)
    sheets = contact.draw_sheets(sources, findings, close_ups(over_time), folder)
    made = previews.make_previews(sources, folder)
    people = judged(sources, findings)
    content = html.Content(findings, over_time, drawn, sheets, made, links(sources, folder), people, others, drifts)
    _write_text(folder / "index.html", html.page(content))
    played = {preview.file for preview in made.by_key.values()}
    written = {*texts, "scores.parquet", *drawn.files, *sheets.files, *played}
    _drop_stale(folder, written)
    if bundle_path is not None:
        bundle.pack(sources, folder, written, html.page(replace(content, links={})), bundle_path)
    return folder / "index.html"


def _drop_stale(folder: Path, written: Set[str]) -> None:
    """Removes what the report before wrote into the folder and this one did not, as for rows that are left out.

    Files of others stay: a list in the folder says which are the report's. A damaged one says nothing, and is new then.
    """
    listing, earlier = folder / LISTING, []
    with suppress(StoreError):
        earlier = read_json(listing).get("files", [])
    for name in set(map(str, earlier if isinstance(earlier, list) else ())) - written:
        path = folder / name
        if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
            path.unlink()
    write_json(listing, {"files": sorted(written)})


def close_ups(over_time: curves.Curves) -> tuple[curves.WorstMoment, ...]:
    """Returns the worst moments to show in pictures: those of the first metric that has any."""
    first = next((moment.metric for moment in over_time.worst), "")
    return tuple(moment for moment in over_time.worst if moment.metric == first)


def links(sources: Sources, folder: Path) -> dict[str, str]:
    """Returns the address of every video that is here, by key, for a page in `folder`: relative if made."""
    addresses = {}
    for key, path in sources.videos.items():
        if not path.exists():
            continue
        given = bool(sources.places[key][1].source)
        relative = os.path.relpath(path.absolute(), folder.absolute())
        addresses[key] = path.absolute().as_uri() if given else quote(Path(relative).as_posix())
    return addresses


def where(sources: Sources) -> dict[str, str]:
    """Returns where every video is, by key, for tables: below its run's folder if made, the whole path if given."""
    found = {}
    for key, path in sources.videos.items():
        store, record = sources.places[key]
        found[key] = printable(str(path)) if record.source else path.relative_to(store.path).as_posix()
    return found


def _plugins(info: RunInfo) -> tuple[Catalog, tuple[str, ...]]:
    """Returns what is installed here, and a note if the run's drop-in files cannot be read any more."""
    try:
        return catalog.find_plugins(info.plugins), ()
    except PluginError as error:
        return catalog.find_plugins(), (f"No curves for the metrics of a drop-in file: {error}.",)


def _tables(
    sources: Sources, findings: ReportData, over_time: curves.Curves, profiles: tuple[seams.SeamProfile, ...]
) -> dict[str, str]:
    return {
        "table1.md": tables.markdown(findings),
        "table1.csv": data_files.table_csv(findings, over_time),
        "scores.csv": data_files.tidy_csv(findings, over_time),
        "videos.csv": data_files.videos_csv(tidy(sources)),
        "table1.tex": latex.latex(findings),
        "costs.tex": latex.costs_latex(findings),
        "comparisons.csv": data_files.comparisons_csv(findings),
        "curves.csv": curves.curves_csv(over_time),
        "timelines.csv": curves.timelines_csv(over_time),
        "drift-ends.csv": data_files.drift_ends_csv(over_time),
        "seams.csv": seams.seams_csv(profiles),
    }


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
