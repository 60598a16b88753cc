"""The studio's addresses: the page, the overlay, live cutting over WebSockets, files to cut."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from headstream.capture.cameras import LiveTarget
from headstream.errors import HeadstreamError, UsageError
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import models_dir
from headstream.types import Cutout
from headstream.web.cutting import OwnCamera, PageSession, Stage
from headstream.web.jobs import Refused, Uploads
from headstream.web.settings import parse_settings
from headstream.web.wire import jpeg_of, pack

STATIC = Path(__file__).parent / "static"
_MOST_WATCHERS = 16
_TOO_MANY, _WRONG, _NO_CAMERA = 4429, 4400, 4404  # WebSocket close codes the page understands
_STATUS_EVERY, _STATUS_S = 10, 0.4


@dataclass
class Studio:
    """All that the addresses share. The overlay alone has a stage and nothing else."""

    stage: Stage = field(default_factory=Stage)
    segmenter: CropSegmenter | None = None
    camera: OwnCamera | None = None
    uploads: Uploads | None = None
    max_sessions: int = 2
    asks_token: bool = False
    sessions: int = 0

    @property
    def network(self) -> CropSegmenter:
        """The network of a studio that cuts."""
        assert self.segmenter is not None
        return self.segmenter


def overlay_app(stage: Stage) -> Starlette:
    """The overlay alone, of a session that runs elsewhere, as an ASGI application."""
    app = Starlette(routes=_overlay_routes())
    app.router.redirect_slashes = False  # see create_app
    app.state.studio = Studio(stage)
    return app


def create_app(
    segmenter: CropSegmenter,
    *,
    camera: LiveTarget | None = None,
    max_sessions: int = 2,
    max_upload_mb: int = 2048,
    model: str = "default",
    device: str = "auto",
    asks_token: bool = False,
) -> Starlette:
    """The studio as an ASGI application.

    segmenter: cuts what is live.  model, device: of the networks for files.  camera: this machine's, offered beside the
    browser's.  asks_token: whether the page should speak of one.
    """
    studio = Studio(segmenter=segmenter, max_sessions=max_sessions, asks_token=asks_token)
    if camera is not None:
        studio.camera = OwnCamera(camera, segmenter, models_dir(), studio.stage)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        folder = Path(tempfile.mkdtemp(prefix="headstream-"))
        studio.uploads = Uploads(folder, max_mb=max_upload_mb, model=model, device=device)
        try:
            yield
        finally:
            await run_in_threadpool(studio.uploads.close)
            if studio.camera is not None:
                await run_in_threadpool(studio.camera.stop, all_users=True)

    routes = [
        *_overlay_routes(),
        Route("/", _page("index.html")),
        Route("/api/studio", _about),
        Route("/api/files", _files),
        Route("/api/files", _receive, methods=["POST"]),
        Route("/api/files/{id}", _remove, methods=["DELETE"]),
        Route("/api/files/{id}/result", _result),
        WebSocketRoute("/ws/page", _page_camera),
        WebSocketRoute("/ws/own", _own_camera),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: _refused, UsageError: _refused})
    # A redirect names the Host that was asked: behind some proxies one that only the proxy can reach.
    app.router.redirect_slashes = False
    app.state.studio = studio
    return app


def _overlay_routes() -> list[BaseRoute]:
    return [
        Route("/overlay", _page("overlay.html")),
        WebSocketRoute("/ws/overlay", _overlay),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _studio(of: Request | WebSocket) -> Studio:
    found: Studio = of.app.state.studio
    return found


def _page(name: str) -> Any:
    async def page(request: Request) -> Response:
        return FileResponse(STATIC / name)

    return page


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, getattr(error, "status", 400))


async def _about(request: Request) -> Response:
    studio = _studio(request)
    camera = studio.camera.target.label if studio.camera is not None else None
    network = studio.network
    told = {"model": network.card.name, "device": network.device, "camera": camera, "token": studio.asks_token}
    return JSONResponse(told)


async def _page_camera(socket: WebSocket) -> None:
    """The browser's webcam: frames come in, cut-outs go out."""
    studio = _studio(socket)
    await socket.accept()
    if studio.sessions >= studio.max_sessions:
        await socket.close(_TOO_MANY, f"{studio.max_sessions} live sessions are running; close one")
        return
    studio.sessions += 1
    session = PageSession(studio.network, models_dir())
    try:
        count = 0
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            if message.get("bytes") is not None:
                number, cutout = await session.cut(message["bytes"])
                studio.stage.publish(cutout)
                await socket.send_bytes(pack(number, cutout))
                count += 1
                if count % _STATUS_EVERY == 1:
                    await socket.send_json(session.status())
            else:
                await session.configure(parse_settings(_parsed(message.get("text"))))
    except HeadstreamError as error:
        await socket.close(_WRONG, _short(error))
    except WebSocketDisconnect:
        pass  # gone in the middle of a send
    finally:
        studio.sessions -= 1
        session.close()
        studio.stage.clear()


