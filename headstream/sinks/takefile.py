"""The file of a live recording while it grows: any beginning of it can be played.

.mov and .mp4 are written as fragments, of which FFmpeg's muxer makes a plain file in place when it ends well
(hybrid_fragmented): editors want no fragments, and a copy of an hour of ProRes takes minutes, and twice the room.
https://ffmpeg.org/ffmpeg-formats.html#Fragmentation
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.sinks.clipfile import ClipFile, numbered
from headstream.sinks.encode import ClipInfo
from headstream.sinks.formats import OutputFormat, sequence_place
from headstream.sinks.growing import GrowingFile, TakeFolder, TakePlace
from headstream.sinks.partial import PartialFile, PartialFolder, sink_error
from headstream.sinks.soundtrack import SoundTrack
from headstream.types import Frame

# At most so much is held back in memory before it gets to the disk, which costs 150 bytes each time.
_FRAGMENTS = {"movflags": "+hybrid_fragmented+frag_keyframe+write_colr", "frag_duration": "200000"}  # microseconds
_CLUSTERS = {"cluster_time_limit": "200"}  # milliseconds
_BY_CONTAINER = {
    "mov": _FRAGMENTS,
    "mp4": _FRAGMENTS,
    "matroska": _CLUSTERS,
    "webm": _CLUSTERS,
    "image2": {"atomic_writing": "1"},  # of pictures, each is whole or not there
}
_STEP_S = 10  # of sound at once: an hour's silence takes a gigabyte


class TakeFile(ClipFile):
    """A recording in the making. Where it cannot be finished, ``discard`` keeps the beginning that is whole on the disk.

    whole_s: seconds of it.  kept: whether it has its name.  track: the sound that is to be in it, too.
    """

    def __init__(
        self, path: Path, kind: OutputFormat, clip: ClipInfo, *, overwrite: bool, track: SoundTrack | None = None
    ) -> None:
        self._overwrite, self._track = overwrite, track
        self._origin: tuple[float, Fraction] | None = None
        self._sound_s = self._sound_given_s = Fraction(0)
        self._disk: GrowingFile | None = None
        self.whole_s = 0.0
        self._whole_bytes = 0
        self._first_s: Fraction | None = None
        self._given_s = Fraction(0)
        self._ended = self.kept = False
        super().__init__(path, kind, clip)

    def _placed(self) -> tuple[PartialFile | PartialFolder, Any]:
        if self._kind.container == "image2":
            place = TakeFolder(self.path, overwrite=self._overwrite)
            return place, numbered(place.path, sequence_place(self.path)[1])
        made_as = TakePlace(self.path, overwrite=self._overwrite)
        try:
            self._disk = GrowingFile(made_as.path)
        except OSError as error:
            raise sink_error(made_as.path, error) from error
        return made_as, self._disk

    def _muxer_options(self) -> dict[str, str]:
        return super()._muxer_options() | {"flush_packets": "1"} | _BY_CONTAINER.get(self._kind.container, {})

    def mux(self, packets: Iterable[Any]) -> None:
        """Write packets of the picture."""
        for packet in packets:
            shown_s = packet.pts * packet.time_base
            end_s = shown_s + packet.duration * packet.time_base
            self._first_s = shown_s if self._first_s is None else self._first_s
            self.container.mux(packet)
            if self._disk is None:
                self.whole_s = float(end_s - self._first_s)
            elif self._disk.end > self._whole_bytes:  # what was given before this one is out of the muxer's hands
                self._whole_bytes, self.whole_s = self._disk.end, float(self._out_s())
            self._given_s = max(self._given_s, end_s - self._first_s)

    def follow(self, frame: Frame) -> None:
        """This picture comes next: the sound goes by the time it was captured at."""
        if self._origin is None:
            self._origin = frame.captured_s - float(frame.pts), frame.pts

    def carry(self) -> None:
        """Add the sound, once the picture's stream is there."""
        super().carry()
        if self._track is not None and self._origin is not None:
            origin_s, first_s = self._origin
            self._track.begin(self.container, self._kind.container, origin_s=origin_s, first_s=first_s)

    def advance(self, until_s: Fraction) -> None:
        """Write the sound before second ``until_s``."""
        super().advance(until_s)
        if self._track is not None:
            while until_s - self._sound_s > _STEP_S:
                self._sound_s += _STEP_S
                self._mux_sound(self._track.advance(self._sound_s))
            self._sound_s = max(self._sound_s, until_s)
            self._mux_sound(self._track.advance(until_s))

    def advance_sound(self, until_s: float) -> None:
        """Write the sound up to a moment of the clock that captures go by, while there is no picture."""
        if self._origin is not None:
            self.advance(Fraction(until_s - self._origin[0]))

    def _mux_sound(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._sound_given_s = (packet.pts + packet.duration) * packet.time_base
            self.container.mux(packet)

    def _out_s(self) -> Fraction:
        """Seconds that the muxer does not hold back: pictures wait there for sound that goes with them."""
        if self._track is None:
            return self._given_s
        return max(Fraction(0), min(self._given_s, self._sound_given_s - (self._first_s or 0)))

    def _finish(self) -> None:
        super()._finish()
        if self._disk is not None:
            self._disk.finish()
        self.whole_s = float(self._given_s)

    def keep(self, until_s: Fraction | None = None) -> None:
        """Finish the file and give it its name."""
        if self._track is not None:
            self._mux_sound(self._track.finish(self._sound_s))
        super().keep(until_s)
        self._ended = self.kept = True

    def discard(self) -> None:
        """It goes no further: keep what is whole, or nothing where there is nothing. Safe to call again. Raises SinkError."""
        import av

        if self._ended:
            return
        self._ended = True
        try:
            if self._begun:
                self.container.close()
        except (av.error.FFmpegError, OSError):
            pass  # nothing more gets to the disk; what has is no worse for it
        finally:
            self._free()
            if self._disk is not None:
                self._disk.give_up(self._whole_bytes)
            if self.whole_s:
                self.place.keep()
                self.kept = True
            else:
                self.place.discard()
