"""The studio over the wire: live frames, files, this machine's camera, the overlay."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import io
import json
import logging
import socket as plain_socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageCms
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import headstream
from headstream.capture.cameras import LiveTarget
from headstream.capture.live import LiveSource
from headstream.errors import SinkError, SourceError, UsageError
from headstream.live.pace import Pace
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.types import Cutout, Frame, UInt8Array
from headstream.web import sockets
from headstream.web.address import bound
from headstream.web.app import create_app
from headstream.web.cutting import OwnCamera, PageSession
from headstream.web.heap import give_back
from headstream.web.jobs import Jobs, Upload, _Loaded
from headstream.web.overlay import OverlaySink
from headstream.web.server import _NO_NEWS, ServerThread
from headstream.web.settings import Settings, parse_settings
from headstream.web.stage import Stage
from headstream.web.uploads import Refused, Uploads
from headstream.web.wire import HEADER, cutout_message, frame_of
from tests.media import alpha_of, video_stream
from tests.waiting import Gate, wait_until
from tests.web.conftest import Running, jpeg


def numbered(number: int, data: bytes) -> bytes:
    return struct.pack("<I", number) + data


def cut_of(message: Any) -> tuple[tuple[int, ...], UInt8Array, bytes]:
    """Header, (h, w, 4) RGBA of the region, JPEG."""
    assert isinstance(message, bytes)
    head = HEADER.unpack_from(message)
    size = head[5] * head[6] * 4
    rgba = np.frombuffer(message, np.uint8, size, HEADER.size).reshape(head[6], head[5], 4)
    return head, rgba, message[HEADER.size + size :]


def next_cut(socket: Any) -> tuple[tuple[int, ...], UInt8Array, bytes]:
    while isinstance(message := socket.recv(timeout=30), str):
        pass
    return cut_of(message)


def next_text(socket: Any) -> Any:
    while not isinstance(message := socket.recv(timeout=30), str):
        pass
    return json.loads(message)


def test_frames_come_back_as_heads(studio: Running, face_jpeg: bytes) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        for number in (7, 8):
            socket.send(numbered(number, face_jpeg))
            (got, width, height, x, y, w, h, rest), rgba, picture = next_cut(socket)
            assert (got, width, height, rest, picture) == (number, 480, 400, 0, b"")
            assert 0 <= x < x + w <= 480
            assert 0 <= y < y + h <= 400
            assert rgba[..., 3].max() == 255
            assert (rgba[rgba[..., 3] == 255][:, :3].mean(axis=0) > 40).all()


def test_people_are_told_and_can_be_chosen(studio: Running, face_jpeg: bytes) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        socket.send(numbered(1, face_jpeg))
        (person,) = next_text(socket)["people"]
        assert person["id"] == 1
        assert person["box"][0] < person["box"][2]
        socket.send(json.dumps({"heads": 5}))
        socket.send(numbered(2, face_jpeg))
        _, rgba, _ = next_cut(socket)
        assert rgba.size == 0
        socket.send(json.dumps({"heads": 1}))
        socket.send(numbered(3, face_jpeg))
        assert next_cut(socket)[1].size > 0


def test_sliders_change_the_cut(studio: Running, face_jpeg: bytes) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:

        def soft(settings: dict[str, Any]) -> tuple[int, int]:
            socket.send(json.dumps({"smoothing": 0.0} | settings))
            socket.send(numbered(1, face_jpeg))
            alpha = next_cut(socket)[1][..., 3]
            return int(((alpha > 5) & (alpha < 250)).sum()), int((alpha > 127).sum())

        assert soft({"feather": 0.1})[0] < 0.8 * soft({"feather": 1.0})[0]
        assert soft({"threshold": 0.8})[1] < soft({"threshold": 0.2})[1]
        assert soft({"part": "hair"})[1] < 0.8 * soft({})[1]


def test_a_network_that_knows_no_hair_says_so(segmenter: CropSegmenter, face_jpeg: bytes) -> None:
    bald = copy.copy(segmenter)
    bald.card = dataclasses.replace(segmenter.card, outputs=("head", "background", "body"))
    listener, address = bound("127.0.0.1", 0, None)
    app = create_app(bald)
    with ServerThread(app, listener, address) as server:
        with connect(f"ws://{Running(server, app).host}/ws/page", max_size=None) as socket:
            socket.send(json.dumps({"part": "hair"}))
            socket.send(numbered(1, face_jpeg))
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert "not 'hair'" in closed.value.rcvd.reason


def test_one_session_too_many_is_told(start: Callable[..., Running], face_jpeg: bytes) -> None:
    studio = start(max_sessions=1)
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as first:
        with connect(f"ws://{studio.host}/ws/page", max_size=None) as second:
            with pytest.raises(ConnectionClosed) as closed:
                second.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4429
            assert "close one" in closed.value.rcvd.reason
        first.send(numbered(1, face_jpeg))
        next_cut(first)
    wait_until(lambda: studio.app.state.studio.sessions == 0)
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as third:
        third.send(numbered(1, face_jpeg))
        next_cut(third)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"abc",
        numbered(1, b"no picture"),
        numbered(1, b"\xff\xd8\xff\xe0" + bytes(50)),
        "no json",
        '{"padding": "x"}',
        "[]",
        "[" * 9000,
    ],
)
def test_hostile_messages_end_their_own_connection_only(studio: Running, face_jpeg: bytes, message: Any) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        socket.send(numbered(1, face_jpeg))
        next_cut(socket)


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What the server tells of them."""
    told: list[str] = []
    listening = logging.Handler()
    listening.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("uvicorn.error").addHandler(listening)
    yield told
    logging.getLogger("uvicorn.error").removeHandler(listening)


