"""A film's packets and pictures: what is damaged costs no other picture, whatever the decoder's threads."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from headstream.capture import limits
from headstream.capture.decoding import Decoding, _Tail
from headstream.capture.ending import _reach_s
from headstream.capture.file import FileSource
from headstream.capture.survey import counted, survey
from headstream.errors import SourceError
from tests.media import pattern, sound_sets_in_late, write_video

DAMAGED = ["some packets are damaged; what could not be decoded was skipped"]


def film(path: Path, codec: str, pix_fmt: str, **more: Any) -> Path:
    pictures = [pattern(160, 120, k) for k in range(25)]
    return write_video(path, pictures, codec=codec, pix_fmt=pix_fmt, time_base=Fraction(1, 25), **more)


def damaged(whole: Path, back: int) -> Path:
    """A copy of a film in which the packet that is ``back``-th from the end is no such thing."""
    with av.open(str(whole)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0) if packet.size][-back]
    data = whole.read_bytes()
    assert data.count(packet) == 1
    copy = whole.with_stem(f"damaged-{back}")
    copy.write_bytes(data.replace(packet, b"\xff" * min(64, len(packet)) + packet[64:]))
    return copy


@pytest.mark.parametrize(("ending", "codec"), [(".ivf", "libvpx"), (".ivf", "libvpx-vp9"), (".obu", "libsvtav1")])
@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_that_become_too_large_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, codec: str, threads: int
) -> None:
    parts = [
        write_video(tmp_path / f"{width}{ending}", [pattern(width, height, k) for k in range(12)], codec=codec)
        for width, height in ((160, 120), (320, 240))
    ]
    head = 32 if ending == ".ivf" else 0
    (tmp_path / "film").write_bytes(parts[0].read_bytes() + parts[1].read_bytes()[head:])
    with FileSource(tmp_path / "film", threads=threads) as source:
        assert len(list(source)) == 24
        assert not any("larger than" in warning for warning in source.warnings)
    monkeypatch.setattr(limits, "_CODED", 40_000)
    with FileSource(tmp_path / "film", threads=threads) as source:
        assert {frame.size_px for frame in source} == {(160, 120)}
        assert source.damaged_packets >= 8
        assert any("larger than 8192x8192" in warning for warning in source.warnings)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_stream_that_begins_on_the_way_costs_no_picture(tmp_path: Path, threads: int) -> None:
    path = sound_sets_in_late(tmp_path / "late.ts")
    said = set()
    for _ in range(10):  # it is by chance whether PyAV meets the stream
        with FileSource(path, threads=threads) as source:
            assert len(list(source)) == 275
            said.add(tuple(source.warnings))
    assert said <= {(), ("a stream that begins on the way is left out",)}
    assert survey(path).ticks.size == counted(path)[0] == 275
    assert 11 <= _reach_s(path) < 13


def leads_nowhere(decoding: Decoding, ticks: int) -> None:
    raise SourceError(f"{decoding.path}: seeking to {ticks} does not lead there")


@pytest.mark.parametrize("back", [2, 8])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "libx264", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.avi", "utvideo", "yuv420p"),
    ],
)
def test_damage_near_the_end_costs_no_good_picture(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, back: int
) -> None:
    whole = film(tmp_path / name, codec, pix_fmt, options={"g": "50"} if codec == "libx264" else {})
    path, alone = damaged(whole, back), None
    for threads in (1, 2, 4, 16):
        with FileSource(path, threads=threads) as source:
            times = [frame.pts for frame in source]
            assert (len(times), source.damaged_packets, source.warnings) == (24, 1, DAMAGED), threads
        alone = alone or times
        assert times == alone


@pytest.mark.parametrize(("back", "leads"), [(2, True), (4, True), (4, False)])
def test_what_is_lost_at_the_end_comes_from_where_it_was_sought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: int, leads: bool
) -> None:
    """Also where the decoder holds all that there is from there on, and where its last picture cannot be sought."""
    path = damaged(film(tmp_path / "a.mkv", "libx264", "yuv420p", options={"g": "5", "bf": "0"}), back)
    if not leads:
        monkeypatch.setattr(Decoding, "upon", leads_nowhere)
    for threads in (1, 16):
        decoding = Decoding(path, threads=threads)
        times = [picture.pts * decoding.time_base for picture in decoding.sought(decoding.places_before(800)[0])]
        decoding.close()
        assert times == [Fraction(k, 25) for k in range(20, 25) if k != 25 - back]


def test_nothing_is_added_to_the_end_where_one_thread_gives_other_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged(film(tmp_path / "a.mov", "prores_ks", "yuv422p10le"), 8)
    monkeypatch.setattr(Decoding, "upon", leads_nowhere)
    monkeypatch.setattr(Decoding, "anew", lambda decoding: itertools.islice(decoding.pictures(), 1, None))
    with FileSource(path, threads=16) as source:
        given = len(list(source))
        assert given <= 17  # 10 with older decoders
        assert (given + source.damaged_packets, source.warnings) == (25, DAMAGED)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),  # packets of which no picture is shown
    ],
)
def test_a_film_without_damage_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, options: dict[str, str]
) -> None:
    path = film(tmp_path / name, codec, "yuv420p", options=options)
    with FileSource(path, threads=16) as source:
        monkeypatch.setattr("headstream.capture.decoding.open_film", None)
        assert len(list(source)) == 25
        assert source.warnings == []


def transport(path: Path, times: range, *backs: int, **options: str) -> Path:
    """An MPEG-TS film; the packets that are ``backs``-th from its end are damaged from their heads on."""
    pictures = [pattern(160, 120, k) for k in times]
    write_video(path, pictures, pts=list(times), time_base=Fraction(1, 25), options=options)
    copy = path.with_stem(f"{path.stem}-damaged")
    with av.open(str(path)) as whole, av.open(str(copy), "w") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size]
        for at, packet in enumerate(packets):
            data = bytes(packet)
            made = av.Packet(data[:12].ljust(len(data), b"\xff") if len(packets) - at in backs else data)
            made.pts, made.dts, made.time_base, made.stream = packet.pts, packet.dts, packet.time_base, stream
            made.is_keyframe = packet.is_keyframe
            container.mux(made)
    return copy


@pytest.mark.parametrize(("backs", "bframes"), [((1,), "0"), ((1,), "2"), ((3,), "2"), ((3, 25), "2")])
def test_damage_is_told_where_only_the_first_picture_is_a_key_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, backs: tuple[int, ...], bframes: str
) -> None:
    """MPEG-TS is sought by when packets are decoded, which is before anything is shown."""
    path = transport(tmp_path / "a.ts", range(40), *backs, g="1000", sc_threshold="0", bf=bframes)
    lost = len(backs)
    for threads in (1, 2, 16):
        caplog.clear()
        with FileSource(path, threads=threads) as source:
            assert (len(list(source)), source.damaged_packets, source.warnings) == (40 - lost, lost, DAMAGED), threads
        assert caplog.text.count(DAMAGED[0]) == 1


@pytest.mark.parametrize(("more", "backs"), [(5, ()), (25, (14,))])
def test_where_recordings_that_overlap_are_joined_no_picture_comes_twice(
    tmp_path: Path, more: int, backs: tuple[int, ...]
) -> None:
    """Such a film's last picture is not the one with the largest time, or its time is that of another."""
    first = transport(tmp_path / "1.ts", range(50), bf="0", g="25")
    second = transport(tmp_path / "2.ts", range(39, 39 + more), *backs, bf="0", g="25")
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    lost = len(backs)
    for threads in (1, 2, 16):
        with FileSource(path, threads=threads) as source:
            assert (len(list(source)), source.damaged_packets) == (50 + more - lost, lost), threads
            assert source.warnings[1:] == DAMAGED * lost


