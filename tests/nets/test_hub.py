"""Weights on the hub: a hub of our own on this machine, the real client, and which commit was used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headstream.errors import UsageError
from headstream.segment.load import load_segmenter

NAME = "okaris/head-segmentation"
FIRST, SECOND = "a" * 40, "b" * 40


class Hub:
    """Answers as the hub does: what commit a branch is at, and the files of a commit."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.commit, self.asked = files, FIRST, list[str]()
        self.moves_to = ""  # the branch's commit, once a file of it was asked for
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                path = self.path.partition("?")[0]
                if path.startswith(f"/api/models/{NAME}"):
                    revision = path.partition("/revision/")[2] or "main"
                    told = {"main": hub.commit}.get(revision, revision)
                    data = json.dumps({"_id": "1", "id": NAME, "sha": told, "siblings": [], "tags": []}).encode()
                else:
                    commit, _, file = path.removeprefix(f"/{NAME}/resolve/").partition("/")
                    data = hub.files.get(file, b"")
                    self.send_response(200 if data else 404)
                    self.send_header("X-Repo-Commit", hub.commit if commit == "main" else commit)
                    hub.commit = hub.moves_to or hub.commit
                    self.send_header("ETag", f'"{abs(hash(data)):032x}"')
                    self._finish(data, body)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self._finish(data, body)

            def _finish(self, data: bytes, body: bool) -> None:
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, name="hub")
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save
    pytest.importorskip("diffusers")
    from headstream.nets.head_unet import HeadUNet

    torch.manual_seed(0)
    config = {"_class_name": "HeadSegmentationModel", "in_channels": 3, "out_channels": 2, "encoder_depth": 5}
    weights = save(
        {k: v.contiguous() for k, v in HeadUNet(2, width=64).state_dict().items()}, metadata={"format": "pt"}
    )
    files = {
        "config.json": json.dumps(config | {"input_resolution": 64}).encode(),
        "diffusion_pytorch_model.safetensors": weights,
    }
    opened = Hub(files)
    yield opened
    opened.close()


def run(code: str, cache: Path, address: str, **more: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads its environment when it is imported."""
    command = [sys.executable, "-c", code]
    there = environment(cache, address) | more
    return subprocess.run(command, capture_output=True, text=True, env=there, timeout=200, cwd=cache)


def environment(cache: Path, address: str) -> dict[str, str]:
    """With our hub, and an empty cache."""
    there = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HOME": str(cache), "HF_ENDPOINT": address}
    there.pop("HF_HUB_OFFLINE", None)
    return there


LOAD = """
import json, sys
from headstream.segment.load import load_segmenter, pinned
for line in sys.stdin:
    name = line.strip()
    card = load_segmenter(name, device="cpu").card
    print(json.dumps([card.name, card.revision, card.file.is_file(), pinned(name)]), flush=True)
"""


def test_fetched_once_and_known_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    """One process is asked again and again: torch takes seconds to load."""

    def told(name: str) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        before = len(err.read_text())
        process.stdin.write(name + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, err.read_text()
        return json.loads(line), err.read_text()[before:]

    err, pipe = tmp_path / "err", subprocess.PIPE
    with err.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", LOAD],
            stdin=pipe,
            stdout=pipe,
            stderr=file,
            text=True,
            env=environment(tmp_path, hub.address),
            cwd=tmp_path,
        )
    limit = threading.Timer(200, process.kill)
    limit.start()
    try:
        with process:
            tells_each_commit(hub, told)
    finally:
        limit.cancel()


def tells_each_commit(hub: Hub, told: Callable[[str], Any]) -> None:
    found, err = told(NAME)
    assert found == ["head-segmentation", FIRST, True, f"{NAME}@{FIRST}"]
    assert err.count("is not in the hub's cache: asking the Hugging Face hub for it") == 1
    hub.commit = SECOND
    asked = len(hub.asked)
    assert told(f"{NAME}@{FIRST}") == (found, "")
    assert len(hub.asked) == asked  # nobody was asked again
    assert told(f"{NAME}@{SECOND}")[0][1] == SECOND
    assert told(NAME)[0] == found  # still the one that was fetched


def test_files_are_of_one_commit_where_the_branch_moves_meanwhile(hub: Hub, tmp_path: Path) -> None:
    code = f"""
from headstream.nets.hub import snapshot
found = snapshot({NAME!r})
print(found.commit, *sorted(path.name for path in found.folder.iterdir()))
"""
    hub.moves_to = SECOND
    done = run(code, tmp_path, hub.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [FIRST, *sorted(hub.files)]


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    code = f"""
import sys
from headstream.cli import main
status = main(["bench", "model", "--model", {NAME!r}])
print("torch" in sys.modules)
sys.exit(status)
"""
    done = run(code, tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout.strip() == "False"  # which takes seconds to load
    asking, failed = done.stderr.strip().splitlines()
    assert "asking the Hugging Face hub" in asking
    assert "could not be fetched from the hub; without a network, copy its folder here" in failed


def test_a_resumed_film_and_a_batch_see_another_commit(hub: Hub, tmp_path: Path) -> None:
    """What both go by, from the real loader."""
    code = f"""
import json
from pathlib import Path
from headstream.batch.job import BatchJob
from headstream.batch.ledger import model_identity
from headstream.films.outputs import _identity
from headstream.segment.load import load_segmenter, pinned
from headstream.films.video import VideoJob
from headstream.demo import PORTRAIT
job = VideoJob(Path(PORTRAIT), Path("o.mkv"))
segmenter = load_segmenter({NAME!r}, device="cpu")
film = _identity(job, segmenter, [], 100, [])["the model"]["weights"]
print(json.dumps([film, model_identity(pinned({NAME!r}), fast=True)]))
"""
    told = []
    for commit in (FIRST, SECOND):
        hub.commit = commit
        (tmp_path / commit).mkdir()
        done = run(code, tmp_path / commit, hub.address)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    assert told == [[FIRST, f"{NAME}@{FIRST}"], [SECOND, f"{NAME}@{SECOND}"]]


@pytest.mark.parametrize(
    "name",
    ["runs/lite", "runs/lite/best", "./lite", "../lite", "~/none/lite", "/none/lite", "a/lite.onnx", "a/b.pt", "a\\b"],
)
def test_a_mistyped_path_is_asked_of_nobody(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UsageError, match="no such file or folder"):
        load_segmenter(name)
    assert "hub" not in caplog.text


def test_a_path_of_many_parts_is_no_hubs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no such file or folder, and not owner/name"):
        load_segmenter("some/where/else")
