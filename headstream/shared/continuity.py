"""The clock of a film that begins again on the way, as in recordings and discs that were put together from several."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

_BACK_S = Fraction(1, 2)  # less is a broken time or two, no new beginning
_AHEAD_S = Fraction(1)


class Continuity:
    """Moves packets in time so that what follows a new beginning of the clock comes right after what was before it.

    ``follow`` has to see all packets of a file, of all streams, in their order: whoever reads the file then moves them the
    same way, and sound stays with its picture. A clock that only goes on, gaps or not, is left alone.
    """

    def __init__(self) -> None:
        self.begun_again = False
        self._moves_s = [Fraction(0)]  # of the passes of the clock
        self._last_s: dict[int, Fraction] = {}  # each stream's last packet
        self._ends_s: dict[int, Fraction] = {}  # when what it holds has been shown
        self._before_s: dict[int, Fraction] = {}  # where a stream was before its last leap ahead
        self._now_s = Fraction(0)
        self._passes: dict[int, int] = {}  # which of the moves each stream's last packet was given
        self._settled: dict[int, int] = {}  # the same, of two packets in turn
        self._bases: dict[int, Fraction] = {}

    def follow(self, packet: Any) -> None:
        """Take the next packet and move it in place."""
        if packet.dts is None:
            self._move(packet, self._moves_s[-1])
            return
        index = packet.stream.index
        base = self._base(packet)
        own_s = packet.dts * base
        move_s = self._move_of(index, own_s)
        last_s = self._last_s.get(index, own_s + move_s)
        if own_s + move_s < last_s - _BACK_S and not self._is_back(index, own_s + move_s):
            self.begun_again = True
            move_s = self._shown_until() - own_s
            self._moves_s.append(move_s)
            self._passes[index] = len(self._moves_s) - 1
        if own_s + move_s > last_s + _AHEAD_S:
            self._before_s[index] = last_s
        elif own_s + move_s > last_s:
            self._before_s.pop(index, None)  # it goes on from there: that was a gap, and no broken time
        self._now_s = self._last_s[index] = own_s + move_s
        self._move(packet, move_s)
        shown = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self._ends_s[index] = max(self._ends_s.get(index, self._now_s), (shown + (packet.duration or 0)) * base)

    def _move_of(self, index: int, own_s: Fraction) -> Fraction:
        """Streams are interleaved: some of the last pass may still come when another stream has begun the next. A stream that
        has gone on in it does not go back; one packet alone may have had a broken time."""
        newest = len(self._moves_s) - 1
        open_to = range(max(self._settled.get(index, 0), newest - 1), newest + 1)
        nearest = min(open_to, key=lambda k: abs(own_s + self._moves_s[k] - self._now_s)) if newest else 0
        if self._passes.get(index) == nearest:
            self._settled[index] = nearest
        self._passes[index] = nearest
        return self._moves_s[nearest]

    def _base(self, packet: Any) -> Fraction:
        base = self._bases.get(packet.stream.index)
        if base is None or base != packet.time_base:
            base = self._bases[packet.stream.index] = Fraction(packet.time_base)
        return base

    def _shown_until(self) -> Fraction:
        """When all streams have come to their end, those aside that had a broken time."""
        return max((s for s in self._ends_s.values() if s < self._now_s + _AHEAD_S), default=self._now_s)

    def _is_back(self, index: int, when_s: Fraction) -> bool:
        """Whether a stream is back from a leap ahead: then it was that time which was broken."""
        before_s = self._before_s.pop(index, None)
        return before_s is not None and when_s >= before_s - _BACK_S

    @staticmethod
    def _move(packet: Any, move_s: Fraction) -> None:
        ticks = round(move_s / Fraction(packet.time_base)) if move_s else 0
        if ticks and packet.pts is not None:
            packet.pts += ticks
        if ticks and packet.dts is not None:
            packet.dts += ticks
