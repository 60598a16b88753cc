"""Live recordings: what has got to the disk stays, plays, and is never written over."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from headstream.errors import SinkError, UsageError
from headstream.live.takes import check_take
from headstream.sinks.behind import FixedPicture
from headstream.sinks.encode import ClipInfo
from headstream.sinks.formats import output_format
from headstream.sinks.growing import GrowingFile
from headstream.sinks.lock import locked
from headstream.sinks.take import TakeSink
from headstream.types import Cutout, Frame
from tests.media import decoded, files_of_at_most, frame_times, probe, video_stream

FILMS = [".mov", ".mp4", ".mkv", ".webm"]
limited = pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")


def noise(index: int, size: tuple[int, int] = (160, 120)) -> Cutout:
    """Pictures that take room: no codec makes much less of them."""
    rgb = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)
    frame = Frame(rgb, index=index, pts=Fraction(index, 25))
    return Cutout(frame, (), (0, 0, *size), np.full((size[1], size[0]), 255, np.uint8))


def begun(path: Path, *, frames: int = 0, overwrite: bool = False) -> TakeSink:
    opaque = path.suffix == ".mp4"
    behind = FixedPicture(np.zeros((1, 1, 3), np.uint8)) if opaque else None
    kind, clip = output_format(path, transparent=not opaque), ClipInfo((160, 120), Fraction(25))
    sink = TakeSink(path, kind, clip, background=behind, overwrite=overwrite)
    for index in range(frames):
        sink.write(noise(index))
    return sink


def boxes(path: Path) -> list[bytes]:
    """The kinds of the outermost boxes of a .mov or .mp4."""
    data, at, found = path.read_bytes(), 0, list[bytes]()
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at + 8 : at + 16], "big") if size == 1 else size
    return found


@pytest.mark.parametrize("suffix", FILMS)
def test_one_that_ends_well_is_a_plain_file(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"o{suffix}"
    sink = begun(out, frames=50)
    assert not out.exists()
    sink.close()
    sink.close()
    assert sink.kept
    assert list(tmp_path.iterdir()) == [out]
    assert np.allclose(frame_times(out), np.arange(50) / 25, atol=0.002)
    assert float(probe(out)["format"]["duration"]) == pytest.approx(2.0, abs=0.05)
    if suffix in {".mov", ".mp4"}:
        assert set(boxes(out)) <= {b"ftyp", b"wide", b"free", b"mdat", b"moov"}  # editors want no moof
        assert video_stream(out)["nb_frames"] == "50"
    with av.open(str(out)) as film:
        film.seek(1_200_000)
        assert float(next(film.decode(video=0)).time) <= 1.2


@pytest.mark.parametrize("suffix", [*FILMS, ".webp", ".gif"])
def test_while_the_camera_is_away_for_hours_times_go_on(tmp_path: Path, suffix: str) -> None:
    """No muxer takes a picture that stays that long: .mov and .mp4 lost the time of all that came after it."""
    out, away_s = tmp_path / f"o{suffix}", 8 * 3600
    sink = begun(out, frames=25)
    for index in range(25, 28):
        last = noise(index)
        sink.write(replace(last, frame=last.frame.timed(pts=away_s + last.frame.pts)))
    sink.close()
    assert sink.kept
    if suffix == ".webp":  # FFmpeg reads no animated ones
        return
    times = frame_times(out)
    assert times[:2] == pytest.approx([0, 0.04], abs=0.011)
    assert times[-3:] == pytest.approx([away_s + shown_s for shown_s in (1, 1.04, 1.08)], abs=0.011)


def test_a_row_of_pictures_has_no_times_and_none_is_repeated(tmp_path: Path) -> None:
    sink = begun(tmp_path / "%06d.png", frames=1)
    last = noise(1)
    sink.write(replace(last, frame=last.frame.timed(pts=Fraction(8 * 3600))))
    sink.close()
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.parametrize("suffix", [*FILMS, ".gif", ".apng"])
def test_one_that_is_killed_plays_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    """What is on the disk while it grows is what a process that is killed leaves."""
    sink = begun(tmp_path / f"o{suffix}", frames=100)
    left = tmp_path / f"left{suffix}"
    shutil.copy(tmp_path / f"o.recording{suffix}", left)
    sink.close()
    seen = len(frame_times(left))
    assert 100 - seen < (60 if suffix == ".mp4" else 20)  # those that the encoder still has
    assert len(decoded(left, "rgb24")) == seen


@limited
@pytest.mark.parametrize("suffix", [*FILMS, ".gif", ".apng"])
def test_on_a_full_disk_what_is_whole_is_kept(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"o{suffix}"
    sink = begun(out)
    with files_of_at_most(500_000), pytest.raises(SinkError, match="grew past the size allowed") as caught:
        for index in range(400):
            sink.write(noise(index))
    sink.write(noise(400))
    sink.close()
    assert list(tmp_path.iterdir()) == [out]
    match = re.search(r"the first ([\d.]+) s are kept in (\S+)$", str(caught.value))
    assert match is not None, caught.value
    assert Path(match[2]) == out
    times = frame_times(out)
    assert len(times) > 3
    assert times[-1] + 1 / 25 == pytest.approx(float(match[1]), abs=0.05)
    assert len(decoded(out, "rgb24")) == len(times)
    assert sink.kept


@limited
@pytest.mark.parametrize("suffix", FILMS)
def test_where_the_end_finds_no_room_the_rest_is_kept(tmp_path: Path, suffix: str) -> None:
    """The index of a .mov comes last, and its head is changed before that: the fragments must be there still."""
    out = tmp_path / f"o{suffix}"
    sink = begun(out, frames=100)
    size = (tmp_path / f"o.recording{suffix}").stat().st_size
    with files_of_at_most(size + 10), pytest.raises(SinkError, match=r"the first [\d.]+ s are kept in"):
        sink.close()
    assert list(tmp_path.iterdir()) == [out]
    seen = len(frame_times(out))
    assert seen >= 30
    assert len(decoded(out, "rgb24")) == seen


@pytest.mark.parametrize("suffix", FILMS)
def test_on_a_disk_that_is_read_only_all_at_once_it_is_told_where_it_stays(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So Linux leaves one that fails; nothing can be cut off or named there."""

    def refused(*arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    sink = begun(tmp_path / f"o{suffix}", frames=60)
    disk = sink._take._disk
    assert disk is not None
    monkeypatch.setattr(disk, "_put", refused)
    monkeypatch.setattr(disk, "_file", SimpleNamespace(closed=False, truncate=refused, close=disk._file.close))
    monkeypatch.setattr("headstream.sinks.growing.rename", refused)
    left = tmp_path / f"o.recording{suffix}"
    with pytest.raises(SinkError, match=rf"whole and stays in {re.escape(str(left))}: give it a name yourself"):
        for index in range(60, 400):
            sink.write(noise(index))
    sink.close()
    assert len(frame_times(left)) > 3


@limited
def test_of_pictures_each_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "frames"
    sink = begun(out)
    with files_of_at_most(50_000), pytest.raises(SinkError, match=r"the first 0\.\d s are kept"):
        for index in range(60):
            sink.write(noise(index) if index == 15 else Cutout(noise(index).frame))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]
    assert sorted(path.name for path in out.iterdir()) == [f"{k:06d}.png" for k in range(1, 16)]