def test_who_is_gone_when_refused_makes_no_traceback(
    studio: Running, errors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, running = Gate(), studio.app.state.studio

    def refused(session: PageSession, message: bytes) -> None:
        gate.hold()
        raise SourceError("a frame that is no JPEG")

    monkeypatch.setattr(PageSession, "_cut", refused)
    with connect(f"ws://{studio.host}/ws/page") as socket:
        socket.send(numbered(1, b"no picture"))
        wait_until(gate.reached.is_set)
    wait_until(lambda: not studio.server._server.server_state.connections)
    gate.open()
    wait_until(lambda: running.sessions == 0)
    assert errors == []


def test_who_takes_nothing_any_more_gives_the_place_back(
    studio: Running, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asleep, or out of its network: the connection itself ends when the system says so, which may be never."""
    monkeypatch.setattr("headstream.web.sockets._TAKES_NOTHING_S", 0.5)
    running = studio.app.state.studio
    large = jpeg(np.asarray(Image.fromarray(portrait[:400, :480]).resize((1280, 1066))))
    with plain_socket.create_connection(("127.0.0.1", studio.port)) as line:
        line.setsockopt(plain_socket.SOL_SOCKET, plain_socket.SO_RCVBUF, 4096)
        with connect(f"ws://{studio.host}/ws/page", sock=line, max_size=None, max_queue=1, close_timeout=0) as socket:
            wait_until(lambda: running.sessions == 1)
            for number in range(12):
                socket.send(numbered(number, large))
            wait_until(lambda: running.sessions == 0)
            assert line.fileno() >= 0  # while the page has not gone itself


def test_who_is_gone_as_a_picture_is_sent_watches_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the watching meets a send that has just ended."""

    async def watchers() -> int:
        stage, sending, gone = Stage(), asyncio.Event(), asyncio.Event()

        class Leaving:
            async def accept(self) -> None: ...

            async def receive(self) -> dict[str, str]:
                await gone.wait()
                return {"type": "websocket.disconnect"}

            async def send_bytes(self, message: bytes) -> None:
                sending.set()
                await gone.wait()
                await asyncio.sleep(0)

        monkeypatch.setattr(sockets, "studio_of", lambda socket: SimpleNamespace(stage=stage))
        watching = asyncio.ensure_future(sockets.overlay(Leaving()))  # type: ignore[arg-type]
        while not stage.watchers:
            await asyncio.sleep(0)
        stage.publish(Cutout(Frame(np.zeros((8, 8, 3), np.uint8))))
        await sending.wait()
        gone.set()
        await asyncio.wait([watching], timeout=2)
        watching.cancel()
        return stage.watchers

    assert asyncio.run(watchers()) == 0


def test_text_that_is_no_utf8_is_refused_without_a_traceback(
    studio: Running, face_jpeg: bytes, errors: list[str]
) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        socket.send(b"\xff\xfe{", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    wait_until(lambda: studio.app.state.studio.sessions == 0)
    assert errors == []
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        socket.send(numbered(1, face_jpeg))
        next_cut(socket)


def test_of_the_servers_errors_only_its_clients_own_are_kept_quiet() -> None:
    """A file the application could not read as text is an error to be told, as any other."""
    quiet = {
        "Exception in ASGI application\n": False,
        "Invalid UTF-8 sequence received from client.": True,
    }
    log = logging.getLogger("uvicorn.error")
    for message, expected in quiet.items():
        try:
            b"\xff".decode()
        except UnicodeDecodeError:
            record = log.makeRecord(log.name, logging.ERROR, "", 0, message, (), sys.exc_info())
        assert _NO_NEWS.filter(record) is not expected


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when memory was given back."""
    given = threading.Event()

    def noted() -> None:
        give_back()
        given.set()

    monkeypatch.setattr("headstream.web.cutting.give_back", noted)
    return given


def test_memory_is_given_back_when_a_page_leaves(
    studio: Running, face_jpeg: bytes, given_back: threading.Event
) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as socket:
        socket.send(numbered(1, face_jpeg))
        next_cut(socket)
        assert not given_back.is_set()
    assert given_back.wait(30)


def test_a_picture_bomb_is_not_decoded() -> None:
    """A JPEG that says 60000 x 60000 in its header would be 10 GB of pixels."""
    data = bytearray(jpeg(np.zeros((32, 32, 3), np.uint8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    with pytest.raises(SourceError, match="larger than any camera|60000x60000"):
        frame_of(numbered(1, bytes(data)))


def test_of_a_page_that_sends_few_frames_nothing_is_carried(segmenter: CropSegmenter, face_jpeg: bytes) -> None:
    session = PageSession(segmenter, models_dir())
    session._pace = Pace(1 / 30, least=2)
    for number in range(4):
        session._cut(numbered(number, face_jpeg))
        time.sleep(0.2)
    assert session._cutter is not None
    assert session._cutter.times.mean_ms().keys() >= {"segment", "matte"}
    assert "carry" not in session._cutter.times.mean_ms()
    session.close()


def test_a_pages_frames_have_times_of_their_own(
    segmenter: CropSegmenter, face_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # as between two ticks of Windows'
    session = PageSession(segmenter, models_dir())
    frames = [session._cut(numbered(number, face_jpeg))[1].frame for number in range(3)]
    assert [frame.pts for frame in frames] == sorted({frame.pts for frame in frames})
    assert session.status()["cut_ms"] > 0
    session.close()


def test_a_message_larger_than_any_frame_is_refused(studio: Running) -> None:
    quiet = logging.getLogger("tests.web.client")  # the client complains when it is cut off in the middle of a message
    quiet.setLevel(logging.CRITICAL)
    with connect(f"ws://{studio.host}/ws/page", max_size=None, logger=quiet) as socket:
        with pytest.raises(ConnectionClosed):
            socket.send(bytes(6 << 20))
            socket.recv(timeout=30)


def test_an_empty_cut_travels_too() -> None:
    head, rgba, rest = cut_of(cutout_message(3, Cutout(Frame(np.zeros((20, 30, 3), np.uint8))), b"jpg"))
    assert head[:3] == (3, 30, 20)
    assert rgba.size == 0
    assert rest == b"jpg"


@pytest.mark.parametrize(
    "told",
    [
        {"padding": 9},
        {"feather": float("nan")},
        {"padding": 10**400},
        {"smoothing": True},
        {"heads": -1},
        {"heads": "me"},
        {"part": "arm"},
        {"spill": 1},
        {"hq": "yes"},
        {"x": 1},
        "settings",
        None,
    ],
)
def test_settings_that_cannot_be(told: Any) -> None:
    with pytest.raises(UsageError):
        parse_settings(told)


def test_settings_reach_the_pipeline() -> None:
    options = parse_settings({"padding": 1.5, "smoothing": 0.2, "feather": 0.4, "threshold": 0.6, "heads": 3}).options()
    assert options.track.room == 1.5
    assert options.matte.stability == 0.2
    assert (round(options.matte.low, 3), round(options.matte.high, 3)) == (0.4, 0.8)
    assert options.heads == 3
    default = Settings().options()
    assert (round(default.matte.low, 3), round(default.matte.high, 3)) == (0.15, 0.85)
    assert parse_settings({"hq": True}).options(photo=True).matte.strands
    assert not parse_settings({"hq": True, "hair_color": "#102030"}).options().matte.strands
    with pytest.raises(UsageError, match="keeps its own colour"):
        parse_settings({"hq": True, "hair_color": "#102030"}).options(photo=True)


# --- files ---


def finished(studio: Running, id_: str, seconds: float = 90) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        (item,) = [item for item in studio.ask("GET", "/api/files").json if item["id"] == id_]
        if item["state"] not in {"waiting", "running"}:
            return dict(item)
        time.sleep(0.1)
    raise AssertionError("it takes too long")


def test_a_photo_is_cut_and_fetched_and_removed(studio: Running, portrait_file: Path) -> None:
    sent = studio.ask("POST", "/api/files?name=me.jpg", portrait_file.read_bytes())
    assert sent.status == 201
    item = finished(studio, sent.json["id"])
    assert item["state"] == "done", item
    got = studio.ask("GET", f"/api/files/{item['id']}/result")
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''me-head.png"
    with Image.open(io.BytesIO(got.body)) as picture:
        assert picture.mode == "RGBA"
        assert picture.size == (512, 512)
        assert 0.05 < (np.asarray(picture)[..., 3] > 127).mean() < 0.4
    folder = studio.app.state.studio.uploads.get(item["id"]).folder
    assert studio.ask("DELETE", f"/api/files/{item['id']}").status == 204
    assert not folder.exists()
    assert studio.ask("GET", f"/api/files/{item['id']}/result").status == 404


def test_a_photo_is_cut_strand_by_strand_where_that_is_wanted(
    studio: Running, portrait_file: Path, head_clip: Path
) -> None:
    """And a film beside it as ever."""
    told = quote(json.dumps({"hq": True}))
    sent = studio.ask("POST", f"/api/files?name=me.jpg&settings={told}", portrait_file.read_bytes())
    item = finished(studio, sent.json["id"])
    with Image.open(io.BytesIO(studio.ask("GET", f"/api/files/{item['id']}/result").body)) as picture:
        fine = headstream.cut_image(portrait_file, heads="largest", hq=True)[0]
        assert np.array_equal(np.asarray(picture), fine.rgba())
    both = quote(json.dumps({"hq": True, "hair_color": "#102030"}))
    refused = studio.ask("POST", f"/api/files?name=me.jpg&settings={both}", portrait_file.read_bytes())
    assert refused.status == 400
    assert "keeps its own colour" in refused.json["error"]
    film = studio.ask("POST", f"/api/files?name=me.mkv&output=.mkv&settings={both}", head_clip.read_bytes())
    assert finished(studio, film.json["id"])["state"] == "done"


def test_what_was_done_long_ago_goes_while_nobody_asks(
    start: Callable[..., Running], portrait_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstream.web.app._SWEEP_S", 0.05)
    studio = start()
    uploads = studio.app.state.studio.uploads
    sent = studio.ask("POST", "/api/files?name=me.jpg", portrait_file.read_bytes()).json
    assert finished(studio, sent["id"])["state"] == "done"
    assert uploads.get(sent["id"]).result.exists()
    monkeypatch.setattr("headstream.web.uploads._KEEP_S", 0.0)
    wait_until(lambda: not any(uploads._folder.iterdir()))


def test_what_a_page_shows_is_kept_for_as_long_as_it_is_open(studio: Running, portrait_file: Path) -> None:
    sent = studio.ask("POST", "/api/files?name=me.jpg", portrait_file.read_bytes()).json
    assert finished(studio, sent["id"])["state"] == "done"
    upload = studio.app.state.studio.uploads.get(sent["id"])
    upload.wanted_s -= 3500  # done almost an hour ago
    assert studio.ask("GET", "/api/files").json
    upload.wanted_s -= 3500  # and asked for again since
    assert studio.ask("GET", f"/api/files/{sent['id']}/result").status == 200
    assert studio.ask("GET", "/api/files").json
    upload.wanted_s -= 3700
    assert studio.ask("GET", "/api/files").json == []


def test_a_video_is_cut_with_its_progress(studio: Running, head_clip: Path, tmp_path: Path) -> None:
    sent = studio.ask("POST", "/api/files?name=talk.mp4&output=.mkv", head_clip.read_bytes())
    item = finished(studio, sent.json["id"])
    assert item["state"] == "done", item
    assert item["done"] == 30
    out = tmp_path / "o.mkv"
    out.write_bytes(studio.ask("GET", f"/api/files/{item['id']}/result").body)
    assert video_stream(out)["codec_name"] == "ffv1"
    assert alpha_of(out)[10].max() == 255


def test_what_is_cut_can_be_cancelled_and_leaves_nothing(studio: Running, head_clip: Path) -> None:
    first, second = (studio.ask("POST", "/api/files?name=a.mp4", head_clip.read_bytes()).json for _ in range(2))
    root = studio.app.state.studio.uploads.get(first["id"]).folder.parent
    assert len(list(root.iterdir())) == 2
    assert studio.ask("DELETE", f"/api/files/{first['id']}").status == 204
    assert studio.ask("DELETE", f"/api/files/{second['id']}").status == 204
    wait_until(lambda: not any(root.iterdir()))
    assert studio.ask("GET", "/api/files").json == []


def test_what_cannot_be_cut_says_why(studio: Running, plain_clip: Path) -> None:
    broken = studio.ask("POST", "/api/files?name=a.mp4", b"not a film" * 50).json
    empty = studio.ask("POST", "/api/files?name=b.mp4", plain_clip.read_bytes()).json
    told = finished(studio, broken["id"])
    assert told["state"] == "failed"
    assert "not a video file" in told["error"]
    assert "/" not in told["error"].split("(")[0]  # nothing of where it lies
    assert finished(studio, empty["id"])["error"] == "no head was found in any frame"


def test_dropped_files_are_cut_on_the_device_that_was_asked_for(
    start: Callable[..., Running], portrait_file: Path, head_clip: Path
) -> None:
    studio = start(device="abacus")  # what is live is cut by a network that is loaded already
    for name, content in (("me.jpg", portrait_file), ("talk.mp4", head_clip)):
        sent = studio.ask("POST", f"/api/files?name={name}", content.read_bytes()).json
        told = finished(studio, sent["id"])
        assert (told["state"], told["error"].split(";")[0]) == ("failed", "device 'abacus' is not known")


def test_networks_for_files_are_loaded_once_and_when_one_comes(
    studio: Running, portrait_file: Path, head_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []

    def load(*args: Any, fast: bool = False, **kwargs: Any) -> CropSegmenter:
        loaded.append(fast)
        return load_segmenter(*args, fast=fast, **kwargs)

    monkeypatch.setattr("headstream.web.jobs.load_segmenter", load)
    monkeypatch.setattr("headstream.films.video.load_segmenter", load)
    results = []
    for name, file in (("me.jpg", portrait_file), ("talk.mp4", head_clip)):
        for _ in range(2):
            sent = studio.ask("POST", f"/api/files?name={name}&output=.mkv", file.read_bytes()).json
            assert finished(studio, sent["id"])["state"] == "done"
            results.append(studio.ask("GET", f"/api/files/{sent['id']}/result").body)
    assert loaded == [False, True]
    assert results[2] == results[3]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to the size of files")
def test_a_disk_that_fills_up_is_said_and_nothing_stays(studio: Running) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # full, to a program: a write that fails
    try:
        told = studio.ask("POST", "/api/files?name=me.mp4", bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (told.status, told.json["error"]) == (507, "me.mp4: the file grew past the size allowed here")
    assert studio.ask("GET", "/api/files").json == []
    assert not any(studio.app.state.studio.uploads._folder.iterdir())


# --- this machine's camera, and the overlay ---


def test_this_machines_camera_is_shown_and_released(
    start: Callable[..., Running], head_clip: Path, given_back: threading.Event
) -> None:
    studio = start(camera=LiveTarget("file", "a film", address=str(head_clip)))
    assert studio.ask("GET", "/api/studio").json["camera"] == "a film"
    camera = studio.app.state.studio.camera
    with (
        connect(f"ws://{studio.host}/ws/own", max_size=None) as one,
        connect(f"ws://{studio.host}/ws/overlay", max_size=None) as two,
    ):
        (_, width, height, *_), rgba, picture = next_cut(one)
        assert (width, height) == (320, 240)
        with Image.open(io.BytesIO(picture)) as whole:
            assert whole.size == (320, 240)
        until = time.monotonic() + 30
        while rgba.size == 0 and time.monotonic() < until:
            _, rgba, rest = next_cut(two)
            assert rest == b""
        assert rgba[..., 3].max() > 200
        one.send(json.dumps({"heads": 9}))
        until = time.monotonic() + 30
        while next_cut(one)[1].size and time.monotonic() < until:
            pass
        assert next_cut(one)[1].size == 0
    wait_until(lambda: camera._thread is None)
    assert given_back.wait(30)


class OnlyOne:
    """A device that one at a time can have, and that takes a moment to be let go of."""

    rate = Fraction(30)

    def __init__(self, portrait: UInt8Array) -> None:
        self.portrait = portrait
        self.taken, self.leaving, self.asked = threading.Lock(), threading.Event(), threading.Event()

    def open(self, *wanted: Any) -> OnlyOne:
        if self.leaving.is_set():
            self.asked.set()
        if not self.taken.acquire(blocking=False):
            raise SourceError("cannot be opened: another program is using it")
        return self

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        try:
            while not stop.wait(0.01):
                now = time.perf_counter()
                yield now, Frame(self.portrait, captured_s=now)
        finally:
            self.leaving.set()
            self.asked.wait(0.5)  # for somebody who is too early
            self.taken.release()


def test_a_page_that_is_loaded_again_gets_the_camera_again(
    segmenter: CropSegmenter, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = OnlyOne(portrait)
    monkeypatch.setattr("headstream.web.cutting.LiveSource", partial(LiveSource, open_=device.open))
    camera = OwnCamera(LiveTarget("camera", "camera 0"), segmenter, models_dir(), Stage())

    async def shown() -> Cutout:
        async with camera.stage.watch() as newest:
            return (await anext(newest)).cutout

    camera.start()
    asyncio.run(asyncio.wait_for(shown(), 60))
    with ThreadPoolExecutor(2) as pages:
        left = pages.submit(camera.stop)
        assert device.leaving.wait(60)
        came = pages.submit(camera.start)
        came.result(60)
        asyncio.run(asyncio.wait_for(shown(), 60))
        left.result(60)
    assert asyncio.run(asyncio.wait_for(shown(), 60)).heads
    camera.stop()
    assert device.taken.acquire(blocking=False)


class Breaks:
    """A device that is lost when it is told to be, and comes back when it may."""

    rate = Fraction(30)

    def __init__(self, portrait: UInt8Array) -> None:
        self.portrait = portrait
        self.lost, self.back = threading.Event(), threading.Event()

    def open(self, *wanted: Any) -> Breaks:
        if self.lost.is_set() and not self.back.is_set():
            raise SourceError("is not there")
        return self

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        while not stop.wait(0.03):
            if self.lost.is_set() and not self.back.is_set():
                raise SourceError("unplugged")
            now = time.perf_counter()
            yield now, Frame(self.portrait, captured_s=now)


def test_every_page_is_told_what_becomes_of_the_camera_and_none_what_was_before(
    start: Callable[..., Running], portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Breaks(portrait)
    monkeypatch.setattr("headstream.web.cutting.LiveSource", partial(LiveSource, open_=device.open))
    studio = start(camera=LiveTarget("camera", "camera 0"))

    def notice(socket: Any) -> str:
        return next(filter(None, (str(next_text(socket)["notice"]) for _ in range(100))), "")

    address = f"ws://{studio.host}/ws/own"
    with connect(address, max_size=None) as one, connect(address, max_size=None) as two:
        next_cut(one), next_cut(two)
        device.lost.set()
        assert [notice(page) for page in (one, two)] == ["unplugged; trying again until it is back"] * 2
        with connect(address, max_size=None) as late:
            next_text(late)
            device.back.set()
            assert all("camera 0 is back" in notice(page) for page in (one, two, late))


def test_without_a_camera_it_says_so(studio: Running) -> None:
    with connect(f"ws://{studio.host}/ws/own") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert "--camera" in closed.value.rcvd.reason


def test_the_overlay_shows_what_a_page_cuts(studio: Running, face_jpeg: bytes) -> None:
    with connect(f"ws://{studio.host}/ws/overlay", max_size=None) as overlay:
        with connect(f"ws://{studio.host}/ws/page", max_size=None) as page:
            page.send(numbered(1, face_jpeg))
            own = next_cut(page)[1]
        assert np.array_equal(next_cut(overlay)[1], own)


def test_the_overlay_shows_one_page_of_several_the_one_that_began_last(studio: Running, face_jpeg: bytes) -> None:
    nobody = jpeg(np.full((240, 320, 3), 90, np.uint8))
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as first:
        first.send(numbered(1, face_jpeg))
        next_cut(first)
        with connect(f"ws://{studio.host}/ws/page", max_size=None) as second:
            second.send(numbered(1, nobody))
            next_cut(second)
            first.send(numbered(2, face_jpeg))
            next_cut(first)
            with connect(f"ws://{studio.host}/ws/overlay", max_size=None) as overlay:
                assert next_cut(overlay)[0][1:3] == (320, 240)
        wait_until(lambda: studio.app.state.studio.sessions == 1)
        first.send(numbered(3, face_jpeg))
        next_cut(first)
        with connect(f"ws://{studio.host}/ws/overlay", max_size=None) as overlay:
            assert next_cut(overlay)[0][1:3] == (480, 400)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Before the colours of cut-outs."""
    gate, own = Gate(), Cutout.region_rgb

    def region_rgb(cutout: Cutout) -> UInt8Array:
        gate.hold()
        return own(cutout)

    monkeypatch.setattr(Cutout, "region_rgb", region_rgb)
    return gate


def test_what_many_watch_is_made_once_while_the_studio_answers(
    studio: Running, portrait: UInt8Array, colours: Gate
) -> None:
    stage = studio.app.state.studio.stage
    address = f"ws://{studio.host}/ws/overlay"
    with connect(address) as one, connect(address) as two, connect(address) as three:
        wait_until(lambda: stage.watchers == 3)
        stage.publish(Cutout(Frame(portrait), (), (4, 6, 14, 26), np.full((20, 10), 200, np.uint8)))
        assert colours.reached.wait(30)
        assert studio.ask("GET", "/overlay").status == 200
        colours.open()
        messages = {socket.recv(timeout=30) for socket in (one, two, three)}
    assert len(messages) == 1
    assert colours.opened == [True]


def test_while_a_pages_cut_is_made_ready_the_studio_answers(studio: Running, face_jpeg: bytes, colours: Gate) -> None:
    with connect(f"ws://{studio.host}/ws/page", max_size=None) as page:
        page.send(numbered(1, face_jpeg))
        assert colours.reached.wait(30)
        assert studio.ask("GET", "/overlay").status == 200
        colours.open()
        assert next_cut(page)[1].size > 0
    assert colours.opened == [True]


def test_watchers_are_limited_too(studio: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstream.web.sockets._MOST_WATCHERS", 1)
    with connect(f"ws://{studio.host}/ws/overlay"):
        wait_until(lambda: studio.app.state.studio.stage.watchers)
        with connect(f"ws://{studio.host}/ws/overlay") as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429


def test_the_overlay_as_an_output(portrait: UInt8Array) -> None:
    sink = OverlaySink(0)
    try:
        with connect(sink.url.replace("http", "ws").replace("/overlay", "/ws/overlay"), max_size=None) as socket:
            sink.write(Cutout(Frame(portrait), (), (4, 6, 14, 26), np.full((20, 10), 200, np.uint8)))
            head, rgba, _ = next_cut(socket)
            assert head[1:7] == (512, 512, 4, 6, 10, 20)
            assert (rgba[..., 3] == 200).all()
        with pytest.raises(SinkError, match="cannot listen"):
            OverlaySink(int(sink.url.split(":")[2].split("/")[0]))
    finally:
        sink.close()
        sink.close()


@pytest.mark.parametrize(
    ("end", "why"), [(OSError(24, "Too many open files"), "Too many open files"), (SystemExit(3), "ended as it began")]
)
def test_an_overlay_that_cannot_be_served_has_no_address(
    monkeypatch: pytest.MonkeyPatch, end: BaseException, why: str
) -> None:
    listener, address = bound("127.0.0.1", 0, None)
    listener.close()

    async def startup(server: Any, sockets: Any) -> None:
        raise end

    with monkeypatch.context() as broken, pytest.raises(SinkError, match=f"cannot serve .*:{address.port}.*{why}"):
        broken.setattr("uvicorn.Server.startup", startup)
        OverlaySink(address.port)
    OverlaySink(address.port).close()


def test_a_page_may_show_itself_in_a_mirror(segmenter: CropSegmenter, face_jpeg: bytes) -> None:
    session = PageSession(segmenter, models_dir())
    (plain,) = session._cut(numbered(0, face_jpeg))[1].heads
    session._configure(Settings(mirror=True))
    for number in range(1, 4):
        (other,) = session._cut(numbered(number, face_jpeg))[1].heads
    assert other.box_px[0] == pytest.approx(480 - plain.box_px[2], abs=8)
    assert abs(other.box_px[0] - plain.box_px[0]) > 20
    session.close()


def test_a_photos_own_transparency_and_colours_are_kept(
    segmenter: CropSegmenter, portrait: UInt8Array, tmp_path: Path
) -> None:
    own = np.full(portrait.shape[:2], 255, np.uint8)
    own[:, :220] = 0
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(np.dstack([portrait, own])).save(tmp_path / "me.png", icc_profile=profile)
    with _Loaded("default", "cpu") as loaded:
        loaded._networks[False] = segmenter
        loaded.cut_photo(tmp_path / "me.png", tmp_path / "cut.png", CutOptions())
    written = Image.open(tmp_path / "cut.png")
    cut = np.asarray(written)
    assert written.info["icc_profile"] == profile
    assert not cut[:, :219, 3].any()
    assert cut[..., 3].any()


def newest(stage: Stage) -> bytes | None:
    """What a watcher who comes now is shown first."""

    async def look() -> bytes | None:
        async with stage.watch() as ones:
            try:
                return (await asyncio.wait_for(anext(ones), 0.1)).message()
            except asyncio.TimeoutError:
                return None

    return asyncio.run(look())


def test_who_comes_late_is_not_shown_who_has_left() -> None:
    stage, who = Stage(), object()
    stage.enter(who)
    stage.publish(Cutout(Frame(np.zeros((8, 8, 3), np.uint8))), who)
    assert newest(stage) is not None
    stage.leave(who)
    assert newest(stage) is None


def test_only_where_it_is_asked_for_the_room_is_shown_with_the_head() -> None:
    shown = []
    for stage in (Stage(), Stage(whole=True)):
        stage.publish(Cutout(Frame(np.zeros((8, 8, 3), np.uint8))))
        shown.append(cut_of(newest(stage))[2])
    assert shown[0] == b""
    assert shown[1][:2] == b"\xff\xd8"


def test_one_file_ends_no_other_and_what_was_sent_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[str] = []

    def tried(jobs: Jobs, upload: Upload, loaded: object) -> None:
        cut.append(upload.id)
        if upload.id == "odd":
            raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(Jobs, "_cut", tried)
    uploads = {}
    for name in ("odd", "cancelled", "good"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "source.jpg").write_text("a picture")
        uploads[name] = Upload(name, "a.jpg", folder, folder / "source.jpg", folder / "result.png", CutOptions())
    uploads["cancelled"].cancel.set()
    jobs = Jobs("default", "cpu")
    for upload in uploads.values():
        jobs.add(upload)
    jobs.close()
    assert cut == ["odd", "good"]
    assert (uploads["odd"].state, uploads["odd"].error) == ("failed", "internal error: RuntimeError")
    assert uploads["good"].state == "done"
    assert not any(uploads[name].source.exists() for name in cut)


def test_what_arrives_cut_off_is_refused_and_nothing_of_it_stays(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"

    uploads = Uploads(tmp_path / "files")
    try:
        with pytest.raises(Refused, match=r"a\.jpg arrived cut off: 4 of 8 bytes") as refused:
            asyncio.run(uploads.receive("a.jpg", ".webm", CutOptions(), pieces(), 8))
        assert refused.value.status == 400
        assert uploads.all() == []
        assert not list((tmp_path / "files").iterdir())
    finally:
        uploads.close()
