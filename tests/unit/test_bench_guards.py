"""What foreign code may raise, return and change: the boundary in small."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.catalog import load_file
from bench.cli import main
from bench.errors import LONGEST, ConfigError, MethodFailure, MetricFailure, foreign, plain, watching_interrupts
from bench.process_state import ProcessState, contained, fix_torch
from bench.score_contract import checked_score
from metrics.api import Score


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (SystemExit(0), "x raised SystemExit: 0"),
        (GeneratorExit(), "x raised GeneratorExit: "),
        (type("Odd", (BaseException,), {})("o"), "x raised Odd: o"),
        (ValueError("a \udcff"), "x raised ValueError: a \\udcff"),
        (ValueError("\x1b[2J"), "x raised ValueError: \\x1b[2J"),
        (KeyError("k"), "x raised KeyError: 'k'"),
        (Mute(), "x raised Mute: <exception str() failed>"),
        (ConfigError("c"), "x raised ConfigError: c"),
    ],
)
def test_whatever_is_raised_comes_out_as_one_error(raised: BaseException, words: str) -> None:
    with pytest.raises(MethodFailure) as caught, foreign(MethodFailure, "x"):
        raise raised
    assert re.fullmatch(rf"{re.escape(words)} \(test_bench_guards\.py, line \d+\)", str(caught.value))
    str(caught.value).encode()


def test_errors_of_ours_pass_as_they_are() -> None:
    with pytest.raises(MethodFailure) as caught, foreign(MethodFailure, "x"):
        raise MethodFailure("m")
    assert str(caught.value) == "m"


def test_text_is_bounded() -> None:
    assert plain("a" * (LONGEST + 1)) == f"{'a' * LONGEST} … ({LONGEST + 1} characters)"
    assert plain("ä €\n") == "ä €\n"


def test_only_a_signal_is_an_interrupt() -> None:
    with pytest.raises(MethodFailure, match="x raised KeyboardInterrupt"), watching_interrupts():  # noqa: SIM117
        with foreign(MethodFailure, "x"):
            raise KeyboardInterrupt


@pytest.mark.parametrize("answer", [None, SystemExit, RuntimeError])
def test_an_interrupt_ends_the_run_whatever_a_plugin_makes_of_it(answer: type[BaseException] | None) -> None:
    def plugin() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:  # noqa: BLE001 - as a plugin would
            if answer is not None:
                raise answer from None

    with pytest.raises(KeyboardInterrupt), watching_interrupts(), foreign(MethodFailure, "x"):
        plugin()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (Score(np.float32(1.5)), Score(1.5)),  # type: ignore[arg-type]
        (Score(np.array(2)), Score(2.0)),  # type: ignore[arg-type]
        (Score(np.bool_(True)), Score(1.0)),  # type: ignore[arg-type]
        (Score(Fraction(1, 4)), Score(0.25)),  # type: ignore[arg-type]
        (Score(1.0, {"a": np.int64(3), "b": np.bool_(False)}), Score(1.0, {"a": 3, "b": False})),  # type: ignore[dict-item]
        (Score(1.0, {}, {"v": np.array([1.0, np.nan])}), Score(1.0, {}, {"v": [1.0, None]})),  # type: ignore[dict-item]
        (Score(float("nan")), Score(None, reason="the value is nan, not a finite number")),
        (
            Score(float("inf"), {"x": float("inf")}),
            Score(None, {"x": None}, {}, "the value is inf, not a finite number"),
        ),
        (Score(None, {}, {}, "why \udcff"), Score(None, {}, {}, "why \\udcff")),
    ],
)
def test_scores_become_plain(score: Score, expected: Score) -> None:
    found = checked_score(score, "m")
    assert found == expected
    assert type(found.value) in (float, type(None))
    assert all(type(part) in (float, int, bool, str, type(None)) for part in found.parts.values())


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (None, "m returned NoneType; return a metrics.api.Score"),
        ((1.0, {}), "m returned tuple"),
        (Score(1j), "m returned the value complex 1j"),  # type: ignore[arg-type]
        (Score("abc"), "m returned the value str 'abc'"),  # type: ignore[arg-type]
        (Score(10**400), "too large"),
        (Score(torch.ones(())), "m returned the value Tensor"),  # type: ignore[arg-type]
        (Score(1.0, {"p": [1]}), "m returned parts['p'] list [1]"),  # type: ignore[dict-item]
        (Score(1.0, {"p": 10**400}), "m returned parts['p'] int"),
        (Score(1.0, {1: 1}), "under 1"),  # type: ignore[dict-item]
        (Score(1.0, [1]), "m returned list for parts or series"),  # type: ignore[arg-type]
        (Score(1.0, {}, {"v": np.ones((2, 2))}), "an array of shape [2, 2]"),  # type: ignore[dict-item]
        (Score(1.0, {}, {"v": ["a"]}), "m returned series['v'] str 'a'"),  # type: ignore[list-item]
        (Score(1.0, {}, {"v": "abc"}), "m returned series['v'] as str 'abc'"),  # type: ignore[dict-item]
    ],
)
def test_scores_that_are_none_name_the_metric(score: Any, words: str) -> None:
    with pytest.raises(MetricFailure) as refused:
        checked_score(score, "m")
    assert words in str(refused.value)


# -- the process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda: os.chdir("/"), "the working directory"),
        (lambda: os.environ.update(HOME="/none"), "variables of the environment"),
        (lambda: os.umask(0o777), "the mode of new files"),
        (lambda: np.seterr(all="raise"), "NumPy's handling of errors"),
        (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
        (lambda: torch.set_default_device("meta"), "torch's default device"),
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "torch's number of threads"),
        (lambda: torch.set_grad_enabled(False), "torch's recording of gradients"),
        (lambda: torch.use_deterministic_algorithms(True), "torch's deterministic algorithms"),
        (lambda: setattr(torch.backends.cudnn, "benchmark", True), "torch's choice of algorithms"),
        (lambda: torch.set_float32_matmul_precision("high"), "torch's precision of products"),
        (lambda: setattr(torch.backends.cudnn, "allow_tf32", False), "torch's precision of products"),
        (lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), "the handler of SIGTERM"),
    ],
)
def test_what_is_changed_is_named_and_put_back(change: Callable[[], object], name: str) -> None:
    state = ProcessState()
    change()
    assert list(state.restore()) == [name]
    assert state.restore() == {}


def test_a_generator_finds_its_settings_again_and_others_do_not() -> None:
    state, theirs = ProcessState(), dict[str, Any]()
    with state.lent(theirs):
        torch.set_grad_enabled(False)
    assert torch.is_grad_enabled()
    with state.lent(theirs):
        assert not torch.is_grad_enabled()
        torch.set_grad_enabled(True)
    assert theirs == {}


def test_threads_left_behind_are_named() -> None:
    go_on = threading.Event()
    state = ProcessState()
    threads = [threading.Thread(target=go_on.wait, name="t", daemon=daemon) for daemon in (False, True)]
    for thread in threads:
        thread.start()
    assert state.leftovers() == ("the thread t",)
    go_on.set()
    for thread in threads:
        thread.join()
    assert state.leftovers() == ()


def test_global_generators_give_the_same_whatever_ran_before() -> None:
    def drawn() -> tuple[float, float]:
        with contained(3) as state:
            numbers = (float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
            state.restore()
        return numbers

    first = drawn()
    np.random.rand()  # noqa: NPY002
    assert drawn() == first


def test_importing_a_plugin_leaves_no_trace(tmp_path: Path) -> None:
    before = Path.cwd()
    source = """
import os, torch
from metrics.api import metric
os.chdir("/")
torch.set_default_dtype(torch.float64)
@metric(name="m", title="M", unit="u", better="lower", version="1")
class M:
    def begin(self, prompt, fps): ...
    def window(self, series, start, stop): ...
"""
    (tmp_path / "plugin.py").write_text(source)
    load_file(str(tmp_path / "plugin.py"))
    assert Path.cwd() == before
    fix_torch(torch.get_num_threads())
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("command", "offline"), [("report", True), ("verify", True), ("check", True), ("fetch", False)]
)
def test_only_fetch_may_touch_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, offline: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([command, "--out" if command == "report" else "no_such_thing", *(["none"] if command == "report" else [])])
    assert (os.environ["HF_HUB_OFFLINE"] == "1") == offline