def test_damage_is_counted_once_wherever_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also what is before the last picture, and is met again on the way to what comes after it."""
    path = damaged(damaged(film(tmp_path / "a.mkv", "libx264", "yuv420p", options={"g": "50"}), 2), 22)
    for threads in (1, 4, 16):
        caplog.clear()
        with FileSource(path, threads=threads) as source:
            assert (len(list(source)), source.damaged_packets) == (23, 2), threads
        assert caplog.text.count(DAMAGED[0]) == 1


@pytest.mark.parametrize(("threads", "back"), [(2, 1), (16, 8)])
def test_a_film_that_is_gone_at_its_end_is_told_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, back: int
) -> None:
    """Moved or deleted meanwhile, it cannot be opened again: what has been read is all there is."""

    def gone(path: Path, rate: Fraction | None = None) -> None:
        raise SourceError(f"{path}: no such file")

    path = damaged(film(tmp_path / "a.mov", "prores_ks", "yuv422p10le"), back)
    with FileSource(path, threads=threads) as source:
        monkeypatch.setattr("headstream.capture.decoding.open_film", gone)
        given = len(list(source))
        assert 0 < given <= 25 - back  # fewer with older decoders
        assert (given + source.damaged_packets, source.warnings) == (25, DAMAGED)


def test_what_may_be_lost_at_the_end_is_what_is_shown_after_all_pictures() -> None:
    """Empty packets are none: they say that the picture before them stays."""
    tail = _Tail()
    for pts in (5, 3):
        tail.gives(SimpleNamespace(pts=pts), damaged=0)
    for when, size in ((4, 9), (6, 9), (7, 0)):
        tail.takes(SimpleNamespace(size=size, is_discard=False), when)
    assert tail.late == 1
