"""A studio that runs: the real application behind the real server, on a free port of this machine."""

from __future__ import annotations

import http.client
import io
import json
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
from headstream.web.server import Background
from tests.waiting import hasty_asyncio


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

    server: Background
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
        running.append(Running(Background(app, listener, address), app))
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
