"""Letting others in: the addresses they are given, and a proxy with encryption in front."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect
from websockets.typing import Origin

from headstream.errors import SinkError, UsageError
from headstream.segment.crops import CropSegmenter
from headstream.web.address import Address, bound, public_origin
from headstream.web.app import create_app
from headstream.web.guard import Guard
from headstream.web.server import ServerThread
from headstream.web.wire import HEADER
from tests.web.conftest import Running
from tests.web.tls import TlsProxy, certificate

TOKEN = "a-token-of-at-least-16"
NAME = "studio.example"
PUBLIC = f"https://{NAME}"
MINE = f"headstream={TOKEN}"


@dataclass
class Visited(Running):
    """A studio that is asked through its proxy."""

    proxy: TlsProxy
    trusted: ssl.SSLContext

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.proxy.port, timeout=30, context=self.trusted)

    def upgraded(self, path: str, *, origin: str, cookie: str = MINE) -> int:
        """The status of the answer to who wants a WebSocket: 101 where there is one."""
        wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
        wanted["Sec_WebSocket_Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
        return self.ask("GET", path, Host=NAME, Origin=origin, Cookie=cookie, **wanted).status


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"), NAME)


@pytest.fixture(params=["host kept", "host rewritten"])
def visited(request: pytest.FixtureRequest, start: Callable[..., Running], pem: Path) -> Iterator[Visited]:
    studio = start(token=TOKEN, public_url=PUBLIC)
    with TlsProxy(pem, studio.port, host=studio.host if request.param == "host rewritten" else None) as proxy:
        yield Visited(studio.server, studio.app, proxy, ssl.create_default_context(cafile=str(pem)))


def test_others_come_in_through_a_proxy_with_encryption(
    visited: Visited, portrait_file: Path, face_jpeg: bytes
) -> None:
    assert visited.server.address.url == f"{PUBLIC}/?token={TOKEN}"
    for host in (NAME, f"{NAME}:443", NAME.upper()):
        assert visited.ask("GET", "/", Host=host).status == 401
        assert visited.ask("GET", "/api/files", Host=host, Cookie=MINE).status == 200
    let_in = visited.ask("GET", f"/?token={TOKEN}", Host=NAME)
    assert let_in.headers["set-cookie"].startswith(f"{MINE};")
    assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(let_in.headers["set-cookie"].split("; "))
    photo = portrait_file.read_bytes()
    sent = visited.ask("POST", "/api/files?name=me.jpg", photo, Host=NAME, Cookie=MINE, Origin=PUBLIC)
    assert sent.status == 201
    assert visited.ask("DELETE", f"/api/files/{sent.json['id']}", Host=NAME, Cookie=MINE, Origin=PUBLIC).status == 204
    opened = visited.connection()
    opened.connect()
    headers = {"Cookie": MINE}
    with connect(f"ws://{NAME}/ws/page", sock=opened.sock, origin=Origin(PUBLIC), additional_headers=headers) as socket:
        socket.send(struct.pack("<I", 7) + face_jpeg)
        while isinstance(answer := socket.recv(timeout=30), str):
            pass
    assert HEADER.unpack_from(answer)[:3] == (7, 480, 400)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        f"http://{NAME}",
        f"{PUBLIC}:8443",
        f"{PUBLIC}.evil.example",
        f"https://evil.{NAME}",
        "https://127.0.0.1:{}",
        "http://[",
        "null",
        "",
    ],
)
def test_other_sites_change_nothing_through_the_proxy_either(visited: Visited, origin: str) -> None:
    """With the visitor's cookie, which a browser would not even send."""
    other = origin.format(visited.port)
    assert visited.ask("POST", "/api/files?name=a.jpg", b"x", Host=NAME, Cookie=MINE, Origin=other).status == 403
    assert visited.ask("DELETE", "/api/files/x", Host=NAME, Cookie=MINE, Origin=other).status == 403
    for path in ("/ws/page", "/ws/own", "/ws/overlay"):
        assert visited.upgraded(path, origin=other) == 403


