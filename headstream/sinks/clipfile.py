"""The file an output goes into while it is made: the muxer, what is carried from the source, and its name at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.errors import UsageError
from headstream.shared.mastering import Mastering
from headstream.sinks import matroska, quicktime
from headstream.sinks.encode import ClipInfo, What, tells_timecode
from headstream.sinks.formats import OutputFormat, is_sequence, names_frames, sequence_place
from headstream.sinks.partial import (
    PartialFile,
    PartialFolder,
    check_file,
    check_writable,
    fitting,
    followed,
    neighbour,
    sink_error,
)
from headstream.sinks.streams import STREAMS, StreamCarrier

_MATROSKA = {"matroska", "webm"}


class ClipFile:
    """An output in the making, beside its final name. Exactly one of ``keep`` and ``discard`` ends it.

    container: where the picture's stream is added to, before ``carry``.  notes: what became of the source's sound,
    subtitles and chapters.  Raises SinkError when the place cannot be written to; other methods let FFmpeg's errors out.
    """

    def __init__(self, path: Path, kind: OutputFormat, clip: ClipInfo, what: What = "cutout") -> None:
        import av

        self.path, self._kind, self._clip, self._what = path, kind, clip, what
        self.notes: list[str] = []
        self._carriers: list[StreamCarrier] = []
        self._begun = False
        self.place: PartialFile | PartialFolder
        self.place, target = self._placed()
        try:
            self.container: Any = av.open(target, "w", format=kind.container, options=self._muxer_options())
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(path, error) from error

    def _placed(self) -> tuple[PartialFile | PartialFolder, Any]:
        """Where it is made, and what FFmpeg is told to write to."""
        if self._kind.container == "image2":
            folder, pattern = sequence_place(self.path)
            made_in = PartialFolder(folder)
            return made_in, numbered(made_in.path, pattern)
        made_as = PartialFile(self.path)
        return made_as, str(made_as.path.absolute())  # in talk-10:30.mov alone FFmpeg would see a protocol

    def _muxer_options(self) -> dict[str, str]:
        options = dict(self._kind.muxer_options)
        if self._kind.container == "mov" and self._mastering is not None and "movflags" in options:
            options["movflags"] = options["movflags"].replace("+faststart", "")  # the table last: see ``quicktime``
        return options

    @property
    def final_path(self) -> Path:
        """Where ``keep`` puts it."""
        final = self.place.final
        return final / self.path.name if names_frames(self.path) else final

    def incomplete(self) -> None:
        """It is not all that was asked for: it goes under another name."""
        self.place.final = incomplete_name(self.place.final)

    def carry(self) -> None:
        """Add the source's other streams, once the picture's is there."""
        self._begun = True
        if self._mastering is not None and self._kind.container in _MATROSKA:
            name, room = matroska.SPARE
            self.container.metadata[name] = room
        clip = self._clip
        if (clip.path is None and clip.sound is None) or self._what == "matte":
            return
        if self._kind.streams:
            self._add_carriers(clip)
        else:
            self.notes += without_place(self._kind, clip.path, clip.sound)

    def _add_carriers(self, clip: ClipInfo) -> None:
        kinds = STREAMS if clip.sound is None or clip.old_sound else STREAMS - {"audio"}
        if clip.sound is not None:
            new = StreamCarrier(
                clip.sound, self.container, begins_s=clip.video_start_s, kinds=frozenset({"audio"}), chosen=True
            )
            self._carriers.append(new)
        chosen = None if clip.sound is None else False
        if clip.path is not None:
            source = StreamCarrier(
                clip.path, self.container, start_s=clip.start_s, kinds=kinds, chosen=chosen, trims=clip.from_picture
            )
            self._carriers.append(source)
        self.notes += [note for carrier in self._carriers for note in carrier.notes]
        if clip.timecode and not tells_timecode(self._kind, clip.rate):
            tags = self.container.metadata  # of which the muxer would make a track, too
            for name in [name for name in tags if name.lower() == "timecode"]:
                del tags[name]
            self.notes.append(f"timecode left out: {self.path.suffix} has none for {round(clip.rate)} frames a second")

    def mux(self, packets: Iterable[Any]) -> None:
        """Write packets of the picture."""
        for packet in packets:
            self.container.mux(packet)

    def advance(self, until_s: Fraction) -> None:
        """Write what else belongs before second ``until_s``."""
        for carrier in self._carriers:
            carrier.advance(until_s)

    def keep(self, until_s: Fraction | None = None) -> None:
        """Write the rest of what is carried (up to ``until_s``), finish the file and give it its name. Nothing is left where
        that fails, unless it is the name alone: see ``PartialFile.keep``."""
        try:
            for carrier in self._carriers:
                said = len(carrier.notes)
                carrier.finish(until_s)
                self.notes += carrier.notes[said:]
            self._finish()
            if self._kind.codec == "ffv1":
                matroska.write_old_name(self.place.path)
            self._tell_shape()
            self._tell_mastering()
        except BaseException:
            self.discard()
            raise
        self._free()
        self.place.keep()

    def _finish(self) -> None:
        """Have the muxer write what belongs at the end."""
        self.container.close()

    def _tell_shape(self) -> None:
        """Where pixels are not square, see that the file says so, or else say it here."""
        shape, told = self._clip.sample_aspect_ratio, self._kind.container != "webp"
        if shape != 1 and self._kind.container in _MATROSKA:
            told = matroska.write_shape(self.place.path, self._clip.size_px, shape)
        if shape != 1 and not told:
            width, height = self._clip.size_px
            self.notes.append(
                f"pixels are not square ({shape.numerator}:{shape.denominator}), which {self._kind.name} cannot tell: "
                f"show it with {round(width * shape)}x{height}"
            )

    @property
    def _mastering(self) -> Mastering | None:
        """What belongs to be told of an HDR film's picture; a matte is none, and what has no streams cannot tell HDR at all."""
        return None if self._what == "matte" or not self._kind.streams else self._clip.mastering

    def _tell_mastering(self) -> None:
        """Of an HDR film, see that the file says what screen it was made on, or else say here that it does not."""
        mastering, container, told = self._mastering, self._kind.container, False
        if mastering is None:
            return
        if container in _MATROSKA:
            told = matroska.write_mastering(self.place.path, mastering)
        elif container == "mov":
            told = quicktime.write_mastering(self.place.path, mastering)
        if not told:
            self.notes.append(
                f"HDR: what screen the film was made on (mastering metadata) is not told in {self.path.suffix}"
            )

    def discard(self) -> None:
        """Nothing is kept. Safe to call again."""
        import av

        try:
            if self._begun:
                self.container.close()
        except (av.error.FFmpegError, OSError):
            pass  # what cannot be finished is not wanted either
        finally:
            self._free()
            self.place.discard()

    def _free(self) -> None:
        for carrier in self._carriers:
            carrier.close()


