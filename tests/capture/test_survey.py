"""Parts of films: found by their packets, read by themselves."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstream.capture.file import FileSource
from headstream.capture.marks import Span, checksum
from headstream.capture.survey import counted, length_s, shown_s, survey
from headstream.errors import SourceError
from tests.media import needs_ffmpeg, pattern, write_video

COUNT = 60
FILMS: dict[str, dict[str, Any]] = {
    "plain.mp4": {"options": {"g": "10", "bf": "0"}},
    "b-frames.mp4": {"options": {"g": "10", "bf": "3"}},
    "open.mkv": {"options": {"x264-params": "keyint=10:min-keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
    "late.ts": {"options": {"g": "10", "bf": "2"}},
    "old.avi": {"codec": "mpeg4", "options": {"g": "10"}, "time_base": Fraction(1, 25), "pts": range(COUNT)},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "10", "deadline": "realtime", "cpu-used": "8"}},
    "open-h265.mkv": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=10:min-keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0:log-level=none"},
    },
    "av1.mp4": {"codec": "libsvtav1", "options": {"g": "10", "preset": "12", "svtav1-params": "scd=0"}},
    "each.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "uneven.mkv": {"options": {"g": "10", "bf": "2"}, "pts": [40 * k + 7 * (k % 3) for k in range(COUNT)]},
}


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / request.param
    return write_video(path, [pattern(96, 64, k) for k in range(COUNT)], **FILMS[request.param])


def test_packets_tell_the_frames(film: Path) -> None:
    found = survey(film)
    with FileSource(film) as source:
        times = [frame.pts + source.first_pts_s for frame in source]
        rate = source.rate
    assert not found.fault
    assert [int(tick) * found.time_base for tick in found.ticks] == times
    assert np.flatnonzero(found.keys)[:2].tolist() == ([0, 1] if film.suffix == ".mov" else [0, 10])
    assert abs(length_s(film) - COUNT / rate) < 0.2
    assert shown_s(film) == [float(time - times[0]) for time in times]


@pytest.mark.parametrize("read", [survey, counted])
def test_a_film_that_cannot_be_read_on_is_named_once(
    read: Callable[[Path], object], plain_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(plain_clip))

    monkeypatch.setattr("headstream.capture.survey.Continuity.follow", broken)
    with pytest.raises(SourceError) as raised:
        read(plain_clip)
    assert str(raised.value) == f"{plain_clip}: reading failed part-way (Input/output error)"


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_part_is_what_it_is_in_the_film(number: int, film: Path) -> None:
    with FileSource(film) as source:
        frames = [(frame.index, frame.pts, checksum(frame)) for frame in source]
    found = survey(film)
    key = int(np.flatnonzero(found.keys)[number])
    for first, end in ((key, key + 5), (key + 4, COUNT), (key + 2, key + 3)):
        with FileSource(film) as source:
            source.only(Span(first, end, key, int(found.ticks[key])))
            assert [(frame.index, frame.pts, checksum(frame)) for frame in source] == frames[first:end]
            assert not source.warnings


def test_a_second_seek_starts_afresh(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = survey(film)
    key = int(np.flatnonzero(found.keys)[2])
    with FileSource(film) as source:
        frames = [(frame.index, frame.pts, checksum(frame)) for frame in source]
    with FileSource(film) as source:
        real, tries = source._film.pictures, list[int]()

        def decoded() -> Iterator[Any]:
            tries.append(1)
            if len(tries) == 1:
                source._film.warn_once("some packets are damaged")
                raise SourceError("what is before the key frame cannot be read")
            yield from real()

        monkeypatch.setattr(source._film, "pictures", decoded)
        source.only(Span(key, key + 5, key, int(found.ticks[key])))
        assert [(frame.index, frame.pts, checksum(frame)) for frame in source] == frames[key : key + 5]
        assert not source.warnings


def test_seeking_elsewhere_is_an_error(film: Path) -> None:
    tick = int(survey(film).ticks[-1])
    with FileSource(film) as source:
        source.only(Span(10, 20, 10, tick + 1))
        with pytest.raises(SourceError, match="does not lead there"):
            list(source)


def test_what_packets_do_not_tell(tmp_path: Path) -> None:
    needs_ffmpeg()
    frames = [pattern(96, 64, k) for k in range(COUNT)]
    whole = write_video(tmp_path / "a.mp4", frames, options={"g": "10"}, container_options={"movflags": "faststart"})

    def made(name: str, *arguments: str) -> Path:
        command = ["ffmpeg", "-v", "error", *arguments, "-i", str(whole), "-c", "copy", str(tmp_path / name)]
        subprocess.run(command, check=True)
        return tmp_path / name

    assert "an edit list hides frames" in survey(made("edited.mp4", "-ss", "0.7")).fault
    with FileSource(tmp_path / "edited.mp4") as source:
        assert shown_s(tmp_path / "edited.mp4") == [float(frame.pts) for frame in source]
    assert "some frames have no time" in survey(made("raw.h264")).fault
    assert shown_s(tmp_path / "raw.h264") == shown_s(tmp_path / "none.mp4") == []
    turned = write_video(tmp_path / "b.mp4", frames, options={"g": "10", "bf": "2"})
    subprocess.run(["ffmpeg", "-v", "error", "-i", turned, "-c", "copy", tmp_path / "b.avi"], check=True)
    assert "no times of their own" in survey(tmp_path / "b.avi").fault
    assert shown_s(tmp_path / "b.avi") == []
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "damaged" in survey(half).fault  # the last one there is
    assert abs(length_s(made("raw.h264", "-y")) - COUNT / 25) < 0.1


def test_frames_are_counted_and_measured_without_decoding(film: Path) -> None:
    frames, seconds = counted(film)
    assert frames == COUNT
    assert abs(seconds - Fraction(COUNT, 25)) < Fraction(1, 20)
