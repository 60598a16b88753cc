"""What the studio's page says and keeps, in a real Chromium."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstream.types import Cutout
from headstream.web.cutting import PageSession
from tests.web.browser import PIXEL, begin_camera, chromium, in_a_browser, until, wait_for_frames
from tests.web.conftest import Running

pytestmark = in_a_browser

# A browser whose clock of timers runs twenty times as fast.
HASTY = "(() => { const set = window.setTimeout; window.setTimeout = (what, ms) => set(what, ms / 20); })()"


def test_problems_stay_until_it_goes_well_and_notices_fade(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio, script=HASTY)
    page.evaluate("""() => { const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
      devices.getUserMedia = async (wanted) => { devices.getUserMedia = ask; throw new DOMException('', 'NotFoundError'); }; }""")
    page.click("#start")
    until(page, "document.getElementById('message').textContent === 'no camera: there is none'")
    page.wait_for_timeout(700)
    assert page.get_attribute("#message", "class") == "problem"
    begin_camera(page)
    assert page.inner_text("#message") == ""
    assert page.get_attribute("#message", "class") == ""
    until(page, "document.querySelectorAll('#heads option').length === 3")
    box = page.locator("#view").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"])
    until(page, "document.getElementById('message').className === 'faded'")
    assert "cutting person 1" in page.inner_text("#message")  # to who has it read out
    assert page.get_attribute("#message", "aria-live") == "polite"


def test_what_went_well_elsewhere_takes_no_problem_away(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    said = page.evaluate("""async () => { const { speaker } = await import('/static/messages.js');
      const [one, other] = [speaker('one'), speaker('other')], line = document.getElementById('message'), said = [];
      const note = () => said.push([line.textContent, line.className]);
      one('it is broken', true); other(''); note();
      one(''); note();
      return said; }""")
    assert said == [["it is broken", "problem"], ["", ""]]


def test_a_studio_that_answers_nothing_is_told(
    studio: Running, open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    goes_on.set()
    cut = PageSession._cut

    def slow(session: PageSession, message: bytes) -> tuple[int, Cutout]:
        goes_on.wait(60)
        return cut(session, message)

    monkeypatch.setattr(PageSession, "_cut", slow)
    page = open_page(studio)
    begin_camera(page)
    until(page, "document.getElementById('stalled').hidden")  # the first picture may have taken its time
    goes_on.clear()
    try:
        until(page, "document.getElementById('stalled').innerText === 'no pictures for 3 s'")
        assert not any(page.inner_text(figure)[0].isdigit() for figure in ("#fps", "#latency", "#cut"))
        assert page.inner_text("#message").startswith("no pictures come")
    finally:
        goes_on.set()
    until(page, "document.getElementById('stalled').hidden")
    wait_for_frames(page)
    assert page.inner_text("#fps")[0].isdigit()
    assert page.inner_text("#message") == ""


# What cameras are asked for.
ASKED = """(() => { window.asked = [];
  const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
  devices.getUserMedia = (wanted) => { asked.push(wanted.video); return ask(wanted); }; })()"""


def test_cameras_and_sizes_are_chosen(studio: Running) -> None:
    with chromium(None, "--use-fake-device-for-media-stream=device-count=2") as context:
        page = context.new_page()
        page.add_init_script(ASKED)
        page.goto(f"http://{studio.host}/")
        begin_camera(page)
        until(page, "document.querySelectorAll('#source option').length === 3")
        first, second = page.evaluate("[...document.querySelectorAll('#source option')].slice(1).map((o) => o.value)")
        assert page.input_value("#source") == "page"
        page.select_option("#source", second)
        page.select_option("#size", "640x360")
        wait_for_frames(page)
        asked = page.evaluate("asked")
        assert [(one["width"]["ideal"], one["height"]["ideal"]) for one in asked] == [(1280, 720)] * 2 + [(640, 360)]
        assert ["page " + one["deviceId"]["exact"] for one in asked[1:]] == [second] * 2
        assert "deviceId" not in asked[0]
        assert page.evaluate("document.getElementById('view').width") <= 640
        # The second is taken away.
        page.evaluate(
            """(gone) => { const devices = navigator.mediaDevices, list = devices.enumerateDevices.bind(devices);
          devices.enumerateDevices = async () => (await list()).filter(({ deviceId }) => !gone.endsWith(deviceId));
          devices.dispatchEvent(new Event('devicechange')); }""",
            second,
        )
        until(page, "document.getElementById('source').value === 'page'")
        assert page.locator(f"#source option[value='{first}']").count() == 1


def test_a_large_picture_is_sent_no_larger_than_is_asked_for(studio: Running, open_page: Callable[..., Any]) -> None:
    large = """(() => { for (const [side, length] of [['videoWidth', 1920], ['videoHeight', 1080]])
      Object.defineProperty(HTMLVideoElement.prototype, side, { get: () => length }); })()"""
    page = open_page(studio, script=large)
    for size in ("1280x720", "640x360"):
        page.select_option("#size", size)
        if size == "1280x720":
            page.click("#start")
        until(page, "(({ width, height }) => `${width}x${height}`)(document.getElementById('view')) === '" + size + "'")
        assert page.evaluate("document.getElementById('before').width") == int(size.split("x")[0])


def test_controls_are_as_they_were_left_and_defaults_forget(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    page.select_option("#background", "colour")
    page.fill("#colour", "#0000ff")
    page.fill("#feather", "0.3")
    page.uncheck("#mirror")
    page.check("#dye")
    page.check("#microphone")
    page.fill("#wipe", "40")
    page.select_option("#size", "640x360")
    page.select_option("#output", ".mov")
    page.check("#hq")
    page.reload()
    shown = """() => Object.fromEntries([...document.querySelectorAll('input:not([type=file]), select')]
      .map((e) => [e.id, e.type === 'checkbox' ? e.checked : e.value]))"""
    until(page, "document.getElementById('device').innerText === 'cpu'")
    left = page.evaluate(shown)
    assert (left["background"], left["colour"], left["feather"], left["size"]) == (
        "colour",
        "#0000ff",
        "0.3",
        "640x360",
    )
    assert (left["mirror"], left["dye"], left["output"], left["hq"]) == (False, True, ".mov", True)
    assert (left["microphone"], left["wipe"]) == (False, "0")  # nobody is surprised by those
    assert page.inner_text("output[for=feather]") == "0.30"
    begin_camera(page)
    assert page.evaluate(PIXEL, (0.97, 0.03)) == [0, 0, 255, 255]
    page.click("button[type=reset]")
    page.reload()
    until(page, "document.getElementById('device').innerText === 'cpu'")
    assert page.input_value("#background") == "transparent"
    assert page.input_value("#feather") == "0.7"
    assert page.is_checked("#mirror")


def test_a_page_whose_browser_keeps_nothing_works(studio: Running, open_page: Callable[..., Any]) -> None:
    denied = (
        "Object.defineProperty(window, 'localStorage', { get: () => { throw new DOMException('', 'SecurityError'); } })"
    )
    page = open_page(studio, script=denied)
    page.select_option("#background", "blur")
    begin_camera(page)
    assert page.input_value("#background") == "blur"
    assert int(page.get_attribute("#view", "data-frames")) > 0


def test_what_is_kept_by_somebody_else_under_our_name_does_no_harm(
    studio: Running, open_page: Callable[..., Any]
) -> None:
    odd = '{"background": "nothing", "padding": "wide", "mirror": 7, "source": 5, "camera": {}, "strange": 1}'
    page = open_page(studio, script=f"localStorage.setItem('headstream controls', '{odd}')")
    until(page, "document.getElementById('device').innerText === 'cpu'")
    assert page.input_value("#background") == "transparent"
    page.reload()
    begin_camera(page)


def test_controls_have_names_of_their_own_and_values_that_can_be_read_out(
    studio: Running, open_page: Callable[..., Any]
) -> None:
    page = open_page(studio)
    page.select_option("#background", "colour")
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if node["role"]["value"] in {"combobox", "checkbox", "slider", "ColorWell", "button"}
    ]
    assert len(named) > 15
    assert len(named) == len(set(named))
    assert ("checkbox", "hair colour") in named
    sliders = [node for node in tree if node["role"]["value"] == "slider"]
    told = {node["name"]["value"].split()[0]: node for node in sliders}
    for name in ("Padding", "Smoothing", "Feather", "Threshold"):
        assert len(told[name]["description"]["value"]) > 20
    page.fill("#smoothing", "0.55")
    assert page.get_attribute("#smoothing", "aria-valuetext") == "0.55"
    assert page.evaluate("[...document.querySelectorAll('output')].every((o) => o.getAttribute('aria-live') === 'off')")


def test_files_are_in_the_list_of_the_browser_that_sent_them(
    studio: Running, open_page: Callable[..., Any], portrait_file: Path
) -> None:
    page = open_page(studio)
    page.set_input_files("#files", portrait_file)  # at once: the cookie may be still on its way
    page.wait_for_selector("#list a[href]", timeout=60_000)
    page.reload()
    page.wait_for_selector("#list a[href]", timeout=60_000)
    other = page.context.browser.new_context().new_page()
    other.goto(f"http://{studio.host}/")
    until(other, "document.getElementById('device').innerText === 'cpu'")
    assert other.evaluate("fetch('/api/files').then((answer) => answer.json())") == []
    with page.expect_download():
        page.click("#list a")
