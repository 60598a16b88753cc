"""A video file in segments: packets in files of their own, copied into the final container at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.errors import SinkError
from headstream.shared.disk import remove, rename
from headstream.sinks.clipfile import ClipFile, incomplete_name
from headstream.sinks.encode import ClipInfo
from headstream.sinks.formats import OutputFormat
from headstream.sinks.packets import PacketStore, open_store, read_packets, suffix_for
from headstream.sinks.partial import followed, make_parents, sink_error
from headstream.sinks.segments import SegmentSink

_SPARE_BYTES = 64 * 2**20  # left free for the rest of the system while segments are joined


class FilmSegments(SegmentSink):
    """A video file in segments: packets in files of their own, copied into the final container at the end."""

    def __init__(self, path: Path, kind: OutputFormat, clip: ClipInfo, folder: Path, **options: Any) -> None:
        super().__init__(path, kind, clip, folder, **options)
        self._store: PacketStore | None = None
        self._final = path
        if path.is_dir():
            raise SinkError(f"{path}: is a folder; name a file")
        make_parents(path)

    @property
    def final_path(self) -> Path:
        """Where the output goes."""
        return self._final

    def incomplete(self) -> None:
        """What will be joined is not all that was asked for: it goes under another name."""
        self._final = incomplete_name(self._final)

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.{self._what}{suffix_for(self._kind)}"

    def _begin(self, first_frame: int) -> Any:
        self._store = open_store(self._place("next"), self._kind)
        return self._store.container

    def _put(self, packets: list[Any]) -> None:
        assert self._store is not None
        self._store.write(packets)

    def _end(self, name: str) -> int:
        assert self._store is not None
        self._store.finish(self._encoder.stream.codec_context.extradata or b"")
        self._store = None
        rename(self._place("next"), self._place(name))
        return self._place(name).stat().st_size

    def _abort(self) -> None:
        if self._store is not None:
            self._store.drop()
        remove(self._place("next"))

    def holds(self, name: str, size: int) -> bool:
        """Whether a segment is there, of that many bytes."""
        place = self._place(name)
        return place.is_file() and place.stat().st_size == size

    def forget(self, names: Sequence[str]) -> None:
        """Remove segments."""
        for name in names:
            remove(self._place(name))

    def wipe(self) -> None:
        """All there is lies in ``folder``."""

    def join(self, names: Sequence[str], *, whole: bool) -> None:
        """Copy the packets of all segments, and what is carried from the source, into the final file."""
        import av

        places = [self._place(name) for name in names]
        if not whole:
            _check_room(self._final, sum(place.stat().st_size for place in places))
        file = ClipFile(self.path, self._kind, self._clip, self._what)
        file.place.final = self._final
        try:
            picture = self._encoder.picture
            assert picture is not None
            self._encoder.begin(file.container, picture)
            file.carry()
            shown_until = self._copy(file, places, spend=whole)
            file.advance(shown_until)
            file.keep(None if whole else shown_until)
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.path, error) from error
        finally:
            file.discard()
            self._encoder.end()
        self.notes = file.notes

    def _copy(self, file: ClipFile, places: list[Path], *, spend: bool) -> Fraction:
        """Mux the segments' packets; returns where the last picture ends."""
        stream = self._encoder.stream
        file.container.start_encoding()
        extradata = stream.codec_context.extradata or b""
        end = Fraction(0)
        last_dts: int | None = None
        for number, place in enumerate(places):
            if spend:
                _make_room(self.path, place.stat().st_size, places[:number])
            for packet in _read(place, extradata):
                base = Fraction(packet.time_base)
                if last_dts is not None and packet.dts <= last_dts:
                    # Each encoder reaches back before its first picture to reorder; by as much as the last one ended early,
                    # unless the rate changes there. In Matroska's ticks two pictures may have one time, and keep it.
                    packet.dts = min(last_dts + 1, packet.pts)
                last_dts = packet.dts
                packet.stream = stream
                begins = packet.pts * base
                end = max(end, begins + (packet.duration or 0) * base)
                file.mux([packet])
                file.advance(begins)
        return end


def _read(place: Path, extradata: bytes) -> Iterator[Any]:
    """The packets of a segment, which is removed where they turn out to be damaged: it must not stand in the way again."""
    try:
        yield from read_packets(place, extradata=extradata)
    except SinkError:
        place.unlink(missing_ok=True)
        raise


def _make_room(final: Path, needed: int, joined: Sequence[Path]) -> None:
    """Where the disk cannot hold the segments and the file made of them, those already in it go.

    The price: whoever is killed after that, and before the file is done, has lost them; there was no room for both.
    """
    if shutil.disk_usage(followed(final).parent).free < needed + _SPARE_BYTES:
        for place in joined:
            place.unlink(missing_ok=True)


def _check_room(final: Path, needed: int) -> None:
    free = shutil.disk_usage(followed(final).parent).free
    if free < needed + _SPARE_BYTES:
        raise SinkError(
            f"{final}: no room for a file of what is done ({free // 2**20} MiB free, {needed // 2**20} needed)"
        )
