"""The studio as an application: its addresses, and what answers at those of pages and files."""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from headstream.capture.cameras import LiveTarget
from headstream.errors import UsageError
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import models_dir
from headstream.web.cutting import OwnCamera
from headstream.web.settings import read_settings
from headstream.web.sockets import overlay, own_camera, page_camera
from headstream.web.stage import Stage
from headstream.web.studio import Studio, studio_of
from headstream.web.uploads import KINDS, Refused, Uploads, is_photo

STATIC = Path(__file__).parent / "static"
# Not asked of the system: on many a Windows the registry calls scripts text/plain, and browsers run no such module.
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SWEEP_S = 60.0
_OWNER = "headstream-owner"  # a cookie
_OWNED_S = 30 * 24 * 3600  # whoever closes the browser finds a long film's result again


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
        sweeping = asyncio.create_task(_sweep(studio.uploads))
        try:
            yield
        finally:
            sweeping.cancel()
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
        WebSocketRoute("/ws/page", page_camera),
        WebSocketRoute("/ws/own", own_camera),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: _refused, UsageError: _refused})
    # A redirect names the Host that was asked: behind some proxies one that only the proxy can reach.
    app.router.redirect_slashes = False
    app.state.studio = studio
    return app


async def _sweep(uploads: Uploads) -> None:
    """What is old goes also while nobody asks for anything."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        await run_in_threadpool(uploads.sweep)


def _overlay_routes() -> list[BaseRoute]:
    return [
        Route("/overlay", _page("overlay.html")),
        WebSocketRoute("/ws/overlay", overlay),
        *(Route(f"/static/{file.name}", _page(file.name)) for file in STATIC.iterdir() if file.suffix in _MEDIA_TYPES),
    ]


def _page(name: str) -> Any:
    async def page(request: Request) -> Response:
        return FileResponse(STATIC / name, media_type=_MEDIA_TYPES[Path(name).suffix])

    return page


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, getattr(error, "status", 400))


async def _about(request: Request) -> Response:
    studio = studio_of(request)
    camera = studio.camera.target.label if studio.camera is not None else None
    network = studio.network
    told = {"model": network.card.name, "device": network.device, "camera": camera, "token": studio.asks_token}
    answer = JSONResponse({**told, "kinds": KINDS})
    if not _owner(request) and request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        whose, secure = secrets.token_urlsafe(24), request.url.scheme == "https"
        answer.set_cookie(_OWNER, whose, max_age=_OWNED_S, httponly=True, samesite="strict", secure=secure)
    return answer


def _owner(request: Request) -> str:
    """Whose files a browser sees: those with its cookie. "" of who has none: such clients (scripts) share theirs.

    The page is given one with /api/studio, when it asks for that itself: who follows a link of another site to the page, or
    to there, sends no strict cookie, and would get a second one in its place.
    """
    told = request.cookies.get(_OWNER, "")
    return told if re.fullmatch(r"[\w-]{32}", told, re.ASCII) else ""


def _uploads(request: Request) -> Uploads:
    uploads = studio_of(request).uploads
    assert uploads is not None
    return uploads


async def _files(request: Request) -> Response:
    uploads = await run_in_threadpool(_uploads(request).all, _owner(request))
    return JSONResponse([upload.as_dict() for upload in uploads])


async def _receive(request: Request) -> Response:
    query = request.query_params
    settings = read_settings(query.get("settings", "{}"))
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdigit() else -1
    name, output = query.get("name", ""), query.get("output", ".webm")
    options = settings.options(photo=is_photo(name))
    try:
        pieces, owner = request.stream(), _owner(request)
        upload = await _uploads(request).receive(name, output, options, pieces, size, owner)
    except ClientDisconnect:
        return Response(status_code=499)
    return JSONResponse(upload.as_dict(), 201)


async def _remove(request: Request) -> Response:
    await run_in_threadpool(_uploads(request).remove, request.path_params["id"], _owner(request))
    return Response(status_code=204)


async def _result(request: Request) -> Response:
    upload = _uploads(request).get(request.path_params["id"], _owner(request))
    if upload.state != "done" or not upload.result.exists():
        raise Refused(409, f"{upload.name} is not done")
    disposition = f"attachment; filename*=UTF-8''{quote(upload.result_name)}"
    return FileResponse(upload.result, headers={"content-disposition": disposition})
