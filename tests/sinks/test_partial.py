"""Names given at the end: what becomes of an output whose name is not to be had, or which is gone."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import av
import numpy as np
import pytest

from headstream.cli import main
from headstream.errors import SinkError, UsageError
from headstream.films.resume import LongCut, work_folder
from headstream.films.video import VideoJob, cut_video_file
from headstream.sinks.clipfile import incomplete_name
from headstream.sinks.film_segments import FilmSegments
from headstream.sinks.formats import output_format
from headstream.sinks.growing import growing_name
from headstream.sinks.lock import locked
from headstream.sinks.partial import (
    PartialFile,
    PartialFolder,
    check_writable,
    make_parents,
    neighbour,
    sink_error,
    whole_file,
)
from headstream.sinks.photo import check_folder, save_picture
from headstream.sinks.video import VideoSink
from tests.media import files_of_at_most, frame_times
from tests.sinks.test_video import clip, cutouts


def begun(final: Path, kind: type[PartialFile | PartialFolder]) -> PartialFile | PartialFolder:
    part = kind(final)
    file = part.path / "000001.png" if kind is PartialFolder else part.path
    file.write_text("pixels")
    return part


@pytest.mark.parametrize("kind", [PartialFile, PartialFolder])
def test_ended_twice(tmp_path: Path, kind: type[PartialFile | PartialFolder]) -> None:
    part = begun(tmp_path / "o", kind)
    part.keep()
    part.keep()
    other = begun(tmp_path / "o", kind)  # somebody else's, of the same name
    part.discard()
    assert other.path.exists()
    other.discard()
    other.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["o"]


@pytest.mark.parametrize("kind", [PartialFile, PartialFolder])
def test_what_is_gone_is_not_kept_in_silence(tmp_path: Path, kind: type[PartialFile | PartialFolder]) -> None:
    one, other = begun(tmp_path / "o", kind), begun(tmp_path / "o", kind)
    other.keep()
    with pytest.raises(SinkError, match=r"o: \.o\.part, which it was made in, is gone"):
        one.keep()


def test_a_file_is_whole_or_what_it_was(tmp_path: Path) -> None:
    out = tmp_path / "new" / "card.json"
    with whole_file(out) as part:
        part.write_text("first")
        assert not out.exists()
    with pytest.raises(SinkError, match=r"card\.json: the disk is full"), whole_file(out) as part:
        part.write_text("sec")
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ZeroDivisionError), whole_file(out) as part:
        part.write_text(str(1 / 0))
    assert [p.name for p in out.parent.iterdir()] == ["card.json"]
    assert out.read_text() == "first"


def test_a_disk_that_fails_is_told_by_what_failed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "w").mkdir()
    segments = FilmSegments(tmp_path / "o.mkv", output_format(tmp_path / "o.mkv"), clip(), tmp_path / "w")
    monkeypatch.setattr(Path, "unlink", fails)
    with pytest.raises(SinkError, match=r"o\.json: cannot be written"), whole_file(tmp_path / "o.json") as part:
        part.touch()
        fails()
    segments.forget(["0000000-0000010"])
    segments.close()
    LongCut(tmp_path / "w", {}, [segments], every=10).close()
    assert not (tmp_path / "w").exists()


def test_what_a_muxer_refuses_is_no_want_of_permission(tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    refused = av.error.PermissionError(errno.EPERM, "Operation not permitted", str(out))
    assert str(sink_error(out, refused)) == f"{out}: cannot be written: Operation not permitted"
    for error in (PermissionError(errno.EPERM, "no", str(out)), av.error.PermissionError(errno.EPERM, "no")):
        assert str(sink_error(out, error)).startswith(f"{out}: no permission to write it")


class TestNoName:
    """A folder with something in it has come to lie where the output should go."""

    def test_a_film_stays_and_is_named(self, tmp_path: Path) -> None:
        out = tmp_path / "o.mkv"
        sink = VideoSink(out, output_format(out), clip())
        for item in cutouts():
            sink.write(item)
        (out / "x").mkdir(parents=True)
        with pytest.raises(SinkError, match=r"o\.mkv: .*is whole and stays in .*\.o\.part\.mkv"):
            sink.close()
        sink.discard()
        assert len(frame_times(tmp_path / ".o.part.mkv")) == 8

    def test_pictures_too(self, tmp_path: Path) -> None:
        part = begun(tmp_path / "frames", PartialFolder)
        (tmp_path / "frames" / "000001.png" / "x").mkdir(parents=True)
        with pytest.raises(SinkError, match=r"stays in .*\.frames\.part"):
            part.keep()
        part.discard()
        assert (tmp_path / ".frames.part" / "000001.png").read_text() == "pixels"


class TestLinks:
    """An output whose name is a link goes where that leads, and the link stays."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Path:
        (tmp_path / "disk").mkdir()
        return tmp_path / "disk"

    @pytest.mark.parametrize("there", [True, False])
    @pytest.mark.parametrize("segment_s", [0, 0.2])
    def test_a_film(self, plain_clip: Path, tmp_path: Path, disk: Path, there: bool, segment_s: float) -> None:
        link = tmp_path / "link.mkv"
        link.symlink_to("disk/film.mkv")
        if there:
            (disk / "film.mkv").write_text("an earlier one")
        report = cut_video_file(VideoJob(plain_clip, link, segment_s=segment_s, look_ahead=False))
        assert report.outputs == [link]
        assert link.is_symlink()
        assert len(frame_times(disk / "film.mkv")) == 12
        assert sorted(file.name for file in (*tmp_path.iterdir(), *disk.iterdir())) == ["disk", "film.mkv", "link.mkv"]

    @pytest.mark.parametrize("segment_s", [0, 0.2])
    def test_frames(self, plain_clip: Path, tmp_path: Path, disk: Path, segment_s: float) -> None:
        link = tmp_path / "link"
        link.symlink_to("disk/frames")
        for _ in range(2):
            cut_video_file(VideoJob(plain_clip, link, segment_s=segment_s, look_ahead=False))
            assert link.is_symlink()
            assert len(list((disk / "frames").iterdir())) == 12
            assert [file.name for file in disk.iterdir()] == ["frames"]

    def test_all_that_is_one_file(self, tmp_path: Path, disk: Path) -> None:
        link = tmp_path / "link.png"
        link.symlink_to("disk/cut.png")
        save_picture(link, np.zeros((4, 4, 4), np.uint8))
        assert link.is_symlink()
        assert [file.name for file in disk.iterdir()] == ["cut.png"]

    def test_folders_on_the_way_lead_where_their_links_do(self, tmp_path: Path, disk: Path) -> None:
        (tmp_path / "to").symlink_to("disk/new")
        make_parents(tmp_path / "to" / "photo" / "head_only.png")
        assert (disk / "new" / "photo").is_dir()

    def test_two_names_are_one_output(self, tmp_path: Path, disk: Path) -> None:
        for name in ("film.mkv", "frames"):
            link = tmp_path / f"to-{name}"
            link.symlink_to(disk / name)
            assert work_folder(link) == work_folder(disk / name)
            assert growing_name(link) == growing_name(disk / name)
            assert incomplete_name(link) == incomplete_name(disk / name)
            with locked([link]), pytest.raises(SinkError, match="is making it"), locked([disk / name]):
                pass

    def test_one_that_leads_to_itself_is_told(
        self, plain_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        link = tmp_path / "link.mkv"
        link.symlink_to("link.mkv")
        assert main(["video", str(plain_clip), "--out", str(link)]) == 2
        assert "link.mkv: is a link that leads back to itself" in capsys.readouterr().err
        assert [file.name for file in tmp_path.iterdir()] == ["link.mkv"]


@pytest.mark.parametrize("name", ["-", "pipe.mov", "s3://bucket/o.mov", "https://example.com/o.mov"])
def test_what_no_output_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "pipe.mov":
        os.mkfifo(name)
    with pytest.raises(UsageError, match="is an address|is a pipe or a device"):
        check_writable(Path(name))
    assert list(tmp_path.iterdir()) == ([tmp_path / name] if name == "pipe.mov" else [])


def test_an_address_is_known_where_its_slashes_were_turned() -> None:
    with pytest.raises(UsageError, match="is an address"):
        check_writable(PureWindowsPath("https://example.com/o.mov"))  # type: ignore[arg-type]


def test_a_device_is_none_wherever_a_shell_has_it_lead(plain_clip: Path, tmp_path: Path) -> None:
    words = ["video", str(plain_clip), "--out", "/dev/stdout"]
    with (tmp_path / "out").open("w") as file:
        ended = subprocess.run(
            [sys.executable, "-m", "headstream", *words], stdout=file, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2
    assert "/dev/stdout: is a pipe or a device" in ended.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("video CLIP --out FOLDER.mkv", "is a folder; name a file"),
        ("video CLIP --out o.mkv --review FOLDER.html", "is a folder; name a file"),
        ("video CLIP --out FILE", "is a file; name a folder for the frames"),
        ("video CLIP --out FILE/%06d.png", "is a file; name a folder for the frames"),
        ("track CLIP --out FOLDER.json", "is a folder; name a file"),
        ("track CLIP --out t.json --plot FOLDER.png", "is a folder; name a file"),
        ("video CLIP --out .webm", "has no name before .webm"),
        ("video CLIP --out new/.PNG", "has no name before .PNG"),
        ("image CLIP --out new/.png", "has no name before .png"),
    ],
)
def test_what_can_be_no_output_is_wrong_usage(
    plain_clip: Path,
    tmp_path: Path,
    command: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for suffix in ("mkv", "json", "html", "png"):
        (tmp_path / f"folder.{suffix}").mkdir()
    before = sorted(tmp_path.iterdir())
    typed = command.replace("FOLDER", "folder").replace("FILE", "file")
    assert main([word.replace("CLIP", str(plain_clip)) for word in typed.split()]) == 2
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="no colons in names")
def test_a_colon_in_a_name_is_no_protocol(plain_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(plain_clip, "talk-10:30.mp4")
    for out in ("cut-10:30.mkv", "frames-10:30"):
        assert cut_video_file(VideoJob(Path("talk-10:30.mp4"), Path(out), segment_s=0.2, look_ahead=False)).outputs
    assert cut_video_file(VideoJob(Path("frames-10:30"), Path("http:o.webm"), rate=Fraction(25))).frames_out == 12


@pytest.mark.parametrize(
    "name", ["n" * 251 + ".mkv", "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 125 + ".webm", "f" * 255]
)
@pytest.mark.parametrize("segment_s", [0, 0.2])
def test_names_as_long_as_names_can_be(plain_clip: Path, tmp_path: Path, name: str, segment_s: float) -> None:
    report = cut_video_file(VideoJob(plain_clip, tmp_path / name, segment_s=segment_s, look_ahead=False))
    assert report.outputs == [tmp_path / name]
    assert [file.name for file in tmp_path.iterdir()] == [name]
    incomplete_name(tmp_path / name).touch()


def test_a_photo_with_a_long_name(tmp_path: Path) -> None:
    save_picture(tmp_path / f"{'n' * 251}.png", np.zeros((4, 4, 4), np.uint8))
    assert [len(file.name) for file in tmp_path.iterdir()] == [255]


@pytest.mark.parametrize("command", ["video CLIP --out OUT.mkv", "image CLIP --out OUT", "demo --out OUT"])
def test_longer_than_that_is_one_line(
    plain_clip: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"CLIP": str(plain_clip), "OUT": str(tmp_path / ("n" * 300))}
    assert main([places.get(word, word.replace("OUT", places["OUT"])) for word in command.split()]) == 1
    err = capsys.readouterr().err
    assert re.fullmatch("headstream: .*/n+(.mkv)?: File name too long\n", err)


def test_a_full_disk_is_told_with_the_name_of_the_output(
    plain_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.json"
    with files_of_at_most(0):
        with locked([out]), pytest.raises(SinkError, match=r"t\.json: process .* is making it"), locked([out]):
            pass
        assert main(["track", str(plain_clip), "--out", str(out)]) == 1
    assert f"headstream: {out}: the file grew past" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_names_the_output_not_what_is_made_beside_it(head_clip: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for call in (
        lambda: cut_video_file(VideoJob(head_clip, tmp_path / "o.mov")),
        lambda: check_folder(tmp_path / "photos"),
    ):
        with pytest.raises(SinkError, match=r"(o\.mov|photos): no permission to write in"):
            call()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is open")
def test_where_no_open_file_can_be_removed_no_lock_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_windows(path: Path, missing_ok: bool = False) -> None:
        if str(path) in [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]:
            raise PermissionError(13, "used by another process")
        os.unlink(path)

    msvcrt = SimpleNamespace(locking=lambda *asked: None, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(Path, "unlink", of_windows)
    with locked([tmp_path / "a.mov"]):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_pictures_of_a_run_that_was_broken_off_are_no_part_of_the_next(tmp_path: Path) -> None:
    part = begun(tmp_path / "frames", PartialFolder)
    (part.path / "000009.png").write_text("of a longer film")
    begun(tmp_path / "frames", PartialFolder).keep()
    assert [file.name for file in (tmp_path / "frames").iterdir()] == ["000001.png"]
    assert [file.name for file in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("why", ["another disk", "no permission"])
def test_what_cannot_be_made_beside_a_folder_is_made_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A mount point, a link to another disk, a folder somebody else has given."""
    final = tmp_path / "frames"
    final.mkdir()
    if why == "another disk":
        stat = Path.stat
        disks = {final: 2, tmp_path: 1}
        monkeypatch.setattr(Path, "stat", lambda path, **how: SimpleNamespace(
            st_dev=disks.get(path, 1), st_mode=stat(path, **how).st_mode))  # fmt: skip
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert neighbour(final, ".frames.part") == final / ".frames.part"
    monkeypatch.undo()
    assert neighbour(final, ".frames.part") == tmp_path / ".frames.part"
