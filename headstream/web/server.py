"""Serving the studio, or the overlay alone: starting and ending."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from headstream.errors import SinkError
from headstream.shared.hangup import on_hangup
from headstream.shared.threads import JoinedThread
from headstream.web.address import Address
from headstream.web.guard import Guard
from headstream.web.wire import MAX_MESSAGE


class _NoNews(logging.Filter):
    """Nothing is said of requests that the end of the server cut off: whoever ended it knows. Nor of text that is no UTF-8:
    its sender is told, and disconnected."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        known = ("Cancel %s running task", "Invalid UTF-8 sequence received")
        return not isinstance(error, asyncio.CancelledError) and not str(record.msg).startswith(known)


_NO_NEWS = _NoNews()


def server_of(app: Any, address: Address) -> Any:
    """A uvicorn server around an application, guarded; ``run(sockets=[...])`` or in a ``ServerThread``."""
    import uvicorn

    config = uvicorn.Config(
        Guard(app, address),
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE + 64,
        ws_per_message_deflate=False,  # on one machine it costs more than it saves
        timeout_graceful_shutdown=1,
        server_header=False,
        proxy_headers=False,  # anybody on this machine can write them
        h11_max_incomplete_event_size=16384,
    )
    told = logging.getLogger("uvicorn.error")
    told.setLevel(logging.ERROR)
    told.addFilter(_NO_NEWS)
    return uvicorn.Server(config)


def serve(app: Any, listener: socket.socket, address: Address, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C, or until the terminal is closed. ``ready`` is called when the first request can come."""
    server = server_of(app, address)
    timer = threading.Timer(0.3, ready)
    timer.daemon = True
    timer.start()

    def end() -> None:  # and not be killed: what was dropped on the page would stay on the disk
        server.should_exit = True

    try:
        with on_hangup(end):
            server.run(sockets=[listener])
    finally:
        timer.cancel()
        listener.close()


class ServerThread:
    """A server in a thread of its own, beside a live session; answers when it is made. A context manager.

    Raises SinkError where it ends before it can answer; the listener is closed then.
    """

    def __init__(self, app: Any, listener: socket.socket, address: Address) -> None:
        self.address, self._listener = address, listener
        self._server = server_of(app, address)
        self._failed: Exception | None = None
        self._thread = JoinedThread(target=self._run, name="headstream-server", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._server.started:
            self.close()
            why = self._failed or "the server ended as it began"
            raise SinkError(f"cannot serve {address.listens}: {why}") from self._failed

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except SystemExit:
            pass  # uvicorn has logged why
        except Exception as error:
            if self._server.started:
                raise
            self._failed = error

    def close(self) -> None:
        """End it. Safe to call again."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> ServerThread:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
