"""Outputs made in segments, each by an encoder of its own and safe on the disk once finished, and joined at the end.

An output is the same, to the byte, however many times its making was broken off between segments.
"""

from __future__ import annotations

import itertools
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.errors import SinkError
from headstream.sinks.background import Background, VideoBackground
from headstream.sinks.clipfile import ClipFile, incomplete_name, sequence_place
from headstream.sinks.encode import ClipInfo, Picture, PictureEncoder, What
from headstream.sinks.formats import OutputFormat
from headstream.sinks.packets import PacketStore, open_store, read_packets, suffix_for
from headstream.sinks.partial import PartialFolder, make_parents, sink_error, sync
from headstream.types import Cutout

_SPARE_BYTES = 64 * 2**20  # left free for the rest of the system while segments are joined


class SegmentSink(ABC):
    """One output in segments. ``write`` cut-outs; ``finish`` at the end of each segment; at last ``join``, then ``close``.

    folder: where segments are kept until they are joined.  notes: what became of sound, subtitles and chapters.
    """

    def __init__(
        self,
        path: Path,
        kind: OutputFormat,
        clip: ClipInfo,
        folder: Path,
        *,
        background: Background | None = None,
        what: What = "cutout",
    ) -> None:
        self.path, self._folder = path, folder
        self._kind, self._clip, self._what, self._background = kind, clip, what, background
        self._encoder = PictureEncoder(path, kind, clip, background=background, what=what)
        self._open = False
        self._frames = 0  # in the current segment
        self.notes: list[str] = []
        make_parents(path)

    def snapshot(self) -> Any:
        """What the next segment has to know of those before it."""
        picture = self._encoder.picture
        behind = self._background.snapshot() if isinstance(self._background, VideoBackground) else None
        return (picture and (picture.pix_fmt, picture.tags), self._encoder.last_pts, behind)

    def restore(self, snapshot: Any) -> None:
        """Go on with the segment after a ``snapshot``."""
        picture, self._encoder.last_pts, behind = snapshot
        self._encoder.picture = picture and Picture(*picture)
        if isinstance(self._background, VideoBackground):
            self._background.restore(behind)

    def write(self, cutout: Cutout) -> None:
        """Encode one cut-out into the current segment. Raises SinkError; then only ``drop`` and ``close`` may follow."""
        import av

        try:
            if not self._open:
                self._encoder.begin(
                    self._begin(cutout.frame.index), self._encoder.picture or self._encoder.settle(cutout)
                )
                self._open = True
            self._put(self._encoder.packets(cutout, cutout.frame.pts + self._clip.video_start_s))
            self._frames += 1
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.path, error) from error

    def finish(self, name: str) -> int:
        """End the current segment: it is on the disk for good, as ``name``. Returns its bytes."""
        import av

        try:
            self._put(self._encoder.flush())
            size = self._end(name)
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.path, error) from error
        self._open, self._frames = False, 0
        return size

    def drop(self) -> None:
        """Forget the current segment. Safe to call again."""
        if self._open:
            self._abort()
        self._open, self._frames = False, 0

    def close(self) -> None:
        """Forget the current segment and free everything. Safe to call again."""
        self.drop()
        if self._background is not None:
            self._background.close()

    @property
    @abstractmethod
    def final_path(self) -> Path:
        """Where the output goes."""

    @abstractmethod
    def incomplete(self) -> None:
        """What will be joined is not all that was asked for: it goes under another name."""

    @abstractmethod
    def holds(self, name: str, size: int) -> bool:
        """Whether a segment is there, of that many bytes."""

    @abstractmethod
    def forget(self, names: Sequence[str]) -> None:
        """Remove segments."""

    @abstractmethod
    def wipe(self) -> None:
        """Remove all there is outside of ``folder``."""

    @abstractmethod
    def join(self, names: Sequence[str], *, whole: bool) -> None:
        """Put these segments together under the final name. Raises SinkError; then nothing appears there, and they stay.

        whole: whether they are all there will be; they are gone then. Otherwise they stay for the making to go on.
        """

    @abstractmethod
    def _begin(self, first_frame: int) -> Any:
        """Open the next segment; returns the container its stream is added to."""

    @abstractmethod
    def _put(self, packets: list[Any]) -> None: ...
    @abstractmethod
    def _end(self, name: str) -> int: ...
    @abstractmethod
    def _abort(self) -> None: ...


