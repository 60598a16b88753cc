"""A film's packets and pictures: what is damaged costs no other picture, whatever the decoder's threads."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from headstream.capture.decoding import Decoding
from headstream.capture.file import FileSource
from tests.media import pattern, write_video

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


def test_what_is_lost_at_the_end_comes_from_where_it_was_sought(tmp_path: Path) -> None:
    """Also where the decoder holds all that there is from there on."""
    path = damaged(film(tmp_path / "a.mkv", "libx264", "yuv420p", options={"g": "5", "bf": "0"}), 2)
    for threads in (1, 16):
        decoding = Decoding(path, threads=threads)
        times = [picture.pts * decoding.time_base for picture in decoding.sought(decoding.places_before(800)[0])]
        decoding.close()
        assert times == [Fraction(k, 25) for k in (20, 21, 22, 24)]


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
