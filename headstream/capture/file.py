"""A video file as a source: every frame, its own time, upright, on its decoded planes."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.decoding import Decoding
from headstream.capture.display import mastering_of
from headstream.capture.ending import check_complete
from headstream.capture.limits import MAX_PIXELS
from headstream.capture.marks import Mark, Span, checksum
from headstream.capture.opening import beside_the_picture
from headstream.capture.uniform import Uniform
from headstream.capture.unpack import Orientation, kept_bits
from headstream.errors import SourceError
from headstream.shared.tone import HDR_TRANSFERS
from headstream.types import Frame

log = logging.getLogger(__name__)

_PATIENCE_S = 5.0


class FileSource:
    """Frames of a video file through PyAV, in display order.

    Opening decodes the first picture, so that a file which cannot be read is refused here. Raises SourceError, saying
    what the file is instead, when there is no video in it; and while iterating, when the file ends before its own index
    says so. Packets that are damaged on their own are skipped and counted in ``damaged_packets``, as players do. Can be
    iterated once.  threads: of the decoder; None for what suits the machine.

    Numbered pictures (``numbered_pictures``) are a film, too.  rate: of these, a second; 25 where it is None.
    of_pictures: whether it is one.  bits: of the picture in the file, and how many of them frames have.  colour: how the first
    picture is read; of R'G'B' its primaries and transfer alone mean something.
    """

    live = False

    def __init__(self, path: str | Path, *, threads: int | None = None, rate: Fraction | None = None) -> None:
        self.path, self._asked_rate = Path(path), rate
        self._lock = threading.Lock()
        self._closed = False
        self._film = Decoding(self.path, rate, threads or 0)
        self.of_pictures = self._film.of_pictures
        try:
            self._pictures = self._film.pictures()
            self._first = self._first_picture()
        except BaseException:
            self._film.close()
            raise
        self._uniform = Uniform(self._film, self._first)
        self.size_px = self._uniform.size_px
        self.bits = kept_bits(self._first)
        self.interlaced = bool(self._first.interlaced_frame)
        self.colour = self._uniform.colour
        self.hdr = self.colour.transfer_code in HDR_TRANSFERS
        self.mastering = mastering_of(self._first) if self.hdr else None
        stream = self._film.stream
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self.time_base = self._film.time_base
        self.codec = stream.codec_context.name
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        self.sample_aspect_ratio = 1 / aspect if self._uniform.upright.transpose else aspect
        self.frames_expected = int(stream.frames) or self._frames_by_duration()
        self._mark: Mark | None = None
        self._span: Span | None = None
        # Where the video starts on the file's own clock.
        self.first_pts_s = Fraction(0) if self._first.pts is None else self._first.pts * Fraction(self._first.time_base)

    @property
    def assumes_rate(self) -> bool:
        """Whether nobody has told how many pictures a second these are."""
        return self.of_pictures and self._asked_rate is None

    @property
    def damaged_packets(self) -> int:
        """How many were skipped until now."""
        return self._film.damaged_packets

    @property
    def warnings(self) -> list[str]:
        """What was met on the way until now, each kind once."""
        return self._film.warnings

    def _first_picture(self) -> Any:
        context = self._film.stream.codec_context
        width, height = context.width, context.height
        if width * height > MAX_PIXELS or min(width, height) < 2:
            raise SourceError(
                f"{self.path}: {width}x{height} is not a video size headstream can cut (2x2 to 8192x8192)"
            )
        for picture in self._pictures:
            return picture
        raise SourceError(f"{self.path}: no picture in it can be decoded ({context.name}); the file may be damaged")

    def _frames_by_duration(self) -> int:
        if self._film.container.duration is None:
            return 0
        return round(Fraction(self._film.container.duration, 1_000_000) * self.rate)

    @property
    def hides_alpha(self) -> bool:
        """Whether there is transparency in the file that FFmpeg's decoder of it does not give: VP9's."""
        return self.codec == "vp9" and self._film.stream.metadata.get("alpha_mode") == "1"

    @property
    def top_field_first(self) -> bool | None:
        """Of interlaced pictures that are shown as they lie, whether the upper lines are the earlier ones; else None."""
        # An AVFieldOrder, which PyAV 17 does not tell.
        order = int(getattr(self._film.stream.codec_context, "field_order", 0))
        if self.codec == "dvvideo":  # which has but one, and does not tell it
            order = 3
        whole = self.interlaced and self._uniform.upright == Orientation() and self.size_px[1] % 2 == 0
        return {2: True, 4: True, 3: False, 5: False}.get(order) if whole else None

    @property
    def left_out(self) -> list[str]:
        """What else there is in the file that no output takes over, in words."""
        return beside_the_picture(self._film.container, self._film.stream)

    @property
    def timecode(self) -> str:
        """What the camera's clock said of the first frame, where a track of its own or a tag tells it; else ""."""
        others = [stream.metadata for stream in self._film.container.streams]
        for tags in (self._film.stream.metadata, self._film.container.metadata, *others):
            for key, value in tags.items():
                if key.lower() == "timecode":
                    return str(value)
        return ""

    @property
    def start_s(self) -> Fraction:
        """Where the file's clock starts: the earliest time of any of its streams, in seconds."""
        start = self._film.container.start_time
        return Fraction(0) if start is None else Fraction(start, 1_000_000)

    def begin_at(self, mark: Mark) -> None:
        """Iterate from a mark on, which this file gave: the same frames, numbers and times as on the way from the start.

        Found by seeking where that leads to the very same place, else by reading from the start.
        """
        self._mark = mark

    def only(self, span: Span) -> None:
        """Iterate over a part alone: frames with the numbers and times they have in the film.

        Iterating raises SourceError where seeking does not lead to the key frame the part is found from. A span that
        reaches to the film's end is checked for being complete, as a whole film is.
        """
        self._span = span

    def __iter__(self) -> Iterator[Frame]:
        first, step = self.first_pts_s, 1 / self.rate
        last = first - step
        index = begin = 0
        end = sys.maxsize
        pictures: Iterator[Any] = itertools.chain([self._first], self._pictures)
        self._first = None
        if self._mark is not None:
            begin = self._mark.index
            with self._lock:
                sought = None if self._closed else self._sought(self._mark)
                if sought is not None:
                    pictures, index, last = sought, begin, first + self._mark.trail[-1][0]
                elif not self._closed:
                    pictures = self._film.anew()
        elif self._span is not None:
            begin, end = self._span.first, self._span.end
            if self._span.key:
                with self._lock:
                    pictures, index = iter(()) if self._closed else self._film.upon(self._span.ticks), self._span.key
        ends = last
        for decoded in self._until_closed(pictures):
            if index == end:
                return
            when = last + step if decoded.pts is None else decoded.pts * Fraction(decoded.time_base)
            if when <= last:  # a broken clock must not cost a frame: the next tick is the nearest true thing
                self._film.warn_once(
                    "some timestamps repeat or run backwards; those frames follow one tick after another"
                )
                when = last + self.time_base
            last = when
            ends = when + (decoded.duration or 0) * Fraction(decoded.time_base or 0)
            if index >= begin:
                yield self._uniform.frame(decoded, index, when - first)
            else:
                self._uniform.pass_over(decoded)
            index += 1
        if not self._closed:
            check_complete(self._film, index, ends - first, expected=self.frames_expected, rate=self.rate)

    def _until_closed(self, pictures: Iterator[Any]) -> Iterator[Any]:
        """The pictures; a file that is closed meanwhile is not touched any more."""
        while True:
            with self._lock:
                decoded = None if self._closed else next(pictures, None)
            if decoded is None:
                return
            yield decoded

    def _sought(self, mark: Mark) -> Iterator[Any] | None:
        """Pictures from a mark on by seeking to a key frame before it, or None where that does not lead there."""
        if mark.mended or not mark.trail:
            return None
        ticks = int((self.first_pts_s + mark.trail[0][0]) / self.time_base)
        for place in self._film.places_before(ticks):
            try:
                pictures = self._film.sought(place)
                if self._passes(pictures, mark):
                    return pictures
            except SourceError as error:
                log.info("%s", error)
        return None

    def _passes(self, pictures: Iterator[Any], mark: Mark) -> bool:
        """Whether ``pictures`` come along the mark's trail; they are then right before the mark."""
        expected = list(mark.trail)
        for decoded in pictures:
            if decoded.pts is None:
                return False
            pts = decoded.pts * Fraction(decoded.time_base) - self.first_pts_s
            if pts < mark.trail[0][0]:
                continue
            if (pts, checksum(self._uniform.frame(decoded, 0, pts))) != expected.pop(0) or self.warnings:
                return False
            if not expected:
                return True
        return False

    def close(self) -> None:
        """Free the decoder. Safe to call again, and while another thread iterates, which then comes to its end."""
        self._closed = True
        if self._lock.acquire(timeout=_PATIENCE_S):  # a read that hangs holds it for ever
            try:
                self._film.close()
            finally:
                self._lock.release()

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
