"""Packets kept on disk: what comes back is what was put away, or it is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from headstream.sinks.formats import output_format
from headstream.sinks.packets import DamagedError, open_store, read_packets

EXTRADATA = b"of the encoder"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three packets."""
    path = tmp_path / "a.packets"
    store = open_store(path, output_format(Path("a.mkv")))
    for k in range(3):
        packet = av.Packet(bytes(range(7 * k + 5)))
        packet.time_base, packet.pts, packet.dts, packet.duration = Fraction(1, 25), 3 * k, 2 * k, 3
        packet.is_keyframe = k == 0
        store.write([packet])
    store.finish(EXTRADATA)
    return path


def test_packets_come_back_as_they_were(log: Path) -> None:
    told = [
        (p.pts, p.dts, p.duration, p.time_base, p.is_keyframe, bytes(p)) for p in read_packets(log, extradata=EXTRADATA)
    ]
    assert told == [(3 * k, 2 * k, 3, Fraction(1, 25), k == 0, bytes(range(7 * k + 5))) for k in range(3)]


def test_another_byte_anywhere_is_found(log: Path) -> None:
    """In the pictures, and in their times as well."""
    whole = log.read_bytes()
    for place in range(len(whole)):
        log.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamagedError):
            list(read_packets(log, extradata=EXTRADATA))
    for length in range(len(whole)):
        log.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            list(read_packets(log, extradata=EXTRADATA))


def test_packets_of_another_encoder_are_refused(log: Path) -> None:
    with pytest.raises(DamagedError, match="another version of the encoder"):
        list(read_packets(log, extradata=b"of another"))
