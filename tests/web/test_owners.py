"""Files that were dropped on the studio's page belong to the browser that sent them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.waiting import wait_until
from tests.web.conftest import Running

TOKEN = "a-token-of-at-least-16"
PUBLIC = "https://studio.example"


def cookie_of(studio: Running, **headers: str) -> tuple[str, str]:
    """What a browser that comes for the first time is given: the cookie, and what is said of it."""
    cookie, _, rest = studio.ask("GET", "/api/studio", **headers).headers["set-cookie"].partition(";")
    return cookie, rest.lower()


def drop(studio: Running, photo: Path, **headers: str) -> Any:
    return studio.ask("POST", "/api/files?name=me.jpg", photo.read_bytes(), **headers).json


def test_another_browser_neither_lists_nor_fetches_nor_deletes(studio: Running, portrait_file: Path) -> None:
    (mine, _), (theirs, _) = cookie_of(studio), cookie_of(studio)
    assert mine != theirs
    sent = drop(studio, portrait_file, Cookie=mine)
    of_mine = lambda: studio.ask("GET", "/api/files", Cookie=mine).json  # noqa: E731
    wait_until(lambda: of_mine()[0]["state"] == "done")
    result, file = f"/api/files/{sent['id']}/result", f"/api/files/{sent['id']}"
    for headers in ({"Cookie": theirs}, {}, {"Cookie": "headstream-owner="}, {"Cookie": f"{mine}x"}):
        assert studio.ask("GET", "/api/files", **headers).json == []
        assert studio.ask("GET", result, **headers).status == 404
        assert studio.ask("HEAD", result, **headers).status == 404
        assert studio.ask("DELETE", file, **headers).status == 404
    assert [item["id"] for item in of_mine()] == [sent["id"]]
    assert studio.ask("GET", result, Cookie=mine).status == 200
    assert studio.ask("DELETE", file, Cookie=mine).status == 204
    assert of_mine() == []


def test_who_keeps_no_cookie_has_files_too(studio: Running, portrait_file: Path) -> None:
    sent = drop(studio, portrait_file)
    assert [item["id"] for item in studio.ask("GET", "/api/files").json] == [sent["id"]]
    assert studio.ask("GET", "/api/files", Cookie=cookie_of(studio)[0]).json == []


def test_the_cookie_is_the_browsers_alone_and_given_once(start: Callable[..., Running]) -> None:
    studio = start(token=TOKEN, public_url=PUBLIC)
    token = f"headstream={TOKEN}"
    cookie, said = cookie_of(studio, Cookie=token, Host="studio.example")
    assert re.fullmatch(r"headstream-owner=[\w-]{32}", cookie)
    assert {"httponly", "samesite=strict", "secure"} <= {part.strip() for part in said.split(";")}
    assert "secure" not in cookie_of(studio, Cookie=token)[1]  # this machine's own pages come without encryption
    for path in ("/api/studio", "/api/files", "/"):
        again = studio.ask("GET", path, Cookie=f"{token}; {cookie}", Host="studio.example")
        assert again.status == 200
        assert "set-cookie" not in again.headers
    assert "set-cookie" not in studio.ask("GET", "/", Cookie=token).headers  # see _owner
    assert "max-age=2592000" in said
    for site, given in (("cross-site", False), ("same-site", False), ("same-origin", True), ("none", True)):
        asked = studio.ask("GET", "/api/studio", Cookie=token, **{"Sec-Fetch-Site": site})
        assert ("set-cookie" in asked.headers) == given


def test_nobody_who_is_not_let_in_is_given_one(start: Callable[..., Running]) -> None:
    studio = start(token=TOKEN, public_url=PUBLIC)
    refused = studio.ask("GET", "/api/studio", Host="studio.example")
    assert refused.status == 401
    assert "set-cookie" not in refused.headers