def without_place(kind: OutputFormat, *sources: Path | None) -> list[str]:
    """A note on what sources hold that an output has no place for, none where there is nothing."""
    import av

    found = {"sound": False, "subtitles": False, "chapters": False}
    for source in filter(None, sources):
        try:
            with av.open(str(source.absolute()), metadata_errors="replace") as container:
                found["sound"] |= bool(container.streams.audio)
                found["subtitles"] |= bool(container.streams.subtitles)
                found["chapters"] |= bool(container.chapters())
        except (av.error.FFmpegError, OSError):
            pass  # whoever reads its pictures says so
    *others, last = [name for name, there in found.items() if there] or [""]
    what = f"{', '.join(others)} and {last}" if others else last
    return [f"{what} left out: {kind.name} has no place for {'it' if what == 'sound' else 'them'}"] if what else []


def incomplete_name(path: Path) -> Path:
    """What an output is called that is not all that was asked for."""
    path = followed(path)
    return neighbour(path, fitting("", path.stem, f".partial{path.suffix}"))


def check_output(path: Path) -> None:
    """Raise UsageError where a folder has the name that is asked for a file, or a file that of a folder; else as
    ``check_writable``."""
    frames = is_sequence(path)
    place = sequence_place(path)[0] if frames else path
    if not frames:
        check_file(place)
        return
    check_writable(place)
    if place.is_file():
        raise UsageError(f"{place}: is a file; name a folder for the frames")


def beside(path: Path, what: str) -> Path:
    """The hidden place beside an output that holds ``what`` belongs to its making."""
    place = followed(sequence_place(path)[0] if is_sequence(path) else path)
    return neighbour(place, fitting(".", place.name, f".{what}"))


def numbered(folder: Path, pattern: str) -> str:
    """Files of a sequence in a folder, as FFmpeg is told: in all of it % stands for a number, in the folder's name too."""
    return os.path.join(str(folder.absolute()).replace("%", "%%"), pattern)
