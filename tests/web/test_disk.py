"""A disk that takes its time holds up who waits for it, and nobody else."""

from __future__ import annotations

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import Gate, wait_until
from tests.web.conftest import Running


def test_while_an_upload_is_written_the_studio_answers(studio: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    own: Any = Path.open

    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            gate.hold()
            return super().write(data)

    def opened(path: Path, *mode: str, **more: Any) -> Any:
        return Slow(path, "wb") if (path.name, *mode) == ("source.mp4", "wb") else own(path, *mode, **more)

    monkeypatch.setattr(Path, "open", opened)
    with ThreadPoolExecutor(1) as visitor:
        sent = visitor.submit(studio.ask, "POST", "/api/files?name=a.mp4", b"x")
        assert gate.reached.wait(30)
        assert studio.ask("GET", "/overlay").status == 200
        gate.open()
        assert sent.result(30).status == 201
    assert all(gate.opened)


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/{}"), ("GET", ""), ("POST", "?name=b.jpg")])
def test_while_files_are_deleted_the_studio_answers(
    studio: Running, portrait_file: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """Those that are removed, and those that are too old when somebody comes."""
    id_ = studio.ask("POST", "/api/files?name=me.jpg", portrait_file.read_bytes()).json["id"]
    wait_until(lambda: studio.ask("GET", "/api/files").json[0]["state"] == "done")
    if method != "DELETE":
        studio.app.state.studio.uploads.get(id_).wanted_s -= 3700
    gate, own = Gate(), shutil.rmtree

    def slowly(*told: Any, **more: Any) -> None:
        gate.hold()
        own(*told, **more)

    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as visitor:
        patched.setattr(shutil, "rmtree", slowly)
        asked = visitor.submit(studio.ask, method, f"/api/files{path.format(id_)}", b"x")
        assert gate.reached.wait(30)
        assert studio.ask("GET", "/overlay").status == 200
        gate.open()
        assert asked.result(30).status in {200, 201, 204}
    assert gate.opened == [True]
