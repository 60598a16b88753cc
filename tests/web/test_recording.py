"""Recordings and snapshots of the studio's page, in a real Chromium."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.media import frame_times, video_stream
from tests.web.browser import BEFORE, begin_camera, in_a_browser, until, wait_for_frames
from tests.web.conftest import Running

pytestmark = in_a_browser


def record(page: Any, kept: Path, frames: int = 20) -> None:
    """Record that many frames of what the page shows."""
    page.click("#record")
    wait_for_frames(page, frames)
    with page.expect_download() as recording:
        page.click("#record")
    recording.value.save_as(kept)


def test_a_recording_with_nothing_in_it_is_told_and_not_saved(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    page.on("download", lambda kept: pytest.fail(f"saved {kept.suggested_filename}"))
    begin_camera(page)
    # What WebKitGTK does where the system has no encoder: it says it can, and gives an empty piece at the end.
    page.evaluate("""() => Object.defineProperty(BlobEvent.prototype, 'data', { get: () => new Blob([]) })""")
    page.click("#record")
    page.click("#record")
    until(page, "document.getElementById('message').textContent.includes('recorded nothing')")
    assert page.inner_text("#record") == "Record"


def test_recording_and_snapshot_download(studio: Running, open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(studio)
    begin_camera(page)
    with page.expect_download() as snapshot:
        page.click("#snapshot")
    assert snapshot.value.suggested_filename.endswith(".png")
    kept = tmp_path / "r.webm"
    record(page, kept)
    assert video_stream(kept)["codec_name"] in {"vp9", "vp8"}
    assert len(frame_times(kept)) > 10


def test_a_recording_that_is_being_finished_holds_the_page(studio: Running, open_page: Callable[..., Any]) -> None:
    """Of an hour, the index takes seconds: whoever closes the page then is asked, as while recording."""
    page = open_page(studio)
    begin_camera(page)
    page.evaluate("""() => {
      const read = Blob.prototype.arrayBuffer;
      Blob.prototype.arrayBuffer = async function () { await new Promise((go) => { window.go = go; }); return read.call(this); };
    }""")
    leaving = "() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert not page.evaluate(leaving)
    page.click("#record")
    wait_for_frames(page, 5)
    assert page.evaluate(leaving)
    with page.expect_download():
        page.click("#record")
        until(page, "document.getElementById('message').textContent.includes('finishing')")
        assert page.evaluate(leaving)
        page.evaluate("() => { delete Blob.prototype.arrayBuffer; }")
        page.evaluate(
            "() => { const go = window.go; Blob.prototype.arrayBuffer = () => { throw new TypeError('no'); }; go(); }"
        )
    until(page, "document.getElementById('message').textContent.includes('downloads')")
    assert not page.evaluate(leaving)


def test_the_room_is_in_no_recording_and_no_snapshot(
    studio: Running, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(studio)
    begin_camera(page)
    page.fill("#wipe", "100")
    page.select_option("#background", "colour")
    page.fill("#colour", "#0000ff")
    wait_for_frames(page)
    assert page.evaluate(BEFORE, (0.1, 0.9))[3] == 255  # but on the page
    with page.expect_download() as snapshot:
        page.click("#snapshot")
    picture = np.asarray(Image.open(io.BytesIO(snapshot.value.path().read_bytes())))
    assert picture[-40:, :40].reshape(-1, 4).tolist() == [[0, 0, 255, 255]] * 1600
    kept = tmp_path / "r.webm"
    record(page, kept)
    with av.open(str(kept)) as film:
        corners = [frame.to_ndarray(format="rgb24")[-40:, :40] for frame in film.decode(video=0)]
    assert len(corners) > 10
    assert all(np.abs(corner.astype(int) - (0, 0, 255)).max() < 40 for corner in corners)


def streams(film: Path) -> dict[str, Any]:
    """The first stream of each kind."""
    with av.open(str(film)) as opened:
        return {stream.type: stream.codec_context.name for stream in opened.streams}


# The delays that are made, and the tracks of the microphone that are given out.
LISTENING = """(() => {
  window.delays = []; window.heard = [];
  const Made = window.DelayNode;
  window.DelayNode = class extends Made { constructor(...how) { super(...how); delays.push(this.delayTime.value); } };
  const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    if (wanted.audio) heard.push(...stream.getAudioTracks());
    return stream; }; })()"""


def test_sound_is_recorded_only_where_it_is_wanted_and_as_late_as_the_pictures(
    studio: Running, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(studio, script=LISTENING)
    assert not page.is_checked("#microphone")
    assert "silent" in page.inner_text("#silent")
    begin_camera(page)
    silent, loud = tmp_path / "silent.webm", tmp_path / "loud.webm"
    page.click("#record")
    assert "without sound" in page.inner_text("#message")
    wait_for_frames(page, 20)
    until(page, "/^(0:0[1-9]|0:[1-5][0-9]|[1-9]:[0-9]{2})$/.test(document.getElementById('elapsed').innerText)")
    with page.expect_download() as recording:
        page.click("#record")
    recording.value.save_as(silent)
    assert set(streams(silent)) == {"video"}
    assert page.is_hidden("#elapsed")
    assert page.evaluate("heard.length") == 0  # and was not asked for
    page.check("#microphone")
    record(page, loud)
    assert streams(loud)["audio"] == "opus"
    assert page.evaluate("heard.map(({ readyState }) => readyState)") == ["ended"]
    (delay,) = page.evaluate("delays")
    assert 0.01 < delay < 5
    trip = float(page.inner_text("#latency").removesuffix(" ms"))
    assert 0.2 * trip < 1000 * delay < 5 * trip


def test_a_microphone_that_may_not_be_used_is_told(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    begin_camera(page)
    page.evaluate("""() => { navigator.mediaDevices.getUserMedia = async () => {
      throw new DOMException('', 'NotAllowedError'); }; }""")
    page.check("#microphone")
    page.click("#record")
    until(page, "document.getElementById('message').textContent.includes('no microphone: the browser was not allowed')")
    assert page.inner_text("#record") == "Record"
    page.uncheck("#microphone")
    page.click("#record")
    assert page.inner_text("#record") == "Stop recording"
    assert "without sound" in page.inner_text("#message")


# The duration a video element finds in a film, and the time of the frame it shows where it is sought at a half.
PLAYED = """async (bytes) => { const video = document.createElement('video');
  const come = (what) => new Promise((after, fail) => { video['on' + what] = after; video.onerror = () => fail(video.error); });
  video.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], { type: 'video/webm' }));
  await come('loadedmetadata');
  const { duration } = video;
  video.currentTime = duration / 2;
  await come('seeked');
  return [duration, video.currentTime]; }"""


@pytest.mark.parametrize("sound", [False, True])
def test_a_recording_has_a_duration_and_can_be_sought(
    studio: Running, open_page: Callable[..., Any], tmp_path: Path, sound: bool
) -> None:
    page = open_page(studio)
    begin_camera(page)
    page.set_checked("#microphone", sound)
    kept = tmp_path / "r.webm"
    record(page, kept, frames=60)
    times = frame_times(kept)
    with av.open(str(kept)) as film:
        assert film.duration is not None
        told = film.duration / 1e6
        assert float(times[-1]) <= told < float(times[-1]) + 1
        film.seek(int(told * 0.5 * 1e6))  # by the index
        frame = next(film.decode(video=0))
        assert frame.time is not None
        assert frame.time <= told * 0.5 + 0.1
    duration, sought = page.evaluate(PLAYED, base64.b64encode(kept.read_bytes()).decode())
    assert duration == pytest.approx(told, abs=0.01)
    assert sought == pytest.approx(duration / 2, abs=0.01)


def test_only_what_is_a_stream_of_webm_is_given_a_duration(studio: Running, open_page: Callable[..., Any]) -> None:
    page = open_page(studio)
    same = page.evaluate("""async () => { const { seekable } = await import('/static/webm.js');
      const ebml = [0x1a, 0x45, 0xdf, 0xa3, 0x80], segment = [0x18, 0x53, 0x80, 0x67];
      const films = [[], [0, 1, 2], ebml, [...ebml, ...segment, 0x81, 0xec], [...ebml, ...segment, 0x01, ...Array(7).fill(255)],
        [...ebml, ...segment, 0xff, 0x15, 0x49, 0xa9, 0x66, 0x88, 1]].map((bytes) => new Blob([new Uint8Array(bytes)]));
      return Promise.all(films.map(async (film) => (await seekable(film)) === film)); }""")
    assert same == [True] * 6
