"""Standard output and error that take nothing, or are not there; and what is said on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from headstream.cli.console import broken_off, progress_bar, say_written
from headstream.cli.options import parse_size
from headstream.errors import UsageError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell's redirections")


def shell(words: str, redirected: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the program in a shell that redirects its streams."""
    command = f"{sys.executable} -m headstream {words} {redirected}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
class TestAFullDiskBehindStdout:
    def test_a_result_that_cannot_be_told_is_one_line(self) -> None:
        status, _, err = shell("models list --json", "> /dev/full")
        assert (status, err) == (1, "headstream: standard output cannot be written: No space left on device\n")

    def test_an_error_is_told_on_stderr_all_the_same(self) -> None:
        status, _, err = shell("video nobodys.mp4 --out o.mov --json", "> /dev/full")
        assert (status, err) == (2, "headstream: nobodys.mp4: no such file\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_log_on_a_full_disk_changes_no_result(plain_clip: Path, tmp_path: Path) -> None:
    status, out, _ = shell(f"video {plain_clip} --out {tmp_path / 'o.mkv'} --json", "2> /dev/full")
    assert (status, json.loads(out)["frames_out"]) == (3, 12)
    status, out, _ = shell("video nobodys.mp4 --out o.mov --json", "2> /dev/full")
    assert (status, json.loads(out)["exit"]) == (2, 2)


def test_letters_that_a_pipe_has_none_for_are_written_as_numbers() -> None:
    """As of a camera or a folder that is called so, into a file on Windows."""
    script = "from headstream.cli.console import open_streams; open_streams(); print('USB \u30ab, caf\xe9')"
    told = {"cp1252": b"USB \\u30ab, caf\xe9\n", "utf-8": "USB \u30ab, caf\xe9\n".encode()}
    for encoding, said in told.items():
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        ended = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, check=True)
        assert ended.stdout == said, encoding


class TestClosedStreams:
    def test_what_is_said_does_not_go_to_stdout(self, plain_clip: Path, tmp_path: Path) -> None:
        status, out, _ = shell(f"video {plain_clip} --out {tmp_path / 'o.mkv'} --json", "2>&-")
        assert status == 3
        assert json.loads(out)["frames_out"] == 12

    def test_no_file_gets_the_number_of_one(self) -> None:
        script = (
            "import os, sys; from headstream.cli.console import open_streams; open_streams(); sys.stdout.write('out');"
            "sys.stderr.write('err'); sys.exit(os.open(os.devnull, os.O_RDONLY) <= 2)"
        )
        for redirected in ("2>&-", ">&-", "<&- >&- 2>&-"):
            ended = subprocess.run(["sh", "-c", f'{sys.executable} -c "{script}" {redirected}'], check=False)
            assert ended.returncode == 0, redirected


def test_how_fast_it_goes_is_that_of_this_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames that an earlier run had are no speed of this one."""
    now = iter(range(100))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("headstream.cli.console._SHOW_AFTER_S", -1.0)
    monkeypatch.setattr("headstream.cli.console.time", SimpleNamespace(monotonic=lambda: float(next(now))))
    with progress_bar("a.mp4") as progress:
        progress(1000, 1040)
        progress(1040, 1040)
    err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert " 20.0 /s" in err


def test_what_an_interrupt_left_behind() -> None:
    one, two = Path("a/o.mov"), Path("b/m.mkv")
    assert broken_off([], 0) == "interrupted; nothing was written"
    assert broken_off([one], 7, 20) == "interrupted: o.mov holds the first 7 frames of 20"
    assert broken_off([one, two], 20, 20) == "interrupted: o.mov and m.mkv hold the first 20 frames"


@pytest.mark.parametrize(
    ("size", "told"), [(0, ""), (2_300, " (2.3 kB)"), (99_900, " (99.9 kB)"), (4_560_000, " (4.6 MB)"), (None, "")]
)
def test_how_large_what_was_written_is(
    size: int | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "o.mov"
    if size is not None:
        path.write_bytes(bytes(size))
    say_written(path)
    assert capsys.readouterr().err == f"wrote {path}{told}\n"


@pytest.mark.parametrize(
    "text", ["641x480", "640x481", "0x0", "158x120", "160x118", "8194x480", "640", "640x480x3", "-640x480"]
)
def test_sizes_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="expected even WIDTHxHEIGHT"):
        parse_size(text)
    assert parse_size("640X480") == (640, 480)
    assert (parse_size("160x120"), parse_size("8192x8192")) == ((160, 120), (8192, 8192))
