"""Standard output and error that take nothing, or are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
