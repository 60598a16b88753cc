"""Films whose clock begins again: put together from several, as recordings and discs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headstream.capture.file import FileSource
from headstream.capture.survey import counted, survey
from headstream.shared.continuity import Continuity
from headstream.sinks.streams import StreamCarrier
from tests.media import pattern, write_video


@dataclass
class Stream:
    index: int


@dataclass
class Packet:
    """As much of one as a clock looks at; times in tenths of a second."""

    stream: Stream
    pts: int | None
    dts: int | None
    duration: int = 1
    time_base: Fraction = Fraction(1, 10)


def followed(packets: Sequence[tuple[int, int | None]]) -> list[int | None]:
    """Times of packets, of (stream, time), on one clock."""
    clock, made = Continuity(), []
    for index, tick in packets:
        packet = Packet(Stream(index), tick, tick)
        clock.follow(packet)
        made.append(packet.pts)
    return made


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([(0, 0), (0, 1), (0, 900), (0, 901)], [0, 1, 900, 901]),  # a gap
        ([(0, 0), (0, 10), (0, 6), (0, 11)], [0, 10, 6, 11]),  # less than half a second
        ([(0, k % 20) for k in range(60)], list(range(60))),  # three passes
        ([(0, k) for k in (0, 1, 2, 36000, 3, 4, 5)], [0, 1, 2, 36000, 3, 4, 5]),  # one wild time
        ([(0, k) for k in (10, 11, 0, 12, 13)], [10, 11, 12, 12, 13]),  # the other way
        ([(0, 18), (1, 18), (0, 19), (0, 0), (1, 19), (1, 0), (0, 1), (1, 1)], [18, 18, 19, 20, 19, 20, 21, 21]),
        ([(0, k) for k in range(20)] + [(1, 19), (0, 0), (1, 0), (2, 1)], [*range(20), 19, 20, 20, 21]),
        ([(0, 0), (0, None), (0, 1)], [0, None, 1]),
        ([(0, k) for k in (0, 1, 30, 31, 0, 1, 30, 31)], [0, 1, 30, 31, 32, 33, 62, 63]),  # a pass with a gap, twice
        (
            [(0, k) for k in (0, 1, 90, 91, 50, 51)],
            [0, 1, 90, 91, 92, 93],
        ),  # three clocks, the third between the others
    ],
)
def test_packets_on_one_clock(packets: list[tuple[int, int | None]], expected: list[int | None]) -> None:
    assert followed(packets) == expected


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """Twice two seconds with a tone, in one file."""
    part = write_video(tmp_path / "a.ts", [pattern(96, 64, k) for k in range(50)], sound=True, options={"g": "10"})
    path = tmp_path / "s.ts"
    path.write_bytes(2 * part.read_bytes())
    return path


def test_pictures_follow_in_their_own_pace(joined: Path) -> None:
    with FileSource(joined) as source:
        times = [float(frame.pts) for frame in source]
        assert len(source.warnings) == 1
        assert "begins again" in source.warnings[0]
    steps = np.diff(times)
    assert np.allclose(np.delete(steps, 49), 0.04, atol=0.001)
    assert 0.04 <= steps[49] < 0.2
    assert "begins again" in survey(joined).fault
    count, length_s = counted(joined)
    assert count == 100
    assert float(length_s) == pytest.approx(4, abs=0.15)


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.webm", "o.mp4"])
def test_sound_stays_with_its_picture(joined: Path, tmp_path: Path, name: str) -> None:
    with av.open(str(tmp_path / name), "w") as out:
        carrier = StreamCarrier(joined, out, kinds=frozenset({"audio"}))
        carrier.finish()
        carrier.close()
    with av.open(str(tmp_path / name)) as container:
        sound = container.streams.audio[0]
        times = [float(p.pts * sound.time_base) for p in container.demux(sound) if p.size]
    assert times[-1] - times[0] == pytest.approx(4, abs=0.15)
    assert np.diff(times).max() < 0.2
