"""The order in which a report is made: findings, then files, then the page that links them.

Example:
    >>> write(Store(Path("results/mini-1a2b3c")))   # doctest: +SKIP
    PosixPath('results/mini-1a2b3c/report/index.html')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import catalog
from bench.errors import PluginError, StoreError
from bench.files import replacing
from bench.records import RunInfo
from bench.report import contact, curves, drift, figures, html, seams, tables
from bench.report.findings import ReportData, report_data
from bench.report.published import load_published
from bench.store import Store


def write(store: Store, drift_name: str = "") -> Path:
    """Returns the path of the page; see `bench.report.write_report`."""
    info = store.info()
    records, damage = store.survey()
    classes, missing = _metric_classes(info)
    findings = report_data(info, records, load_published())
    over_time = curves.trace(findings, classes)
    drifts = drift.drift_table(findings, classes)
    if drift_name:
        findings = report_data(*drift.with_drift(info, records, classes, drift_name), load_published())
    findings = replace(findings, notes=findings.notes + damage + missing + over_time.notes + drifts.notes)
    profiles = seams.seam_profiles(findings)
    folder = store.path / "report"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as cause:
        raise StoreError(
            f"{folder}: cannot be written ({cause.strerror}); make the folder of the run writable"
        ) from cause
    _write_tables(findings, over_time, profiles, folder)
    _write_text(folder / "drift.md", drift.drift_markdown(findings, drifts))
    _write_text(folder / "drift.csv", drift.drift_csv(drifts))
    _write_text(folder / "drift-tests.csv", drift.drift_tests_csv(drifts))
    drawn = figures.draw_figures(findings, over_time, profiles, folder)
    sheets = contact.draw_sheets(store, findings, close_ups(over_time), folder)
    page = html.page(findings, over_time, drawn, sheets)
    _write_text(folder / "index.html", page)
    return folder / "index.html"


def close_ups(over_time: curves.Curves) -> tuple[curves.WorstMoment, ...]:
    """Returns the worst moments to show in pictures: those of the first metric that has any."""
    first = next((moment.metric for moment in over_time.worst), "")
    return tuple(moment for moment in over_time.worst if moment.metric == first)


def _metric_classes(info: RunInfo) -> tuple[Mapping[str, type[Any]], tuple[str, ...]]:
    """Returns the metric classes by name, and a note if the run's drop-in files cannot be read any more."""
    notes: tuple[str, ...] = ()
    try:
        found = catalog.find_plugins(info.plugins)
    except PluginError as error:
        found = catalog.find_plugins()
        notes = (f"No curves for the metrics of a drop-in file: {error}.",)
    return {name: plugin.cls for name, plugin in found.metrics.items()}, notes


def _write_tables(
    findings: ReportData, over_time: curves.Curves, profiles: tuple[seams.SeamProfile, ...], folder: Path
) -> None:
    texts = {
        "table1.md": tables.markdown(findings),
        "table1.csv": tables.table_csv(findings),
        "table1.tex": tables.latex(findings),
        "comparisons.csv": tables.comparisons_csv(findings),
        "curves.csv": curves.curves_csv(over_time),
        "timelines.csv": curves.timelines_csv(over_time),
        "seams.csv": seams.seams_csv(profiles),
    }
    for name, text in texts.items():
        _write_text(folder / name, text)
    with replacing(folder / "scores.parquet") as temporary:
        tables.write_parquet(findings.records, temporary)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