async def _own_camera(socket: WebSocket) -> None:
    """This machine's camera: settings come in, whole frames and cut-outs go out."""
    studio = _studio(socket)
    await socket.accept()
    if studio.camera is not None and await _crowded(socket, studio.camera.stage):
        return
    if studio.camera is None:
        await socket.close(_NO_CAMERA, "start the studio with --camera to use this machine's")
        return
    camera = studio.camera
    heard = camera.said  # what was said before is not for who comes now
    try:
        await run_in_threadpool(camera.start)
    except HeadstreamError as error:
        await socket.close(_NO_CAMERA, _short(error))
        return

    async def listen() -> None:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            camera.configure(parse_settings(_parsed(message.get("text"))))

    async def show() -> None:
        async with camera.stage.watch() as newest:
            async for number, cutout in newest:
                await socket.send_bytes(await run_in_threadpool(_packed, number, cutout))

    async def tell() -> None:  # also while no picture comes
        nonlocal heard
        while True:
            heard, notice = camera.news(heard)
            await socket.send_json({**camera.status(), "notice": notice})
            await asyncio.sleep(_STATUS_S)

    try:
        await _until_first(listen(), show(), tell())
    except UsageError as error:
        await socket.close(_WRONG, _short(error))
    finally:
        await run_in_threadpool(camera.stop)


def _packed(number: int, cutout: Cutout) -> bytes:
    return pack(number & 0xFFFFFFFF, cutout, jpeg_of(cutout.frame))


async def _overlay(socket: WebSocket) -> None:
    """Whatever is being cut, for OBS: the head alone."""
    stage = _studio(socket).stage
    await socket.accept()
    if await _crowded(socket, stage):
        return

    async def listen() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    async def show() -> None:
        async with stage.watch() as newest:
            async for number, cutout in newest:
                await socket.send_bytes(pack(number & 0xFFFFFFFF, cutout))

    await _until_first(listen(), show())


async def _crowded(socket: WebSocket, stage: Stage) -> bool:
    """Refuse one watcher too many."""
    if stage.watchers < _MOST_WATCHERS:
        return False
    await socket.close(_TOO_MANY, f"{_MOST_WATCHERS} pages are watching already; close one")
    return True


async def _until_first(*works: Any) -> None:
    """Run all until one ends; a connection that is gone is an end, not an error."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with suppress(WebSocketDisconnect, RuntimeError, asyncio.CancelledError):
            task.result()


def _parsed(text: str | None) -> Any:
    try:
        if text is not None and len(text) < 10_000:
            return json.loads(text)
    except ValueError:
        pass
    raise UsageError("a message that is no JSON")


def _short(error: Exception) -> str:
    """A close reason: 123 bytes at most."""
    return str(error).encode()[:120].decode(errors="ignore")


def _uploads(request: Request) -> Uploads:
    uploads = _studio(request).uploads
    assert uploads is not None
    return uploads


async def _files(request: Request) -> Response:
    return JSONResponse([upload.as_dict() for upload in _uploads(request).all()])


async def _receive(request: Request) -> Response:
    query = request.query_params
    settings = parse_settings(_parsed(query.get("settings", "{}")))
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdigit() else -1
    name, output = query.get("name", ""), query.get("output", ".webm")
    try:
        upload = await _uploads(request).receive(name, output, settings.options(), request.stream(), size)
    except ClientDisconnect:
        return Response(status_code=499)
    return JSONResponse(upload.as_dict(), 201)


async def _remove(request: Request) -> Response:
    _uploads(request).remove(request.path_params["id"])
    return Response(status_code=204)


async def _result(request: Request) -> Response:
    upload = _uploads(request).get(request.path_params["id"])
    if upload.state != "done" or not upload.result.exists():
        raise Refused(409, f"{upload.name} is not done")
    disposition = f"attachment; filename*=UTF-8''{quote(upload.result_name)}"
    return FileResponse(upload.result, headers={"content-disposition": disposition})
