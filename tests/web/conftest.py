"""A studio that runs: the real application behind the real server, on a free port of this machine; and a browser before it."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from headstream.capture.cameras import LiveTarget
from headstream.segment.crops import CropSegmenter
from headstream.types import UInt8Array
from headstream.web.address import bound
from headstream.web.app import create_app
from headstream.web.server import ServerThread
from tests.conftest import moving_portrait
from tests.media import needs_ffmpeg, write_video
from tests.waiting import hasty_asyncio
from tests.web.browser import chromium


@pytest.fixture(autouse=True)
def _ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn looks ten times a second whether it is to end, and then waits as long again; nearly every test ends one."""
    monkeypatch.setattr("uvicorn.server.asyncio", hasty_asyncio())


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A studio and how to ask it things, with any header an attacker likes."""

    server: ServerThread
    app: Any

    @property
    def port(self) -> int:
        return self.server.address.port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = self.connection()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="Host" in named)
        for name, value in named.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", named.get("Content-Length", str(len(body))))
        connection.endheaders(body)
        answer = connection.getresponse()
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return reply


@pytest.fixture
def start(segmenter: CropSegmenter) -> Iterator[Callable[..., Running]]:
    """Start studios; all are ended after the test."""
    running: list[Running] = []

    def begin(
        *, token: str | None = None, public_url: str | None = None, camera: LiveTarget | None = None, **limits: Any
    ) -> Running:
        listener, address = bound("127.0.0.1", 0, token, public_url)
        app = create_app(segmenter, camera=camera, **limits)
        running.append(Running(ServerThread(app, listener, address), app))
        return running[-1]

    yield begin
    for studio in running:
        studio.server.close()


@pytest.fixture
def studio(start: Callable[..., Running]) -> Running:
    return start()


def jpeg(rgb: UInt8Array) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(rgb).save(kept, "JPEG", quality=90)
    return kept.getvalue()


@pytest.fixture(scope="session")
def face_jpeg(portrait: UInt8Array) -> bytes:
    return jpeg(np.ascontiguousarray(portrait[:400, :480]))


@pytest.fixture(scope="session")
def portrait_file(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "me.jpg"
    Image.fromarray(portrait).save(path)
    return path


@pytest.fixture(scope="session")
def webcam(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait swaying, as Motion JPEG: Chromium plays it round and round."""
    needs_ffmpeg()
    folder = tmp_path_factory.mktemp("webcam")
    frames = moving_portrait(portrait, 20, (640, 480))
    clip = write_video(folder / "a.mp4", [*frames, *frames[::-1]], rate=30)
    film = folder / "a.mjpeg"
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-q:v", "3", "-f", "mjpeg", str(film)]
    subprocess.run(command, check=True)
    return film


@pytest.fixture
def open_page(webcam: Path) -> Iterator[Callable[..., Any]]:
    """Open pages of one browser; what goes wrong in any of them fails the test."""
    problems: list[str] = []
    with chromium(webcam) as context:

        def begin(studio: Running, path: str = "/", script: str = "") -> Any:
            page = context.new_page()
            page.add_init_script(script)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
            page.goto(f"http://{studio.host}{path}")
            return page

        yield begin
    # A server that is away for a moment, or refuses a file, is an error to the console, and part of some of the tests.
    meant = ("ERR_CONNECTION", "ERR_ACCESS_DENIED", "WebSocket connection", "status of 413", "status of 404")
    assert [p for p in problems if not any(words in p for words in meant)] == []
