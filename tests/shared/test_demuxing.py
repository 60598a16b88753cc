"""A film's packets, whatever begins on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import headstream
from headstream.shared.demuxing import packets_of


def test_a_stream_that_begins_on_the_way_is_told_once_all_packets_are_there() -> None:
    said: list[str] = []

    def demux(*chosen: int) -> Iterator[str]:
        yield from ("picture", "sound", "end")[: chosen[0] if chosen else 3]
        if not chosen:
            raise IndexError("list index out of range")

    film = SimpleNamespace(demux=demux)
    for packet in packets_of(film, begins=lambda: said.append("late")):
        said.append(packet)
    assert said == ["picture", "sound", "end", "late"]
    assert list(packets_of(film, 2)) == ["picture", "sound"]


def test_only_files_of_ones_own_are_read_without_it() -> None:
    package = Path(headstream.__file__).parent
    users = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if ".demux(" in path.read_text("utf-8")
    }
    assert users == {"shared/demuxing.py", "sinks/packets.py"}
