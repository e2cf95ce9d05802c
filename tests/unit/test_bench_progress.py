from __future__ import annotations

from typing import Any

import pytest

from bench.progress import Display, Estimate, Step


def test_a_piece_is_one_line_with_speed_and_time_left(capsys: Any) -> None:
    with Display("cells", {"still": 1, "svd": 2}, workers=1) as display:
        display.done(Step("still", "still · p1", "ok", seconds=2.0, frames=20))
        display.note("svd is slow")
        display.done(Step("svd", "svd · p1", "failed", "no \x1bluck", seconds=6.0))
    first, note, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[1/3 cells] still · p1: ok, 2.0 s · 2.0 s each · ")
    assert first.endswith(" frames/s · 0:04 left")
    assert note == "note: svd is slow"
    assert second.startswith(r"[2/3 cells] svd · p1: failed, 6.0 s (no \x1bluck) · 4.0 s each · ")
    assert second.endswith("· 0:06 left")


def test_work_without_frames_shows_no_frames(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("first chunks", {"": 1}, workers=1) as display:
        display.done(Step("", "p1", "ok", seconds=1.0))
    assert capsys.readouterr().err == "[1/1 first chunks] p1: ok, 1.0 s · 1.0 s each · 0:00 left\n"


def test_a_terminal_that_goes_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise OSError(5, "Input/output error")

    with Display("cells", {"still": 2}, workers=1) as display:
        display._bar, display._row = Gone(), 0  # type: ignore[assignment]
        display.note("first")
        display.done(Step("still", "still · p1", "ok", seconds=1.0))


def test_the_time_left_goes_by_the_mean_of_all_that_is_done() -> None:
    estimate = Estimate({"a": 100_000}, workers=1)
    for number in range(50_000):
        estimate.took("a", 1.0 + 2.0 * (number % 2))
    assert estimate.mean() == 2.0
    assert estimate.seconds_left() == 100_000.0