def test_before_the_disk_is_full_it_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    out = tmp_path / "o.mov"
    sink = begun(out, frames=50)
    monkeypatch.setattr("headstream.sinks.take._LOOK_S", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 0, 5 << 20))
    with pytest.raises(SinkError, match=r"nearly full \(5 MiB left there\).*; all 2\.0 s are kept in .*o\.mov"):
        sink.write(noise(50))
    sink.write(noise(51))
    sink.close()
    assert video_stream(out)["nb_frames"] == "51"
    assert b"moof" not in boxes(out)


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    begun(tmp_path / "o.mov").close()
    begun(tmp_path / "frames").close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    out.write_text("an earlier take")
    with pytest.raises(UsageError, match=r"o\.mkv is already there; give another name, or --overwrite to replace it"):
        check_take(out, overwrite=False)
    check_take(out, overwrite=True)
    begun(out, frames=3, overwrite=True).close()
    assert len(frame_times(out)) == 3


def test_what_comes_to_be_there_meanwhile_stays_too(tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    sink = begun(out, frames=3)
    out.write_text("somebody else's")
    with pytest.raises(SinkError, match=r"what was recorded is whole and stays in .*o\.recording\.mkv"):
        sink.close()
    assert out.read_text() == "somebody else's"
    assert len(frame_times(tmp_path / "o.recording.mkv")) == 3


def test_frames_that_come_to_be_there_meanwhile_stay_too(tmp_path: Path) -> None:
    out = tmp_path / "frames"
    sink = begun(out, frames=3)
    out.mkdir()
    (out / "000002.png").write_text("somebody else's")
    with pytest.raises(SinkError, match=r"what was recorded is whole and stays in .*frames\.recording"):
        sink.close()
    sink.close()
    assert (out / "000002.png").read_text() == "somebody else's"
    assert sorted(path.name for path in (tmp_path / "frames.recording").iterdir()) == [
        f"{k:06d}.png" for k in range(1, 4)
    ]


def test_frames_are_written_over_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "frames"
    begun(out, frames=5).close()
    others = ["20240512.png", "7.png", "notes.txt"]  # a picture that is called by its day is no frame of ours
    for mine in others:
        (out / mine).write_text("mine")
    for name in (out, out / "%06d.png"):
        with pytest.raises(UsageError, match="is already there"):
            check_take(name, overwrite=False)
    check_take(out / "take2-%06d.png", overwrite=False)
    (out / "take (2)-000001.png").write_text("mine")
    others.append("take (2)-000001.png")
    with pytest.raises(UsageError, match="is already there"):
        check_take(out / "take (2)-%06d.png", overwrite=False)
    begun(out, frames=2, overwrite=True).close()
    assert sorted(path.name for path in out.iterdir()) == sorted(["000001.png", "000002.png", *others])


def test_a_name_that_leaves_no_room_for_the_growing_ones(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="too long"):
        check_take(tmp_path / f"{'n' * 245}.mov", overwrite=False)


@pytest.mark.parametrize("name", ["o.mkv", "frames"])
def test_one_that_was_broken_off_is_not_lost_to_the_next(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    sink = begun(out, frames=30)
    with locked([out]), pytest.raises(SinkError, match=r"process \d+ is making it"):
        check_take(out, overwrite=True)
    with pytest.raises(UsageError, match=r"recording.* is there, of a recording that was broken off: it plays"):
        check_take(out, overwrite=True)
    with pytest.raises(SinkError, match="recording.*there|exists"):
        begun(out, overwrite=True)
    sink.close()
    check_take(out, overwrite=True)


@pytest.mark.parametrize("name", ["o.mkv", "frames"])
def test_one_that_was_broken_off_before_it_began_is_in_nobodys_way(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    begun(out)
    check_take(out, overwrite=False)
    begun(out, frames=2).close()
    assert out.exists()


def test_what_goes_over_the_rest_waits_for_the_end(tmp_path: Path) -> None:
    """Muxers change the head of a file before they know whether there is room for what it then says is there."""
    for name, end, left in (
        ("whole", lambda file: file.finish(), b"AbcdXYgh"),
        ("not", lambda file: file.give_up(5), b"abcde"),
    ):
        file = GrowingFile(tmp_path / name)
        assert file.write(b"abcd") == 4
        file.seek(4)
        file.write(b"ef")
        assert file.seek(-2, 2) == 4
        file.write(b"XYgh")
        assert (file.tell(), file.end) == (8, 8)
        file.seek(0)
        file.write(b"A")
        assert (file.tell(), file.end) == (1, 8)
        assert (tmp_path / name).read_bytes() == b"abcdefgh"
        end(file)
        end(file)
        assert (tmp_path / name).read_bytes() == left


def test_on_a_small_disk_a_recording_goes_on_while_there_is_room_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("headstream.sinks.take._LOOK_S", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 0, 40 << 20))
    sink = begun(tmp_path / "o.mkv", frames=3)
    sink.close()
    assert len(frame_times(tmp_path / "o.mkv")) == 3


@pytest.mark.parametrize("name", ["o.mkv", "frames"])
def test_a_link_is_recorded_through(tmp_path: Path, name: str) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / name)
    link = (tmp_path / "link").rename(tmp_path / name)
    begun(link, frames=3).close()
    assert link.is_symlink()
    assert (tmp_path / "disk" / name).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["disk", name])
    begun(link, frames=2, overwrite=True).close()
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == [name]
