"""Names given while somebody else looks at the file, as on Windows; and disks that know no fsync."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from headstream.errors import SinkError
from headstream.shared import disk
from headstream.sinks.partial import PartialFile, check_file, sink_error


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made"
    path.write_text("new")
    return path


def held_open(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Windows' rule, for the first renames; what was tried."""
    tried: list[str] = []
    replace = os.replace

    def refusing(path: Any, to: Any) -> None:
        tried.append(str(path))
        if len(tried) <= times:
            raise PermissionError(13, "Access is denied")
        replace(path, to)

    monkeypatch.setattr(os, "replace", refusing)
    return tried


def test_a_file_somebody_looks_at_for_a_moment_gets_its_name(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    tried = held_open(monkeypatch, 3)
    final = made.with_name("final")
    final.write_text("old")
    disk.rename(made, final)
    assert final.read_text() == "new"
    assert not made.exists()
    assert len(tried) == 4


@pytest.mark.parametrize(("code", "kept"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_be_asked_for_what_is_on_the_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kept: bool
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refused)
    place = PartialFile(tmp_path / "final.mov")
    place.path.write_text("film")
    with nullcontext() if kept else pytest.raises(SinkError, match="cannot be written"):
        place.keep()
    assert [file.name for file in tmp_path.iterdir()] == ["final.mov"] * kept


def test_what_stays_open_is_told_and_stays(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(disk, "_PATIENCE_S", 0.2)
    tried = held_open(monkeypatch, 1000)
    place = PartialFile(made.with_name("final.mov"))
    place.path.write_text("film")
    with pytest.raises(SinkError, match="or another program has it open; what was made is whole and stays in"):
        place.keep()
    assert len(tried) > 1
    assert place.path.read_text() == "film"


def test_elsewhere_no_permission_is_final(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    tried = held_open(monkeypatch, 1)
    with pytest.raises(PermissionError):
        disk.rename(made, made.with_name("final"))
    assert len(tried) == 1
    assert "another program" not in str(sink_error(made, PermissionError(13, "no")))


def test_an_output_a_player_has_open_is_refused_before_any_work(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sharing_violation(self: Path, mode: str) -> Any:
        raise PermissionError(13, "Access is denied")

    check_file(made)
    monkeypatch.setattr("sys.platform", "win32")
    check_file(made)
    assert made.read_text() == "new"
    monkeypatch.setattr(Path, "open", sharing_violation)
    with pytest.raises(SinkError, match="another program has it open"):
        check_file(made)
