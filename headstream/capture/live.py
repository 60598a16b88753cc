"""A live source that comes back: what is unplugged, restarted or stalls is opened again until it returns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

import numpy as np

from headstream.capture.cameras import LiveTarget
from headstream.capture.feeds import CameraFeed, Feed, NetworkFeed, PacedFile, ScreenFeed
from headstream.capture.fitting import fitted, pixels_of, read_alike
from headstream.errors import SourceError
from headstream.shared.sound import Listener
from headstream.types import Frame

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
_BLACK_S = 2.0  # black for this long is worth a word; shorter is a cut or a closed hand
_BLACK_LUMA, _BLACK_SPREAD = 20, 2.5


def open_feed(target: LiveTarget, size_px: tuple[int, int] | None, rate: float | None) -> Feed:
    """Open a target once. Raises SourceError."""
    if target.kind == "camera":
        return CameraFeed(target.camera, size_px, rate)
    if target.kind == "screen":
        return ScreenFeed(target.region, rate)
    return NetworkFeed(target.address, target.label) if target.kind == "network" else PacedFile(target.address)


class LiveSource:
    """Frames as they happen; a lost camera or stream is opened again with growing pauses, for as long as it takes.

    Opening for the first time must succeed: SourceError otherwise. ``notice`` gets a line for the user when the source is
    lost, comes back, changes its size, or gives black pictures; it is called in the thread that iterates. Frames have the
    size and kind of pixels of the first one; what comes in another size is fitted into it, with black around. A file ends
    where it ends, or starts again with ``loop``, also where it breaks off. Can be iterated once; ``close`` is safe to call
    again, from any thread, and ends the iteration within a picture's time or ``STALL_S``.
    layout: of the sound, "mono" or "stereo", of a stream that brings sound along; else None.
    """

    live = True

    def __init__(
        self,
        target: LiveTarget,
        *,
        size_px: tuple[int, int] | None = None,
        rate: float | None = None,
        loop: bool = False,
        notice: Callable[[str], None] = lambda line: None,
        open_: Callable[[LiveTarget, tuple[int, int] | None, float | None], Any] = open_feed,
    ) -> None:
        self.target, self._asked, self._loop = target, (size_px, rate), loop
        self._notice, self._open = notice, open_
        self._stop = threading.Event()
        self._listener: Listener | None = None
        self._feed = self._opened()
        self.rate: Fraction = self._feed.rate
        self.layout: str | None = self._feed.layout if isinstance(self._feed, NetworkFeed) else None
        self._pictures: Generator[tuple[float, Frame], None, None] = self._feed.pictures(self._stop)
        try:
            self._first: tuple[float, Frame] | None = next(self._pictures, None)
        except BaseException:
            self._stop.set()
            raise
        if self._first is None:
            raise SourceError(f"{target.label} gives no picture")
        self.size_px = self._given_px = self._first[1].size_px
        self._pixels = pixels_of(self._first[1])
        self.lost = 0

    def listen(self, listener: Listener) -> None:
        """Give the sound that comes from now on to this one, in the thread that iterates."""
        self._listener = self._feed.listener = listener

    def _opened(self) -> Any:
        self._feed = self._open(self.target, *self._asked)
        if self._listener is not None:
            self._feed.listener = self._listener
        return self._feed

    def __iter__(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        if first is None:
            return
        began, black = first[0], _BlackWatch()
        for index, (now, frame) in enumerate(self._all(first)):
            if black.begins(frame, now):
                self._notice(f"{self.target.label} gives black pictures: is its cover closed, the room dark?")
            yield self._sized(frame).timed(index=index, pts=Fraction(now - began).limit_denominator(1_000_000))

    def _all(self, first: tuple[float, Frame]) -> Iterator[tuple[float, Frame]]:
        """Pictures of this feed and of all that follow it."""
        is_file, broken, given = self.target.kind == "file", "", 1
        try:
            yield first
            while True:  # whatever was opened is begun, even when all is to end by now: what never was frees nothing
                reason = f"{self.target.label} has ended"
                try:
                    for picture in self._pictures:
                        given += 1
                        yield picture
                except SourceError as error:
                    if is_file and not (self._loop and given):
                        raise
                    reason = str(error)
                    if is_file and reason != broken:
                        self._notice(f"{reason}; starting again")
                        broken = reason
                if self._stop.is_set() or (is_file and not self._loop):
                    return
                if is_file:
                    self._pictures, given = self._opened().pictures(self._stop), 0
                else:
                    self._reopen(reason)
        finally:
            self._pictures.close()

    def _reopen(self, reason: str) -> None:
        self.lost += 1
        self._notice(f"{reason}; trying again until it is back")
        since, wait_s = time.monotonic(), _FIRST_WAIT_S
        while not self._stop.wait(wait_s):
            try:
                again = self._opened().pictures(self._stop)
                first = next(again, None)  # a device that opens and gives nothing is not back
            except SourceError:
                first = None
            if first is None:
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            self._pictures = _after(first, again)
            self._notice(f"{self.target.label} is back after {time.monotonic() - since:.0f} s")
            return

    def _sized(self, frame: Frame) -> Frame:
        """A camera may come back with another size or kind of pixels, a stream change its own; outputs cannot change theirs."""
        if frame.size_px != self._given_px:
            self._given_px = (width, height) = frame.size_px
            fits = "" if frame.size_px == self.size_px else "; fitted into {}x{}".format(*self.size_px)
            self._notice(f"{self.target.label} gives {width}x{height} now{fits}")
        if frame.size_px == self.size_px and read_alike(pixels_of(frame), self._pixels):
            return frame
        return fitted(frame, self.size_px, self._pixels)

    def close(self) -> None:
        """End the iteration; whoever iterates frees the device."""
        self._stop.set()
        if self._first is not None:  # nobody has begun to
            self._first = None
            self._pictures.close()

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _after(
    first: tuple[float, Frame], rest: Generator[tuple[float, Frame], None, None]
) -> Generator[tuple[float, Frame], None, None]:
    """A feed's pictures, of which one was taken; closed with whoever iterates, so that the device is free again."""
    with closing(rest):
        yield first
        yield from rest


class _BlackWatch:
    """Tells once, each time a source has been black for a while."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = False

    def begins(self, frame: Frame, now: float) -> bool:
        luma = (frame.rgb[..., 1] if frame.planes is None else frame.planes.y)[::16, ::16]
        scale = 1 if frame.planes is None else 1 << (frame.planes.bits - 8)
        if luma.mean() > _BLACK_LUMA * scale or np.std(luma) > _BLACK_SPREAD * scale:
            self._since, self._told = None, False
            return False
        self._since = now if self._since is None else self._since
        tell = now - self._since > _BLACK_S and not self._told
        self._told |= tell
        return tell
