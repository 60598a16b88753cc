"""Inputs and results behind fsspec: a store in memory that fails when told to, and S3 as moto plays it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream.batch.job import BatchJob, Wish
from headstream.batch.run import run_batch
from headstream.cli import main
from headstream.errors import UsageError
from tests.batch.conftest import BRIEF_SPLIT_S
from tests.conftest import moving_portrait
from tests.media import write_video
from tests.waiting import hasty_asyncio

fsspec = pytest.importorskip("fsspec")

STORES_REQUIRED = "HEADSTREAM_REQUIRE_STORES"  # set where a missing s3fs or moto must fail instead of skip


class _Flaky:
    """Makes a file system's methods fail as networks do. failures: method -> how many calls fail from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: Any) -> None:
        self.failures: dict[str, int] = {}
        self.error: Exception = OSError(5, "the line went dead")
        for name in ("get_file", "put_file", "pipe_file", "find"):
            monkeypatch.setattr(cls, name, self._around(name, getattr(cls, name)))

    def _around(self, name: str, real: Any) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            if self.failures.get(name, 0) > 0:
                self.failures[name] -= 1
                raise self.error
            return real(*args, **kwargs)

        return method


@pytest.fixture
def memory(clip: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """memory://in with two clips, a photo, a text that is no video, and one that is no media at all."""
    system = fsspec.filesystem("memory")
    for name in ("in/a.mp4", "in/sub/b.mp4"):
        system.pipe_file(f"/{name}", clip.read_bytes())
    system.pipe_file("/in/p.jpg", photo.read_bytes())
    system.pipe_file("/in/bad.mp4", b"words")
    system.pipe_file("/in/notes.txt", b"words")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def flaky(memory: Any, monkeypatch: pytest.MonkeyPatch) -> _Flaky:
    return _Flaky(monkeypatch, type(memory))


def job(*inputs: str, out: str = "memory://out", **options: Any) -> BatchJob:
    options.setdefault("wish", Wish(format="mkv"))
    return BatchJob(inputs, out, wait_s=0.001, **options)


def states(job: BatchJob) -> list[str]:
    return [outcome.state for outcome in run_batch(job).outcomes]


@pytest.mark.usefixtures("in_process")
class TestMemory:
    def test_a_folder(self, memory: Any) -> None:
        report = run_batch(job("memory://in"))
        assert [(o.input, o.state) for o in report.outcomes] == [
            ("memory:///in/a.mp4", "done"), ("memory:///in/bad.mp4", "failed"), ("memory:///in/p.jpg", "done"),
            ("memory:///in/sub/b.mp4", "done"),
        ]  # fmt: skip
        found = set(memory.find("/out"))
        assert {"/out/a.mkv", "/out/sub/b.mkv", "/out/p/head_only.png", "/out/results.jsonl"} <= found
        assert not [name for name in found if name.endswith(".part")]
        assert "/in/bad.mp4: not a video" in report.outcomes[1].reason
        assert states(job("memory://in")) == ["skipped", "failed", "skipped", "skipped"]

    def test_what_is_missing_or_changed_is_done_again(self, memory: Any, clip: Path, nobody: Path) -> None:
        wanted = job("memory://in/*.mp4", "memory://in/sub/b.mp4")
        assert states(wanted) == ["done", "failed", "done"]
        memory.rm("/out/a.mkv")
        memory.pipe_file("/in/sub/b.mp4", nobody.read_bytes())
        assert states(wanted) == ["done", "failed", "no_head"]

    def test_results_are_not_taken_for_inputs(self, memory: Any) -> None:
        wanted = job("memory://in", out="memory://in/sub/results")
        assert [o.input for o in run_batch(wanted).outcomes] == [o.input for o in run_batch(wanted).outcomes]

    def test_frames_of_a_sequence_are_counted(self, memory: Any) -> None:
        wanted = job("memory://in/a.mp4", wish=Wish(format="png"))
        assert states(wanted) == ["done"]
        assert len(memory.find("/out/a")) == 4
        assert states(wanted) == ["skipped"]
        memory.rm("/out/a/000002.png")
        assert states(wanted) == ["done"]

    def test_frames_that_are_not_ours_stay(self, memory: Any, portrait: Any, tmp_path: Path) -> None:
        memory.pipe_file("/out/a/000500.png", b"mine")
        wanted = job("memory://in/a.mp4", wish=Wish(format="png"))
        assert states(wanted) == ["done"]
        assert states(wanted) == ["skipped"]
        shorter = write_video(tmp_path / "a.mp4", moving_portrait(portrait, 2, (160, 120)))
        memory.pipe_file("/in/a.mp4", shorter.read_bytes())
        assert states(wanted) == ["done"]
        assert memory.find("/out/a") == ["/out/a/000001.png", "/out/a/000002.png", "/out/a/000500.png"]

    def test_mattes_and_stages_come_and_go(self, memory: Any) -> None:
        def ran(**words: Any) -> list[str]:
            job = BatchJob(("memory://in",), "memory://cut", Wish(format="mkv", **words))
            return [outcome.state for outcome in run_batch(job).outcomes if outcome.state != "failed"]

        ran(matte="png", stages=True)
        there = {str(name) for name in memory.find("/cut") if ".headstream" not in name}
        assert {name.rsplit("/", 1)[1] for name in there} >= {"stages.png", "000001.png", "head_only.png"}
        assert set(ran(matte="png", stages=True)) == {"skipped"}
        ran()
        left = {str(name) for name in memory.find("/cut") if ".headstream" not in name}
        assert left == {name for name in there if "matte" not in name and "stages" not in name}

    def test_manifests_and_local_results(self, memory: Any, tmp_path: Path) -> None:
        memory.pipe_file("/in/list.csv", b"input,out\na.mp4,one\nmemory://in/sub/b.mp4,two/b\n")
        assert states(job("memory://in/list.csv", out=str(tmp_path))) == ["done", "done"]
        assert (tmp_path / "one.mkv").exists()
        assert (tmp_path / "two" / "b.mkv").exists()

    @pytest.mark.parametrize("method", ["get_file", "put_file", "pipe_file", "find"])
    def test_what_fails_now_and_then_is_tried_again(self, method: str, flaky: _Flaky) -> None:
        flaky.failures[method] = 2
        assert states(job("memory://in/sub")) == ["done"]
        assert flaky.failures[method] == 0

    def test_a_store_that_cannot_be_listed_at_all(self, flaky: _Flaky) -> None:
        flaky.failures["find"] = 1000
        with pytest.raises(UsageError, match=r"memory://in: cannot be listed: OSError: .*the line went dead"):
            run_batch(job("memory://in"))

    @pytest.mark.parametrize("method", ["get_file", "put_file"])
    def test_what_goes_on_failing_is_reported_and_done_next_time(self, method: str, flaky: _Flaky) -> None:
        flaky.failures[method] = 1000
        (outcome,) = run_batch(job("memory://in/a.mp4")).outcomes
        assert (outcome.state, outcome.tries) == ("failed", 3)
        assert "the line went dead" in outcome.reason
        assert "memory://" in outcome.reason
        flaky.failures.clear()
        assert states(job("memory://in/a.mp4")) == ["done"]

    def test_what_will_not_pass_is_not_tried_again(self, flaky: _Flaky) -> None:
        flaky.failures["get_file"], flaky.error = 1000, PermissionError("no")
        (outcome,) = run_batch(job("memory://in/a.mp4")).outcomes
        assert (outcome.state, outcome.tries) == ("failed", 1)
        assert "access denied" in outcome.reason
        assert flaky.failures["get_file"] == 999

    def test_nothing_there(self, memory: Any) -> None:
        with pytest.raises(UsageError, match="no such file"):
            run_batch(job("memory://elsewhere"))
        with pytest.raises(UsageError, match="no file matches"):
            run_batch(job("memory://in/*.avi"))

    def test_what_to_install_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        assert main(["batch", "nonsense://a.mp4", "--out", str(tmp_path)]) == 2
        assert "nonsense" in capsys.readouterr().err
        monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
        assert main(["batch", "s3://bucket/a.mp4", "--out", str(tmp_path)]) == 2
        assert "pip install 'headstream[cluster]'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A bucket on a local moto server, which FSSPEC_S3 and AWS variables point at, for worker processes too."""
    try:
        import s3fs
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        if os.environ.get(STORES_REQUIRED):
            pytest.fail(f"{STORES_REQUIRED} is set but {error}")
        pytest.skip(f"{error}: pip install -e '.[test]' brings it")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        system = fsspec.filesystem("s3")
        system.mkdir("clips")
        yield system
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3: Any, clip: Path, photo: Path) -> Iterator[Any]:
    """s3://clips/in with a clip, a photo and a text."""
    for name, data in (("a.mp4", clip.read_bytes()), ("sub/p.jpg", photo.read_bytes()), ("bad.mp4", b"words")):
        s3.pipe_file(f"clips/in/{name}", data)
    yield s3
    s3.rm("clips", recursive=True)
    s3.mkdir("clips")


