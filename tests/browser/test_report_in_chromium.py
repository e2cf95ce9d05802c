"""The page as its reader has it: opened from disk in a browser without a network."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.report import write_report
from bench.store import Store
from tests.browser.conftest import AXE, FPS, FRAMES, METHODS, PROMPTS, missing, opened

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

LINKS = """
const links = [...document.querySelectorAll("a[href]")].map((a) => a.getAttribute("href"));
const pictures = [...document.querySelectorAll("img, source")];
return [links, pictures.map((i) => i.getAttribute("src") || i.getAttribute("srcset"))];
"""
AS_DRAWN = """
const done = arguments[arguments.length - 1];
requestAnimationFrame(() => done([...document.querySelectorAll("#grid video")].map((v) => v.currentTime)));
"""
"""Gives the times of the videos when the page draws a frame: between two, on a loaded machine, nothing holds them."""


def wait(page: Chrome, script: str, seconds: float = 240.0) -> Any:
    """Returns what a script returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := page.execute_script(script)):
        assert time.monotonic() < end, f"still not true: {script}"
        time.sleep(0.1)
    return found


def ready(page: Chrome) -> None:
    wait(page, "const v = [...document.querySelectorAll('#grid video')];"
               "return v.length > 0 && v.every((e) => e.readyState === 4)")  # fmt: skip


def dead_links(page: Chrome, report: Path) -> list[str]:
    links, pictures = page.execute_script(LINKS)
    anchors = [link[1:] for link in links if link.startswith("#") and "?" not in link]
    dead = [a for a in anchors if not page.execute_script("return !!document.getElementById(arguments[0])", a)]
    files = [link for link in [*links, *pictures] if not link.startswith("#")]
    return dead + [link for link in files if not (report.parent / link).is_file()]


