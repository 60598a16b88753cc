"""The studio in a real Chromium, with a film as its webcam."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from headstream.capture.cameras import LiveTarget
from headstream.segment.crops import CropSegmenter
from headstream.web.address import bound
from headstream.web.app import create_app
from headstream.web.server import ServerThread
from tests.web.browser import BEFORE, OPAQUE, PIXEL, begin_camera, chromium, in_a_browser, until, wait_for_frames
from tests.web.conftest import Running
from tests.web.tls import TlsProxy, certificate

pytestmark = in_a_browser

STRONGEST = """() => { const c = document.getElementById('head');
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return [c.width, c.height, d.reduce((most, v, i) => (i % 4 === 3 ? Math.max(most, v) : most), 0)]; }"""


def test_the_head_appears_on_nothing_and_controls_change_it(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    page.uncheck("#mirror")
    begin_camera(page)
    face, corner = (0.47, 0.27), (0.97, 0.03)
    assert page.evaluate(PIXEL, face)[3] == 255
    assert page.evaluate(PIXEL, corner)[3] == 0
    assert page.evaluate(PIXEL, (0.47, 0.9))[3] == 0  # the body
    whole = page.evaluate(OPAQUE)
    assert 0.03 < whole < 0.4

    page.select_option("#background", "colour")
    page.fill("#colour", "#0000ff")
    wait_for_frames(page)
    assert page.evaluate(PIXEL, corner) == [0, 0, 255, 255]
    page.select_option("#background", "blur")
    wait_for_frames(page)
    assert page.evaluate(PIXEL, corner)[3] == 255
    assert page.evaluate(PIXEL, corner)[:3] != [0, 0, 255]
    page.select_option("#background", "transparent")
    page.select_option("#part", "hair")
    wait_for_frames(page, 8)
    assert page.evaluate(OPAQUE) < 0.8 * whole
    page.select_option("#part", "head")
    page.fill("#wipe", "30")
    wait_for_frames(page)
    assert page.evaluate(BEFORE, (0.1, 0.9))[3] == 255
    assert page.evaluate(BEFORE, corner)[3] == page.evaluate(PIXEL, corner)[3] == 0  # after
    page.click("button[type=reset]")
    assert page.input_value("#wipe") == "0"
    until(page, "document.getElementById('wipe').getAttribute('aria-valuetext') === 'after only'")  # once all is reset
    wait_for_frames(page, 2)
    assert page.evaluate(BEFORE, (0.1, 0.9))[3] == 0
    page.click("#start")
    assert page.inner_text("#start") == "Start camera"
    page.fill("#wipe", "50")
    assert page.evaluate(OPAQUE) == page.evaluate(BEFORE, (0.1, 0.9))[3] == 0  # nobody is left on the page
    assert page.is_visible("#hint")


def test_a_head_is_chosen_by_clicking(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    page.uncheck("#mirror")
    begin_camera(page)
    until(page, "document.querySelectorAll('#heads option').length === 3")
    box = page.locator("#view").bounding_box()
    page.mouse.click(box["x"] + 0.47 * box["width"], box["y"] + 0.27 * box["height"])
    assert page.input_value("#heads") == "1"
    assert "cutting person 1" in page.inner_text("#message")


def test_a_dropped_video_is_cut_and_downloads(
    studio: Running, open_page: Callable[..., Any], head_clip: Path, tmp_path: Path
) -> None:
    page = open_page(studio)
    make = """data => { const held = new DataTransfer();
      held.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], 'head.mp4', { type: 'video/mp4' }));
      return held; }"""
    held = page.evaluate_handle(make, base64.b64encode(head_clip.read_bytes()).decode())
    page.dispatch_event("main", "drop", {"dataTransfer": held})
    page.wait_for_selector("#list a", timeout=60_000)
    with page.expect_download() as waiting:
        page.click("#list a")
    kept = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(kept)
    assert kept.name == "head-head.webm"
    assert kept.stat().st_size > 5000
    page.click("#list button")
    until(page, "document.querySelectorAll('#list li').length === 0")
    assert studio.app.state.studio.uploads.all() == []


def test_who_uses_the_keyboard_stays_at_a_file_while_others_change(
    studio: Running, open_page: Callable[..., Any], portrait_file: Path
) -> None:
    page = open_page(studio)
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
    page.set_input_files("#files", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": portrait_file.read_bytes()})
    page.wait_for_selector("#list a[href]", timeout=60_000)
    assert page.is_hidden("#list progress")
    assert page.locator("#list .failed").count() == 0
    page.focus("#list button")
    page.set_input_files("#files", {"name": "b.mp4", "mimeType": "video/mp4", "buffer": b"no film" * 50})
    until(page, "document.getElementById('list').innerText.includes('failed: not a video file')")
    assert page.evaluate(focused) == "Remove a.jpg"
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#list li').length === 1")
    assert page.evaluate(focused) == "Remove b.mp4"
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#list li').length === 0")
    assert page.evaluate(focused) == "choose"


def test_files_that_no_system_knows_can_be_chosen_too(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    until(page, "document.getElementById('overlay').textContent")
    kinds = page.get_attribute("#files", "accept").split(",")
    assert {"image/*", "video/*", ".jfif", ".mxf"} <= set(kinds)


def test_a_dropped_folder_is_told_from_a_studio_that_is_gone(
    studio: Running, open_page: Callable[..., Any], portrait_file: Path
) -> None:
    page = open_page(studio)
    held = {"items": [], "files": [str(portrait_file.parent)], "dragOperationsMask": 1}
    hand = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        hand.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": held})
    until(page, "document.getElementById('list').innerText.includes('not taken')")
    assert "is a folder (drop the files in it)" in page.inner_text("#list")
    studio.server.close()
    page.set_input_files("#files", portrait_file)
    until(page, "document.getElementById('list').innerText.includes('is it still running')")


def test_who_was_chosen_is_chosen_for_this_session_and_not_for_files(
    studio: Running, open_page: Callable[..., Any], portrait_file: Path
) -> None:
    page = open_page(studio)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    begin_camera(page)
    until(page, "document.querySelectorAll('#heads option').length === 3")
    page.select_option("#heads", "1")
    page.check("#hq")
    page.set_input_files("#files", portrait_file)
    page.wait_for_selector("#list a[href]", timeout=60_000)
    (settings,) = parse_qs(urlsplit(asked[0]).query)["settings"]
    assert (json.loads(settings)["heads"], json.loads(settings)["hq"]) == ("largest", True)
    page.click("#start")
    assert page.input_value("#heads") == "largest"
    assert page.locator("#heads option").count() == 2
    assert not page.inner_text("#fps")[0].isdigit()
    box = page.locator("#view").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"])
    assert page.input_value("#heads") == "largest"


def test_a_background_that_is_not_chosen_after_all_leaves_the_last(
    studio: Running, open_page: Callable[..., Any], portrait_file: Path
) -> None:
    page = open_page(studio)
    page.select_option("#background", "blur")
    with page.expect_file_chooser():
        page.select_option("#background", "file")
    page.dispatch_event("#backfile", "cancel")
    assert page.input_value("#background") == "blur"
    for content, left in ((b"no picture", "blur"), (portrait_file.read_bytes(), "file"), (b"neither", "file")):
        with page.expect_file_chooser() as asked:
            page.select_option("#background", "blur")
            page.select_option("#background", "file")
        asked.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": content})
        page.wait_for_timeout(300)
        assert page.input_value("#background") == left
    page.reload()
    assert page.input_value("#background") == "blur"  # the last that the page can keep


def plain_png(colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def test_a_background_is_chosen_where_the_list_opens_no_files(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    page.evaluate("document.getElementById('backfile').click = () => {}")  # as in WebKit while a list is answered
    assert page.is_hidden("#backchoose")
    page.select_option("#background", "file")
    page.evaluate("delete document.getElementById('backfile').click")
    with page.expect_file_chooser():
        page.click("#backchoose")
    page.dispatch_event("#backfile", "cancel")
    assert page.input_value("#background") == "transparent"
    assert page.is_hidden("#backchoose")
    assert page.evaluate("document.activeElement.id") == "background"
    with page.expect_file_chooser():
        page.select_option("#background", "file")
    begin_camera(page)
    for colour in ((255, 0, 0), (0, 0, 255)):  # another picture, too
        with page.expect_file_chooser() as asked:
            page.click("#backchoose")
        asked.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": plain_png(colour)})
        until(page, f"String(({PIXEL})([0.97, 0.03])) === '{','.join(map(str, colour))},255'")
        assert page.input_value("#background") == "file"


def test_a_result_that_is_gone_is_told(studio: Running, open_page: Callable[..., Any], portrait_file: Path) -> None:
    page = open_page(studio)
    page.set_input_files("#files", portrait_file)
    page.wait_for_selector("#list a[href]", timeout=60_000)
    with page.expect_download() as fetched:
        page.click("#list a")
    assert fetched.value.suggested_filename == "me-head.png"
    page.wait_for_timeout(1000)  # the page has no reason to ask any more
    for upload in studio.app.state.studio.uploads.all():
        studio.app.state.studio.uploads.remove(upload.id)
    page.click("#list a")
    until(page, "document.getElementById('message').textContent.includes('not here any more')")
    until(page, "document.querySelectorAll('#list li').length === 0")


def test_a_colour_that_is_chosen_is_used(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    begin_camera(page)
    assert page.is_hidden("#colour")
    page.select_option("#background", "colour")
    page.fill("#colour", "#0000ff")
    page.fill("#hair", "#00ff00")
    assert page.is_checked("#dye")
    wait_for_frames(page)
    assert page.evaluate(PIXEL, (0.97, 0.03)) == [0, 0, 255, 255]


def test_a_camera_that_gives_no_pictures_is_told(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    page.evaluate("""() => { const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
      devices.getUserMedia = async (wanted) => (window.given = await ask(wanted)); }""")
    begin_camera(page)
    page.evaluate("given.getVideoTracks()[0].dispatchEvent(new Event('mute'))")
    assert "gives no pictures" in page.inner_text("#message")
    page.evaluate("given.getVideoTracks()[0].dispatchEvent(new Event('unmute'))")
    assert page.inner_text("#message") == ""


def test_a_file_that_is_not_taken_says_why_where_files_are(
    start: Callable[..., Running], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    studio = start(max_upload_mb=1)
    page = open_page(studio)
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(30 << 20))
    page.set_input_files("#files", film)
    page.wait_for_selector("#list li")
    until(page, "document.getElementById('list').innerText.includes('not taken')")
    assert "larger than 1 MB" in page.inner_text("#list")
    assert page.inner_text("#message") == ""  # once is enough
    assert page.locator("#list .failed [role=alert]").count() == 1
    assert page.is_hidden("#list progress")
    page.click("#list button")
    assert page.query_selector("#list li") is None


def test_who_follows_a_link_through_a_proxy_with_encryption_has_all_of_it(
    start: Callable[..., Running], webcam: Path, tmp_path: Path, portrait_file: Path
) -> None:
    token, name = "a-token-of-at-least-16", "studio.example"
    studio = start(token=token, public_url=f"https://{name}", asks_token=True)
    with TlsProxy(certificate(tmp_path, name), studio.port) as proxy:
        mapped = f"--host-resolver-rules=MAP {name}:443 127.0.0.1:{proxy.port}"
        with chromium(webcam, mapped, "--ignore-certificate-errors") as context:
            page = context.new_page()
            mail = f"<a href='{studio.server.address.url}'>come in</a>"
            page.route("http://mail.example/", lambda route: route.fulfill(body=mail, content_type="text/html"))
            page.goto("http://mail.example/")
            page.click("a")
            page.wait_for_url(f"https://{name}/")  # and no token
            begin_camera(page)
            page.set_input_files("#files", portrait_file)
            page.wait_for_selector("#list a[href]", timeout=60_000)
            assert page.inner_text("#overlay") == f"https://{name}/overlay?token=…"
            assert "Nothing leaves this machine" not in page.text_content("#hint")


def test_the_overlay_goes_on_while_the_page_is_behind_another(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    begin_camera(page)
    # What Chromium does to a page that is not shown, which a page under Playwright always is.
    page.evaluate("""() => { Object.defineProperty(document, 'hidden', { get: () => true });
      HTMLVideoElement.prototype.requestVideoFrameCallback = window.requestAnimationFrame = () => 0;
      HTMLCanvasElement.prototype.toBlob = () => {}; }""")
    page.wait_for_timeout(300)
    overlay = open_page(studio, "/overlay")
    frames = "Number(document.body.dataset.frames ?? 0)"
    until(overlay, f"{frames} > 5")
    assert overlay.evaluate(STRONGEST)[2] == 255
    page.click("#start")
    page.wait_for_timeout(300)
    last = overlay.evaluate(frames)
    page.wait_for_timeout(300)
    assert overlay.evaluate(frames) == last


# How much the lowest tenth of a canvas changes from pixel to pixel.
ROUGHNESS = """(id) => { const c = document.getElementById(id), top = Math.round(0.9 * c.height);
  const d = c.getContext('2d').getImageData(0, top, c.width, c.height - top).data;
  let sum = 0; for (let i = 4; i < d.length; i++) sum += Math.abs(d[i] - d[i - 4]); return sum / d.length; }"""


def test_the_scene_is_blurred_also_where_the_canvas_has_no_filter(
    studio: Running, open_page: Callable[..., Any]
) -> None:
    page = open_page(studio)
    page.evaluate("delete CanvasRenderingContext2D.prototype.filter")  # as in Safari
    begin_camera(page)
    page.fill("#wipe", "100")
    wait_for_frames(page)
    sharp = page.evaluate(ROUGHNESS, "before")
    page.fill("#wipe", "0")
    page.select_option("#background", "blur")
    wait_for_frames(page)
    assert 0 < page.evaluate(ROUGHNESS, "view") < 0.2 * sharp


def test_reloading_and_two_tabs_work_and_a_third_is_told(studio: Running, open_page: Callable[..., Any]) -> None:
    first = open_page(studio)
    begin_camera(first)
    first.reload()
    begin_camera(first)
    second = open_page(studio)
    begin_camera(second)
    wait_for_frames(first, 2)
    third = open_page(studio)
    third.click("#start")
    until(third, "document.getElementById('message').textContent.includes('close one')")
    assert third.inner_text("#start") == "Start camera"


def test_the_page_comes_back_when_the_server_does(open_page: Callable[..., Any], segmenter: CropSegmenter) -> None:
    listener, address = bound("127.0.0.1", 0, None)
    app = create_app(segmenter)
    studio = Running(ServerThread(app, listener, address), app)
    try:
        page = open_page(studio)
        begin_camera(page)
        studio.server.close()
        until(page, "document.getElementById('message').textContent.includes('trying again')")
        listener, address = bound("127.0.0.1", address.port, None)
        app = create_app(segmenter)
        studio = Running(ServerThread(app, listener, address), app)
        wait_for_frames(page)
        assert page.inner_text("#message") == ""
    finally:
        studio.server.close()


def test_this_machines_camera_in_the_page_and_in_the_overlay(
    start: Callable[..., Running], open_page: Callable[..., Any], head_clip: Path
) -> None:
    studio = start(camera=LiveTarget("file", "a film", address=str(head_clip)))
    page = open_page(studio)
    page.wait_for_selector("#source option[value=own]", state="attached")
    page.select_option("#source", "own")
    page.click("#start")
    wait_for_frames(page)
    overlay = open_page(studio, "/overlay")
    until(overlay, "Number(document.body.dataset.frames ?? 0) > 3")
    assert overlay.evaluate(STRONGEST) == [320, 240, 255]
    assert overlay.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"


def test_of_pictures_that_come_faster_than_they_are_shown_the_newest_is(
    studio: Running, open_page: Callable[..., Any]
) -> None:
    page = open_page(studio)
    shown = page.evaluate("""async () => { const { newest } = await import('/static/wire.js');
      const shown = [], show = newest(async (number) => shown.push(number));
      for (const first of [1, 4, 7]) {
        for (const more of [0, 1, 2]) show(first + more);
        await new Promise((after) => setTimeout(after, 200));
      }
      return shown; }""")
    assert shown == [1, 3, 4, 6, 7, 9]


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(
    studio: Running, open_page: Callable[..., Any]
) -> None:
    page = open_page(studio)
    page.select_option("#background", "colour")
    nameless = """() => [...document.querySelectorAll('button, input, select')].filter((e) => !e.hidden
      && !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.id)"""
    assert page.evaluate(nameless) == []
    reached = set()
    for _ in range(50):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {
        "start",
        "source",
        "size",
        "microphone",
        "hair",
        "wipe",
        "background",
        "colour",
        "part",
        "heads",
        "padding",
        "spill",
        "mirror",
        "choose",
    } <= reached


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (375, "light"), (375, "dark")])
def test_nothing_is_cut_off_at_any_width(
    start: Callable[..., Running], open_page: Callable[..., Any], head_clip: Path, width: int, scheme: str
) -> None:
    named = "Hochauflösende-Konferenzraumkamera mit Weitwinkelobjektiv (Besprechungszimmer im Untergeschoss)"
    page = open_page(start(camera=LiveTarget("file", named, address=str(head_clip))))
    page.wait_for_selector("#source option[value=own]", state="attached")
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
