"""The studio's WebSockets: the browser's camera, this machine's, the overlay."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from headstream.errors import HeadstreamError, UsageError
from headstream.segment.registry import models_dir
from headstream.web.cutting import PageSession
from headstream.web.settings import read_settings
from headstream.web.stage import Stage
from headstream.web.studio import studio_of
from headstream.web.wire import cutout_message

_MOST_WATCHERS = 16
_TOO_MANY, _WRONG, _NO_CAMERA = 4429, 4400, 4404  # WebSocket close codes the page understands
_STATUS_EVERY, _STATUS_S = 10, 0.4
_TAKES_NOTHING_S = 40.0  # as long as uvicorn waits for an answer to its ping


async def page_camera(socket: WebSocket) -> None:
    """The browser's webcam: frames come in, cut-outs go out."""
    studio = studio_of(socket)
    await socket.accept()
    if studio.sessions >= studio.max_sessions:
        await _refuse(socket, _TOO_MANY, f"{studio.max_sessions} live sessions are running; close one")
        return
    studio.sessions += 1
    session = PageSession(studio.network, models_dir())
    studio.stage.enter(session)
    try:
        count = 0
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            if message.get("bytes") is not None:
                number, cutout = await session.cut(message["bytes"])
                studio.stage.publish(cutout, session)
                await _send(socket, await run_in_threadpool(cutout_message, number, cutout))
                count += 1
                if count % _STATUS_EVERY == 1:
                    await _send(socket, session.status())
            else:
                await session.configure(read_settings(message.get("text")))
    except HeadstreamError as error:
        await _refuse(socket, _WRONG, str(error))
    except WebSocketDisconnect:
        pass  # gone in the middle of a send
    finally:
        studio.sessions -= 1
        session.close()
        studio.stage.leave(session)


async def own_camera(socket: WebSocket) -> None:
    """This machine's camera: settings come in, whole frames and cut-outs go out."""
    studio = studio_of(socket)
    await socket.accept()
    camera = studio.camera
    if camera is None:
        await _refuse(socket, _NO_CAMERA, "start the studio with --camera to use this machine's")
        return
    if await _crowded(socket, camera.stage):
        return
    heard = camera.said  # what was said before is not for who comes now
    try:
        await run_in_threadpool(camera.start)
    except HeadstreamError as error:
        await _refuse(socket, _NO_CAMERA, str(error))
        return

    async def listen() -> None:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            camera.configure(read_settings(message.get("text")))

    async def tell() -> None:  # also while no picture comes
        nonlocal heard
        while True:
            heard, notice = camera.news(heard)
            await _send(socket, {**camera.status(), "notice": notice})
            await asyncio.sleep(_STATUS_S)

    try:
        await _until_first(listen(), _show(socket, camera.stage), tell())
    except UsageError as error:
        await _refuse(socket, _WRONG, str(error))
    finally:
        await run_in_threadpool(camera.stop)


async def overlay(socket: WebSocket) -> None:
    """Whatever is being cut, for OBS: the head alone."""
    stage = studio_of(socket).stage
    await socket.accept()
    if await _crowded(socket, stage):
        return

    async def listen() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    await _until_first(listen(), _show(socket, stage))


async def _show(socket: WebSocket, stage: Stage) -> None:
    async with stage.watch() as newest:
        async for shown in newest:
            await _send(socket, await run_in_threadpool(shown.message))


async def _crowded(socket: WebSocket, stage: Stage) -> bool:
    """Refuse one watcher too many."""
    if stage.watchers < _MOST_WATCHERS:
        return False
    await _refuse(socket, _TOO_MANY, f"{_MOST_WATCHERS} pages are watching already; close one")
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


async def _send(socket: WebSocket, told: bytes | dict[str, Any]) -> None:
    """Raises WebSocketDisconnect."""
    await _taken(socket.send_bytes(told) if isinstance(told, bytes) else socket.send_json(told))


async def _refuse(socket: WebSocket, code: int, why: str) -> None:
    with suppress(WebSocketDisconnect):  # gone meanwhile: nobody is left to be told
        await _taken(socket.close(code, why.encode()[:120].decode(errors="ignore")))  # 123 bytes at most


async def _taken(sent: Coroutine[Any, Any, None]) -> None:
    """Raises WebSocketDisconnect, also where the other end takes nothing any more (asleep, or out of its network): uvicorn gives
    such a connection up, too, but tells only once all that waits to be sent is, for which the system may try for ever."""
    sending = asyncio.ensure_future(sent)
    try:  # before Python 3.12 ``wait_for`` loses a cancellation that comes as it is done, and a watcher would stay for ever
        await asyncio.wait([sending], timeout=_TAKES_NOTHING_S)
        if not sending.done():
            raise WebSocketDisconnect(1006)
        sending.result()
    finally:
        sending.cancel()