class TestS3:
    @pytest.mark.slow
    def test_in_and_out_through_worker_processes(self, bucket: Any, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["batch", "s3://clips/in", "--out", "s3://clips/out", "--format", "mkv", "--workers", "2", "--json"]
        assert main(command) == 1
        first = json.loads(capsys.readouterr().out)
        assert (first["done"], [f["input"] for f in first["failed"]]) == (2, ["s3://clips/in/bad.mp4"])
        bucket.invalidate_cache()
        found = {name for name in bucket.find("clips/out") if ".headstream" not in name}
        assert found == {
            "clips/out/a.mkv", "clips/out/results.jsonl",
            *(f"clips/out/sub/p/{name}.png" for name in ("head_only", "full_mask", "head_mask_crop")),
        }  # fmt: skip
        bucket.rm("clips/in/bad.mp4")
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["skipped"] == 2

    @pytest.mark.slow
    def test_a_film_in_pieces(
        self, bucket: Any, brief_film: Path, own_process: Callable[[pytest.MonkeyPatch], None], tmp_path: Path
    ) -> None:
        bucket.pipe_file("clips/films/film.mp4", brief_film.read_bytes())
        report = run_batch(job("s3://clips/films", out="s3://clips/cut", workers=2, split_s=BRIEF_SPLIT_S))
        assert "put together from 3 pieces" in report.outcomes[0].notes
        with pytest.MonkeyPatch.context() as patch:
            own_process(patch)
            run_batch(job(str(brief_film), out=str(tmp_path), workers=1, split_s=BRIEF_SPLIT_S))
        assert bucket.cat_file("clips/cut/film.mkv") == (tmp_path / "film.mkv").read_bytes()
        bucket.invalidate_cache()
        assert not [name for name in bucket.find("clips/cut") if "pieces" in name]

    def test_a_server_that_fails_now_and_then(self, bucket: Any, in_process: None, monkeypatch: Any) -> None:
        """Every third answer is an error 500, whatever it was about."""
        for client in ("aiobotocore.endpoint", "s3fs.core"):
            monkeypatch.setattr(f"{client}.asyncio", hasty_asyncio())
        asked = _every_third_fails(monkeypatch)
        report = run_batch(job("s3://clips/in/a.mp4", "s3://clips/in/sub/p.jpg", out="s3://clips/out"))
        assert [o.state for o in report.outcomes] == ["done", "done"]
        assert asked["failed"] > 3


def _every_third_fails(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication as Server

    asked = {"all": 0, "failed": 0}
    real = Server.__call__

    def answer(self: Any, environ: Any, start_response: Any) -> Any:
        asked["all"] += 1
        if asked["all"] % 3:
            return real(self, environ, start_response)
        asked["failed"] += 1
        start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
        return [b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"]

    monkeypatch.setattr(Server, "__call__", answer)
    return asked


@pytest.mark.parametrize("inside", ["a.mp4", "sub", "*.mp4", ""])
def test_nothing_is_written_beside_the_output_folder(inside: str, clip: Path, photo: Path, tmp_path: Path) -> None:
    """What lies in an archive has no place of its own; its results went to folders above."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.write(clip, "a.mp4")
        packed.write(photo, "sub/p.jpg")
    with pytest.raises(UsageError, match="has no place below --out"):
        run_batch(BatchJob((f"zip://{inside}::{tmp_path}/all.zip",), str(tmp_path / "a" / "b"), Wish(format="mkv")))
    assert [path.name for path in tmp_path.iterdir()] == ["all.zip"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://127.0.0.1:9/a.mp4", "Connection refused"),
        ("zip://a.mp4::/none.zip", "No such file"),
        (f"zip://a.mp4::{__file__}", "not a zip file"),
    ],
)
def test_what_cannot_even_be_opened_is_told(
    url: str, words: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([url, "--out", str(tmp_path / "out")], [str(clip), "--out", url]):
        assert main(["batch", *arguments, "--format", "mkv"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"headstream: {url}: cannot be reached: ")
        assert words in line
    assert list(tmp_path.iterdir()) == []
