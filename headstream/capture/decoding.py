"""A video file's packets and the pictures in them: from the start, or from where one seeks to."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.limits import is_too_large, limit
from headstream.capture.numbered import damaged_picture
from headstream.capture.opening import open_film, reason_of, tells_no_times, video_stream
from headstream.errors import SourceError
from headstream.shared.continuity import Continuity
from headstream.shared.demuxing import packets_of

log = logging.getLogger(__name__)

_TRIES_S = (0, 15)  # sought before a place; the second for key frames that do not start from nothing
_LAST = 64  # packets, of which a decoder still holds some at the end
_LATE = "a stream that begins on the way is left out"
_DAMAGED = "some packets are damaged; what could not be decoded was skipped"
_TOO_LARGE = "some pictures are larger than 8192x8192, or damaged so that they seem so; they were skipped"


class Decoding:
    """An open film and the decoder of its picture. For one thread at a time.

    rate: of numbered pictures, a second; None for 25.  threads: of the decoder, 0 for what suits the machine.
    damaged_packets: skipped.  discarded: packets before the start of an edit list, in the index but not in the film.
    warnings: what else was met on the way, each once.
    Raises SourceError where there is no video in the file, UsageError for a rate of what has its own.
    """

    def __init__(self, path: Path, rate: Fraction | None = None, threads: int = 0) -> None:
        self.path, self._rate, self._threads = path, rate, threads
        self.warnings: list[str] = []
        self._logged: set[str] = set()  # of warnings: what is read again says no more
        self._known: tuple[list[str], int, int] | None = None  # what was met before anything was sought
        self._delay: int | None = None  # of pictures that are untimed, in ticks
        self._shown, self._gap = -1, 1  # when the last such was, and how long after the one before
        self._begins: int | None = None  # when the first picture is shown, in ticks
        self._place: int | None = None  # that was sought last, in ticks
        self._open()
        self.of_pictures = not path.is_file()

    def _open(self) -> None:
        self.damaged_packets = self.discarded = 0
        self.warnings.clear()
        self.container = open_film(self.path, self._rate)
        try:
            self.stream = video_stream(self.container, self.path)
        except BaseException:
            self.container.close()
            raise
        limit(self.stream)
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = self._threads
        self.time_base = Fraction(self.stream.time_base)
        self._untimed = tells_no_times(self.container, self.stream)

    def close(self) -> None:
        """Free the decoder. Safe to call again."""
        self.container.close()

    def anew(self) -> Iterator[Any]:
        """All pictures, from a file that is opened again."""
        self.close()
        self._place = None
        self._open()
        return self.pictures()

    def warn_once(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
        if message not in self._logged:
            self._logged.add(message)
            log.warning("%s: %s", self.path, message)

    def pictures(self) -> Iterator[Any]:
        """Pictures from where the file is read now, in display order. Raises SourceError where reading fails."""
        import av

        # By names of its own: where the interpreter ends with this half-way, modules are gone before generators.
        damage = av.error.FFmpegError
        clock, whole, tail = Continuity(), -1, _Tail()
        first: int | None = None
        try:
            for packet in packets_of(self.container, begins=lambda: self.warn_once(_LATE)):
                clock.follow(packet)
                if packet.stream.index != self.stream.index:
                    continue
                if clock.begun_again:
                    self.warn_once("the clock begins again on the way; what follows comes right after what was before")
                if whole < 0:  # of numbered pictures, whose clock counts them
                    whole = packet.pts or 0
                self.discarded += packet.is_discard
                first = packet.dts if first is None else first
                tail.takes(packet, packet.dts if self._untimed else packet.pts)
                try:
                    for picture in packet.decode():
                        whole += 1
                        if self._untimed:
                            self._time(picture, first)
                        tail.gives(picture, damaged=self.damaged_packets)
                        self._begins = picture.pts if self._begins is None else self._begins
                        yield picture
                except MemoryError:
                    raise
                except damage as error:
                    self._damaged(packet, whole, error)
                if _is_end(packet) and tail.late and self._threads != 1 and not self.of_pictures:
                    yield from self._rest(tail)
        except (damage, OSError) as error:
            raise SourceError(
                f"{self.path}: reading failed part-way ({reason_of(error)}); the file is cut off or damaged"
            ) from error

    def _time(self, picture: Any, first: int | None) -> None:
        """Pictures come a constant number of packets after the one whose turn it is: that one's time is theirs. The last ones
        come when there are no more packets, each as far from the one before as others are."""
        if picture.dts is None or first is None:
            picture.pts = self._shown + self._gap
        else:
            self._delay = picture.dts - first if self._delay is None else self._delay
            picture.pts = picture.dts - self._delay
        self._shown, self._gap = picture.pts, max(picture.pts - self._shown, 1)

    def _damaged(self, packet: Any, whole: int, error: Exception) -> None:
        """Each decoder, and each library behind one, has its own word for damage."""
        large = is_too_large(self.stream, error)
        if self.of_pictures:  # without it all that follow would have the number of another
            why = " (damaged, or larger than 8192x8192)" if large else ""
            raise SourceError(f"{damaged_picture(self.path, whole)}: cannot be decoded{why}; make it anew") from error
        self.damaged_packets += 1
        if large:
            self.warn_once(_TOO_LARGE)
        elif packet.size or _is_end(packet):  # an empty one says that the picture before it stays (Theora)
            self.warn_once(_DAMAGED)

    def _rest(self, tail: _Tail) -> Iterator[Any]:
        """What comes after the last picture that was given, by one thread: of several, each holds a packet at the end, and with a
        damaged one among them the others are lost, often without an error."""
        try:
            with closing(Decoding(self.path, self._rate, threads=1)) as again:
                again._logged = self._logged
                pictures = again._after(tail, self._place)
                again.warnings, counted = self.warnings, again.damaged_packets  # what was before is told
                yield from pictures
                self.damaged_packets = max(self.damaged_packets, tail.damaged + again.damaged_packets - counted)
                return
        except SourceError as error:
            log.info("%s", error)
        if tail.late > 1:
            self.damaged_packets = max(self.damaged_packets, tail.damaged + tail.late)
            self.warn_once(_DAMAGED)

    def _after(self, tail: _Tail, place: int | None) -> Iterator[Any]:
        """What comes after the last picture that a decoder gave from a place on, or from the start. Raises SourceError where that
        picture is not found again for certain."""
        if tail.last is not None:
            try:
                if tail.disordered:
                    raise SourceError(f"{self.path}: times repeat or run backwards; no picture is found by its own")
                pictures = self.upon(tail.last)
                next(pictures)
                return pictures
            except SourceError:
                if tail.late == 1:  # not worth all that: a field of that picture, or the damage alone
                    raise
        pictures, last = self.anew() if place is None else self.sought(place), None
        for picture in itertools.islice(pictures, tail.given):
            last = picture.pts
        if last != tail.last:
            raise SourceError(f"{self.path}: other pictures come from one thread than from several")
        return pictures

    def sought(self, ticks: int) -> Iterator[Any]:
        """Pictures from the key frame before ``ticks`` of the stream's clock on, as if those read until now had not been met.
        Raises SourceError where the file cannot be sought in."""
        import av

        self._known = self._known or (list(self.warnings), self.damaged_packets, self.discarded)
        self.warnings[:], self.damaged_packets, self.discarded = self._known
        self._place = ticks
        try:
            self.container.seek(ticks, stream=self.stream, backward=True)
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{self.path}: seeking failed: {reason_of(error)}") from error
        return self.pictures()

    def upon(self, ticks: int) -> Iterator[Any]:
        """Pictures from the one at ``ticks`` on. Those before it in time are left out, also where they follow it in the file:
        what they refer to may not have been decoded. Raises SourceError where seeking does not lead there."""
        failed = None
        for place in self.places_before(ticks):
            try:
                pictures = self.sought(place)
                for decoded in pictures:
                    if decoded.pts == ticks:
                        return itertools.chain([decoded], pictures)
                    if decoded.pts is None or decoded.pts > ticks:
                        break
            except SourceError as error:
                log.info("%s", error)
                failed = error
        raise SourceError(
            f"{self.path}: seeking to {float(ticks * self.time_base):.3f} s does not lead there"
        ) from failed

    def places_before(self, ticks: int) -> list[int]:
        """Where to seek to, on the stream's clock, for what is at ``ticks`` of it."""
        return [max(self._begins or 0, ticks - int(early_s / self.time_base)) for early_s in _TRIES_S]


