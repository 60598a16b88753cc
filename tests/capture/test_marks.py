"""A film taken up at a mark gives the frames, numbers, times and warnings of the way from the start."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from headstream.capture.decoding import Decoding
from headstream.capture.file import FileSource
from headstream.capture.marks import Mark, Trail, checksum
from headstream.types import Frame
from tests.media import pattern, write_video

COUNT = 60
Seen = list[tuple[int, Fraction, Fraction | None, int]]


def seen(frames: list[Frame]) -> Seen:
    return [(f.index, f.pts, f.duration_s, checksum(f)) for f in frames]


def whole(path: Path) -> tuple[Seen, dict[int, Mark], list[str]]:
    """All frames, a mark before each, and the warnings."""
    marks, frames, trail = {}, [], Trail()
    with FileSource(path) as source:
        for frame in source:
            frames.append(frame)
            trail.add(frame)
            marks[frame.index + 1] = trail.mark(frame.index + 1, warnings=source.warnings)
        return seen(frames), marks, source.warnings


def resumed(path: Path, mark: Mark, monkeypatch: pytest.MonkeyPatch) -> tuple[Seen, list[str], bool]:
    """The rest, the warnings, and whether it was found by seeking."""
    starts = []
    anew = Decoding.anew

    def noted(decoding: Decoding) -> Any:
        starts.append(decoding)
        return anew(decoding)

    monkeypatch.setattr(Decoding, "anew", noted)
    with FileSource(path) as source:
        source.begin_at(mark)
        return seen(list(source)), source.warnings, not starts


@pytest.mark.parametrize(
    ("name", "codec", "options", "seeks"),
    [
        ("a.mp4", "libx264", {"g": "12", "bf": "3"}, True),
        ("a.mp4", "libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3:b-adapt=0"}, None),
        ("a.mkv", "libx264", {"x264-params": "keyint=12:intra-refresh=1"}, None),
        ("a.mkv", "libx265", {"x265-params": "log-level=none:keyint=12:open-gop=1:bframes=3"}, None),
        ("a.webm", "libvpx-vp9", {"g": "12"}, True),
        ("a.ts", "libx264", {"g": "12"}, None),
        ("a.avi", "mpeg4", {"g": "12"}, None),
        ("a.mov", "prores_ks", {}, True),
        ("a.gif", "gif", {}, None),
    ],
)
def test_the_same_frames_from_any_mark(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], seeks: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pix_fmt = {"gif": "rgb8", "prores_ks": "yuv422p10le"}.get(codec, "yuv420p")
    base = {"gif": Fraction(1, 100), "mpeg4": Fraction(1, 25)}.get(codec, Fraction(1, 12800))
    pictures = [pattern(96, 64, i) for i in range(COUNT)]
    path = write_video(tmp_path / name, pictures, codec=codec, pix_fmt=pix_fmt, time_base=base, options=options)
    frames, marks, warnings = whole(path)
    assert len(frames) == COUNT
    for index in (1, 5, 12, 13, 31, 48, 59, 60):
        with monkeypatch.context() as patch:
            rest, told, sought = resumed(path, marks[index], patch)
        assert rest == frames[index:]
        assert told == warnings
        assert seeks is None or sought == seeks


def test_a_broken_clock_and_a_late_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock was mended, only reading from the start mends it the same way."""
    ticks = [2500 + 40 * k for k in range(30)]
    ticks[11] = ticks[10] + 1
    path = write_video(tmp_path / "v.mkv", [pattern(64, 48, k) for k in range(30)], pts=ticks, options={"g": "6"})
    frames, marks, _ = whole(path)
    rest, _, sought = resumed(path, marks[20], monkeypatch)
    assert rest == frames[20:]
    assert sought
    mended = replace(marks[20], mended=True)
    rest, _, sought = resumed(path, mended, monkeypatch)
    assert rest == frames[20:]
    assert not sought


def test_a_mark_that_is_not_in_this_film_is_reached_by_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", [pattern(64, 48, k) for k in range(20)])
    frames, marks, _ = whole(path)
    trail: Any = tuple((pts, 0) for pts, _ in marks[10].trail)
    rest, _, sought = resumed(path, replace(marks[10], trail=trail), monkeypatch)
    assert rest == frames[10:]
    assert not sought


def test_damage_on_the_way_is_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [pattern(160, 120, k) for k in range(40)]
    data = bytearray(write_video(tmp_path / "w.mov", pictures, codec="png", pix_fmt="rgb24").read_bytes())
    place = data.index(b"IHDR", len(data) // 3)
    data[place : place + 13] = bytes(13)
    (tmp_path / "d.mov").write_bytes(data)
    frames, marks, warnings = whole(tmp_path / "d.mov")
    assert warnings
    rest, told, sought = resumed(tmp_path / "d.mov", marks[len(frames) - 5], monkeypatch)
    assert rest == frames[-5:]
    assert told == warnings
    assert not sought