def test_who_has_no_token_and_what_comes_from_elsewhere_is_refused(visited: Visited) -> None:
    for cookie in ("headstream=wrong", ""):
        assert visited.ask("GET", "/api/files", Host=NAME, Cookie=cookie).status == 401
        assert visited.upgraded("/ws/page", origin=PUBLIC, cookie=cookie) == 403
    assert visited.upgraded("/ws/page", origin=PUBLIC) == 101
    form = {"Host": NAME, "Cookie": MINE, "Sec_Fetch_Site": "cross-site"}
    assert visited.ask("POST", "/api/files?name=a.jpg", b"x", **form).status == 403
    assert visited.ask("POST", "/api/files?name=a.jpg", b"x", **form | {"Sec_Fetch_Site": "same-site"}).status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", f"{NAME}:8443", f"{NAME}:80", f"{NAME}.evil.example", f"evil.{NAME}", f"{NAME}:{{}}", ""]
)
def test_no_other_name_is_answered_beside_the_public_one(start: Callable[..., Running], host: str) -> None:
    """What a proxy says of the visitor's own Host and Origin is not believed."""
    studio = start(token=TOKEN, public_url=PUBLIC)
    other = host.format(studio.port)
    told = {"X_Forwarded_Host": NAME, "X_Forwarded_Proto": "https", "Forwarded": f"host={NAME};proto=https"}
    assert studio.ask("GET", "/", Host=other, Cookie=MINE, **told).status == 421
    assert studio.ask("GET", "/", Host=NAME, Cookie=MINE).status == 200
    assert studio.ask("GET", "/", Host=studio.host, Cookie=MINE).status == 200


def test_nobody_is_led_to_where_only_the_proxy_comes(start: Callable[..., Running]) -> None:
    studio = start(token=TOKEN, public_url=PUBLIC)
    for path in ("/overlay/", "/static", "/api/files/"):
        reply = studio.ask("GET", path, Cookie=MINE)
        assert (reply.status, "location" in reply.headers) == (404, False)


def test_where_a_visitor_comes_from_is_not_what_the_request_says() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse(f"{scope['scheme']} {scope['client'][0]}")(scope, receive, send)

    listener, address = bound("127.0.0.1", 0, None)
    with ServerThread(app, listener, address) as server:
        told = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "https"}
        assert Running(server, app).ask("GET", "/", **told).body == b"http 127.0.0.1"


def test_without_a_public_address_there_is_none(start: Callable[..., Running]) -> None:
    studio = start(token=TOKEN)
    refused = studio.ask("GET", "/", Host=NAME, Cookie=MINE)
    assert (refused.status, b"--public-url" in refused.body) == (421, True)
    for origin in (PUBLIC, f"https://{studio.host}", ""):
        assert studio.ask("POST", "/api/files?name=a.jpg", b"x", Cookie=MINE, Origin=origin).status == 403


def test_a_cookie_is_for_encryption_only_where_there_is_some(start: Callable[..., Running]) -> None:
    plain = start(token=TOKEN, public_url="http://studio.lan:8080")
    let_in = plain.ask("GET", f"/?token={TOKEN}", Host="studio.lan:8080")
    assert "Secure" not in let_in.headers["set-cookie"]
    assert plain.ask("GET", "/", Host="studio.lan", Cookie=MINE).status == 421
    origins = {"http://studio.lan:8080": 415, "http://studio.lan": 403, "https://studio.lan:8080": 403}
    for origin, status in origins.items():
        assert plain.ask("POST", "/api/files?name=a", b"x", Cookie=MINE, Origin=origin).status == status


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://studio.example", "https://studio.example"),
        ("https://Studio.Example/", "https://studio.example"),
        ("HTTPS://studio.example:443", "https://studio.example"),
        ("https://studio.example:8443", "https://studio.example:8443"),
        ("http://10.1.2.3:80/", "http://10.1.2.3"),
        ("http://[2001:DB8:0::1]:8080", "http://[2001:db8::1]:8080"),
        ("https://xn--kpfe-5qa.example", "https://xn--kpfe-5qa.example"),
    ],
)
def test_a_public_address_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert public_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "studio.example",
        "studio.example:443",
        "ftp://studio.example",
        "https://",
        "https://:443",
        "https://studio.example/cut",
        "https://studio.example/?a=1",
        "https://studio.example/#a",
        "https://me@studio.example",
        "https://studio.example:port",
        "https://studio.example:99999",
        "https://*.example",
        "https://studio..example",
        "https://köpfe.example",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://studio.example,evil.example",
    ],
)
def test_what_is_no_public_address(url: str) -> None:
    with pytest.raises(UsageError, match="--public-url .*https://studio.example"):
        bound("127.0.0.1", 0, TOKEN, url)


