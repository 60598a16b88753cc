"""A video file's packets and the pictures in them: from the start, or from where one seeks to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.numbered import damaged_picture
from headstream.capture.opening import open_film, reason_of, tells_no_times, video_stream
from headstream.continuity import Continuity
from headstream.errors import SourceError

log = logging.getLogger(__name__)


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
        self._known: tuple[list[str], int, int] | None = None  # what was met before anything was sought
        self._delay: int | None = None  # of pictures that are untimed, in ticks
        self._shown, self._gap = -1, 1  # when the last such was, and how long after the one before
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
        self._open()
        return self.pictures()

    def warn_once(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
            log.warning("%s: %s", self.path, message)

    def pictures(self) -> Iterator[Any]:
        """Pictures from where the file is read now, in display order. Raises SourceError where reading fails."""
        import av

        # By names of its own: where the interpreter ends with this half-way, modules are gone before generators.
        damage = av.error.FFmpegError
        clock, whole = Continuity(), -1
        first: int | None = None
        try:
            for packet in self.container.demux():
                clock.follow(packet)
                if packet.stream.index != self.stream.index:
                    continue
                if clock.begun_again:
                    self.warn_once("the clock begins again on the way; what follows comes right after what was before")
                if whole < 0:  # of numbered pictures, whose clock counts them
                    whole = packet.pts or 0
                self.discarded += packet.is_discard
                first = packet.dts if first is None else first
                try:
                    for picture in packet.decode():
                        whole += 1
                        if self._untimed:
                            self._time(picture, first)
                        yield picture
                except MemoryError:
                    raise
                except damage as error:
                    self._damaged(packet, whole, error)
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
        if self.of_pictures:  # without it all that follow would have the number of another
            raise SourceError(f"{damaged_picture(self.path, whole)}: cannot be decoded; make it anew") from error
        self.damaged_packets += 1
        if packet.size:  # an empty one says that the picture before it stays (Theora)
            self.warn_once("some packets are damaged; what could not be decoded was skipped")

    def sought(self, ticks: int) -> Iterator[Any]:
        """Pictures from the key frame before ``ticks`` of the stream's clock on, as if those read until now had not been met.
        Raises SourceError where the file cannot be sought in."""
        import av

        self._known = self._known or (list(self.warnings), self.damaged_packets, self.discarded)
        self.warnings[:], self.damaged_packets, self.discarded = self._known
        try:
            self.container.seek(ticks, stream=self.stream, backward=True)
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{self.path}: seeking failed: {reason_of(error)}") from error
        return self.pictures()


def ends_early(frames: int, last_s: Fraction, *, indexed: int, promised_s: Fraction) -> bool:
    """Whether a film ends before its index says so. An index may list more than is shown, places of dropped frames (AVI) or
    what an edit list leaves out: where the last frame is due when it comes, nothing is missing.

    last_s: when the last frame comes, from the first.  promised_s: how long the film is to be, or 0 if it does not tell.
    """
    share = Fraction(98, 100) - Fraction(2, indexed)
    return frames < share * indexed and (not promised_s or last_s < share * promised_s)
