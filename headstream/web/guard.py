"""Who may talk to the studio: this machine's own pages, nobody else's.

A page on the internet can make a browser send requests to 127.0.0.1. What stops it here: the Host header must be one of ours
(DNS rebinding), the Origin of everything that acts, and of every WebSocket, must be the address that is asked (cross-site
requests), letting others in needs a token, and the page itself may load nothing from anywhere (Content-Security-Policy). A
proxy in front is known by the one public address that was named at the start, never by what requests say of it
(X-Forwarded-...).
"""

from __future__ import annotations

import hmac
import ipaddress
from html import escape
from urllib.parse import parse_qs, quote

from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstream.web.address import Address, answers_to_numbers, hosts_of, public_hosts

_COOKIE = "headstream"
_SAFE = {"GET", "HEAD", "OPTIONS"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware in front of everything that listens on an address."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app, self._token, self._port = app, address.token, address.port
        self._any_number = answers_to_numbers(address)
        self._hosts = {f"{host}:{address.port}".lower() for host in hosts_of(address)}
        if address.port == 80:  # browsers leave it out
            self._hosts |= {host.lower() for host in hosts_of(address)}
        self._public, self._secure = address.public or None, address.public.startswith("https://")
        self._public_hosts = public_hosts(address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or refuse."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if scope["type"] == "http" and self._secure and headers.get("host", "").lower() in self._public_hosts:
            scope = {**scope, "scheme": "https"}  # as the browser sees it
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        if self._token is not None:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[-1]
            entered = hmac.compare_digest(given.encode(), self._token.encode())
            if entered and scope["type"] == "http" and scope["method"] == "GET":
                answer = _entrance(scope["path"])
                answer.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict", secure=self._secure)
                await answer(scope, receive, _with_headers(send))
                return
            if not entered and not self._known(headers):
                asked = "open the address with the token that was printed at the start"
                await _refuse(scope, receive, send, 401, asked)
                return
        await self._app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if host not in self._public_hosts and not self._ours(host):
            return 421, "this server does not answer to that name; behind a proxy, start it with --public-url"
        origin = headers.get("origin")
        acts = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if acts and origin is not None and not self._own(origin, host):
            return 403, "another site may not do that"
        if acts and headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return 403, "another site may not do that"
        return None

    def _own(self, origin: str, host: str) -> bool:
        """Whether a page of the very address that is asked sent it: of the numbers we answer to, most are somebody else's."""
        return origin == self._public or (self._ours(host) and origin.lower() == f"http://{host}")

    def _ours(self, host: str) -> bool:
        if host in self._hosts:
            return True
        number = host.removesuffix(f":{self._port}")
        if not self._any_number or (number == host and self._port != 80):
            return False
        try:
            ipaddress.ip_address(number.strip("[]"))
        except ValueError:
            return False
        return True

    def _known(self, headers: dict[str, str]) -> bool:
        """Whether our cookie is among them; what others of this host set, however odd, is none of our business."""
        cookies = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        token = (self._token or "").encode()
        return any(name == _COOKIE and hmac.compare_digest(value.encode(), token) for name, _, value in cookies)


def _entrance(path: str) -> HTMLResponse:
    """A page that goes on to the same path without the token, so that it leaves the address bar.

    Not a redirect: to who followed a link in a mail or a chat that would still be the other site's request, and a strict
    cookie does not come with it.
    """
    onward = escape("/" + quote(path.lstrip("/")))
    return HTMLResponse(
        f'<!doctype html><html lang="en"><title>headstream studio</title><meta http-equiv="refresh" content="0; url={onward}">'
        f'<a href="{onward}">headstream studio</a></html>'
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text})  # before accept: answered with 403
        return
    await PlainTextResponse(f"{text}\n", status)(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message["headers"]}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return sending