def test_letting_others_in_needs_a_token() -> None:
    with pytest.raises(UsageError, match="--host 0.0.0.0 lets others in.*--token"):
        bound("0.0.0.0", 0, None)
    with pytest.raises(UsageError, match="--public-url https://studio.example lets others in.*--token"):
        bound("127.0.0.1", 0, None, PUBLIC)


@pytest.mark.parametrize(
    "token", ["short", "", "with a space in it", "semicolons;in;cookies", "ümlaute-in-der-adresse"]
)
def test_a_token_fits_an_address_and_a_cookie(token: str) -> None:
    with pytest.raises(UsageError, match="16 characters"):
        bound("127.0.0.1", 0, token)


def test_where_it_cannot_listen_the_advice_fits() -> None:
    with pytest.raises(SinkError, match="choose another address"):
        bound("192.0.2.1", 0, TOKEN)
    listener, address = bound("127.0.0.1", 0, None)
    with listener, pytest.raises(SinkError, match="choose another port"):
        bound("127.0.0.1", address.port, None)


def test_others_are_given_an_address_that_they_can_open(segmenter: CropSegmenter) -> None:
    listener, address = bound("0.0.0.0", 0, TOKEN)
    assert address.url == f"http://127.0.0.1:{address.port}/?token={TOKEN}"
    link = urlsplit(address.lan_url)
    assert link.query == f"token={TOKEN}"
    assert link.port == address.port
    assert link.hostname is not None
    try:
        assert not ipaddress.ip_address(link.hostname).is_unspecified
    except ValueError:
        pass  # its name: there is no network here
    with ServerThread(create_app(segmenter), listener, address):
        asked = http.client.HTTPConnection(link.hostname, address.port, timeout=30)
        asked.request("GET", "/", headers={"Cookie": MINE})
        assert asked.getresponse().status == 200
        asked.close()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address("127.0.0.1", 8765, None), "http://127.0.0.1:8765/"),
        (Address("192.168.1.20", 80, TOKEN), f"http://192.168.1.20:80/?token={TOKEN}"),
        (Address("fe80::1", 8765, TOKEN), f"http://[fe80::1]:8765/?token={TOKEN}"),
        (Address("0.0.0.0", 8765, TOKEN, PUBLIC), f"{PUBLIC}/?token={TOKEN}"),
    ],
)
def test_nobody_is_told_of_a_second_address_without_need(address: Address, url: str) -> None:
    assert (address.url, address.lan_url) == (url, "")


@pytest.mark.parametrize(("public", "secure"), [("https://studio.example", True), ("http://studio.example", False)])
def test_the_token_goes_over_encryption_alone_where_there_is_some(public: str, secure: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("who brings the token is led on first")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    token = "a-token-of-16-letters"
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": f"token={token}".encode()}
    guard = Guard(app, Address("127.0.0.1", 8123, token, public))
    asyncio.run(guard({**scope, "headers": [(b"host", b"studio.example")]}, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    cookie = dict(sent[0]["headers"])[b"set-cookie"].decode().lower()
    assert ("secure" in cookie) == secure
    assert "httponly" in cookie
