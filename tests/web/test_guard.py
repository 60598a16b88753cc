"""Attacks on a running studio."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.requests import ClientDisconnect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from headstream.capture.named import PHOTOS, VIDEOS
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.web.address import bound
from headstream.web.app import create_app
from headstream.web.server import ServerThread
from headstream.web.uploads import Refused, Uploads
from tests.media import heeds_ctrl_c
from tests.waiting import wait_until
from tests.web.conftest import Running

TOKEN = "a-token-of-at-least-16"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{}", ""]
)
def test_another_name_for_this_machine_is_not_answered(studio: Running, host: str) -> None:
    """DNS rebinding: a page of evil.example whose name now points here sends its own name."""
    assert studio.ask("GET", "/", Host=host.format(studio.port)).status == 421
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        assert studio.ask("GET", "/", Host=f"{name}:{studio.port}").status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:{}",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "http://localhost:{}",
        "http://[",
    ],
)
def test_another_site_can_change_nothing(studio: Running, origin: str) -> None:
    other = origin.format(studio.port)
    assert studio.ask("POST", "/api/files?name=a.jpg", b"x", Origin=other).status == 403
    assert studio.ask("DELETE", "/api/files/x", Origin=other).status == 403
    for path in ("/ws/page", "/ws/own", "/ws/overlay"):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{studio.host}{path}", origin=other)  # type: ignore[call-overload]
        assert refused.value.response.status_code == 403
    with connect(f"ws://{studio.host}/ws/overlay", origin=f"http://{studio.host}"):  # type: ignore[call-overload]
        pass


def test_with_a_token_any_number_of_this_machine_is_answered(segmenter: CropSegmenter) -> None:
    listener, address = bound("0.0.0.0", 0, TOKEN)
    app = create_app(segmenter)
    with ServerThread(app, listener, address) as server:
        studio = Running(server, app)
        for host, status in (
            ("10.1.2.3:{}", 401),
            ("[fe80::1]:{}", 401),
            ("10.1.2.3:1", 421),
            ("evil.example:{}", 421),
        ):
            assert studio.ask("GET", "/", Host=host.format(studio.port)).status == status


@pytest.mark.parametrize("public_url", [None, "https://studio.example"])
def test_a_page_of_another_number_is_another_site(segmenter: CropSegmenter, public_url: str | None) -> None:
    listener, address = bound("0.0.0.0", 0, TOKEN, public_url)
    app = create_app(segmenter)
    with ServerThread(app, listener, address) as server:
        studio = Running(server, app)
        for host, origin, status in (
            ("10.1.2.3:{}", "http://10.1.2.3:{}", 415),
            ("[fe80::1]:{}", "http://[fe80::1]:{}", 415),
            ("10.1.2.3:{}", "http://6.6.6.6:{}", 403),
            ("127.0.0.1:{}", "http://6.6.6.6:{}", 403),
            ("127.0.0.1:{}", "http://10.1.2.3:{}", 403),
        ):
            named = {"Host": host.format(studio.port), "Origin": origin.format(studio.port)}
            mine = f"headstream={TOKEN}"
            assert studio.ask("POST", "/api/files?name=a", b"x", Cookie=mine, **named).status == status, named


def test_on_the_port_that_browsers_leave_out_numbers_stand_alone(segmenter: CropSegmenter) -> None:
    listener, address = bound("0.0.0.0", 0, TOKEN)
    app = create_app(segmenter)
    with ServerThread(app, listener, replace(address, port=80)) as server:  # which not everybody may listen on
        server.address = address
        studio = Running(server, app)
        for host in ("192.168.1.5", "192.168.1.5:80", "[fe80::80]", "[fe80::80]:80", "localhost"):
            assert studio.ask("GET", "/", Host=host).status == 401
            named = {"Host": host, "Origin": f"http://{host}", "Cookie": f"headstream={TOKEN}"}
            assert studio.ask("POST", "/api/files?name=a", b"x", **named).status == 415
        for host in ("evil.example", f"192.168.1.5:{address.port}", "192.168.1.5:", "[", ""):
            assert studio.ask("GET", "/", Host=host).status == 421


def test_a_form_of_another_site_without_origin_is_known_by_its_fetch_metadata(studio: Running) -> None:
    assert studio.ask("POST", "/api/files?name=a.jpg", b"x", Sec_Fetch_Site="cross-site").status == 403


def test_every_answer_forbids_what_a_page_must_not_do(studio: Running) -> None:
    for path in ("/", "/overlay", "/static/studio.js", "/api/files", "/nothing"):
        headers = studio.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_files_are_what_they_are_whatever_the_system_takes_them_for(
    studio: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstream.web.app import STATIC

    monkeypatch.setattr("starlette.responses.guess_type", lambda path: ("text/plain", None))  # as of some registries
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    pages = {f"/static/{file.name}": kinds[file.suffix] for file in STATIC.iterdir()}
    for path, kind in {"/": "text/html", "/overlay": "text/html", **pages}.items():
        reply = studio.ask("GET", path)
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, kind), path


def test_pages_hold_no_inline_script_and_nothing_from_elsewhere() -> None:
    from headstream.web.app import STATIC

    for page in STATIC.glob("*.html"):
        text = page.read_text()
        assert "<script>" not in text
        assert " on" + "click=" not in text
        assert "style=" not in text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text


def test_a_token_is_asked_for_and_leaves_the_address(start: Callable[..., Running]) -> None:
    studio = start(token=TOKEN)
    assert studio.ask("GET", "/").status == 401
    assert studio.ask("GET", "/?token=wrong-wrong-wrong-wrong").status == 401
    assert studio.ask("GET", "/api/files", Cookie="headstream=wrong").status == 401
    assert studio.ask("GET", "/api/files", Cookie="\x01;;=\x02").status in {400, 401}
    with pytest.raises(InvalidStatus):
        connect(f"ws://{studio.host}/ws/page")
    let_in = studio.ask("GET", f"/?token={TOKEN}")
    assert let_in.status == 200
    assert b'content="0; url=/"' in let_in.body
    assert TOKEN.encode() not in let_in.body
    cookie = let_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    mine = cookie.split(";")[0]
    assert studio.ask("GET", "/api/files", Cookie=f'a={{"x":1}}; {mine}').status == 200
    assert studio.ask("GET", "/api/files", Cookie=mine).status == 200
    with connect(f"ws://{studio.host}/ws/overlay", additional_headers={"Cookie": mine}):
        pass


@pytest.mark.parametrize(
    ("path", "onward"),
    [
        ("/overlay", "/overlay"),
        ("//evil.example/", "/evil.example/"),
        ("/%22%3E%3Cscript%3E", "/%22%3E%3Cscript%3E"),
        ("/;url=%2F%2Fevil.example", "/%3Burl%3D//evil.example"),
    ],
)
def test_the_token_leads_to_this_server_only_and_leaves_the_address_of_who_is_known(
    start: Callable[..., Running], path: str, onward: str
) -> None:
    studio = start(token=TOKEN)
    for cookie in ("", f"headstream={TOKEN}"):
        let_in = studio.ask("GET", f"{path}?token={TOKEN}", Cookie=cookie)
        assert let_in.status == 200
        assert f'content="0; url={onward}"'.encode() in let_in.body


OUTSIDE = ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "%2fetc%2fpasswd")
HOSTILE = (
    "../../../../tmp/evil.jpg",
    "/etc/evil.jpg",
    "..%2f..%2fevil.jpg",
    "C:\\evil.jpg",
    "a%00b.jpg",
    "%0d%0aX-Evil:1.jpg",
    "x" * 500 + ".jpg",
    "<img src=x onerror=alert(1)>.jpg",
    ".jpg.jpg",
)


@pytest.mark.parametrize("path", [*(f"/static/{path}" for path in OUTSIDE), "/api/files/..%2f..%2fetc/result"])
def test_nothing_outside_is_served(studio: Running, path: str) -> None:
    reply = studio.ask("GET", path)
    assert reply.status in {400, 404}
    assert b"root:" not in reply.body
    assert b"Starlette" not in reply.body


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(studio: Running, name: str, portrait_file: Path) -> None:
    quoted = name.replace(" ", "%20").replace("\\", "%5C").replace("<", "%3C").replace(">", "%3E")
    sent = studio.ask("POST", f"/api/files?name={quoted}", portrait_file.read_bytes())
    assert sent.status == 201
    uploads = studio.app.state.studio.uploads
    upload = uploads.get(sent.json["id"])
    assert upload.folder.parent == uploads._folder
    assert {path.name for path in upload.folder.iterdir()} <= {"source.jpg", "result.png"}
    assert not {"/", "\\", "<", ">", "\n", "\r", "\0"} & set(sent.json["name"])
    assert len(sent.json["name"]) <= 120
    studio.ask("DELETE", f"/api/files/{upload.id}")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Mom & Dad's 50th, take #2!.jpg", "Mom & Dad's 50th, take #2!.jpg"),
        ("\u202egpj.exe.jpg", "_gpj.exe.jpg"),
        ("x" * 300 + ".jpg", "x" * 116 + ".jpg"),
    ],
)
def test_a_file_keeps_its_own_name(studio: Running, name: str, shown: str, portrait_file: Path) -> None:
    sent = studio.ask("POST", f"/api/files?name={quote(name)}", portrait_file.read_bytes()).json
    assert sent["name"] == shown
    assert sent["result_name"] == f"{shown[:-4]}-head.png"


@pytest.mark.parametrize(
    ("name", "status"), [("evil.exe", 415), ("evil.svg", 415), ("", 415), ("a.html", 415), ("a.zip", 415)]
)
def test_other_kinds_of_files_are_not_taken(studio: Running, name: str, status: int) -> None:
    assert studio.ask("POST", f"/api/files?name={name}", b"x").status == status
    assert studio.ask("GET", "/api/files").json == []


def test_all_kinds_that_are_read_elsewhere_are_taken(start: Callable[..., Running]) -> None:
    studio = start(max_upload_mb=0)  # too large, then, and not of another kind
    for kind in sorted(PHOTOS | VIDEOS):
        assert studio.ask("POST", f"/api/files?name=a{kind.upper()}", b"x").status == 413, kind


def test_size_and_number_are_limited(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    studio = start(max_upload_mb=1)
    uploads = studio.app.state.studio.uploads
    assert studio.ask("POST", "/api/files?name=a.mp4", bytes(2 << 20)).status == 413
    assert list(uploads._folder.iterdir()) == []
    monkeypatch.setattr("headstream.web.uploads._MOST_FILES", 0)
    assert studio.ask("POST", "/api/files?name=a.mp4", b"x").status == 429
    assert studio.ask("POST", "/api/files?name=a.mp4&output=.exe", b"x").status in {400, 429}
    assert studio.ask("POST", "/api/files?name=a.mp4&settings=%7B%22x%22%3A1%7D", b"x").status == 400


def test_a_liar_about_the_size_is_stopped_on_the_way(start: Callable[..., Running]) -> None:
    """No Content-Length, more than is allowed: what was written is removed."""
    studio = start(max_upload_mb=1)
    with socket.create_connection(("127.0.0.1", studio.port)) as raw:
        head = f"POST /api/files?name=a.mp4 HTTP/1.1\r\nHost: {studio.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        answer = b""
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        raw.sendall(chunk)
        folder = studio.app.state.studio.uploads._folder
        wait_until(lambda: any(folder.iterdir()))
        try:
            for _ in range(64):
                raw.sendall(chunk)
            answer = raw.recv(4096)
        except OSError:
            pass
    assert answer == b"" or b" 413 " in answer
    wait_until(lambda: not any(folder.iterdir()))
    assert studio.ask("GET", "/api/files").status == 200


def test_an_upload_that_breaks_off_leaves_nothing(studio: Running) -> None:
    with socket.create_connection(("127.0.0.1", studio.port)) as raw:
        raw.sendall(
            f"POST /api/files?name=a.mp4 HTTP/1.1\r\nHost: {studio.host}\r\nContent-Length: 100000\r\n\r\nabc".encode()
        )
        folder = studio.app.state.studio.uploads._folder
        wait_until(lambda: any(folder.iterdir()))
    wait_until(lambda: not any(folder.iterdir()))
    assert studio.ask("GET", "/api/files").status == 200


def test_an_upload_that_stands_still_gives_its_place_back(studio: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstream.web.uploads._STALL_S", 0.3)
    with socket.create_connection(("127.0.0.1", studio.port), timeout=30) as raw:
        raw.sendall(
            f"POST /api/files?name=a.mp4 HTTP/1.1\r\nHost: {studio.host}\r\nContent-Length: 9\r\n\r\nabc".encode()
        )
        assert b" 408 " in raw.recv(4096)
    assert studio.ask("GET", "/api/files").json == []
    assert not any(studio.app.state.studio.uploads._folder.iterdir())


def test_an_upload_that_is_removed_is_stopped_and_keeps_its_place_until_then(
    studio: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = studio.app.state.studio.uploads
    monkeypatch.setattr("headstream.web.uploads._MOST_FILES", 1)
    with socket.create_connection(("127.0.0.1", studio.port), timeout=30) as raw:
        raw.sendall(
            f"POST /api/files?name=a.mp4 HTTP/1.1\r\nHost: {studio.host}\r\nContent-Length: 9\r\n\r\nabc".encode()
        )
        wait_until(lambda: any(uploads._folder.iterdir()))
        (sent,) = studio.ask("GET", "/api/files").json
        assert studio.ask("DELETE", f"/api/files/{sent['id']}").status == 204
        assert studio.ask("GET", "/api/files").json == []
        assert studio.ask("DELETE", f"/api/files/{sent['id']}").status == 404
        assert studio.ask("POST", "/api/files?name=b.mp4", b"x").status == 429
        raw.sendall(b"def")
        assert b" 409 " in raw.recv(4096)
    assert not any(uploads._folder.iterdir())
    assert studio.ask("POST", "/api/files?name=b.mp4", b"x").status == 201


@pytest.mark.parametrize(
    ("end", "told", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Refused, 507),
        (ClientDisconnect(), ClientDisconnect, None),
        (None, Refused, 409),
    ],
)
def test_how_an_upload_ended_is_told_also_of_one_that_was_removed(
    tmp_path: Path, end: Exception | None, told: type[Exception], status: int | None
) -> None:
    uploads = Uploads(tmp_path / "uploads")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        (upload,) = uploads.all()
        uploads.remove(upload.id)
        if end is not None:
            raise end

    try:
        with pytest.raises(told) as refused:
            asyncio.run(uploads.receive("a.mp4", ".webm", CutOptions(), pieces(), -1))
        assert getattr(refused.value, "status", None) == status
        assert not any((tmp_path / "uploads").iterdir())
    finally:
        uploads.close()


def test_rubbish_does_not_end_the_server(studio: Running) -> None:
    for rubbish in (
        b"\0" * 500,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
    ):
        with socket.create_connection(("127.0.0.1", studio.port)) as raw:
            raw.settimeout(2)
            try:
                raw.sendall(rubbish)
                raw.recv(1000)
            except OSError:
                pass
    assert studio.ask("GET", "/").status == 200


def test_what_was_uploaded_is_gone_when_it_ends(start: Callable[..., Running], portrait_file: Path) -> None:
    studio = start()
    studio.ask("POST", "/api/files?name=me.jpg", portrait_file.read_bytes())
    folder = studio.app.state.studio.uploads._folder
    assert folder.exists()
    studio.server.close()
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_command_quickly_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    if not hasattr(signal, name):
        pytest.skip(f"this system has no {name}")
    command = [sys.executable, "-m", "headstream", "studio", "--no-open", "--port", "0"]
    here = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c, env=here)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "http://127.0.0.1:" in line
    port = int(line.split("127.0.0.1:")[1].split("/")[0])
    with connect(f"ws://127.0.0.1:{port}/ws/page"), socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(f"POST /api/files?name=me.jpg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())
        half.sendall(b"Content-Length: 1000\r\n\r\nhalf of it")
        wait_until(lambda: any(tmp_path.glob("headstream-*/*/source.jpg")))
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert errors.strip() in {"", "headstream studio: ended"}
    assert not list(tmp_path.glob("headstream-*"))
