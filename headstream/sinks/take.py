"""A live recording: it cannot be made again, so nothing that has got to the disk is ever thrown away.

While it grows it has a name that is seen, ``me.recording.mov``, and any beginning of it can be played: a crash or kill -9 costs
what the encoder and the muxer hold, under a second, or as long as a stream's sound comes late. Where the disk fills up, it is
ended in time, or the beginning that is whole on the disk is kept under the final name.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from headstream.errors import SinkError, UsageError
from headstream.shared.sound import Sound
from headstream.sinks.behind import Background
from headstream.sinks.clipfile import ClipFile
from headstream.sinks.encode import ClipInfo, What
from headstream.sinks.formats import OutputFormat
from headstream.sinks.partial import sink_error
from headstream.sinks.soundtrack import SoundTrack
from headstream.sinks.takefile import TakeFile
from headstream.sinks.video import VideoSink
from headstream.types import Cutout

_IN_ORDER = (("bf", "0"),)  # fragments have no edit list, with which a film of B frames would begin at 0
_SPARE_BYTES, _LOOK_S = 64 * 2**20, 0.5
_SOUND_WAITS_S = 3.0  # for a picture, in memory
_AFTER_S = 1  # sound that goes on for so long after the last picture has lost it
_STAYS_S = 600  # a picture: .mov and .mp4 can tell six hours of one, WebP four, GIF eleven minutes


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
