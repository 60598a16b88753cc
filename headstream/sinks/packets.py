"""Encoded packets on disk, exactly as the encoder made them, to be joined into a file later.

A log of packets keeps times in the encoder's own ticks, which no container does for all codecs. What rides along with a
packet (the alpha of VP9) only a container can hold: it goes into Matroska, whose ticks are those of its final file too.
"""

from __future__ import annotations

import io
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from headstream.errors import SinkError
from headstream.shared.disk import sync
from headstream.sinks.formats import OutputFormat

_MAGIC = b"headstream packets 2\n"
_HEAD = struct.Struct("<qqqii?I")  # pts, dts, duration, time base, key frame, bytes; the last has time base 0
_CRC = struct.Struct("<I")  # of the head and of the packet behind it: a wrong time is as bad as a wrong picture
LOG, MATROSKA = ".packets", ".mkv"


def suffix_for(kind: OutputFormat) -> str:
    """Which of the two an output's packets are kept in."""
    return MATROSKA if kind.codec == "libvpx-vp9" else LOG


class DamagedError(SinkError):
    """A store that does not hold what was written into it, or that another encoder wrote."""


class PacketStore(ABC):
    """A file of packets in the making. container: where the encoder's stream is added before the first packet.

    Methods let OSError and FFmpeg's errors out.
    """

    container: Any

    @abstractmethod
    def write(self, packets: list[Any]) -> None:
        """Add packets, in the encoder's order."""

    @abstractmethod
    def finish(self, extradata: bytes) -> None:
        """All are there: on the disk, not only on the way to it."""

    @abstractmethod
    def drop(self) -> None:
        """Close it as it is. Safe to call again."""


def open_store(path: Path, kind: OutputFormat) -> PacketStore:
    """A store at ``path``, whose suffix tells which."""
    return _Log(path, kind) if path.suffix == LOG else _Matroska(path)


def read_packets(path: Path, *, extradata: bytes = b"") -> Iterator[Any]:
    """The packets of a finished store. Raises DamagedError if it is damaged or of an encoder with other ``extradata``."""
    return _read_log(path, extradata) if path.suffix == LOG else _read_matroska(path)


class _Log(PacketStore):
    def __init__(self, path: Path, kind: OutputFormat) -> None:
        import av

        self._path = path
        self.container = av.open(io.BytesIO(), "w", format=kind.container)  # tells the encoder of a container's habits
        self._file: BinaryIO = path.open("wb")
        self._file.write(_MAGIC)

    def write(self, packets: list[Any]) -> None:
        for packet in packets:
            base, data = packet.time_base, memoryview(packet)
            times = (packet.pts, packet.dts, packet.duration or 0, base.numerator, base.denominator)
            self._add(_HEAD.pack(*times, packet.is_keyframe, len(data)), data)

    def _add(self, head: bytes, data: bytes | memoryview) -> None:
        self._file.write(head + _CRC.pack(_checksum(head, data)))
        self._file.write(data)

    def finish(self, extradata: bytes) -> None:
        self._add(_HEAD.pack(0, 0, 0, 0, 1, False, len(extradata)), extradata)
        self._file.close()
        self.container.close()
        sync(self._path)

    def drop(self) -> None:
        self.container.close()
        try:
            self._file.close()
        except OSError:
            pass  # a full disk: it goes away anyway


def _checksum(head: bytes, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(head))


def _read_log(path: Path, extradata: bytes) -> Iterator[Any]:
    import av

    length = path.stat().st_size
    with path.open("rb") as file:
        whole = file.read(len(_MAGIC)) == _MAGIC
        while whole and len(head := file.read(_HEAD.size)) == _HEAD.size:
            pts, dts, duration, numerator, denominator, key, size = _HEAD.unpack(head)
            told = file.read(_CRC.size)
            data = file.read(min(size, length))  # a damaged size may be of gigabytes
            if told != _CRC.pack(_checksum(head, data)):
                break
            if numerator == 0:
                if data != extradata:
                    raise DamagedError(f"{path}: was encoded by another version of the encoder")
                return
            packet = av.Packet(data)
            packet.time_base = Fraction(numerator, denominator)
            packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts, dts, duration, key
            yield packet
    raise DamagedError(f"{path}: is damaged")


class _Matroska(PacketStore):
    def __init__(self, path: Path) -> None:
        import av

        self._path = path
        self.container = av.open(str(path.absolute()), "w", format="matroska")

    def write(self, packets: list[Any]) -> None:
        for packet in packets:
            self.container.mux(packet)

    def finish(self, extradata: bytes) -> None:
        self.container.close()
        sync(self._path)

    def drop(self) -> None:
        import av

        try:
            self.container.close()
        except (av.error.FFmpegError, OSError):
            pass  # a full disk: it goes away anyway


def _read_matroska(path: Path) -> Iterator[Any]:
    import av

    try:
        with av.open(str(path.absolute())) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    yield packet
    except (av.error.FFmpegError, IndexError) as error:
        raise DamagedError(f"{path}: is damaged ({error})") from error