def test_it_opens_and_every_link_and_picture_is_there(page: Chrome, report: Path) -> None:
    assert "benchmark" in page.title
    assert dead_links(page, report) == []
    page.execute_script("document.querySelectorAll('details').forEach((d) => (d.open = true));"
                        "document.querySelectorAll('img').forEach((i) => (i.loading = 'eager'))")  # fmt: skip
    wait(page, "return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    errors = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def test_hostile_prompts_run_nothing(page: Chrome) -> None:
    ready(page)
    page.execute_script("document.getElementById('prompt').value = '0/0';"
                        "document.getElementById('prompt').dispatchEvent(new Event('change'))")  # fmt: skip
    assert page.execute_script("return document.getElementById('said').textContent") == PROMPTS[0].text
    assert "pwned" not in page.title
    assert page.execute_script("return document.querySelectorAll('main b').length > 0")
    assert (
        page.execute_script("return [...document.querySelectorAll('th b')].some((b) => b.textContent === 'Mine')")
        is False
    )


def test_videos_play_within_one_frame_of_each_other(page: Chrome) -> None:
    ready(page)
    page.execute_script("document.getElementById('play').click()")
    wait(page, "return compareClock.frame > 4")
    for _ in range(10):
        times = page.execute_async_script(AS_DRAWN)
        assert len(times) == len(METHODS)
        assert max(times) - min(times) <= 1 / FPS, times
        time.sleep(0.1)
    page.execute_script("document.getElementById('play').click()")
    before = page.execute_script("return compareClock.frame")
    page.execute_script("document.getElementById('forth').click()")
    assert page.execute_script("return compareClock.frame") == min(before + 1, FRAMES - 1)


def test_a_click_on_a_curve_seeks_all_players(page: Chrome) -> None:
    ready(page)
    page.execute_script("""
        const svg = document.querySelector("svg.curve"), box = svg.getBoundingClientRect();
        const place = { clientX: box.left + box.width * 0.51, clientY: box.top + 5, bubbles: true };
        svg.dispatchEvent(new PointerEvent("pointerdown", place));
    """)
    wait(page, "return [...document.querySelectorAll('#grid video')].every((v) => !v.seeking)")
    times = page.execute_script("return [...document.querySelectorAll('#grid video')].map((v) => v.currentTime)")
    assert times == pytest.approx([(FRAMES // 2 + 0.5) / FPS] * len(METHODS), abs=0.6 / FPS)
    assert f"f={FRAMES // 2}" in page.current_url


def test_the_address_shows_what_its_sender_saw(browser: Chrome, report: Path) -> None:
    page = opened(browser, report, "#compare?p=2&s=0&m=mine,still&k=scuts&f=20&w=mine,still,25")
    ready(page)
    state = page.execute_script("""
        const methods = [...document.querySelectorAll(".player")].map((p) => p.dataset.method);
        const wiped = document.querySelectorAll("#wipe video");
        const [said, curve] = ["said", "curve"].map((id) => document.getElementById(id));
        return [said.textContent, methods, curve.value, compareClock.frame, wiped.length, wiped[1].style.clipPath];
    """)
    assert state[:5] == [PROMPTS[2].text, ["mine", "still"], "scuts", 20, 2]
    assert "75%" in state[5]
    page.execute_script("const e = document.getElementById('edge'); e.value = 60; e.dispatchEvent(new Event('input'))")
    assert (
        page.execute_script("return document.querySelectorAll('#wipe video')[1].style.clipPath")
        == "inset(0px 40% 0px 0px)"
    )
    assert "w=mine%2Cstill%2C60" in page.current_url


def test_prompts_that_decide_come_first(page: Chrome) -> None:
    ready(page)
    page.execute_script("""
        for (const [id, value] of [["sort-a", "streaming_t2v"], ["sort-b", "mine"], ["sort-metric", "clip"]])
          document.getElementById(id).value = value;
        document.getElementById("sort-a").dispatchEvent(new Event("change"));
    """)
    order = page.execute_script("return [...document.querySelectorAll('#prompt option')].map((o) => o.value)")
    assert order == ["2/0", "1/0", "0/0"]  # the gap of the two grows with the prompt's place


def test_columns_sort_and_floors_stay_below(page: Chrome) -> None:
    rows = "document.querySelectorAll('#table-1 tbody th[scope=row]')"
    names = f"return [...{rows}].map((head) => head.firstChild.textContent.trim())"
    click = "document.querySelector('#table-1 thead th[data-better] button').click()"
    first = page.execute_script(names)
    page.execute_script(
        "[...document.querySelectorAll('#table-1 thead button')].find((b) => b.textContent.startsWith('SCuts')).click()"
    )
    assert page.execute_script(names)[0].startswith("StreamingT2V")
    page.execute_script(click)
    page.execute_script(click)
    assert page.execute_script(names)[-1] == "Still"
    assert sorted(page.execute_script(names)) == sorted(first)
    assert page.execute_script("return document.querySelectorAll('#table-1 [aria-sort]').length") == 1


@pytest.mark.parametrize("width", [1400, 390])
def test_navigation_lands(browser: Chrome, report: Path, width: int) -> None:
    page = opened(browser, report, width=width)
    ready(page)
    page.execute_script("document.querySelectorAll('img').forEach((i) => (i.loading = 'eager'))")
    for anchor in page.execute_script(
        "return [...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href'))"
    ):
        page.execute_script("document.querySelector(`nav a[href='${arguments[0]}']`).click()", anchor)
        wait(
            page,
            f"""
            const top = document.querySelector("{anchor}").getBoundingClientRect().top;
            const bottom = document.documentElement.scrollHeight - innerHeight - scrollY;
            return Math.abs(top - 52) <= 5 || bottom <= 1;
        """,
        )
    assert page.execute_script("return document.querySelector('nav').getBoundingClientRect().height") < 50


@pytest.mark.parametrize("width", [1400, 820, 390])
def test_nothing_is_wider_than_the_window(browser: Chrome, report: Path, width: int) -> None:
    page = opened(browser, report, width=width)
    ready(page)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (390, False), (390, True)])
def test_axe_finds_nothing_serious(browser: Chrome, report: Path, width: int, dark: bool) -> None:
    if not AXE.is_file():
        missing("axe-core")
    page = opened(browser, report, "#compare?w=mine,still,50", width=width, dark=dark)
    ready(page)
    page.execute_script("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.execute_script(AXE.read_text(encoding="utf-8"))
    found = page.execute_async_script("axe.run().then(arguments[0], (error) => arguments[0](String(error)))")
    assert isinstance(found, dict), found
    serious = [
        f"{violation['id']}: {node['html'][:120]} {node['failureSummary'][:160]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert serious == []


def test_blind_judging_exports_what_was_answered(page: Chrome) -> None:
    page.execute_script("localStorage.clear(); document.getElementById('judge-start').click()")
    text = page.execute_script("return document.getElementById('judge-stage').innerText")
    assert not any(name in text for name in ("StreamingT2V", "FreeNoise", "Mine"))
    exported = page.execute_script("""
        let caught = null;
        const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => { caught = blob; return make(blob); };
        for (const word of ["a", "tie", "b"]) document.querySelector(`#judge [data-answer=${word}]`).click();
        document.getElementById("judge-export").click();
        return caught.text();
    """)
    content = json.loads(exported)
    assert content["format"] == "longvideo-bench judgements 1"
    assert [answer["answer"] for answer in content["answers"]] == ["a", "tie", "b"]
    for answer in content["answers"]:
        methods = [answer[side].rpartition("-")[0] for side in "ab"]
        assert len(set(methods)) == 2
        assert "still" not in methods  # floors are not judged
        assert answer["a"].rpartition("-")[2] == answer["b"].rpartition("-")[2]


def test_keys_judge_only_what_is_in_view_and_only_once(page: Chrome) -> None:
    page.execute_script("localStorage.clear(); document.getElementById('judge-start').click(); scrollTo(0, 0)")
    press = "dispatchEvent(new KeyboardEvent('keydown', {key: 'a', repeat: arguments[0], bubbles: true}))"
    count = "return parseInt(document.getElementById('judge-count').textContent)"
    press = f"document.body.{press}; {count}"
    before = page.execute_script(count)
    assert page.execute_script(press, False) == before
    page.execute_script("document.getElementById('judge-stage').scrollIntoView()")
    assert page.execute_script(press, True) == before
    assert page.execute_script(press, False) == before + 1
    page.execute_script("document.getElementById('judge-undo').click()")
    assert page.execute_script(count) == before


def test_a_link_to_a_moment_goes_there_at_any_rate_and_shows_its_method(page: Chrome) -> None:
    ready(page)
    page.execute_script("""
        for (const video of shown.videos) if (shown.methods[video.method].name !== "mine") video.fps = 24;
        document.querySelector("#methods input[value=mine]").click();
        document.getElementById("prompt").value = "0/0";
        document.getElementById("prompt").dispatchEvent(new Event("change"));
        location.hash = "#compare?v=mine-plain&f=20&k=clip";
    """)
    wait(page, "return document.querySelector('.player[data-method=mine]') !== null")
    assert page.execute_script("return document.getElementById('said').textContent") == PROMPTS[2].text
    assert page.execute_script("return compareClock.fps") == 24
    assert page.execute_script("return compareClock.time") == pytest.approx(20.5 / FPS, abs=0.5 / 24)


def test_play_begins_again_at_the_end(page: Chrome) -> None:
    ready(page)
    last = FRAMES - 1
    page.execute_script(
        "document.getElementById('loop').click(); document.getElementById('speed').value = 4;"
        "document.getElementById('speed').dispatchEvent(new Event('change')); compareClock.seek(arguments[0]);",
        last - 8,
    )
    play = "document.getElementById('play').click()"
    page.execute_script(play)
    wait(page, "return !compareClock.playing")
    assert page.execute_script("return compareClock.frame") == last
    assert page.execute_script(f"{play}; return [compareClock.playing, compareClock.frame]") == [True, 0]


def test_arrows_step_while_a_button_has_the_focus_and_no_field_loses_its_own(page: Chrome) -> None:
    ready(page)
    frame = "return compareClock.frame"
    page.find_element("id", "play").click()
    page.find_element("id", "play").click()
    before = page.execute_script("compareClock.seek(10); return compareClock.frame")
    page.find_element("id", "play").send_keys("\ue014")  # arrow right
    assert page.execute_script(frame) == before + 1
    page.find_element("id", "back").send_keys("\ue012")  # arrow left
    assert page.execute_script(frame) == before
    page.find_element("id", "speed").send_keys("\ue014")
    assert page.execute_script(frame) == before
    assert page.execute_script("return document.getElementById('speed').value") == "2"


def test_a_page_of_drifts_opens_with_curves(browser: Chrome, run: Store, tmp_path: Path) -> None:
    copy = Store(tmp_path / "run")
    shutil.copytree(run.path, copy.path, ignore=shutil.ignore_patterns("report"))
    page = opened(browser, write_report(copy, drift="start_end_15"))
    ready(page)
    menu = page.execute_script("return [...document.querySelectorAll('#curve option')].map((o) => o.value)")
    assert sorted(menu) == ["clip", "scuts"]
    assert page.execute_script("return document.querySelectorAll('svg.curve').length") == len(METHODS)


def test_an_undone_answer_brings_its_pair_back(page: Chrome) -> None:
    # Videos of equal content share a preview, so a pair is told by its prompt, too.
    files = "[...document.querySelectorAll('#judge-stage video')].map((v) => v.getAttribute('src')).join()"
    seen = f"return {files} + document.getElementById('judge-prompt').textContent"
    answer = "document.querySelector('#judge [data-answer=a]').click();"
    hidden = "return document.getElementById('judge-stage').hidden"
    page.execute_script("localStorage.clear(); document.getElementById('judge-start').click()")
    first = page.execute_script(seen)
    second = page.execute_script(answer + seen)
    assert first != second
    assert page.execute_script("document.getElementById('judge-undo').click();" + seen) == first
    assert page.execute_script(answer + seen) == second
    for _ in range(20):
        if page.execute_script(hidden):
            break
        last = page.execute_script(seen)
        page.execute_script(answer)
    assert page.execute_script(hidden)
    page.execute_script("document.getElementById('judge-undo').click()")
    assert not page.execute_script(hidden)
    assert page.execute_script(seen) == last
    page.execute_script("localStorage.clear()")


def test_two_tabs_keep_the_answers_of_both(browser: Chrome, report: Path) -> None:
    kept = "return JSON.parse(Object.values(localStorage)[0]).map((answer) => answer.answer)"
    begin = "document.getElementById('judge-start').click()"
    opened(browser, report).execute_script("localStorage.clear()")
    first, switch = browser.current_window_handle, browser.switch_to
    page = opened(browser, report)
    page.execute_script(begin)
    switch.new_window("tab")
    try:
        opened(browser, report).execute_script(f"{begin}; document.querySelector('#judge [data-answer=b]').click()")
        switch.window(first)
        page.execute_script("document.querySelector('#judge [data-answer=a]').click()")
        assert page.execute_script(kept) == ["b", "a"]
        page.execute_script("document.getElementById('judge-undo').click()")
        assert page.execute_script(kept) == ["b"]
        switch.window(browser.window_handles[1])
        page.execute_script("document.querySelector('#judge [data-answer=tie]').click()")
        assert page.execute_script(kept) == ["b", "tie"]  # the undone one stays undone
    finally:
        switch.window(browser.window_handles[1])
        browser.close()
        switch.window(first)
        page.execute_script("localStorage.clear()")


def test_the_clock_lasts_as_long_as_the_slowest_video(page: Chrome) -> None:
    length = page.execute_script("""
        const clock = new Clock(() => {});
        const items = [8, 24].map((fps) => ({ video: { fps, frames: 96 }, element: document.createElement("video") }));
        clock.show(items);
        return [clock.frames, clock.length];
    """)
    assert length == [288, 12]


def test_a_bundle_unpacked_elsewhere_has_no_dead_link(browser: Chrome, report: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(report.parent.parent.parent / "run.zip") as bundle:
        bundle.extractall(tmp_path)
    page = opened(browser, tmp_path / "report" / "index.html")
    ready(page)
    assert dead_links(page, tmp_path / "report" / "index.html") == []


def test_without_scripts_tables_and_pictures_are_shown(browser: Chrome, report: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page = opened(browser, report)
        body = page.find_element("tag name", "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "StreamingT2V" in body
    assert "Judge blind" not in body