class _Tail:
    """The end of a film, as a decoder takes and gives it. given, last, damaged: how many pictures, when the last one is shown, in
    ticks, and how many packets were damaged before it.  disordered: times repeated or ran backwards."""

    def __init__(self) -> None:
        self.given, self.damaged, self.disordered = 0, 0, False
        self.last: int | None = None
        self._until: int | None = None  # the largest time of any
        self._due: deque[int] = deque(maxlen=_LAST)

    def takes(self, packet: Any, when: int | None) -> None:
        """A packet whose picture is shown at ``when``. An empty one has none."""
        if when is not None and packet.size and not packet.is_discard:
            self._due.append(when)

    def gives(self, picture: Any, *, damaged: int) -> None:
        """A picture, after so many damaged packets."""
        self.given, self.last, self.damaged = self.given + 1, picture.pts, damaged
        if picture.pts is None:
            return
        self.disordered |= self._until is not None and picture.pts <= self._until
        self._until = picture.pts if self._until is None else max(self._until, picture.pts)

    @property
    def late(self) -> int:
        """How many packets are to be shown after all pictures: it may be that those of some are lost."""
        return sum(self._until is None or when > self._until for when in self._due)


def _is_end(packet: Any) -> bool:
    """Whether it stands for the end of the file. Others may be empty, too."""
    return not packet.buffer_ptr
