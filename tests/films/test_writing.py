"""How outputs made in one go end: with the film, with Ctrl-C, and with an error, wherever it falls."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstream.errors import SinkError, SourceError
from headstream.films.outputs import DirectCut
from headstream.films.resume import work_folder
from headstream.films.writing import write_out
from headstream.sinks.behind import FixedPicture
from headstream.sinks.clipfile import ClipFile
from headstream.sinks.formats import output_format
from headstream.sinks.video import VideoSink
from headstream.types import Cutout, Planes
from tests.media import frame_times, pattern
from tests.sinks.test_video import clip, cutouts


class BreaksOff(FixedPicture):
    """A background that cannot be read on at a frame."""

    def __init__(self, at: int) -> None:
        super().__init__(pattern(96, 64, 0))
        self._at = at

    def behind(self, cutout: Cutout) -> Planes:
        if cutout.frame.index == self._at:
            raise SourceError("back.mp4: reading failed part-way")
        return super().behind(cutout)


def outputs(folder: Path, breaks_at: int = -1) -> DirectCut:
    out, matte = folder / "o.mp4", folder / "m.mkv"
    film = VideoSink(out, output_format(out, transparent=False), clip(), background=BreaksOff(breaks_at))
    return DirectCut(work_folder(out), [film, VideoSink(matte, output_format(matte), clip(), what="matte")])


def ten() -> Iterator[Cutout]:
    return cutouts([40 * k for k in range(10)])


@pytest.mark.parametrize("at", [0, 2, 8, 9])
def test_an_error_of_an_output_leaves_none(tmp_path: Path, at: int) -> None:
    """Also where it comes after the last frame was handed over: frames are written in a thread of their own."""
    with pytest.raises(SourceError, match="part-way"):
        write_out(ten(), outputs(tmp_path, at), lambda cutout: None)
    assert list(tmp_path.iterdir()) == []


def test_where_an_output_cannot_be_finished_the_matte_that_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = ClipFile._finish

    def full(file: ClipFile) -> None:
        if file.path.name == "o.mp4":
            raise OSError(errno.ENOSPC, "full")
        finish(file)

    monkeypatch.setattr(ClipFile, "_finish", full)
    (tmp_path / "m.mkv").write_bytes(b"of before")
    with pytest.raises(SinkError, match=r"o\.mp4: the disk is full"):
        write_out(ten(), outputs(tmp_path), lambda cutout: None)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"m.mkv": b"of before"}


def test_ctrl_c_keeps_what_was_done(tmp_path: Path) -> None:
    def interrupted(cutout: Cutout) -> None:
        if cutout.frame.index == 5:
            raise KeyboardInterrupt

    assert write_out(ten(), outputs(tmp_path), interrupted)
    assert [len(frame_times(tmp_path / name)) for name in ("o.mp4", "m.mkv")] == [6, 6]
    assert len(list(tmp_path.iterdir())) == 2