class FilmSegments(SegmentSink):
    """A video file in segments: packets in files of their own, copied into the final container at the end."""

    def __init__(self, path: Path, kind: OutputFormat, clip: ClipInfo, folder: Path, **options: Any) -> None:
        super().__init__(path, kind, clip, folder, **options)
        self._store: PacketStore | None = None
        self._final = path
        if path.is_dir():
            raise SinkError(f"{path}: is a folder; name a file")

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
        return self._place("next").replace(self._place(name)).stat().st_size

    def _abort(self) -> None:
        if self._store is not None:
            self._store.drop()
        self._place("next").unlink(missing_ok=True)

    def holds(self, name: str, size: int) -> bool:
        """Whether a segment is there, of that many bytes."""
        place = self._place(name)
        return place.is_file() and place.stat().st_size == size

    def forget(self, names: Sequence[str]) -> None:
        """Remove segments."""
        for name in names:
            self._place(name).unlink(missing_ok=True)

    def wipe(self) -> None:
        """All there is lies in ``folder``."""

    def join(self, names: Sequence[str], *, whole: bool) -> None:
        """Copy the packets of all segments, and what is carried from the source, into the final file."""
        import av

        file = ClipFile(self.path, self._kind, self._clip, self._what)
        file.place.final = self._final
        try:
            picture = self._encoder.picture
            assert picture is not None
            self._encoder.begin(file.container, picture)
            file.carry()
            shown_until = self._copy(file, [self._place(name) for name in names], spend=whole)
            file.keep(None if whole else shown_until)
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.path, error) from error
        finally:
            file.discard()
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
            for packet in read_packets(place, extradata=extradata):
                base = Fraction(packet.time_base)
                if last_dts is not None and packet.dts <= last_dts:
                    # Each encoder reaches back before its first picture to reorder; by as much as the last one ended early,
                    # unless the rate changes there.
                    packet.dts = last_dts + 1
                last_dts = packet.dts
                packet.stream = stream
                begins = packet.pts * base
                end = max(end, begins + (packet.duration or 0) * base)
                file.mux([packet])
                file.advance(begins)
        return end


def _make_room(final: Path, needed: int, joined: Sequence[Path]) -> None:
    """Where the disk cannot hold the segments and the file made of them, those already in it go.

    The price: whoever is killed after that, and before the file is done, has lost them; there was no room for both.
    """
    if shutil.disk_usage(final.parent).free < needed + _SPARE_BYTES:
        for place in joined:
            place.unlink(missing_ok=True)


class PictureSegments(SegmentSink):
    """A sequence of PNG files: each is whole in itself, so that joining is giving their folder its name."""

    def __init__(self, path: Path, kind: OutputFormat, clip: ClipInfo, folder: Path, **options: Any) -> None:
        super().__init__(path, kind, clip, folder, **options)
        final, self._pattern = sequence_place(path)
        self._part = PartialFolder(final, fresh=False)
        self._container: Any = None
        if clip.path is not None and self._what == "cutout":
            self.notes.append(f"sound, subtitles and chapters left out: {kind.name} has no place for them")

    @property
    def final_path(self) -> Path:
        """Where the output goes."""
        return self._part.final / self._pattern if "%" in self.path.name else self._part.final

    def incomplete(self) -> None:
        """What will be joined is not all that was asked for: it goes under another name."""
        self._part.final = incomplete_name(self._part.final)

    def _begin(self, first_frame: int) -> Any:
        import av

        self._part.path.mkdir(parents=True, exist_ok=True)
        if self._container is None:  # what was broken off is no part of any segment
            for number in itertools.count(first_frame + 1):
                place = self._place(number)
                if not place.exists():
                    break
                place.unlink()
        options = {"start_number": str(first_frame + 1)}
        self._container = av.open(str(self._part.path / self._pattern), "w", format="image2", options=options)
        return self._container

    def _place(self, number: int) -> Path:
        return self._part.path / (self._pattern % number)

    def _places(self, name: str) -> list[Path]:
        first, end = map(int, name.split("-"))
        return [self._place(number) for number in range(first + 1, end + 1)]

    def _put(self, packets: list[Any]) -> None:
        for packet in packets:
            self._container.mux(packet)

    def _end(self, name: str) -> int:
        self._container.close()
        places = self._places(name)
        for place in places:
            sync(place)
        sync(self._part.path)
        return sum(place.stat().st_size for place in places)

    def _abort(self) -> None:
        self._container.close()

    def holds(self, name: str, size: int) -> bool:
        """Whether a segment is there, of that many bytes."""
        places = self._places(name)
        return all(place.is_file() for place in places) and sum(place.stat().st_size for place in places) == size

    def join(self, names: Sequence[str], *, whole: bool) -> None:
        """Give the folder its name; or, to go on later, its files a second name in the final folder."""
        if whole:
            self._part.keep()
            return
        try:
            self._part.final.mkdir(parents=True, exist_ok=True)
            for place in itertools.chain.from_iterable(map(self._places, names)):
                _second_name(place, self._part.final / place.name)
        except OSError as error:
            raise sink_error(self.path, error) from error

    def forget(self, names: Sequence[str]) -> None:
        """Remove segments."""
        for place in itertools.chain.from_iterable(map(self._places, names)):
            place.unlink(missing_ok=True)

    def wipe(self) -> None:
        """Remove all there is."""
        self._part.discard()


def _second_name(place: Path, other: Path) -> None:
    other.unlink(missing_ok=True)
    try:
        os.link(place, other)
    except OSError:  # a file system without links
        shutil.copyfile(place, other)


def segment_sink(path: Path, kind: OutputFormat, clip: ClipInfo, folder: Path, **options: Any) -> SegmentSink:
    """The sink that makes an output of this kind in segments."""
    return (PictureSegments if kind.container == "image2" else FilmSegments)(path, kind, clip, folder, **options)


def can_be_segmented(kind: OutputFormat) -> bool:
    """Animated pictures cannot: their frames are made of the ones before."""
    return kind.container not in {"webp", "apng", "gif"}
