"""A webcam made of pictures that are known: paced, punctual, every frame stamped in its pixels. For measuring and for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from headstream.types import Frame, Planes, UInt8Array

_BITS, _BLOCK_PX = 20, 8


class SyntheticCamera:
    """Plays pictures forwards and backwards at an even rate; ``captured_s`` is when the picture was due.

    A picture that nobody was there to take when the next was due is skipped, as a camera would, and counted in
    ``skipped``. ``made`` counts all that were due. Ends after ``seconds``, or at ``close``, which any thread may call.
    """

    live = True

    def __init__(self, pictures: Sequence[Planes], rate: Fraction, seconds: float) -> None:
        if not pictures or pictures[0].size_px[0] < _BITS * _BLOCK_PX:
            raise ValueError(f"pictures must be given, and at least {_BITS * _BLOCK_PX} wide for their stamp")
        back = list(pictures[-2:0:-1])
        self._pictures = [*pictures, *back]
        self.size_px, self.rate, self._count = pictures[0].size_px, rate, round(seconds * rate)
        self.made = self.skipped = 0
        self.due_s: list[float] = []
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        start = time.perf_counter() + 0.05
        for index in range(self._count):
            due = start + float(index / self.rate)
            self.made += 1
            self.due_s.append(due)
            if self._stop.wait(max(0.0, due - time.perf_counter())):
                return
            if time.perf_counter() >= start + float((index + 1) / self.rate):
                self.skipped += 1
                continue
            planes = stamped(self._pictures[index % len(self._pictures)], index)
            yield Frame(planes=planes, index=index, pts=index / self.rate, captured_s=due)

    def close(self) -> None:
        """End the iteration. Safe to call again."""
        self._stop.set()


def stamped(planes: Planes, number: int) -> Planes:
    """The picture with ``number`` (under 2**20) written into its lower left corner in black and white blocks."""
    y = planes.y.copy()
    bits = (number >> np.arange(_BITS)) & 1
    row = np.repeat(np.where(bits, 235, 16).astype(y.dtype), _BLOCK_PX)
    y[-_BLOCK_PX:, : len(row)] = row
    return replace(planes, y=y)


def stamp_of(y: UInt8Array) -> int:
    """The number in a stamped picture's luma (H, W)."""
    blocks = y[-_BLOCK_PX:, : _BITS * _BLOCK_PX].reshape(_BLOCK_PX, _BITS, _BLOCK_PX).mean(axis=(0, 2))
    return int(((blocks > 125).astype(int) << np.arange(_BITS)).sum())
