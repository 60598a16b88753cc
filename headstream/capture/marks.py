"""Places in a film to go on from, and how to know them again."""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from headstream.types import Frame

TRAIL = 8  # frames before a mark that have to be found again, the same


@dataclass(frozen=True)
class Mark:
    """The place before a frame. index: of that frame.

    trail: time (seconds from the first frame) and checksum of the frames right before it, in order.  mended: the clock or
    the packets had to be mended on the way, so that only reading from the start comes to the same place.
    warnings: what was said of the film until then.
    """

    index: int
    trail: tuple[tuple[Fraction, int], ...]
    mended: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """A part of a film: its frames from ``first`` on, before ``end``.

    key: number of a key frame at ``first`` or before it, where decoding begins.  ticks: that one's time on the file's own
    clock, in the stream's time base.
    """

    first: int
    end: int
    key: int
    ticks: int


class Trail:
    """The last frames, for the next mark."""

    def __init__(self) -> None:
        self._frames: deque[tuple[Fraction, int]] = deque(maxlen=TRAIL)

    def add(self, frame: Frame) -> None:
        """One more frame; those of no use to a mark may be left out, not single ones in between."""
        self._frames.append((frame.pts, checksum(frame)))

    def mark(self, index: int, *, warnings: list[str]) -> Mark:
        """The place before frame ``index``, which comes next."""
        return Mark(index, tuple(self._frames), bool(warnings), tuple(warnings))


def checksum(frame: Frame) -> int:
    """CRC-32 of a frame's pixels."""
    planes = frame.planes
    parts = [frame.rgb] if planes is None else [planes.y, planes.u, planes.v]
    total = 0
    for part in parts:
        total = zlib.crc32(np.ascontiguousarray(part).data, total)
    return total
