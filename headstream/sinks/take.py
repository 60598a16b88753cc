"""A live recording: it cannot be made again, so nothing that has got to the disk is ever thrown away.

While it grows it has a name that is seen, ``me.recording.mov``, and any beginning of it can be played: a crash or kill -9 costs
what the encoder and the muxer hold, under a second, or as long as a stream's sound comes late. Where the disk fills up, it is
ended in time, or the beginning that is whole on the disk is kept under the final name.
.mov and .mp4 are written as fragments, of which FFmpeg's muxer makes a plain file in place when it ends well
(hybrid_fragmented): editors want no fragments, and a copy of an hour of ProRes takes minutes, and twice the room.
https://ffmpeg.org/ffmpeg-formats.html#Fragmentation
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.errors import SinkError, UsageError
from headstream.sinks.background import Background
from headstream.sinks.clipfile import ClipFile, numbered
from headstream.sinks.encode import ClipInfo, What
from headstream.sinks.formats import OutputFormat, sequence_place
from headstream.sinks.growing import GrowingFile, TakeFolder, TakePlace
from headstream.sinks.partial import PartialFile, PartialFolder, sink_error
from headstream.sinks.soundtrack import SoundTrack
from headstream.sinks.video import VideoSink
from headstream.sound import Sound
from headstream.types import Cutout, Frame

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
_IN_ORDER = (("bf", "0"),)  # fragments have no edit list, with which a film of B frames would begin at 0
_SPARE_BYTES, _LOOK_S = 64 * 2**20, 0.5
_SOUND_WAITS_S = 3.0  # for a picture, in memory
_AFTER_S = 1  # sound that goes on for so long after the last picture has lost it
_STAYS_S = 600  # a picture: .mov and .mp4 can tell six hours of one, WebP four, GIF eleven minutes
_STEP_S = 10  # of sound at once: an hour's silence takes a gigabyte


def check_sound(path: Path, kind: OutputFormat) -> None:
    """Raise UsageError for a kind of recording that can have no sound."""
    if not kind.streams:
        raise UsageError(f"{path}: {kind.name} has no place for sound; use .mov, .mp4, .webm or .mkv")


class TakeSink(VideoSink):
    """Like ``VideoSink``, but what was written stays whatever happens: an error says how much of it, and where.

    overwrite: whether it takes the place of what has its name; else that stays, and so does the recording, beside it.
    sound: "mono" or "stereo", where ``hear`` will be given some; None for pictures only.  may_wait: as of ``SoundTrack``.
    kept: whether there is a file, or frames, at ``final_path``.
    """

    def __init__(
        self,
        path: Path,
        kind: OutputFormat,
        clip: ClipInfo,
        *,
        background: Background | None = None,
        overwrite: bool = False,
        sound: str | None = None,
        may_wait: bool = True,
    ) -> None:
        if sound is not None:
            check_sound(path, kind)
        self._overwrite = overwrite
        self._track = None if sound is None else SoundTrack(sound, may_wait=may_wait)
        self._writing = threading.RLock()  # a full disk ends it in the middle of a write
        self._unheard: Exception | None = None
        self._last: Cutout | None = None
        self._take: TakeFile
        if kind.codec == "libx264":
            kind = replace(kind, options=(*kind.options, *_IN_ORDER))
        self._stays_s = math.inf if kind.container == "image2" else _STAYS_S
        super().__init__(path, kind, clip, background=background)
        self._spare_bytes = min(_SPARE_BYTES, self._free_bytes() // 8)
        self._looked_s = time.monotonic()

    def _begun_file(self, kind: OutputFormat, what: What) -> ClipFile:
        self._take = TakeFile(self.path, kind, self._clip, overwrite=self._overwrite, track=self._track)
        return self._take

    @property
    def kept(self) -> bool:
        """Whether there is a recording under its name."""
        return self._take.kept

    def hear(self, sound: Sound) -> None:
        """Take a piece of sound, on the clock of the pictures' ``captured_s``; it waits for the picture it goes with. From any
        thread; raises nothing."""
        if self._track is None or self._failed or self._closed:
            return
        self._track.hear(sound)
        no_picture_comes = self._track.waits_s > _SOUND_WAITS_S
        if no_picture_comes and self._writing.acquire(blocking=False):
            try:
                self._take.advance_sound(sound.captured_s)
            except Exception as error:  # the next picture meets it, too, and is told of
                self._unheard = error
            finally:
                self._writing.release()

    @property
    def late_s(self) -> float:
        """How long after a picture its sound comes: to be heard, before it is closed."""
        return 0.0 if self._track is None or self._failed or self._closed else self._track.late_s

    def write(self, cutout: Cutout) -> None:
        """Encode one cut-out at its own time."""
        with self._writing:
            self._write(cutout)

    def _write(self, cutout: Cutout) -> None:
        self._take.follow(cutout.frame)
        try:
            if self._unheard is not None:
                unheard, self._unheard, self._failed = self._unheard, None, True
                raise sink_error(self.path, unheard)
            self._hold(cutout.frame.pts)
            super().write(cutout)
            self._last = cutout
        except SinkError as error:
            try:
                self._take.discard()  # at once: who is told of the error learns what is left, too
            except SinkError as unnamed:
                raise SinkError(f"{error}; {unnamed}") from error
            raise self._told(error) from error
        if not self._failed and time.monotonic() - self._looked_s > _LOOK_S:
            self._looked_s = time.monotonic()
            if self._free_bytes() < self._spare_bytes:
                self._end_well()

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._take.place.path.parent).free
        except OSError:  # of a file system that does not tell: no reason to end
            return _SPARE_BYTES

    def _end_well(self) -> None:
        """While there is room for what belongs at a file's end, which one that is cut off has to do without."""
        self.close()
        self._failed = True
        left = f"{self._free_bytes() // 2**20} MiB left there"
        raise SinkError(
            f"{self.path}: the disk is nearly full ({left}), so the recording has ended; all {self._take.whole_s:.1f} s are "
            f"kept in {self.final_path}"
        )

    def close(self) -> None:
        """Finish the file and give it its name. Safe to call again. Raises SinkError, which tells what was kept."""
        with self._writing:
            unheard, self._unheard = self._unheard, None
            self._failed = self._failed or unheard is not None
            try:
                self._hold_last()
                super().close()
                if unheard is not None:
                    raise sink_error(self.path, unheard)
            except SinkError as error:
                raise self._told(error) from error

    def _hold(self, until_s: Fraction) -> None:
        """While the camera is away for hours, the last picture comes again before it has stayed too long."""
        while self._last is not None and until_s - self._last.frame.pts > self._stays_s:
            self._repeat(self._last.frame.pts + _STAYS_S)

    def _repeat(self, at_s: Fraction) -> None:
        assert self._last is not None
        self._last = replace(self._last, frame=self._last.frame.timed(pts=at_s))
        super().write(self._last)

    def _hold_last(self) -> None:
        """What was heard after the last picture, while the camera was away, goes with that one."""
        if self._track is not None and self._last is not None and not self._failed:
            until_s = self._track.heard_s
            if until_s > self._end_s + _AFTER_S:
                self._hold(until_s)
                self._repeat(until_s - 1 / self._clip.rate)
        self._last = None

    def _told(self, error: SinkError) -> SinkError:
        if self._take.kept:
            return SinkError(f"{error}; the first {self._take.whole_s:.1f} s are kept in {self.final_path}")
        return error if self._take.whole_s else SinkError(f"{error}; nothing was recorded by then")


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
