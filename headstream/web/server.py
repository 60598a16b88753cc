"""Serving the studio, or the overlay alone: the address, the token, starting and ending."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headstream.errors import SinkError, UsageError
from headstream.threads import Worker
from headstream.web.guard import Guard
from headstream.web.wire import MAX_MESSAGE

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True)
class Address:
    """Where a server listens. token: needed by visitors, None on this machine alone."""

    host: str
    port: int
    token: str | None

    @property
    def url(self) -> str:
        """What to open in a browser."""
        shown = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else _bracketed(self.host)
        return f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def bound(host: str, port: int, token: str | None) -> tuple[socket.socket, Address]:
    """A listening socket. Beyond this machine a token of at least 16 characters is needed. Raises UsageError, SinkError."""
    local = host in {"127.0.0.1", "localhost", "::1"}
    if not local and token is None:
        made = secrets.token_urlsafe(24)
        raise UsageError(f"--host {host} lets others in: choose a token for them, for example --token {made}")
    if token is not None and len(token) < 16:
        raise UsageError("--token must have at least 16 characters")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # On Windows "reuse" would let another program take the port while it is in use.
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    listener.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise SinkError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    return listener, Address(host, listener.getsockname()[1], token)


def hosts_of(address: Address) -> frozenset[str]:
    """Names the server answers to."""
    if address.token is None:
        return _LOCAL
    return _LOCAL | {_bracketed(address.host), socket.gethostname(), f"{socket.gethostname()}.local"}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def server_of(app: Any, address: Address) -> Any:
    """A uvicorn server around an application, guarded; ``run(sockets=[...])`` or in a ``Background``."""
    import uvicorn

    anywhere = address.token is not None and address.host in {"0.0.0.0", "::"}
    guarded = Guard(app, hosts_of(address), address.port, address.token, any_address=anywhere)
    config = uvicorn.Config(
        guarded,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE + 64,
        ws_per_message_deflate=False,  # on one machine it costs more than it saves
        timeout_graceful_shutdown=1,
        server_header=False,
        h11_max_incomplete_event_size=16384,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return uvicorn.Server(config)


def serve(app: Any, listener: socket.socket, address: Address, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C. ``ready`` is called when the first request can come."""
    server = server_of(app, address)
    timer = threading.Timer(0.3, ready)
    timer.daemon = True
    timer.start()
    try:
        server.run(sockets=[listener])
    finally:
        timer.cancel()
        listener.close()


class Background:
    """A server in a thread of its own, beside a live session; answers when it is made. A context manager."""

    def __init__(self, app: Any, listener: socket.socket, address: Address) -> None:
        self.address, self._listener = address, listener
        self._server = server_of(app, address)
        self._thread = Worker(target=self._run, name="headstream-server", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])

    def close(self) -> None:
        """End it. Safe to call again."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
